"""
Where each chain of the trail ends: the one thing a chain cannot know about itself (DESIGN section 6, Trail truncation).

The head is saved in the transaction of the group whose records lead to it, with the instances of that group, so that
start-up can tell which rows have no record after a crash (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import apsw
import msgspec

from strongroom.errors import IntegrityError
from strongroom.ground.chain import Head
from strongroom.register.rows import select

__all__ = ["SavedHead", "every", "find", "save"]

_decode = msgspec.json.Decoder(tuple[int, ...]).decode


@final
@dataclass(frozen=True, slots=True)
class SavedHead:
    """The head of a chain as it was committed, and the catalogue ids of the instances its last group added."""

    head: Head
    instance_ids: tuple[int, ...]


def save(connection: apsw.Connection, head: Head, instance_ids: Sequence[int] = ()) -> None:
    """
    Remember *head* for its chain; called once for each group.

    Raises IntegrityError when it is not newer than what is remembered: the trail would have lost records.
    """
    connection.execute(
        "INSERT INTO trail_head (chain, sequence, hash, instances) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash,"
        " instances = excluded.instances WHERE excluded.sequence > trail_head.sequence",
        (head.chain, head.sequence, head.hash, msgspec.json.encode(list(instance_ids)).decode()),
    )
    if not connection.changes():
        raise IntegrityError(f"the trail's chain {head.chain} would go back to record {head.sequence}")


def find(connection: apsw.Connection, chain: str) -> SavedHead | None:
    """Return what is remembered of *chain*, None before its first record."""
    return next((saved for saved in every(connection) if saved.head.chain == chain), None)


def every(connection: apsw.Connection) -> tuple[SavedHead, ...]:
    """Return the heads of all chains, in the order of their names."""
    rows = select(connection, "SELECT chain, sequence, hash, instances FROM trail_head ORDER BY chain")
    return tuple(SavedHead(Head(row[0], row[1], row[2]), _decode(row[3])) for row in rows)
