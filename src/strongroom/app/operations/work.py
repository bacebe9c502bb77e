"""Jobs: what is done in the background."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session

Replies = AsyncGenerator[dict[str, Any]]


async def _list(archive: Archive, session: Session, *, state: str | None, kind: str | None) -> Replies:
    yield {"result": await archive.job_keeper(session).listed(state=state, kind=kind)}


async def _cancel(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.job_keeper(session).cancel(number)}


async def _retry(archive: Archive, session: Session, *, number: int) -> Replies:
    yield {"result": await archive.job_keeper(session).retry(number)}


OPERATIONS: dict[str, Callable[..., Replies]] = {
    "jobs.list": _list,
    "jobs.cancel": _cancel,
    "jobs.retry": _retry,
}
