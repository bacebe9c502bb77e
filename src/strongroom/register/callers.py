"""
Seen, refused: who knocked and was not let in, so that a forgotten device is enrolled with one command.

What a stranger sends must not fill the disk or push others out: texts are cut and cleaned, the table is bounded, and
so is what one address can have in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.register.rows import select

__all__ = ["RefusedCaller", "forget", "note", "refused"]

MAX_CALLERS: Final = 1_000
"""Rows kept; the one that knocked longest ago goes first."""
MAX_OF_ADDRESS: Final = 16
"""Different AE titles and doors of one address; further ones are counted in a row without an AE title."""
_LONGEST: Final = 64


@final
@dataclass(frozen=True, slots=True)
class RefusedCaller:
    """One caller: address, what it called itself, how often and why it was refused last. Nothing in here is proved."""

    address: str
    ae_title: str
    door: str
    reason: str
    fingerprint: str
    count: int
    first_at: float
    last_at: float


def note(
    connection: apsw.Connection,
    *,
    address: str,
    ae_title: str,
    door: str,
    reason: str,
    at: float,
    fingerprint: str = "",
    times: int = 1,
) -> None:
    """Count a refusal that happened *times* times; *address* is without the port."""
    place = (_clean(address), _clean(ae_title), _clean(door))
    if not _known(connection, place):
        of_address = select(connection, "SELECT count(*) FROM refused_caller WHERE address = ?", place[:1])
        if of_address[0][0] >= MAX_OF_ADDRESS:
            place = (place[0], "", "")
    connection.execute(
        "INSERT INTO refused_caller (address, ae_title, door, reason, fingerprint, count, first_at, last_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at,"
        " reason = excluded.reason, fingerprint = excluded.fingerprint",
        (*place, _clean(reason), _clean(fingerprint), times, at, at),
    )
    connection.execute(
        "DELETE FROM refused_caller WHERE (address, ae_title, door) IN ("
        "SELECT address, ae_title, door FROM refused_caller ORDER BY last_at"
        " LIMIT max(0, (SELECT count(*) FROM refused_caller) - ?))",
        (MAX_CALLERS,),
    )


def refused(connection: apsw.Connection, *, limit: int = 100) -> tuple[RefusedCaller, ...]:
    """Return the callers refused last, the newest first."""
    rows = select(
        connection,
        "SELECT address, ae_title, door, reason, fingerprint, count, first_at, last_at FROM refused_caller"
        " ORDER BY last_at DESC, address, ae_title, door LIMIT ?",
        (limit,),
    )
    return tuple(RefusedCaller(*row) for row in rows)


def forget(connection: apsw.Connection, *, ae_title: str) -> int:
    """Drop the entries of an AE title that has been enrolled; return how many."""
    connection.execute("DELETE FROM refused_caller WHERE ae_title = ?", (_clean(ae_title),))
    return connection.changes()


def _known(connection: apsw.Connection, place: tuple[str, str, str]) -> bool:
    return bool(
        select(connection, "SELECT 1 FROM refused_caller WHERE address = ? AND ae_title = ? AND door = ?", place)
    )


def _clean(text: str) -> str:
    """Printable and short: it will stand on a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:_LONGEST])
