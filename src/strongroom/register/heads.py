"""
Where each chain of the trail ends, and the records that wait to be flushed into it (DESIGN section 6, Trail
truncation).

A group's records are durable with the group's own transaction: they stand in the outbox here until the chain's file
has been flushed behind them (docs/decisions/0003). So a crash loses no record, and one that is cut off the chain's end
is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import apsw

from strongroom.errors import IntegrityError
from strongroom.ground.chain import Head
from strongroom.register.rows import select

__all__ = ["SavedHead", "every", "find", "outbox", "save"]


@final
@dataclass(frozen=True, slots=True)
class SavedHead:
    """
    A chain as the register knows it: *head* before the newest group, *flushed* for certain in the chain's own file.
    """

    head: Head
    flushed: Head


def save(
    connection: apsw.Connection, head: Head, flushed: Head, payloads: Sequence[bytes] = (), *, tidy: bool = True
) -> None:
    """
    Remember where the chain ends and put *payloads*, the records that come next, into its outbox.

    Called once for each group, before its records are appended. What *flushed* covers leaves the outbox, unless the
    caller knows that it has left already (not *tidy*). Raises IntegrityError when the chain would go back.
    """
    connection.execute(
        "INSERT INTO trail_head (chain, sequence, hash, flushed_sequence, flushed_hash) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash,"
        " flushed_sequence = excluded.flushed_sequence, flushed_hash = excluded.flushed_hash"
        " WHERE excluded.sequence >= trail_head.sequence AND excluded.flushed_sequence >= trail_head.flushed_sequence",
        (head.chain, head.sequence, head.hash, flushed.sequence, flushed.hash),
    )
    if not connection.changes():
        raise IntegrityError(f"the trail's chain {head.chain} would go back to record {head.sequence}")
    if tidy:
        connection.execute("DELETE FROM trail_outbox WHERE chain = ? AND sequence <= ?", (head.chain, flushed.sequence))
    for number, payload in enumerate(payloads, head.sequence + 1):
        connection.execute(
            "INSERT INTO trail_outbox (chain, sequence, payload) VALUES (?, ?, ?)", (head.chain, number, payload)
        )


def find(connection: apsw.Connection, chain: str) -> SavedHead | None:
    """Return what is remembered of *chain*, None before its first record."""
    return next((saved for saved in every(connection) if saved.head.chain == chain), None)


def every(connection: apsw.Connection) -> tuple[SavedHead, ...]:
    """Return all chains, in the order of their names."""
    rows = select(
        connection, "SELECT chain, sequence, hash, flushed_sequence, flushed_hash FROM trail_head ORDER BY chain"
    )
    return tuple(SavedHead(Head(row[0], row[1], row[2]), Head(row[0], row[3], row[4])) for row in rows)


def outbox(connection: apsw.Connection, chain: str, *, after: int) -> tuple[bytes, ...]:
    """
    Return the records of *chain* behind number *after*, in their order.

    Raises IntegrityError when the first of them is missing: the chain has lost more than a crash can take.
    """
    rows = select(
        connection,
        "SELECT sequence, payload FROM trail_outbox WHERE chain = ? AND sequence > ? ORDER BY sequence",
        (chain, after),
    )
    for expected, (sequence, _) in enumerate(rows, after + 1):
        if sequence != expected:
            raise IntegrityError(
                f"record {expected} of the trail's chain {chain} is neither in the chain nor in the outbox"
            )
    return tuple(payload for _, payload in rows)
