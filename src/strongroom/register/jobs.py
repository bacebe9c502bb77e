"""
Work that outlives a restart: what is to be done, how far it is, and how it ended.

Everything here runs inside a transaction of the caller's, so that a job is made with what causes it or not at all. What
a payload means belongs to its kind; it holds our own numbers and UIDs. The table is bounded: jobs that are over are
forgotten (KEPT_DAYS, MAX_OVER), and no more than MAX_WAITING wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.errors import ConflictError, NotFound, OutOfResources
from strongroom.register.rows import select

__all__ = [
    "Job",
    "State",
    "again",
    "cancel",
    "counts",
    "end",
    "enqueue",
    "every",
    "find",
    "forget",
    "next_due",
    "progress",
    "reclaim",
    "retry",
    "take",
    "waiting",
]

MAX_WAITING: Final = 1_000_000
"""Jobs that wait: 100 bytes each. Looked at with every 256th job, since counting them costs more than making one."""
_LOOK: Final = 256
KEPT_DAYS: Final = 30
"""How long a job that is over stays listed."""
MAX_OVER: Final = 10_000
"""Jobs that are over and still listed; the oldest are forgotten first."""
FORGOTTEN_AT_MOST: Final = 1_000
"""Rows removed in one transaction, which deposits wait for."""
MAX_PROBLEM: Final = 500
"""Characters of why an attempt failed."""
_COLUMNS: Final = "id, kind, key, payload, state, attempt, due_at, created_at, changed_at, done, total, problem"
_object = msgspec.json.Decoder(dict[str, Any]).decode


@final
class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """A dead letter: it is not tried again unless somebody says so."""
    CANCELLED = "cancelled"


OVER: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})


@final
@dataclass(frozen=True, slots=True)
class Job:
    """One row."""

    id: int
    kind: str
    key: str | None
    payload: dict[str, Any]
    state: State
    attempt: int
    due_at: float
    """Waiting: not before; running: until when it is leased."""
    created_at: float
    changed_at: float
    done: int
    total: int
    problem: str


def enqueue(
    connection: apsw.Connection,
    kind: str,
    payload: Mapping[str, Any],
    *,
    at: float,
    not_before: float | None = None,
    key: str | None = None,
) -> int:
    """
    List a job made at *at* and return its number.

    A job of the same kind and *key* that waits already stands for this one: it comes as soon as the earlier of both.
    Raises OutOfResources when too many wait.
    """
    due = at if not_before is None else not_before
    present = None if key is None else waiting(connection, kind, key)
    if present is not None:
        connection.execute("UPDATE job SET due_at = min(due_at, ?) WHERE id = ?", (due, present))
        return present
    connection.execute(
        "INSERT INTO job (kind, key, payload, state, attempt, due_at, created_at, changed_at, done, total, problem)"
        " VALUES (?, ?, ?, 'waiting', 0, ?, ?, ?, 0, 0, '')",
        (kind, key, msgspec.json.encode(payload).decode(), due, at, at),
    )
    number = connection.last_insert_rowid()
    if number % _LOOK == 0 and counts(connection).get(State.WAITING, 0) > MAX_WAITING:
        raise OutOfResources(f"more than {MAX_WAITING} jobs are waiting")
    return number


def waiting(connection: apsw.Connection, kind: str, key: str) -> int | None:
    """Return the number of the job of that kind and key that waits, None when none does."""
    statement = "SELECT id FROM job WHERE kind = ? AND key = ? AND state = 'waiting' LIMIT 1"
    rows = select(connection, statement, (kind, key))
    return int(rows[0][0]) if rows else None


def next_due(connection: apsw.Connection, kinds: Sequence[str]) -> float | None:
    """When the next job of one of *kinds* has to be looked at; None when there is none."""
    found = [
        row[0]
        for kind in kinds
        for row in select(connection, "SELECT min(due_at) FROM job WHERE kind = ? AND state = 'waiting'", (kind,))
        if row[0] is not None
    ]
    return min(found, default=None)


def take(connection: apsw.Connection, kind: str, limit: int, *, at: float, until: float) -> list[Job]:
    """Lease at most *limit* jobs of *kind* that are due at *at*, the longest due first, until *until*."""
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM job WHERE kind = ? AND state = 'waiting' AND due_at <= ?"  # noqa: S608 -- our text
        " ORDER BY due_at, id LIMIT ?",
        (kind, at, limit),
    )
    connection.executemany(
        "UPDATE job SET state = 'running', attempt = attempt + 1, due_at = ?, changed_at = ?, done = 0, total = 0"
        " WHERE id = ?",
        [(until, at, row[0]) for row in rows],
    )
    return [_job((*row[:4], State.RUNNING, row[5] + 1, until, *row[7:])) for row in rows]


def progress(connection: apsw.Connection, number: int, done: int, total: int, *, until: float) -> None:
    """Keep how far a running job is, and renew its lease."""
    connection.execute(
        "UPDATE job SET done = ?, total = ?, due_at = ? WHERE id = ? AND state = 'running'",
        (done, total, until, number),
    )


def end(connection: apsw.Connection, number: int, state: State, *, at: float, problem: str = "") -> None:
    """A running job is over."""
    connection.execute(
        "UPDATE job SET state = ?, changed_at = ?, problem = ? WHERE id = ? AND state = 'running'",
        (state, at, problem[:MAX_PROBLEM], number),
    )


def again(
    connection: apsw.Connection, number: int, *, at: float, not_before: float, problem: str, counted: bool = True
) -> None:
    """A running job waits again; with *counted* false this attempt was not one (the archive stopped in it)."""
    connection.execute(
        "UPDATE job SET state = 'waiting', changed_at = ?, due_at = ?, problem = ?, attempt = attempt - ?"
        " WHERE id = ? AND state = 'running'",
        (at, not_before, problem[:MAX_PROBLEM], int(not counted), number),
    )


def reclaim(connection: apsw.Connection, *, at: float, running: Sequence[int] = ()) -> int:
    """
    Let jobs wait again whose worker is gone: all that run but for *running*; return how many.

    The attempt counts: a job that takes the whole process down with it must not do so for ever.
    """
    connection.execute(
        "UPDATE job SET state = 'waiting', due_at = ?, changed_at = ? WHERE state = 'running'"
        " AND id NOT IN (SELECT value FROM json_each(?))",
        (at, at, msgspec.json.encode(list(running)).decode()),
    )
    return connection.changes()


def cancel(connection: apsw.Connection, number: int, *, at: float) -> Job:
    """
    End a waiting job, and return it as it was; a running one is left to whoever runs it.

    Raises NotFound, and ConflictError when it is over.
    """
    job = _found(connection, number)
    if job.state in OVER:
        raise ConflictError(f"job {number} is over: {job.state.value}")
    if job.state is State.WAITING:
        connection.execute("UPDATE job SET state = 'cancelled', changed_at = ? WHERE id = ?", (at, number))
    return job


def retry(connection: apsw.Connection, number: int, *, at: float) -> Job:
    """
    Let a job that failed or was cancelled begin anew, or one that waits come at once; return it as it was.

    Raises NotFound, and ConflictError when it runs or is done.
    """
    job = _found(connection, number)
    if job.state in (State.RUNNING, State.DONE):
        raise ConflictError(f"job {number} is {job.state.value}")
    connection.execute(
        "UPDATE job SET state = 'waiting', attempt = 0, due_at = ?, changed_at = ?, problem = '' WHERE id = ?",
        (at, at, number),
    )
    return job


def find(connection: apsw.Connection, number: int) -> Job | None:
    """Return the job of that number, None when there is none (or it was forgotten)."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM job WHERE id = ?", (number,))  # noqa: S608 -- our text
    return _job(rows[0]) if rows else None


