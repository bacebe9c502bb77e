"""
Data sets that were refused but not thrown away (I4, SECURITY C30): not whole, or not what the request said. They are
sealed like everything else, and nothing here is ever searched or served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import apsw

from strongroom.ground.label import Label
from strongroom.register.kept import COLUMNS, KeptBlob, Stored, columns_of, kept_blob
from strongroom.register.rows import select

__all__ = ["Quarantined", "add", "count", "listed"]


@final
@dataclass(frozen=True, slots=True)
class Quarantined:
    """One refused data set, with our code for why."""

    id: int
    fault: str
    kept: KeptBlob


def add(connection: apsw.Connection, label: Label, stored: Stored, fault: str) -> int:
    """List a blob; *fault* is a code of ours and holds nothing out of the data set. Return its number."""
    marks = ", ".join("?" * (COLUMNS.count(",") + 1))
    connection.execute(
        f"INSERT INTO quarantine (fault, {COLUMNS}) VALUES (?, {marks})",  # noqa: S608 -- our text
        (fault, *columns_of(label, stored)),
    )
    return connection.last_insert_rowid()


def listed(connection: apsw.Connection, *, after: int = 0, limit: int = 1_000) -> tuple[Quarantined, ...]:
    """Return at most *limit* entries with a number above *after*, in their order."""
    rows = select(
        connection,
        f"SELECT id, fault, {COLUMNS} FROM quarantine WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 -- our text
        (after, limit),
    )
    return tuple(Quarantined(row[0], row[1], kept_blob(row[2:])) for row in rows)


def count(connection: apsw.Connection) -> int:
    """How many there are."""
    return int(select(connection, "SELECT count(*) FROM quarantine")[0][0])
