"""
Where the files of a `Database` lie: on the disk, unless a test puts another place under it.

SQLite reads and writes through a VFS of its own; what is done to a database's files beside it, making, looking for and
renaming them, goes through `DatabaseFiles`, so that both can be exchanged together.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Protocol, final

from strongroom.errors import ConfigurationError, OutOfResources

_OVERWRITTEN_AT_ONCE: Final = 1 << 20


class DatabaseFiles(Protocol):
    """A place for database files."""

    @property
    def vfs(self) -> str | None:
        """The name of the SQLite VFS that reaches it; None is SQLite's own."""

    @property
    def alone(self) -> bool:
        """Whether one connection at a time is all it can bear (a VFS without shared memory)."""

    def create(self, path: Path) -> bool:
        """
        Make *path* empty and durable, readable for its owner only; return False when it is there.

        Raises ConfigurationError when others may read what is there.
        """

    def size(self, path: Path) -> int | None:
        """Return how long *path* is, None when there is none."""

    def rename(self, old: Path, new: Path) -> None:
        """Give *old* the name *new*."""


@final
class DiskFiles:
    """The disk, through SQLite's own VFS."""

    vfs = None
    alone = False

    def create(self, path: Path) -> bool:
        """See `DatabaseFiles.create`."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise ConfigurationError(
                    f"{path.name} must be a file that only its owner can read (chmod 600)"
                ) from None
            return False
        os.close(handle)
        sync_directory(path.parent)
        return True

    def size(self, path: Path) -> int | None:
        """See `DatabaseFiles.size`."""
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None

    def rename(self, old: Path, new: Path) -> None:
        """See `DatabaseFiles.rename`."""
        old.rename(new)


DISK: Final[DatabaseFiles] = DiskFiles()


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def overwrite(path: Path) -> None:
    """Write zeros over a file that held what was erased, durably, and remove it; no harm when there is none."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as failed:
        raise OutOfResources(f"{path.name} cannot be removed: {failed.strerror}") from failed
    try:
        size = os.fstat(handle).st_size
        for start in range(0, size, _OVERWRITTEN_AT_ONCE):
            os.pwrite(handle, bytes(min(_OVERWRITTEN_AT_ONCE, size - start)), start)
        os.fsync(handle)
    except OSError as failed:
        raise OutOfResources(f"{path.name} cannot be removed: {failed.strerror}") from failed
    finally:
        os.close(handle)
    path.unlink()
    sync_directory(path.parent)
