"""
What was erased for good: enough to refuse it when it is sent again and to erase it again when an older copy comes back.

The same stands in the sealed file (`ground.tombstone_file`); both are brought together at every start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import apsw

from strongroom.ground.tombstone_file import Tombstone
from strongroom.register.rows import Row, select

__all__ = ["Tombstone", "count", "every", "in_force", "key_ids", "of_study", "put", "release", "sent_again"]

_KEY_ID: Final = 16
_COLUMNS: Final = "tombstone_id, study_instance_uid, key_ids, instances, at, proof, released_at"


def put(connection: apsw.Connection, tombstone: Tombstone) -> None:
    """Keep *tombstone*; one that is known is taken as released when it is."""
    connection.execute(
        f"INSERT INTO tombstone ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- our text
        " ON CONFLICT (tombstone_id) DO UPDATE SET released_at = coalesce(released_at, excluded.released_at)",
        (
            tombstone.tombstone_id,
            tombstone.study_instance_uid,
            b"".join(tombstone.key_ids),
            tombstone.instances,
            tombstone.at,
            tombstone.proof,
            tombstone.released_at,
        ),
    )


def every(connection: apsw.Connection) -> Iterator[Tombstone]:
    """Yield all of them, the oldest first."""
    for row in select(connection, f"SELECT {_COLUMNS} FROM tombstone ORDER BY at, tombstone_id"):  # noqa: S608 -- our text
        yield _tombstone(row)


def of_study(connection: apsw.Connection, study_instance_uid: str) -> tuple[Tombstone, ...]:
    """Return those of one study that are in force."""
    rows = select(
        connection,
        f"SELECT {_COLUMNS} FROM tombstone WHERE study_instance_uid = ? AND released_at IS NULL",  # noqa: S608 -- our text
        (study_instance_uid,),
    )
    return tuple(_tombstone(row) for row in rows)


def in_force(connection: apsw.Connection) -> frozenset[str]:
    """The studies that are not taken again."""
    return frozenset(
        row[0]
        for row in select(connection, "SELECT DISTINCT study_instance_uid FROM tombstone WHERE released_at IS NULL")
    )


def key_ids(connection: apsw.Connection) -> frozenset[bytes]:
    """The ids of every key that was shredded; what lies under them opens for nobody."""
    joined = (row[0] for row in select(connection, "SELECT key_ids FROM tombstone"))
    return frozenset(one for ids in joined for one in _divided(ids))


def release(connection: apsw.Connection, study_instance_uid: str, *, at: float) -> tuple[Tombstone, ...]:
    """Let a study be sent again; return the tombstones that are released now, as they stand from here on."""
    released = tuple(
        Tombstone(one.tombstone_id, one.study_instance_uid, one.key_ids, one.instances, one.at, one.proof, at)
        for one in of_study(connection, study_instance_uid)
    )
    connection.execute(
        "UPDATE tombstone SET released_at = ? WHERE study_instance_uid = ? AND released_at IS NULL",
        (at, study_instance_uid),
    )
    return released


def sent_again(connection: apsw.Connection, study_instance_uid: str) -> bool:
    """Count that something of an erased study was sent; True the first time."""
    connection.execute(
        "UPDATE tombstone SET sent_again = sent_again + 1 WHERE study_instance_uid = ? AND released_at IS NULL",
        (study_instance_uid,),
    )
    found = select(
        connection,
        "SELECT min(sent_again) FROM tombstone WHERE study_instance_uid = ? AND released_at IS NULL",
        (study_instance_uid,),
    )
    return bool(found and found[0][0] == 1)


def count(connection: apsw.Connection) -> int:
    """How many studies were erased."""
    return int(select(connection, "SELECT count(*) FROM tombstone")[0][0])


def _tombstone(row: Row) -> Tombstone:
    tombstone_id, study, ids, instances, at, proof, released_at = row
    return Tombstone(bytes(tombstone_id), study, _divided(ids), instances, at, bytes(proof), released_at)


def _divided(ids: bytes) -> tuple[bytes, ...]:
    return tuple(bytes(ids[at : at + _KEY_ID]) for at in range(0, len(ids), _KEY_ID))
