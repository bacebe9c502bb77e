"""
Storage commitment transactions (PS3.4 annex J): what a device asked us to answer for, and what we asked a device.

A row stays KEPT_DAYS after it is over, so that the same request sent again is known. Of one the device asked for, the
list is dropped then; of one of ours it is kept, for the person who asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, final

import apsw
import msgspec

from strongroom.errors import ConflictError, OutOfResources
from strongroom.register.rows import Row, select

__all__ = ["Commitment", "State", "every", "find", "named", "open_", "over", "set_reasons"]

MAX_OPEN: Final = 256
"""Transactions of one device that are not examined yet, and as many of which it was not told: it asks once a study."""
KEPT_DAYS: Final = 30
"""How long a transaction that is over is known."""
_COLUMNS: Final = (
    "id, device, ours, transaction_uid, digest, asked, reasons, state, items, failed, asked_at, changed_at"
)
_pairs = msgspec.json.Decoder(list[tuple[str, str]]).decode
_numbers = msgspec.json.Decoder(list[int]).decode


@final
class State(StrEnum):
    """Where a transaction stands."""

    OPEN = "open"
    """Asked, and the result is not known."""
    KNOWN = "known"
    """The result is known, and the device has not been told."""
    OVER = "over"


@final
@dataclass(frozen=True, slots=True)
class Commitment:
    """One transaction."""

    id: int
    device: str
    ours: bool
    transaction_uid: str
    digest: bytes
    asked: tuple[tuple[str, str], ...]
    """(SOP class, SOP instance) of each."""
    reasons: tuple[int, ...]
    """Failure Reason of each in the same order, 0 for what is kept (PS3.3 C.14.1.1)."""
    state: State
    items: int
    failed: int
    asked_at: float
    changed_at: float


def open_(
    connection: apsw.Connection,
    device: str,
    transaction_uid: str,
    asked: Sequence[tuple[str, str]],
    *,
    ours: bool,
    at: float,
) -> int | None:
    """
    Begin a transaction and return its number; None when this very request is open already.

    One that is over begins anew when the same is asked again. Raises ConflictError when its UID stands for another
    list, OutOfResources when the device has too many open.
    """
    text = msgspec.json.encode(list(asked))
    digest = hashlib.sha256(text).digest()
    known = named(connection, device, transaction_uid, ours=ours)
    if known is not None and known.digest != digest:
        raise ConflictError("this Transaction UID stands for another request")
    if known is not None and known.state is not State.OVER:
        return None
    waiting = [number for number, state in _not_over(connection, device, ours=ours) if state == State.OPEN]
    if len(waiting) >= MAX_OPEN:
        raise OutOfResources(f"{MAX_OPEN} storage commitments of this device are open")
    _forget(connection, device, at)
    if known is not None:
        connection.execute("DELETE FROM commitment WHERE id = ?", (known.id,))
    connection.execute(
        "INSERT INTO commitment (device, ours, transaction_uid, digest, asked, reasons, state, items, failed, asked_at,"
        " changed_at) VALUES (?, ?, ?, ?, ?, '[]', 'open', ?, 0, ?, ?)",
        (device, int(ours), transaction_uid, digest, text.decode(), len(asked), at, at),
    )
    return connection.last_insert_rowid()


def set_reasons(
    connection: apsw.Connection, number: int, reasons: Sequence[int], *, at: float, state: State = State.KNOWN
) -> None:
    """The result of an open transaction is known."""
    connection.execute(
        "UPDATE commitment SET reasons = ?, failed = ?, state = ?, changed_at = ? WHERE id = ? AND state = 'open'",
        (msgspec.json.encode(list(reasons)).decode(), sum(map(bool, reasons)), state, at, number),
    )


def over(connection: apsw.Connection, number: int, *, at: float) -> None:
    """The device that asked was told."""
    connection.execute(
        "UPDATE commitment SET state = 'over', asked = '[]', reasons = '[]', changed_at = ? WHERE id = ?", (at, number)
    )


def find(connection: apsw.Connection, number: int) -> Commitment | None:
    """Return the transaction of that number, None when there is none."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM commitment WHERE id = ?", (number,))  # noqa: S608 -- our text
    return _commitment(rows[0]) if rows else None


def named(connection: apsw.Connection, device: str, transaction_uid: str, *, ours: bool) -> Commitment | None:
    """Return the transaction of that UID with *device*, None when there is none."""
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM commitment WHERE device = ? AND ours = ? AND transaction_uid = ?",  # noqa: S608 -- our text
        (device, int(ours), transaction_uid),
    )
    return _commitment(rows[0]) if rows else None


def every(connection: apsw.Connection, *, limit: int) -> list[Commitment]:
    """Return the newest transactions, without their lists."""
    columns = _COLUMNS.replace("asked, reasons", "'[]', '[]'")
    rows = select(connection, f"SELECT {columns} FROM commitment ORDER BY id DESC LIMIT ?", (limit,))  # noqa: S608 -- our text
    return [_commitment(row) for row in rows]


def _not_over(connection: apsw.Connection, device: str, *, ours: bool) -> list[tuple[int, str]]:
    rows = select(
        connection,
        "SELECT id, state FROM commitment WHERE device = ? AND ours = ? AND state <> 'over' ORDER BY id",
        (device, int(ours)),
    )
    return [(number, state) for number, state in rows]


def _forget(connection: apsw.Connection, device: str, at: float) -> None:
    """Drop what has been over for long, and give up telling the oldest of too many results nobody took."""
    connection.execute("DELETE FROM commitment WHERE state = 'over' AND changed_at < ?", (at - KEPT_DAYS * 86_400,))
    untold = [number for number, state in _not_over(connection, device, ours=False) if state == State.KNOWN]
    for number in untold[: max(0, len(untold) - MAX_OPEN)]:
        over(connection, number, at=at)


def _commitment(row: Row) -> Commitment:
    number, device, ours, transaction_uid, digest, asked, reasons, state, *rest = row
    return Commitment(
        number,
        device,
        bool(ours),
        transaction_uid,
        digest,
        tuple(_pairs(asked)),
        tuple(_numbers(reasons)),
        State(state),
        *rest,
    )
