"""What was kept aside: conflicts and quarantine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]

_KEEP = ("first", "second", "both")


async def _conflicts_list(archive: Archive, session: Session, *, decided: bool) -> Replies:
    yield {"result": {"conflicts": await archive.conflicts(session).listed(decided=decided)}}


async def _conflicts_show(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.conflicts(session).shown(number)}


async def _conflicts_resolve(archive: Archive, session: Session, *, number: int, keep: str) -> Replies:
    if keep not in _KEEP:
        raise ConfigurationError(f"--keep is one of {', '.join(_KEEP)}")
    async for reply in archive.conflicts(session).resolve(number, keep):
        yield reply


async def _quarantine_list(archive: Archive, session: Session, *, decided: bool) -> Replies:
    yield {"result": {"quarantine": await archive.quarantine(session).listed(decided=decided)}}


async def _quarantine_show(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.quarantine(session).shown(number)}


async def _quarantine_release(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.quarantine(session).release(number)}


async def _quarantine_discard(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.quarantine(session).discard(number)}


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "conflicts.list": _conflicts_list,
    "conflicts.show": _conflicts_show,
    "conflicts.resolve": _conflicts_resolve,
    "quarantine.list": _quarantine_list,
    "quarantine.show": _quarantine_show,
    "quarantine.release": _quarantine_release,
    "quarantine.discard": _quarantine_discard,
}
