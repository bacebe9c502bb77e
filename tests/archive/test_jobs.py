"""Work in the background: done once it is durable, tried again, given up, cancelled, and taken up after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.world import World, aio, deposited, opened, until
from strongroom.archive import Outcome, job_task
from strongroom.archive import jobs as module
from strongroom.archive.acts import Change
from strongroom.archive.jobs import JobImpossible, Task
from strongroom.audit.codes import Event, EventType
from strongroom.errors import AccessDenied, ConflictError, IntegrityError, NotFound, StrongroomError
from strongroom.register import jobs as register
from strongroom.register.jobs import State


class Clock:
    """The archive's clock, to be put forward."""

    def __init__(self, world: World) -> None:
        self._real = world.parts.clock
        self._ahead = timedelta()
        world.parts.clock = self

    def __call__(self) -> datetime:
        now: datetime = self._real() + self._ahead
        return now

    def forward(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


def job(world: World, number: int) -> register.Job:
    """A job as it stands in the register."""
    with world.parts.database.reader() as connection:
        found = register.find(connection, number)
    assert found is not None
    return found


def alerts(world: World) -> list[Any]:
    """Security Alerts about jobs that were given up."""
    return [one.message for one in world.trail() if EventType.JOB_FAILED in one.message.types]


async def keeper(world: World) -> Any:
    """The host's tools."""
    return world.archive.job_keeper(await world.host())


async def nothing(_task: Task) -> None:
    """A handler with nothing to do."""


@aio
async def test_a_job_is_done_by_the_handler_of_its_kind(tmp_path: Path) -> None:
    """It gets the payload and the attempt; the row says done; other kinds stay."""
    got: list[tuple[int, str, dict[str, Any], int]] = []

    async def handler(task: Task) -> None:
        got.append((task.id, task.kind, task.payload, task.attempt))

    async with opened(tmp_path / "home") as world:
        jobs = world.core.jobs
        jobs.handle("scrub", handler)
        number = await jobs.enqueue("scrub", {"pack": 7})
        other = await jobs.enqueue("of a newer version", {})
        await jobs.start()
        await jobs.idle()
        await until(lambda: job(world, number).state is State.DONE)

        assert [(number, "scrub", {"pack": 7}, 1)] == got
        assert State.WAITING is job(world, other).state
        assert [] == alerts(world)


@aio
async def test_a_job_is_made_with_what_causes_it_or_not_at_all(tmp_path: Path) -> None:
    """Enqueued inside a transaction that fails, it does not exist; inside one that commits, it is done."""
    done: list[int] = []

    async def handler(task: Task) -> None:
        done.append(task.payload["number"])

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", handler)
        await world.core.jobs.start()

        def failing(connection: Any) -> None:
            register.enqueue(connection, "scrub", {"number": 1}, at=0.0)
            raise ConflictError("no")

        def working(connection: Any) -> None:
            register.enqueue(connection, "scrub", {"number": 2}, at=0.0)

        with pytest.raises(ConflictError):
            await world.core.committer.submit(Change(failing, ()))
        await world.core.committer.submit(Change(working, ()))
        world.core.jobs.wake()
        await until(lambda: done)
        await world.core.jobs.idle()

        assert [2] == done


@aio
async def test_a_failure_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    """Each time later; after the last attempt a dead letter and one Security Alert that names the job, not the text."""
    attempts: list[int] = []

    async def handler(task: Task) -> None:
        attempts.append(task.attempt)
        raise IntegrityError("pack 3 is not what was written")

    async with opened(tmp_path / "home") as world:
        clock, jobs = Clock(world), world.core.jobs
        jobs.handle("scrub", handler, attempts=3)
        number = await jobs.enqueue("scrub", {})
        await jobs.start()
        pauses = []
        for _ in range(2):
            await until(lambda: job(world, number).state is State.WAITING and job(world, number).problem)
            await jobs.idle()
            pauses.append(job(world, number).due_at - job(world, number).changed_at)
            clock.forward(pauses[-1] + 1)
            jobs.wake()
            expected = len(attempts) + 1
            await until(lambda expected=expected: len(attempts) == expected)
        await until(lambda: job(world, number).state is State.FAILED)
        clock.forward(1e6)
        jobs.wake()
        await jobs.idle()

        assert [1, 2, 3] == attempts
        first = module.FIRST_RETRY_SECONDS
        assert first <= pauses[0] <= 1.11 * first
        assert 2 * first <= pauses[1] <= 2.22 * first
        assert "IntegrityError: pack 3 is not what was written" == job(world, number).problem
        (alert,) = alerts(world)
        said = [value for one in alert.objects for value in (one.id, *(text for _, text in one.details))]
        assert f"urn:strongroom:job:{number}" in said
        assert "IntegrityError" in said
        assert not any("pack 3" in one for one in said)


@aio
async def test_what_is_impossible_is_given_up_at_once(tmp_path: Path) -> None:
    """No attempt is wasted on what cannot be."""
    attempts: list[int] = []

    async def handler(task: Task) -> None:
        attempts.append(task.attempt)
        raise JobImpossible("the device was revoked")

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("answer", handler)
        number = await world.core.jobs.enqueue("answer", {})
        await world.core.jobs.start()
        await until(lambda: job(world, number).state is State.FAILED)

        assert [1] == attempts
        assert 1 == len(alerts(world))


@aio
async def test_a_bug_of_a_handler_ends_neither_the_worker_nor_the_job(tmp_path: Path) -> None:
    """The log hears of it; the job is tried again, and others go on. What it said is not kept: it may be anything."""
    heard: list[str] = []

    async def broken(_task: Task) -> None:
        raise ValueError("Doe^Jane")

    async with opened(tmp_path / "home") as world:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: heard.append(type(context["exception"]).__name__)
        )
        world.core.jobs.handle("broken", broken)
        world.core.jobs.handle("scrub", nothing)
        numbers = [await world.core.jobs.enqueue(kind, {}) for kind in ("broken", "scrub")]
        await world.core.jobs.start()
        await until(lambda: job(world, numbers[1]).state is State.DONE and job(world, numbers[0]).problem)

        assert ["ValueError"] == heard
        assert ("ValueError", State.WAITING) == (job(world, numbers[0]).problem, job(world, numbers[0]).state)


