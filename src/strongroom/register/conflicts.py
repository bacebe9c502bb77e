"""
Instances that arrived under a SOP Instance UID which is taken by another content (I3): the first stays in the
catalogue, the later ones are listed here until somebody decides. Nothing is ever replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import apsw

from strongroom.ground.label import Label
from strongroom.register.kept import COLUMNS, KeptBlob, Stored, columns_of, kept_blob
from strongroom.register.rows import select

__all__ = ["Conflict", "add", "count", "find", "listed"]


@final
@dataclass(frozen=True, slots=True)
class Conflict:
    """One instance kept aside."""

    id: int
    kept: KeptBlob


def add(connection: apsw.Connection, label: Label, stored: Stored) -> int:
    """List a blob as a conflict; return its number."""
    marks = ", ".join("?" * (COLUMNS.count(",") + 1))
    connection.execute(
        f"INSERT INTO conflict ({COLUMNS}) VALUES ({marks})",  # noqa: S608 -- our text
        columns_of(label, stored),
    )
    return connection.last_insert_rowid()


def find(connection: apsw.Connection, sop_instance_uid: str, digest: bytes) -> Conflict | None:
    """Return the conflict that holds just this content already: a sender that tries again adds nothing."""
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM conflict WHERE sop_instance_uid = ? AND digest = ? LIMIT 1",  # noqa: S608 -- our text
        (sop_instance_uid, digest),
    )
    return Conflict(rows[0][0], kept_blob(rows[0][1:])) if rows else None


def listed(connection: apsw.Connection, *, after: int = 0, limit: int = 1_000) -> tuple[Conflict, ...]:
    """Return at most *limit* conflicts with a number above *after*, in their order."""
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM conflict WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 -- our text
        (after, limit),
    )
    return tuple(Conflict(row[0], kept_blob(row[1:])) for row in rows)


def count(connection: apsw.Connection) -> int:
    """How many there are."""
    return int(select(connection, "SELECT count(*) FROM conflict")[0][0])
