"""A job under way, as whoever does it sees it (`jobs.Jobs` has the worker)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from strongroom.audit.codes import EventType
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage

LEASE_SECONDS: Final = 900.0
"""A handler that reports no progress for so long is taken for hung; the longest step is reading one full pack."""
PROGRESS_SECONDS: Final = 1.0
"""Progress is stored at most this often: a transaction for every step would be felt by deposits."""


class JobImpossible(StrongroomError):  # noqa: N818 -- as NotFound
    """The job can never be done: no further attempt."""


class JobCancelled(StrongroomError):  # noqa: N818 -- as NotFound
    """Somebody cancelled the job."""


class Keeper(Protocol):
    """Whoever stores how far a task is."""

    async def keep_progress(self, task: Task) -> None:
        """Store `done` and `total`, and renew the lease."""


@final
@dataclass(slots=True)
class Task:
    """A job under way, as its handler sees it."""

    id: int
    kind: str
    payload: dict[str, Any]
    attempt: int
    """1 at first."""
    _keeper: Keeper = field(repr=False)
    _deadline: asyncio.Timeout = field(repr=False)
    """Runs out when nothing is reported."""
    done: int = 0
    total: int = 0
    cancelled: bool = False
    _stored: float = 0.0

    async def progress(self, done: int, total: int) -> None:
        """Say how far it is and renew the lease; cheap, so say it often. Raises JobCancelled when it was cancelled."""
        self.done, self.total = done, total
        if self.cancelled:
            raise JobCancelled(f"job {self.id} was cancelled")
        if total == 0:
            return
        now = asyncio.get_running_loop().time()
        self._deadline.reschedule(now + LEASE_SECONDS)
        if now - self._stored >= PROGRESS_SECONDS:
            self._stored = now
            await self._keeper.keep_progress(self)


Handler = Callable[[Task], Awaitable[None]]


def dead_letter(parts: Parts, kind: str, number: int, problem: str) -> AuditMessage:
    """A job was given up; the trail names the kind of its error, the text stands with the job."""
    return parts.reporter.alert(
        parts.clock(),
        EventType.JOB_FAILED,
        f"urn:strongroom:job:{number}",
        f"a job of kind {kind} was given up; see `strongroom jobs list`",
        ("Problem", problem.partition(":")[0]),
    )
