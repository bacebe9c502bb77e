"""Looking instances up by what is not a DICOM attribute: their row ids, their blob ids."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from strongroom.catalogue.instances import _COLUMNS, _FROM_INSTANCE, InstanceRow, _row

__all__ = ["has_blob", "with_ids"]


def has_blob(reader: apsw.Connection, blob_id: bytes) -> bool:
    """Whether a row names the blob; one scan of the instances, for the few records `check` finds no row for."""
    return bool(reader.execute("SELECT 1 FROM instance WHERE blob_id = ? LIMIT 1", (blob_id,)).fetchall())


def with_ids(reader: apsw.Connection, instance_ids: Sequence[int]) -> list[InstanceRow]:
    """The rows with these ids, those that are there."""
    wanted = "instance.id IN (SELECT value FROM json_each(?))"
    statement = f"SELECT {_COLUMNS} FROM {_FROM_INSTANCE} WHERE {wanted} ORDER BY instance.id"  # noqa: S608 -- our text
    ids = msgspec.json.encode(list(instance_ids)).decode()
    return [_row(row) for row in reader.execute(statement, (ids,))]
