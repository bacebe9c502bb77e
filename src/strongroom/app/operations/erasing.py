"""Legal holds and erasing for good."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


async def _hold_add(archive: Archive, session: Session, *, studies: list[str], why: str, until: str | None) -> Replies:
    yield {"result": {"holds": await archive.holding(session).add(studies, reason=why, until=until)}}


async def _hold_list(archive: Archive, session: Session) -> Replies:
    yield {"result": {"holds": await archive.holding(session).listed()}}


async def _hold_release(archive: Archive, session: Session, *, number: int, why: str) -> Replies:
    yield {"result": await archive.holding(session).release(number, reason=why)}


async def _erase_request(archive: Archive, session: Session, *, studies: list[str], why: str) -> Replies:
    yield {"result": await archive.erasing(session).request(studies, reason=why)}


async def _erase_list(archive: Archive, session: Session) -> Replies:
    yield {"result": await archive.erasing(session).listed()}


async def _erase_confirm(archive: Archive, session: Session, *, number: int) -> Replies:
    async for reply in archive.erasing(session).confirm(number):
        yield reply


async def _erase_cancel(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.erasing(session).cancel(number)}


async def _erase_release(archive: Archive, session: Session, *, study: str, why: str) -> Replies:
    yield {"result": await archive.erasing(session).release(study, reason=why)}


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "hold.add": _hold_add,
    "hold.list": _hold_list,
    "hold.release": _hold_release,
    "erase.request": _erase_request,
    "erase.list": _erase_list,
    "erase.confirm": _erase_confirm,
    "erase.cancel": _erase_cancel,
    "erase.release": _erase_release,
}
