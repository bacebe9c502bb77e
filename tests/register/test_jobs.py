"""The table of jobs: made once per key, leased once, tried again, and bounded."""

from __future__ import annotations

import pytest

from register.registry import register
from strongroom.errors import ConflictError, NotFound, OutOfResources
from strongroom.register import jobs
from strongroom.register.jobs import State


@pytest.fixture
def connection():
    """A register without jobs."""
    return register()


def test_a_job_comes_back_as_it_was_made(connection):
    """Kind, payload, key and times; a number is never used twice, not even after the row was forgotten."""
    number = jobs.enqueue(connection, "scrub", {"pack": 3, "uids": ["1.2"]}, at=10.0, not_before=20.0, key="3")
    job = jobs.find(connection, number)
    assert job is not None
    connection.execute("DELETE FROM job")

    assert ("scrub", "3", {"pack": 3, "uids": ["1.2"]}, State.WAITING, 0, 20.0, 10.0) == (
        job.kind,
        job.key,
        job.payload,
        job.state,
        job.attempt,
        job.due_at,
        job.created_at,
    )
    assert number < jobs.enqueue(connection, "scrub", {}, at=10.0)
    assert jobs.find(connection, 99) is None


def test_a_key_is_waited_for_once(connection):
    """The same work asked for twice waits once, at the earlier time; other kinds and keys are other work."""
    first = jobs.enqueue(connection, "scrub", {}, at=1.0, not_before=50.0, key="a")

    assert first == jobs.enqueue(connection, "scrub", {}, at=2.0, not_before=90.0, key="a")
    assert 50.0 == jobs.next_due(connection, ["scrub"])
    assert first == jobs.enqueue(connection, "scrub", {}, at=2.0, not_before=7.0, key="a")
    assert 7.0 == jobs.next_due(connection, ["scrub"])
    others = {
        jobs.enqueue(connection, kind, {}, at=3.0, key=key)
        for kind, key in (("scrub", "b"), ("heal", "a"), ("heal", None))
    }
    assert first not in others
    assert 3 == len(others)


def test_what_runs_does_not_stand_for_what_is_asked_anew(connection):
    """Work that began may have passed what was changed since: it is done again."""
    first = jobs.enqueue(connection, "scrub", {}, at=1.0, key="a")
    jobs.take(connection, "scrub", 1, at=1.0, until=9.0)

    assert first != jobs.enqueue(connection, "scrub", {}, at=2.0, key="a")


def test_a_job_is_leased_once_and_in_its_turn(connection):
    """The longest due first, none before its time, no more than asked for, none twice, and only of the kind."""
    later, sooner = (jobs.enqueue(connection, "scrub", {}, at=0.0, not_before=due) for due in (8.0, 4.0))
    jobs.enqueue(connection, "scrub", {}, at=0.0, not_before=11.0)
    jobs.enqueue(connection, "heal", {}, at=0.0)
    assert [] == jobs.take(connection, "scrub", 5, at=3.0, until=99.0)

    (taken,) = jobs.take(connection, "scrub", 1, at=10.0, until=99.0)
    assert (sooner, State.RUNNING, 1, 99.0) == (taken.id, taken.state, taken.attempt, taken.due_at)
    assert [later] == [one.id for one in jobs.take(connection, "scrub", 5, at=10.0, until=99.0)]
    assert [] == jobs.take(connection, "scrub", 5, at=10.0, until=99.0)


def test_an_attempt_counts_unless_the_archive_stopped_in_it(connection):
    """Failed: waits with its problem and its count; let go: waits as if it had not begun."""
    number = jobs.enqueue(connection, "scrub", {}, at=0.0)
    jobs.take(connection, "scrub", 1, at=0.0, until=9.0)
    jobs.again(connection, number, at=1.0, not_before=6.0, problem="x" * 2_000)
    failed = jobs.find(connection, number)
    jobs.take(connection, "scrub", 1, at=6.0, until=9.0)
    jobs.again(connection, number, at=7.0, not_before=7.0, problem="stopped", counted=False)
    let_go = jobs.find(connection, number)

    assert failed is not None
    assert let_go is not None
    assert (State.WAITING, 1, 6.0, jobs.MAX_PROBLEM) == (
        failed.state,
        failed.attempt,
        failed.due_at,
        len(failed.problem),
    )
    assert (State.WAITING, 1, 7.0) == (let_go.state, let_go.attempt, let_go.due_at)


def test_what_a_killed_process_left_is_taken_up(connection):
    """All that ran waits again, but for what runs here; the attempt counts."""
    left, here = (jobs.enqueue(connection, "scrub", {}, at=0.0) for _ in range(2))
    jobs.take(connection, "scrub", 2, at=0.0, until=900.0)

    assert 1 == jobs.reclaim(connection, at=5.0, running=[here])
    (taken,) = jobs.take(connection, "scrub", 2, at=5.0, until=900.0)
    assert (left, 2) == (taken.id, taken.attempt)