@aio
async def test_a_handler_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reported within the lease: the attempt failed. One that reports may take as long as it wants."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(job_task, "LEASE_SECONDS", 0.2)

    async def hanging(_task: Task) -> None:
        await asyncio.Event().wait()

    async def long(task: Task) -> None:
        for step in range(12):
            await task.progress(step, 12)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.05)

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("hanging", hanging)
        world.core.jobs.handle("long", long)
        numbers = [await world.core.jobs.enqueue(kind, {}) for kind in ("hanging", "long")]
        await world.core.jobs.start()
        await until(lambda: job(world, numbers[0]).problem and job(world, numbers[1]).state is State.DONE)

        assert job(world, numbers[0]).problem.startswith("no progress within")
        assert 1 == job(world, numbers[1]).attempt


@pytest.mark.parametrize("concurrent", [1, 3])
@aio
async def test_no_more_of_a_kind_run_at_once_than_may(tmp_path: Path, concurrent: int) -> None:
    """And as many as may; a slow kind does not keep back another."""
    now, most, gate, quick = 0, 0, asyncio.Event(), []

    async def slow(_task: Task) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1

    async def other(task: Task) -> None:
        quick.append(task.id)

    async with opened(tmp_path / "home") as world:
        jobs = world.core.jobs
        jobs.handle("slow", slow, concurrent=concurrent)
        jobs.handle("quick", other)
        await jobs.start()
        for _ in range(5):
            await jobs.enqueue("slow", {})
        await jobs.enqueue("quick", {})
        await until(lambda: quick and now == concurrent)
        gate.set()
        await jobs.idle()

        assert concurrent == most
        assert {State.DONE: 6} == _counts(world)


def _counts(world: World) -> dict[State, int]:
    with world.parts.database.reader() as connection:
        return register.counts(connection)


@aio
async def test_progress_is_shown_at_once_and_stored_now_and_then(tmp_path: Path, monkeypatch: Any) -> None:
    """Ten thousand reports of a quick handler are not ten thousand transactions."""
    reported, gate = asyncio.Event(), asyncio.Event()

    async def handler(task: Task) -> None:
        for step in range(10_000):
            await task.progress(step + 1, 10_000)
        reported.set()
        await gate.wait()

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", handler)
        await world.core.jobs.start()
        number = await world.core.jobs.enqueue("scrub", {})
        stored, keep = [], register.progress
        monkeypatch.setattr(register, "progress", lambda *given, **named: (stored.append(1), keep(*given, **named)))
        await reported.wait()
        (shown,) = (await (await keeper(world)).listed(state=None, kind=None))["jobs"]
        gate.set()
        await world.core.jobs.idle()

        assert (number, "running", 10_000, 10_000) == (shown["id"], shown["state"], shown["done"], shown["total"])
        assert 1 <= len(stored) <= 5


