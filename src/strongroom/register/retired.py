"""
Packs that were compacted away, and those that wait for it. A retired number is never used again: whoever holds an old
place finds nothing there, never something else.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from strongroom.register.rows import select

__all__ = ["due", "numbers", "put_due", "retire"]


def numbers(connection: apsw.Connection) -> frozenset[int]:
    """The numbers of packs that are not missing but gone on purpose."""
    return frozenset(row[0] for row in select(connection, "SELECT number FROM retired_pack"))


def retire(connection: apsw.Connection, number: int, *, at: float, reason: str) -> None:
    """Say that a pack is gone on purpose, in the transaction that took the last place out of it."""
    connection.execute("INSERT OR IGNORE INTO retired_pack (number, at, reason) VALUES (?, ?, ?)", (number, at, reason))
    connection.execute("DELETE FROM compaction_due WHERE pack = ?", (number,))


def put_due(connection: apsw.Connection, packs: Iterable[int], *, at: float) -> None:
    """Say that packs hold bytes that were erased."""
    connection.executemany(
        "INSERT OR IGNORE INTO compaction_due (pack, at) VALUES (?, ?)", [(one, at) for one in packs]
    )


def due(connection: apsw.Connection) -> tuple[int, ...]:
    """The packs that wait, in their order."""
    return tuple(row[0] for row in select(connection, "SELECT pack FROM compaction_due ORDER BY pack"))
