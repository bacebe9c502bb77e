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

__all__ = ["SavedHead", "every", "find", "go_back", "save"]

_decode = msgspec.json.Decoder(tuple[int, ...]).decode


@final
@dataclass(frozen=True, slots=True)
class SavedHead:
    """The head of a chain as it was committed, and the catalogue ids of the instances its last group added."""

    head: Head
    instance_ids: tuple[int, ...]
    before: Head | None = None
    """The head before this one: durable for certain, whatever a crash left of this one."""


def save(connection: apsw.Connection, head: Head, instance_ids: Sequence[int] = ()) -> None:
    """
    Remember *head* for its chain; called once for each group.

    Raises IntegrityError when it is not newer than what is remembered: the trail would have lost records.
    """
    connection.execute(
        "INSERT INTO trail_head (chain, sequence, hash, instances) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (chain) DO UPDATE SET before_sequence = trail_head.sequence, before_hash = trail_head.hash,"
        " sequence = excluded.sequence, hash = excluded.hash,"
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
    rows = select(
        connection,
        "SELECT chain, sequence, hash, instances, before_sequence, before_hash FROM trail_head ORDER BY chain",
    )
    return tuple(
        SavedHead(
            Head(row[0], row[1], row[2]), _decode(row[3]), None if row[4] is None else Head(row[0], row[4], row[5])
        )
        for row in rows
    )


def go_back(connection: apsw.Connection, head: Head) -> None:
    """
    Remember *head* although it is older: for start-up alone, after a crash lost the records of the last group.

    Raises IntegrityError when it is older than what was durable for certain: no crash does that.
    """
    saved = find(connection, head.chain)
    if saved is not None and saved.before is not None and head.sequence < saved.before.sequence:
        raise IntegrityError(
            f"the trail's chain {head.chain} ends with record {head.sequence}, {saved.before.sequence} was durable"
        )
    connection.execute(
        "UPDATE trail_head SET sequence = ?, hash = ?, before_sequence = NULL, before_hash = NULL, instances = '[]'"
        " WHERE chain = ?",
        (head.sequence, head.hash, head.chain),
    )