@aio
async def test_what_runs_is_cancelled_at_its_next_report(tmp_path: Path) -> None:
    """And what waits at once; both stand in the trail, and neither is a failure."""
    started, gate = asyncio.Event(), asyncio.Event()

    async def handler(task: Task) -> None:
        started.set()
        await gate.wait()
        await task.progress(1, 2)

    async with opened(tmp_path / "home") as world:
        jobs = world.core.jobs
        jobs.handle("scrub", handler)
        await jobs.start()
        numbers = [await jobs.enqueue("scrub", {}) for _ in range(2)]
        await started.wait()
        tools = await keeper(world)

        assert "cancelled" == (await tools.cancel(numbers[1]))["state"]
        assert "cancelling" == (await tools.cancel(numbers[0]))["state"]
        gate.set()
        await jobs.idle()
        assert {State.CANCELLED: 2} == _counts(world)
        assert [] == alerts(world)
        assert 2 == sum(
            EventType.RESTRICTED_FUNCTION in one.message.types and "host:" in one.message.participants[0].user_id
            for one in world.trail()
        )


@aio
async def test_only_keepers_cancel_and_try_again(tmp_path: Path) -> None:
    """A device is refused, and that is recorded; what does not exist or is done is told."""
    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", nothing)
        number = await world.core.jobs.enqueue("scrub", {})
        theirs = world.archive.job_keeper(await world.device())
        for call in (
            lambda: theirs.listed(state=None, kind=None),
            lambda: theirs.cancel(number),
            lambda: theirs.retry(number),
        ):
            with pytest.raises(AccessDenied):
                await call()
            assert world.trail()[-1].message.event == Event.SECURITY_ALERT
            assert world.trail()[-1].message.failed
        tools = await keeper(world)
        with pytest.raises(NotFound):
            await tools.cancel(number + 1)
        with pytest.raises(StrongroomError, match="waiting, running"):
            await tools.listed(state="lost", kind=None)
        await world.core.jobs.start()
        await world.core.jobs.idle()
        await until(lambda: job(world, number).state is State.DONE)
        for call in (lambda: tools.cancel(number), lambda: tools.retry(number)):
            with pytest.raises(ConflictError):
                await call()


@aio
async def test_a_dead_letter_can_be_tried_again(tmp_path: Path) -> None:
    """Whoever mended the reason says so, and it begins with its first attempt."""
    broken, attempts = True, []

    async def handler(task: Task) -> None:
        attempts.append(task.attempt)
        if broken:
            raise IntegrityError("broken")

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", handler, attempts=1)
        number = await world.core.jobs.enqueue("scrub", {})
        await world.core.jobs.start()
        await until(lambda: job(world, number).state is State.FAILED)
        broken = False
        await (await keeper(world)).retry(number)
        await until(lambda: job(world, number).state is State.DONE)

        assert [1, 1] == attempts


@aio
async def test_what_is_under_way_when_the_archive_stops_goes_on_at_the_next_start(tmp_path: Path) -> None:
    """It lets go in time, that attempt does not count, and the next process does it."""
    started = asyncio.Event()

    async def hanging(_task: Task) -> None:
        started.set()
        await asyncio.Event().wait()

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", hanging)
        await world.core.jobs.start()
        number = await world.core.jobs.enqueue("scrub", {"pack": 1})
        await started.wait()
        async with asyncio.timeout(module.STOP_SECONDS):
            await world.core.jobs.stop()
        assert (State.WAITING, 0) == (job(world, number).state, job(world, number).attempt)
    got: list[tuple[dict[str, Any], int]] = []

    async def working(task: Task) -> None:
        got.append((task.payload, task.attempt))

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", working)
        await world.core.jobs.start()
        await until(lambda: got)
        await world.core.jobs.idle()

    assert [({"pack": 1}, 1)] == got


