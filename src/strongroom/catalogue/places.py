"""Instances by where their blobs lie, and by when these were last opened: for check, scrub and repair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, final

import apsw

from strongroom.catalogue.instances import InstanceRow, find_instance
from strongroom.catalogue.rows import select

__all__ = ["Place", "due", "due_count", "in_pack", "uid_at"]


@final
class Place(NamedTuple):
    """Where a row says its blob lies, in a pack that is known."""

    table: str
    id: int
    blob_id: bytes
    offset: int
    length: int


def in_pack(reader: apsw.Connection, pack: int) -> Iterator[Place]:
    """Yield the instances of a pack in the order of their records."""
    for row in reader.execute(
        "SELECT id, blob_id, pack_offset, sealed_length FROM instance WHERE pack = ? ORDER BY pack_offset", (pack,)
    ):
        yield Place("instance", *row)


def uid_at(reader: apsw.Connection, pack: int, offset: int) -> InstanceRow | None:
    """Return the instance whose record stands there, None when there is none."""
    found = select(reader, "SELECT sop_instance_uid FROM instance WHERE pack = ? AND pack_offset = ?", (pack, offset))
    return find_instance(reader, found[0][0]) if found else None


def due(
    reader: apsw.Connection, *, before: float, after: tuple[float, int] | None, limit: int
) -> list[tuple[float, int, str]]:
    """
    Return (when, id, SOP Instance UID) of instances not opened since *before*, behind *after* in the order of that.

    *when* is -1 for those never opened, which come first, as soon as they were received before *before*.
    """
    when, number = (-1.0, 0) if after is None else after
    found: list[tuple[float, int, str]] = []
    if when < 0:
        found += [
            (-1.0, *row)
            for row in reader.execute(
                "SELECT id, sop_instance_uid FROM instance WHERE checked_at IS NULL AND id > ? AND received_at < ?"
                " ORDER BY id LIMIT ?",
                (number, before, limit),
            )
        ]
        when, number = -1.0, 0
    if len(found) < limit:
        found += select(
            reader,
            "SELECT checked_at, id, sop_instance_uid FROM instance WHERE (checked_at, id) > (?, ?) AND checked_at < ?"
            " ORDER BY checked_at, id LIMIT ?",
            (when, number, before, limit - len(found)),
        )
    return found


def due_count(reader: apsw.Connection, *, before: float) -> tuple[int, int]:
    """How many instances `due` would yield in all, and the sealed bytes of their blobs."""
    row = select(
        reader,
        "SELECT count(*), coalesce(sum(sealed_length), 0) FROM instance WHERE coalesce(checked_at, received_at) < ?",
        (before,),
    )[0]
    return int(row[0]), int(row[1])
