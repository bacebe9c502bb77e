"""
Copies: backups. (`restore` and `rotate` need the home for themselves: `app.restoring`, `app.rotating`.)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


async def _backup(
    archive: Archive, session: Session, *, destination: str, rate: float, verify_all: bool, afresh: bool
) -> Replies:
    made = archive.backups(session).make(
        Path(destination), mebibytes_per_second=rate, verify_all=verify_all, afresh=afresh
    )
    async for reply in made:
        yield reply


async def _backup_list(archive: Archive, session: Session, *, destination: str) -> Replies:
    yield {"result": await archive.backups(session).listed(Path(destination))}


async def _backup_verify(archive: Archive, session: Session, *, destination: str, rate: float) -> Replies:
    async for reply in archive.backups(session).verify(Path(destination), mebibytes_per_second=rate):
        yield reply


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "backup": _backup,
    "backup.list": _backup_list,
    "backup.verify": _backup_verify,
}
