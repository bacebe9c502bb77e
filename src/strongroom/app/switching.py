"""Putting a database that was made anew in the old one's place, so that a crash leaves one of them whole."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from strongroom.ground.database_files import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.app.home import Home

_PARTS = ("", "-wal", "-shm")


def switch(home: Home, new: Path) -> None:
    """Steps 3 and 4, each durable before the next."""
    remove(new, parts=_PARTS[1:])  # folded in when it was closed
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    new.rename(home.database_file.with_name("archive.db.rebuilt"))
    sync_directory(home.root)
    finish_switch(home)


def finish_switch(home: Home) -> None:
    """Put a complete new database in the old one's place, if one waits for it; the home's lock is held."""
    ready, old = home.database_file.with_name("archive.db.rebuilt"), home.database_file
    if not ready.exists():
        return
    number = 1
    while (aside := old.with_name(f"{old.name}.before-rebuild-{number}")).exists():
        number += 1
    for part in ("-wal", "-shm", ""):  # its log first: another file must never be read with it
        with suppress(FileNotFoundError):
            old.with_name(old.name + part).rename(aside.with_name(aside.name + part))
    sync_directory(home.root)
    ready.rename(old)
    sync_directory(home.root)


def remove(path: Path, parts: tuple[str, ...] = _PARTS) -> None:
    """Remove a database that is of no use, with what lies beside it."""
    for part in parts:
        path.with_name(path.name + part).unlink(missing_ok=True)