def test_progress_is_that_of_what_runs(connection):
    """It renews the lease, and does nothing to a job that is over."""
    number = jobs.enqueue(connection, "scrub", {}, at=0.0)
    jobs.take(connection, "scrub", 1, at=0.0, until=900.0)
    jobs.progress(connection, number, 3, 10, until=1_000.0)
    running = jobs.find(connection, number)
    jobs.end(connection, number, State.DONE, at=5.0)
    jobs.progress(connection, number, 0, 0, until=2_000.0)
    over = jobs.find(connection, number)

    assert running is not None
    assert over is not None
    assert (3, 10, 1_000.0) == (running.done, running.total, running.due_at)
    assert (State.DONE, 3, 10) == (over.state, over.done, over.total)


def test_cancelling_and_trying_again(connection):
    """What waits ends at once; what failed or was cancelled begins anew; what is done or gone is told."""
    number = jobs.enqueue(connection, "scrub", {}, at=0.0, not_before=50.0)
    with pytest.raises(NotFound):
        jobs.cancel(connection, 99, at=1.0)
    assert State.WAITING is jobs.cancel(connection, number, at=1.0).state
    with pytest.raises(ConflictError, match="cancelled"):
        jobs.cancel(connection, number, at=1.0)
    assert State.CANCELLED is jobs.retry(connection, number, at=2.0).state

    (taken,) = jobs.take(connection, "scrub", 1, at=2.0, until=9.0)
    assert 1 == taken.attempt
    with pytest.raises(ConflictError, match="running"):
        jobs.retry(connection, number, at=3.0)
    assert State.RUNNING is jobs.cancel(connection, number, at=3.0).state
    assert {State.RUNNING: 1} == jobs.counts(connection)


def test_what_is_over_is_forgotten_in_time(connection, monkeypatch):
    """After its days, and the oldest beyond the number that is kept; never what waits or runs."""
    monkeypatch.setattr(jobs, "MAX_OVER", 3)
    numbers = [jobs.enqueue(connection, "scrub", {}, at=0.0) for _ in range(8)]
    jobs.take(connection, "scrub", 7, at=0.0, until=9.0)
    for at, number in enumerate(numbers[:6]):
        jobs.end(connection, number, [State.DONE, State.FAILED, State.CANCELLED][at % 3], at=float(at))

    assert 3 == jobs.forget(connection, at=10.0)
    assert numbers[3:] == sorted(job.id for job in jobs.every(connection))
    assert 3 == jobs.forget(connection, at=10.0 + jobs.KEPT_DAYS * 86_400)
    assert {State.WAITING: 1, State.RUNNING: 1} == jobs.counts(connection)


def test_no_more_wait_than_may(connection, monkeypatch):
    """The table cannot grow without end: it is looked at with every 256th job."""
    monkeypatch.setattr(jobs, "MAX_WAITING", 300)

    def fill() -> None:
        for _ in range(600):
            jobs.enqueue(connection, "scrub", {}, at=0.0)

    with pytest.raises(OutOfResources):
        fill()

    assert jobs.counts(connection)[State.WAITING] <= 300 + 256


def test_the_list_has_first_what_is_not_over(connection):
    """Then the newest, of a state or kind if one is named, and no more than asked for."""
    done, waiting, running = (jobs.enqueue(connection, kind, {}, at=0.0) for kind in ("a", "b", "a"))
    jobs.take(connection, "a", 2, at=0.0, until=9.0)
    jobs.end(connection, done, State.DONE, at=1.0)

    assert [running, waiting, done] == [job.id for job in jobs.every(connection)]
    assert [running, done] == [job.id for job in jobs.every(connection, kind="a")]
    assert [done] == [job.id for job in jobs.every(connection, state=State.DONE)]
    assert [running] == [job.id for job in jobs.every(connection, limit=1)]


def test_the_questions_asked_often_walk_an_index(connection):
    """Whatever else is in the table: what is due, what waits under a key, what runs."""
    asked = {
        "SELECT min(due_at) FROM job WHERE kind = 'a' AND state = 'waiting'": "job_waiting",
        "SELECT id FROM job WHERE kind = 'a' AND key = 'k' AND state = 'waiting' LIMIT 1": "job_waiting_by_key",
        "UPDATE job SET due_at = 1 WHERE state = 'running' AND id NOT IN (1)": "job_running",
    }
    for statement, index in asked.items():
        plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert index in plan, plan
        assert "SCAN job" not in plan.replace("SCAN job USING", ""), plan
