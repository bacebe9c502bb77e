"""The packs: check, repair. (Rebuild runs without a server and an open archive: `app.rebuilding`.)"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError
from strongroom.ground.disk import DiskMedium
from strongroom.vault.heal import DirectoryPacks

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


async def _check(archive: Archive, session: Session, *, read: bool, max_seconds: float | None = None) -> Replies:
    async for reply in archive.upkeep(session).check(read=read, max_seconds=max_seconds):
        yield reply


async def _repair(archive: Archive, session: Session, *, apply: bool, read: bool, source: str | None) -> Replies:
    sources = [] if source is None else [packs_in(Path(source))]
    async for reply in archive.upkeep(session).repair(apply=apply, read=read, sources=sources):
        yield reply


def packs_in(folder: Path) -> DirectoryPacks:
    """The packs of a backup, of a second vault or of another copy of a home; raises ConfigurationError."""
    for root in ("", "vault"):
        inside = folder / root
        if any(inside.glob("[0-9]*.pack")) or any(inside.glob("[0-9]*.open")):
            return DirectoryPacks(DiskMedium(folder), root)
    raise ConfigurationError(f"there are no packs in {folder}, and none in a folder `vault` in it")


OPERATIONS: dict[str, Callable[..., Replies]] = {"check": _check, "repair": _repair}
