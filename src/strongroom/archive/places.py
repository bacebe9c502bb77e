"""
Which rows name a blob's place: in the catalogue, and in every table of the register that keeps blobs aside.

They are found by their columns, so that a table which is added later is moved and erased like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from strongroom.catalogue.rows import select
from strongroom.vault.blob import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

__all__ = ["Named", "find", "kept_of_study", "move", "of_study", "remove_kept"]

_INSTANCE = "instance"
_COLUMNS = ("blob_id", "sop_instance_uid", "pack", "pack_offset", "sealed_length", "plain_length")


@final
@dataclass(frozen=True, slots=True)
class Named:
    """A blob that a row outside the catalogue names."""

    sop_instance_uid: str
    digest: bytes
    pack: int


def _tables(connection: apsw.Connection, *also: str) -> list[str]:
    """Tables that have the columns of a place, and *also* those."""
    wanted = (*_COLUMNS, *also)
    marks = ", ".join("?" * len(wanted))
    return [
        str(row[0])
        for row in select(
            connection,
            "SELECT name FROM sqlite_schema AS one WHERE type = 'table' AND (SELECT count(*)"  # noqa: S608 -- our text
            f" FROM pragma_table_info(one.name) WHERE name IN ({marks})) = ? ORDER BY name",
            (*wanted, len(wanted)),
        )
    ]


def find(connection: apsw.Connection, blob_id: bytes, sop_instance_uid: str) -> Location | None:
    """Where a blob lies by the rows there are, None when no row names it."""
    for table in _tables(connection):
        rows = select(
            connection,
            f"SELECT pack, pack_offset, sealed_length, plain_length FROM {table}"  # noqa: S608 -- a table of ours
            " WHERE blob_id = ? AND sop_instance_uid = ?",
            (blob_id, sop_instance_uid),
        )
        if rows:
            return Location(*rows[0])
    return None


def move(connection: apsw.Connection, blob_id: bytes, sop_instance_uid: str, old: Location, new: Location) -> int:
    """Let every row that names a blob at *old* name it at *new*; return how many there were."""
    moved = 0
    for table in _tables(connection):
        connection.execute(
            f"UPDATE {table} SET pack = ?, pack_offset = ?"  # noqa: S608 -- a table of ours
            " WHERE blob_id = ? AND sop_instance_uid = ? AND pack = ? AND pack_offset = ?",
            (new.pack, new.offset, blob_id, sop_instance_uid, old.pack, old.offset),
        )
        moved += connection.changes()
    return moved


def of_pack(connection: apsw.Connection, pack: int) -> int:
    """How many rows name a place in a pack; a scan, for a pack that cannot be read whole."""
    return sum(
        select(connection, f"SELECT count(*) FROM {table} WHERE pack = ?", (pack,))[0][0]  # noqa: S608 -- ours
        for table in _tables(connection)
    )


def kept_of_study(connection: apsw.Connection, study_instance_uid: str, key_ids: Sequence[bytes]) -> list[Named]:
    """What is kept of a study outside the catalogue under one of these keys."""
    marks = ", ".join("?" * len(key_ids))
    return [
        Named(*row)
        for table in _kept(connection)
        for row in select(
            connection,
            f"SELECT sop_instance_uid, digest, pack FROM {table}"  # noqa: S608 -- a table of ours
            f" WHERE study_instance_uid = ? AND key_id IN ({marks})",
            (study_instance_uid, *key_ids),
        )
    ]


def remove_kept(connection: apsw.Connection, study_instance_uid: str, key_ids: Sequence[bytes]) -> None:
    """Remove those rows, and acts of deleting of which nothing is left."""
    marks = ", ".join("?" * len(key_ids))
    for table in _kept(connection):
        connection.execute(
            f"DELETE FROM {table} WHERE study_instance_uid = ? AND key_id IN ({marks})",  # noqa: S608 -- ours
            (study_instance_uid, *key_ids),
        )
    connection.execute(
        "DELETE FROM deletion WHERE NOT EXISTS (SELECT 1 FROM deleted_instance WHERE deletion = deletion.id)"
    )


def of_study(connection: apsw.Connection, study_instance_uid: str) -> bool:
    """Whether anything of a study is there, in the catalogue or kept aside."""
    if select(connection, "SELECT 1 FROM study WHERE study_instance_uid = ?", (study_instance_uid,)):
        return True
    return any(
        select(connection, f"SELECT 1 FROM {table} WHERE study_instance_uid = ? LIMIT 1", (study_instance_uid,))  # noqa: S608 -- ours
        for table in _kept(connection)
    )


def _kept(connection: apsw.Connection) -> list[str]:
    return [one for one in _tables(connection, "study_instance_uid", "key_id", "digest") if one != _INSTANCE]
