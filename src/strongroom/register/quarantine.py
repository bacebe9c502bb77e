"""
Data sets that were refused but not thrown away (I4, SECURITY C30): not whole, or not what the request said; and files
that began as a program, as they came. They are sealed like everything else, and nothing here is ever searched or
served. A decision leaves its entry listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import apsw

from strongroom.ground.label import Label
from strongroom.register.kept import COLUMNS, KeptBlob, Stored, columns_of, kept_blob
from strongroom.register.rows import select

__all__ = ["Quarantined", "add", "count", "decide", "find", "get", "listed", "waiting"]

_ALL: Final = f"id, fault, decision, {COLUMNS}"


@final
@dataclass(frozen=True, slots=True)
class Quarantined:
    """One refused data set, with our code for why."""

    id: int
    fault: str
    decision: int | None
    kept: KeptBlob


def add(connection: apsw.Connection, label: Label, stored: Stored, fault: str) -> int:
    """List a blob; *fault* is a code of ours and holds nothing out of the data set. Return its number."""
    marks = ", ".join("?" * (COLUMNS.count(",") + 1))
    connection.execute(
        f"INSERT INTO quarantine (fault, {COLUMNS}) VALUES (?, {marks})",  # noqa: S608 -- our text
        (fault, *columns_of(label, stored)),
    )
    return connection.last_insert_rowid()


def find(connection: apsw.Connection, sop_instance_uid: str, digest: bytes, fault: str) -> Quarantined | None:
    """
    Return the entry of just these bytes and this fault: who sends the same again adds nothing.

    Two instances that were cut to the same few bytes stay two entries, with their UIDs.
    """
    rows = select(
        connection,
        f"SELECT {_ALL} FROM quarantine WHERE digest = ? AND fault = ? AND sop_instance_uid = ? LIMIT 1",  # noqa: S608 -- our text
        (digest, fault, sop_instance_uid),
    )
    return _quarantined(rows[0]) if rows else None


def get(connection: apsw.Connection, number: int) -> Quarantined | None:
    """Return the entry of that number."""
    rows = select(connection, f"SELECT {_ALL} FROM quarantine WHERE id = ?", (number,))  # noqa: S608 -- our text
    return _quarantined(rows[0]) if rows else None


def decide(connection: apsw.Connection, number: int, decision: int) -> None:
    """Note that *decision* was taken about the entry of that number."""
    connection.execute("UPDATE quarantine SET decision = ? WHERE id = ?", (decision, number))


def listed(connection: apsw.Connection, *, after: int = 0, limit: int = 1_000) -> tuple[Quarantined, ...]:
    """Return at most *limit* entries with a number above *after*, decided ones too, in their order."""
    return waiting(connection, decided=True, after=after, limit=limit)


def waiting(
    connection: apsw.Connection, *, decided: bool = False, after: int = 0, limit: int = 1_000
) -> tuple[Quarantined, ...]:
    """Return what nobody has decided about, or with *decided* everything."""
    rows = select(
        connection,
        f"SELECT {_ALL} FROM quarantine WHERE id > ? AND (decision IS NULL OR ?) ORDER BY id LIMIT ?",  # noqa: S608 -- our text
        (after, decided, limit),
    )
    return tuple(_quarantined(row) for row in rows)


def count(connection: apsw.Connection) -> int:
    """How many nobody has decided about."""
    return int(select(connection, "SELECT count(*) FROM quarantine WHERE decision IS NULL")[0][0])


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    return Quarantined(row[0], row[1], row[2], kept_blob(row[3:]))
