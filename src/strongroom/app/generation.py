"""
The next generation of everything that depends on the master key, and the one step that puts it in force
(docs/decisions/0013-rotation.md).

1. `rotation.partial/` is filled with every file anew under the new key, each durable. A crash here: it is thrown away.
2. It is renamed `rotation/`, durably. That is the moment of the change: before it the old key opens the home, from it
   on the new one.
3. Each file is moved over the old one; all moves can be done again. A crash here: the next owner goes on.
4. `rotation/` is removed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from strongroom.ground.database_files import sync_directory

PARTIAL: Final = "rotation.partial"
READY: Final = "rotation"
DATABASES: Final = ("archive.db", "keyring.db")
FOLDERS: Final = ("keyring", "tombstones")
KEYS: Final = ("ca.key", "lasting.keys", "master.key")


def settle(root: Path) -> None:
    """Bring a home to one generation; called by whoever owns it, before anything is opened."""
    ready = root / READY
    if ready.is_dir() and not ready.is_symlink():
        _take_over(root, ready)
    partial = root / PARTIAL
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial)
        sync_directory(root)


def commit(root: Path) -> None:
    """Put what stands in `rotation.partial/` in force."""
    flush_tree(root / PARTIAL)
    (root / PARTIAL).rename(root / READY)
    sync_directory(root)
    settle(root)


def flush_tree(folder: Path) -> None:
    """Make every file and name below *folder* durable."""
    for path in folder.rglob("*"):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    sync_directory(folder)


def _take_over(root: Path, ready: Path) -> None:
    for name in DATABASES:
        if (ready / name).exists():
            for suffix in ("-wal", "-shm"):  # of the old file, which was closed: a log of it must not meet the new one
                (root / f"{name}{suffix}").unlink(missing_ok=True)
            sync_directory(root)
            (ready / name).rename(root / name)
    for name in FOLDERS:
        if (ready / name).is_dir():
            (root / name).mkdir(mode=0o700, exist_ok=True)
            for path in (root / name).iterdir():
                path.unlink()
            (ready / name).rename(root / name)
    for name in KEYS:
        if (ready / name).exists():
            if name == "master.key":
                _overwrite(root / "keys" / name)
            (ready / name).rename(root / "keys" / name)
    sync_directory(root / "keys")
    sync_directory(root)
    shutil.rmtree(ready)
    sync_directory(root)


def _overwrite(path: Path) -> None:
    """Write over the old key before its name goes; what a disk keeps of old blocks is not in our hands."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.pwrite(handle, os.urandom(os.fstat(handle).st_size), 0)
        os.fsync(handle)
    finally:
        os.close(handle)
