"""Listing, cancelling and trying again what is done in the background, behind a session like everything else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.audit.codes import EventType
from strongroom.errors import ConfigurationError
from strongroom.register import jobs as register
from strongroom.register.jobs import OVER, State

if TYPE_CHECKING:
    from strongroom.archive.core import Core
    from strongroom.archive.session import Session
    from strongroom.audit.message import AuditMessage
    from strongroom.register.jobs import Job

MAX_LISTED: Final = 1_000
"""Jobs listed at once; the newest of those that are not over come first."""


@final
class JobKeeper:
    """The keepers' tools for jobs."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def listed(self, *, state: str | None, kind: str | None) -> dict[str, Any]:
        """The newest jobs, those that are not over first, and how many there are in each state; no payload."""
        await self._session.require(Action.REVIEW)
        if state is not None and state not in set(State):
            raise ConfigurationError(f"a job is {', '.join(State)}; not {state!r}")

        def read() -> dict[str, Any]:
            with self._core.parts.database.reader() as connection:
                wanted = None if state is None else State(state)
                found = register.every(connection, state=wanted, kind=kind, limit=MAX_LISTED)
                numbers = register.counts(connection)
            return {
                "jobs": [self._shown(job) for job in found],
                "counts": {one.value: numbers.get(one, 0) for one in State},
            }

        return await asyncio.to_thread(read)

    async def cancel(self, number: int) -> dict[str, Any]:
        """End a job; one that runs ends at its next report of progress. Raises NotFound, ConflictError."""
        await self._session.require(Action.CUSTODY)
        job = await self._core.jobs.cancel(number, lambda job: self._record(job, "job cancelled"))
        at_once = self._core.jobs.progress_of(number) is None
        return {"id": number, "kind": job.kind, "state": State.CANCELLED.value if at_once else "cancelling"}

    async def retry(self, number: int) -> dict[str, Any]:
        """Let a job begin anew that failed or was cancelled. Raises NotFound, ConflictError."""
        await self._session.require(Action.CUSTODY)
        job = await self._core.jobs.retry(number, lambda job: self._record(job, "job tried again"))
        return {"id": number, "kind": job.kind, "state": State.WAITING.value}

    def _record(self, job: Job, description: str) -> AuditMessage:
        parts = self._core.parts
        return parts.reporter.changed(
            parts.clock(),
            recording.party(self._session.actor),
            EventType.RESTRICTED_FUNCTION,
            f"urn:strongroom:job:{job.id}",
            description,
            ("Kind", job.kind),
        )

    def _shown(self, job: Job) -> dict[str, Any]:
        done, total = self._core.jobs.progress_of(job.id) or (job.done, job.total)
        return {
            "id": job.id,
            "kind": job.kind,
            "state": job.state.value,
            "attempt": job.attempt,
            "done": done,
            "total": total,
            "made": _when(job.created_at),
            "changed": _when(job.changed_at),
            "due": None if job.state in OVER or job.state is State.RUNNING else _when(job.due_at),
            "problem": job.problem,
        }


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