def every(
    connection: apsw.Connection, *, state: State | None = None, kind: str | None = None, limit: int = 1_000
) -> tuple[Job, ...]:
    """Return the newest jobs, at most *limit*, those that are not over first."""
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM job WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR kind = ?2)"  # noqa: S608 -- our text
        " ORDER BY state NOT IN ('running', 'waiting'), id DESC LIMIT ?3",
        (state, kind, limit),
    )
    return tuple(_job(row) for row in rows)


def counts(connection: apsw.Connection) -> dict[State, int]:
    """How many jobs there are in each state."""
    rows = select(connection, "SELECT state, count(*) FROM job GROUP BY state")
    return {State(state): number for state, number in rows}


def forget(connection: apsw.Connection, *, at: float) -> int:
    """Remove jobs that have been over for KEPT_DAYS, and the oldest beyond MAX_OVER; return how many."""
    over = "state IN ('done', 'failed', 'cancelled')"
    connection.execute(
        f"DELETE FROM job WHERE id IN (SELECT id FROM job WHERE {over} AND changed_at < ?"  # noqa: S608 -- our text
        " ORDER BY changed_at LIMIT ?)",
        (at - KEPT_DAYS * 86_400, FORGOTTEN_AT_MOST),
    )
    removed = connection.changes()
    connection.execute(
        f"DELETE FROM job WHERE id IN (SELECT id FROM job WHERE {over}"  # noqa: S608 -- our text
        " ORDER BY changed_at DESC, id DESC LIMIT ? OFFSET ?)",
        (FORGOTTEN_AT_MOST, MAX_OVER),
    )
    return removed + connection.changes()


def _found(connection: apsw.Connection, number: int) -> Job:
    job = find(connection, number)
    if job is None:
        raise NotFound(f"there is no job {number}")
    return job


def _job(row: tuple[Any, ...]) -> Job:
    number, kind, key, payload, state, *rest = row
    return Job(number, kind, key, _object(payload), State(state), *rest)