KILLED = """
import asyncio, sys
from pathlib import Path
from strongroom.app.assembly import open_archive
from strongroom.app.home import open_home

async def main():
    async def hanging(task):
        print("running", flush=True)
        await asyncio.Event().wait()
    async with open_archive(open_home(Path(sys.argv[1]))) as archive:
        archive.core.jobs.handle("scrub", hanging)
        await archive.core.jobs.start()
        if len(sys.argv) > 2:
            await archive.core.jobs.enqueue("scrub", {"pack": 1})
        await asyncio.Event().wait()

asyncio.run(main())
"""


@aio
async def test_a_job_outlives_kill_9_but_not_for_ever(tmp_path: Path) -> None:
    """Killed in the middle, it is taken up at once, and the attempt counts: one that kills its process is given up."""
    home = tmp_path / "home"
    async with opened(home):
        pass
    for arguments in (["make it"], []):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, str(home), *arguments, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert b"running\n" == await asyncio.wait_for(process.stdout.readline(), 30)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    got: list[int] = []

    async def working(task: Task) -> None:
        got.append(task.attempt)

    async with opened(home) as world:
        world.core.jobs.handle("scrub", working, attempts=3)
        await world.core.jobs.start()
        await until(lambda: got)
        await world.core.jobs.idle()
        assert [3] == got
        with world.parts.database.transaction() as connection:
            connection.execute("UPDATE job SET state = 'running'")
    async with opened(home) as world:
        world.core.jobs.handle("scrub", working, attempts=3)
        await world.core.jobs.start()
        await until(lambda: alerts(world))
        assert [3] == got
        assert {State.FAILED: 1} == _counts(world)


@aio
async def test_periodic_work_waits_exactly_once(tmp_path: Path) -> None:
    """Due again after its time, whatever became of the last one; a restart neither doubles it nor puts it off."""
    ran: list[int] = []

    async def handler(task: Task) -> None:
        ran.append(task.id)
        if len(ran) == 2:
            raise JobImpossible("not this time")

    def watched(world: World) -> Clock:
        clock = Clock(world)
        world.core.jobs.handle("scrub", handler)
        world.core.jobs.every("scrub", 3_600, {"all": True}, first=10)
        return clock

    async with opened(tmp_path / "home") as world:
        clock = watched(world)
        await world.core.jobs.start()
        await world.core.jobs.idle()
        assert [] == ran
        for expected in (1, 2, 3):
            clock.forward(11 if expected == 1 else 3_601)
            world.core.jobs.wake()
            await until(lambda expected=expected: len(ran) == expected)
            await world.core.jobs.idle()
            assert 1 == _counts(world)[State.WAITING]
        due = job(world, ran[-1] + 1).due_at
    async with opened(tmp_path / "home") as world:
        watched(world)
        await world.core.jobs.start()
        await world.core.jobs.idle()

        assert 1 == _counts(world)[State.WAITING]
        assert due - 3_600 * 3 <= job(world, ran[-1] + 1).due_at <= due
        assert 3 == len(ran)


@aio
async def test_deposits_do_not_wait_for_a_job(tmp_path: Path) -> None:
    """While one hangs and a hundred wait, an image is stored and answered."""
    started = asyncio.Event()

    async def hanging(_task: Task) -> None:
        started.set()
        await asyncio.Event().wait()

    async with opened(tmp_path / "home") as world:
        world.core.jobs.handle("scrub", hanging)
        await world.core.jobs.start()
        await asyncio.gather(*(world.core.jobs.enqueue("scrub", {}) for _ in range(100)))
        await started.wait()
        async with asyncio.timeout(5):
            _, receipt = await deposited(await world.device())

        assert Outcome.STORED is receipt.outcome
        assert {State.RUNNING: 1, State.WAITING: 99} == _counts(world)
        assert [] == await world.proof()


@aio
async def test_idle_waits_for_what_is_leased_and_has_not_begun(tmp_path: Path) -> None:
    """Between the lease and the beginning nothing runs and nothing is due."""
    done = []

    async def work(task: Task) -> None:
        done.append(task.payload)

    async with opened(tmp_path / "home") as world:
        jobs = world.core.jobs
        jobs.handle("slow", work)
        submit = jobs._submit

        async def late(change: Any) -> Any:
            result = await submit(change)
            await asyncio.sleep(0.1)
            return result

        jobs._submit = late
        await jobs.start()
        await jobs.enqueue("slow", {"n": 1})
        await jobs.idle()

        assert done == [{"n": 1}]
