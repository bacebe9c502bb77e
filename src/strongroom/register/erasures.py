"""
Requests to erase studies for good, and how far each has come: requested, confirmed (or cancelled), rows removed, keys
shredded, done. Each step is durable before the next begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.register.rows import Row, select

__all__ = ["Erasure", "add", "bury", "every", "find", "of_study", "set_state", "unfinished"]

_COLUMNS: Final = "id, at, actor, reason, state, decided_at, decided_by, ended_at"


@final
@dataclass(frozen=True, slots=True)
class Erasure:
    """One request; *tombstone_ids* once the rows of its studies are gone."""

    id: int
    at: float
    actor: str
    reason: str
    state: str
    decided_at: float | None
    decided_by: str | None
    ended_at: float | None
    study_instance_uids: tuple[str, ...]
    tombstone_ids: tuple[bytes, ...]


def add(connection: apsw.Connection, study_instance_uids: Sequence[str], *, at: float, actor: str, reason: str) -> int:
    """Write a request down; return its number."""
    connection.execute(
        "INSERT INTO erasure (at, actor, reason, state) VALUES (?, ?, ?, 'requested')", (at, actor, reason)
    )
    number = connection.last_insert_rowid()
    connection.executemany(
        "INSERT OR IGNORE INTO erasure_study (erasure, study_instance_uid) VALUES (?, ?)",
        [(number, uid) for uid in study_instance_uids],
    )
    return number


def find(connection: apsw.Connection, number: int) -> Erasure | None:
    """Return the request of that number."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM erasure WHERE id = ?", (number,))  # noqa: S608 -- our text
    return _erasure(connection, rows[0]) if rows else None


def of_study(connection: apsw.Connection, study_instance_uid: str) -> int | None:
    """The number of the request that waits for this study, None when there is none."""
    rows = select(
        connection,
        "SELECT erasure.id FROM erasure_study CROSS JOIN erasure ON erasure.id = erasure_study.erasure"
        " WHERE study_instance_uid = ? AND state = 'requested' LIMIT 1",
        (study_instance_uid,),
    )
    return int(rows[0][0]) if rows else None


def set_state(
    connection: apsw.Connection, number: int, state: str, *, at: float, decided_by: str | None = None
) -> None:
    """Write down that a step is done, and who decided when somebody did."""
    if decided_by is not None:
        connection.execute("UPDATE erasure SET decided_at = ?, decided_by = ? WHERE id = ?", (at, decided_by, number))
    if state in ("done", "cancelled"):
        connection.execute("UPDATE erasure SET ended_at = ? WHERE id = ?", (at, number))
    connection.execute("UPDATE erasure SET state = ? WHERE id = ?", (state, number))


def bury(connection: apsw.Connection, number: int, study_instance_uid: str, tombstone_id: bytes) -> None:
    """Say which tombstone stands for a study of the request."""
    connection.execute(
        "UPDATE erasure_study SET tombstone_id = ? WHERE erasure = ? AND study_instance_uid = ?",
        (tombstone_id, number, study_instance_uid),
    )


def unfinished(connection: apsw.Connection) -> tuple[int, ...]:
    """The numbers of those that were confirmed and are not done."""
    rows = select(connection, "SELECT id FROM erasure WHERE state IN ('confirmed', 'removed', 'shredded') ORDER BY id")
    return tuple(row[0] for row in rows)


def every(connection: apsw.Connection, *, limit: int = 1_000) -> tuple[Erasure, ...]:
    """Return the requests, the newest first, at most *limit* of them."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM erasure ORDER BY id DESC LIMIT ?", (limit,))  # noqa: S608 -- our text
    return tuple(_erasure(connection, row) for row in rows)


def _erasure(connection: apsw.Connection, row: Row) -> Erasure:
    studies = select(
        connection,
        "SELECT study_instance_uid, tombstone_id FROM erasure_study WHERE erasure = ? ORDER BY study_instance_uid",
        (row[0],),
    )
    uids = tuple(one[0] for one in studies)
    fields: Row = (*row, uids, tuple(bytes(one[1]) for one in studies if one[1] is not None))
    return Erasure(*fields)
