"""
What is kept beside instances to answer for them without opening their blobs: where frames lie, and fragments of a
series merged. All of it is sealed, and can be made again from the packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.catalogue.rows import select

__all__ = ["Merged", "find_fragment", "find_frames", "find_merged", "put_frames"]

_MERGED: Final = "id, first, last, plain_length, merged_id, key_id, sealed"


@final
@dataclass(frozen=True, slots=True)
class Merged:
    """The fragments of some neighbouring instances of one series, sealed as one."""

    id: int
    first: int
    last: int
    """The instances at both ends; those between that have a fragment of their own are not in it."""
    plain_length: int
    """Bytes of the fragments in it."""
    merged_id: bytes
    key_id: bytes
    sealed: bytes


def put_frames(connection: apsw.Connection, instance_id: int, sealed: bytes) -> None:
    """Keep the sealed frame index of an instance, in place of an older one."""
    connection.execute(
        "INSERT INTO frame_index (instance, sealed) VALUES (?, ?)"
        " ON CONFLICT (instance) DO UPDATE SET sealed = excluded.sealed",
        (instance_id, sealed),
    )


def find_frames(reader: apsw.Connection, instance_id: int) -> bytes | None:
    """Return the sealed frame index of an instance, None when none is kept."""
    found = select(reader, "SELECT sealed FROM frame_index WHERE instance = ?", (instance_id,))
    return found[0][0] if found else None


def find_fragment(reader: apsw.Connection, instance_id: int) -> bytes | None:
    """Return the sealed fragment of an instance, None when it is merged or still to be made."""
    found = select(reader, "SELECT sealed FROM fragment WHERE instance = ?", (instance_id,))
    return found[0][0] if found else None


def find_merged(reader: apsw.Connection, instance_id: int) -> Merged | None:
    """Return the merged fragments in whose range an instance lies; it need not be among them."""
    found = select(
        reader,
        f"SELECT {_MERGED} FROM merged WHERE series = (SELECT series FROM instance WHERE id = ?)"  # noqa: S608 -- our text
        " AND first <= ? ORDER BY first DESC LIMIT 1",
        (instance_id, instance_id),
    )
    return Merged(*found[0]) if found and found[0][2] >= instance_id else None
