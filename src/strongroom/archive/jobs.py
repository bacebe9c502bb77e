"""
The one worker for work that outlives a restart: scrubs, second copies, commitment answers, compaction.

A job is leased in one small transaction, carried out by the handler of its kind as a task on the event loop, and ended
in another; all of them go through the committer, between deposits. A handler that returns is done. One that raises a
StrongroomError is tried again with back-off, and after its last attempt the job stays as a dead letter and a Security
Alert says so. A handler that reports nothing for LEASE_SECONDS is taken for hung, which counts as an attempt. What ran
when the process was killed waits again at the next start: one process owns the home, so nobody else can be at it.

Handlers run at least once: whatever they do has to bear being done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.archive.acts import Change
from strongroom.archive.job_task import (
    LEASE_SECONDS,
    Handler,
    JobCancelled,
    JobImpossible,
    Task,
    dead_letter,
)
from strongroom.errors import StrongroomError
from strongroom.register import jobs as register
from strongroom.register.jobs import Job, State

if TYPE_CHECKING:
    import apsw

    from strongroom.archive.core import Core
    from strongroom.audit.message import AuditMessage

__all__ = ["Handler", "JobCancelled", "JobImpossible", "Jobs", "Task"]

LOOK_SECONDS: Final = 60.0
"""How often the worker looks for work that nobody woke it for (the clock was changed, say)."""
FIRST_RETRY_SECONDS: Final = 5.0
MAX_RETRY_SECONDS: Final = 3_600.0
"""The back-off doubles from the first to the longest, and a tenth of it is chance, so that failures spread."""
ATTEMPTS: Final = 8
"""Attempts before a job is given up: about ten minutes."""
STOP_SECONDS: Final = 5.0
"""What runs may take so long to let go when the archive stops; it waits again at the next start either way."""
TIDY_SECONDS: Final = 3_600.0
"""How often what is over for long is forgotten, and what lost its worker is taken up again."""


@final
@dataclass(slots=True)
class _Kind:
    handler: Handler
    attempts: int
    concurrent: int
    running: int = 0


@final
@dataclass(frozen=True, slots=True)
class _Period:
    seconds: float
    first: float
    payload: Mapping[str, Any]


@final
class Jobs:
    """Everything that is to be done in the background, one table of it and one worker."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._kinds: dict[str, _Kind] = {}
        self._periods: dict[str, _Period] = {}
        self._running: dict[int, tuple[Task, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._doomed: set[int] = set()
        """Cancelled between the lease and the beginning."""
        self._taking = False
        """Some may be leased that have not begun."""
        self._stopping = False
        self._tidied = 0.0

    # ------------------------------------------------------------------ who does what

    def handle(self, kind: str, handler: Handler, *, attempts: int = ATTEMPTS, concurrent: int = 1) -> None:
        """Let *handler* do the jobs of *kind*, at most *concurrent* at a time; before `start`."""
        self._kinds[kind] = _Kind(handler, attempts, concurrent)

    def every(
        self, kind: str, seconds: float, payload: Mapping[str, Any] | None = None, *, first: float | None = None
    ) -> None:
        """
        Keep one job of *kind* waiting, due *seconds* after the last one ended; before `start`.

        *first*: seconds until the very first one, *seconds* when absent. A restart does not put it off.
        """
        self._periods[kind] = _Period(seconds, seconds if first is None else first, payload or {})

    async def enqueue(
        self, kind: str, payload: Mapping[str, Any], *, key: str | None = None, delay: float = 0.0
    ) -> int:
        """Make a job durable, due in *delay* seconds, and return its number; see `register.jobs.enqueue` for *key*."""
        at = self._now()
        number: int = await self._submit(
            lambda connection: register.enqueue(connection, kind, payload, at=at, not_before=at + delay, key=key)
        )
        self.wake()
        return number

    def wake(self) -> None:
        """Look for work: a job was enqueued inside somebody's transaction, which has been committed."""
        self._wake.set()

    # ------------------------------------------------------------------ for whoever keeps the archive

    async def cancel(self, number: int, record: Callable[[Job], AuditMessage]) -> Job:
        """
        End a job: one that waits at once, one that runs at its next report of progress; return it as it was.

        *record* says in the trail who did so. Raises NotFound, ConflictError.
        """
        at = self._now()
        act = Change(lambda connection: register.cancel(connection, number, at=at), (), record)
        job: Job = await self._core.committer.submit(act)
        running = self._running.get(number)
        if running is not None:
            running[0].cancelled = True
        elif job.state is State.RUNNING:  # of a process that was killed, or just leased and about to begin
            self._doomed.add(number)
            await self._submit(lambda connection: register.end(connection, number, State.CANCELLED, at=at))
        return job

    async def retry(self, number: int, record: Callable[[Job], AuditMessage]) -> Job:
        """Let a job begin anew, at once; return it as it was. Raises NotFound, ConflictError."""
        at = self._now()
        act = Change(lambda connection: register.retry(connection, number, at=at), (), record)
        job: Job = await self._core.committer.submit(act)
        self.wake()
        return job

    def progress_of(self, number: int) -> tuple[int, int] | None:
        """How far a job is that runs here, fresher than what is stored."""
        running = self._running.get(number)
        return None if running is None else (running[0].done, running[0].total)

    # ------------------------------------------------------------------ the worker

    async def start(self) -> None:
        """Take up what an earlier process left, see to the periodic work, and begin."""
        at = self._now()
        await self._submit(lambda connection: self._take_up(connection, at))
        self._worker = asyncio.create_task(self._work())

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let go of everything within *seconds*; what was under way waits again. Twice does no harm."""
        self._stopping = True
        if self._worker is None:
            return
        worker, self._worker = self._worker, None
        tasks = [worker, *(one for _, one in self._running.values())]
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks, timeout=seconds)

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is due (tests, and a command that ends)."""
        while await asyncio.to_thread(self._due) <= 0 or self._taking or self._running:
            if self._running:
                await asyncio.wait([one for _, one in self._running.values()])
            await asyncio.sleep(0)

    def _take_up(self, connection: apsw.Connection, at: float) -> None:
        register.reclaim(connection, at=at)
        for kind, period in self._periods.items():
            key = _key_of_period(kind)
            pause = period.first if register.waiting(connection, kind, key) is None else period.seconds
            register.enqueue(connection, kind, period.payload, at=at, not_before=at + pause, key=key)

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            seconds = LOOK_SECONDS
            try:
                seconds = await asyncio.to_thread(self._due)
                if seconds <= 0:
                    await self._take()
                elif self._now() - self._tidied > TIDY_SECONDS:
                    await self._tidy()
            except StrongroomError:  # the medium takes nothing: what waits goes on waiting
                seconds = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001 -- a bug must not end all work for good; the log names it
                _report("any", error)
                seconds = LOOK_SECONDS
            if seconds > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(seconds, LOOK_SECONDS)):
                        await self._wake.wait()

    def _due(self) -> float:
        """Seconds until a job could begin: 0 or less when one can, LOOK_SECONDS when none is in sight."""
        free = [name for name, kind in self._kinds.items() if kind.running < kind.concurrent]
        with self._core.parts.database.reader() as connection:
            due = register.next_due(connection, free)
        return LOOK_SECONDS if due is None else due - self._now()

    async def _take(self) -> None:
        at = self._now()
        free = {name: kind.concurrent - kind.running for name, kind in self._kinds.items()}

        def take(connection: apsw.Connection) -> list[Job]:
            return [
                job
                for name, room in free.items()
                if room > 0
                for job in register.take(connection, name, room, at=at, until=at + LEASE_SECONDS)
            ]

        self._taking = True
        try:
            for job in await self._submit(take):
                self._begin(job)
        finally:
            self._taking = False

    def _begin(self, job: Job) -> None:
        kind = self._kinds[job.kind]
        kind.running += 1
        deadline = asyncio.timeout(LEASE_SECONDS)
        task = Task(job.id, job.kind, job.payload, job.attempt, self, deadline)
        task.cancelled = job.id in self._doomed
        self._doomed.clear()
        running = asyncio.create_task(self._carry_out(task, kind), name=f"job {job.kind}")
        self._running[job.id] = task, running
        running.add_done_callback(lambda _: self._over(job))

    def _over(self, job: Job) -> None:
        self._running.pop(job.id, None)
        self._kinds[job.kind].running -= 1
        self._wake.set()

    async def _carry_out(self, task: Task, kind: _Kind) -> None:
        """One attempt, and what became of it."""
        state, problem = State.DONE, ""
        if task.attempt > kind.attempts:  # the process was killed in the last one too, perhaps by it
            await self._end(task, State.FAILED, "Killed: the process ended in every attempt")
            return
        try:
            async with task._deadline:  # noqa: SLF001 -- the task is ours
                await task.progress(0, 0)
                await kind.handler(task)
        except asyncio.CancelledError:
            if self._stopping:
                await self._let_go(task)
            raise
        except JobCancelled:
            state = State.CANCELLED
        except JobImpossible as error:
            state, problem = State.FAILED, _problem(error)
        except StrongroomError as error:
            state, problem = State.WAITING, _problem(error)
        except Exception as error:  # noqa: BLE001 -- a bug of a handler's must not end the worker; the log names it
            hung = task._deadline.expired()  # noqa: SLF001
            if not hung:
                _report(task.kind, error)
            problem = f"no progress within {LEASE_SECONDS:.0f} s" if hung else type(error).__name__
            state = State.WAITING
        if state is State.WAITING and task.attempt >= kind.attempts:
            state = State.FAILED
        await self._end(task, state, problem)

    async def _end(self, task: Task, state: State, problem: str) -> None:
        parts, at = self._core.parts, self._now()
        messages = (dead_letter(parts, task.kind, task.id, problem),) if state is State.FAILED else ()

        def end(connection: apsw.Connection) -> None:
            if state is State.WAITING:
                not_before = at + self._pause(task.attempt)
                register.again(connection, task.id, at=at, not_before=not_before, problem=problem)
                return
            register.end(connection, task.id, state, at=at, problem=problem)
            period = self._periods.get(task.kind)
            if period is not None:
                register.enqueue(
                    connection,
                    task.kind,
                    period.payload,
                    at=at,
                    not_before=at + period.seconds,
                    key=_key_of_period(task.kind),
                )

        # when nothing can be written the row goes on "running", until it is tidied or the archive starts again
        with contextlib.suppress(StrongroomError):
            await asyncio.shield(self._core.committer.submit(Change(end, messages)))

    async def _let_go(self, task: Task) -> None:
        """The archive stops: the job waits again, and this attempt does not count."""
        at = self._now()
        with contextlib.suppress(StrongroomError):
            await self._submit(
                lambda connection: register.again(
                    connection, task.id, at=at, not_before=at, problem="the archive was stopped", counted=False
                )
            )

    async def keep_progress(self, task: Task) -> None:
        """Store how far a task is (called by the task itself)."""
        until = self._now() + LEASE_SECONDS
        await self._submit(
            lambda connection: register.progress(connection, task.id, task.done, task.total, until=until)
        )

    async def _tidy(self) -> None:
        at, running = self._now(), list(self._running)

        def tidy(connection: apsw.Connection) -> int:
            # jobs of which the end could not be written, because the medium took nothing or too much waited
            register.reclaim(connection, at=at, running=running)
            return register.forget(connection, at=at)

        if await self._submit(tidy) < register.FORGOTTEN_AT_MOST:
            self._tidied = at
        self._wake.set()

    def _pause(self, attempt: int) -> float:
        """Seconds until the attempt after *attempt*."""
        pause = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 30), MAX_RETRY_SECONDS)
        return pause * (1 + 0.1 * self._core.parts.entropy(1)[0] / 255)

    def _now(self) -> float:
        return self._core.parts.clock().timestamp()

    async def _submit(self, change: Callable[[apsw.Connection], Any]) -> Any:
        return await self._core.committer.submit(Change(change, ()))


def _key_of_period(kind: str) -> str:
    return f"every:{kind}"


def _problem(error: StrongroomError) -> str:
    return f"{type(error).__name__}: {error}"


def _report(kind: str, error: Exception) -> None:
    """Tell the log of a bug, by type and place (`app.journal.unexpected`)."""
    context = {"message": f"a job of kind {kind} failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
