"""
What is kept beside instances to answer for them without opening their blobs: where frames lie, and fragments of a
series merged. All of it is sealed, and can be made again from the packs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.catalogue.rows import select

__all__ = [
    "Merged",
    "Unmerged",
    "dissolve",
    "find_fragment",
    "find_frames",
    "find_merged",
    "home_of",
    "put_frames",
    "put_merged",
    "series_to_merge",
    "unmerged",
]

MAX_UNMERGED: Final = 1_024
"""Fragments taken at a time..."""
MAX_UNMERGED_BYTES: Final = 4 << 20
"""... and what comes after so many bytes of them waits for the next time."""

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


@final
@dataclass(frozen=True, slots=True)
class Unmerged:
    """A fragment that is not merged yet."""

    instance_id: int
    blob_id: bytes
    key_id: bytes
    sealed: bytes


def put_frames(connection: apsw.Connection, instance_id: int, sealed: bytes) -> None:
    """Keep the sealed frame index of an instance, in place of an older one; nothing when it is gone."""
    connection.execute(
        "INSERT INTO frame_index (instance, sealed) SELECT id, ? FROM instance WHERE id = ?"
        " ON CONFLICT (instance) DO UPDATE SET sealed = excluded.sealed",
        (sealed, instance_id),
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


def series_to_merge(reader: apsw.Connection) -> tuple[int, str] | None:
    """Return a series with fragments that are not merged yet, and its study's UID; None when there is none."""
    found = select(
        reader,
        "SELECT series.id, study.study_instance_uid FROM merge_due CROSS JOIN series ON series.id = merge_due.series"
        " CROSS JOIN study ON study.id = series.study ORDER BY merge_due.series LIMIT 1",
    )
    return (found[0][0], found[0][1]) if found else None


def unmerged(reader: apsw.Connection, series: int) -> list[Unmerged]:
    """Return fragments of a series that lie in the room of one merged blob: the first ones, a bounded number."""
    statement = (
        "SELECT instance.id, instance.blob_id, instance.key_id, fragment.sealed FROM instance"
        " CROSS JOIN fragment ON fragment.instance = instance.id WHERE instance.series = ? ORDER BY instance.id LIMIT ?"
    )
    found: list[Unmerged] = []
    length, stop = 0, None
    for row in reader.execute(statement, (series, MAX_UNMERGED)):
        one = Unmerged(*row)
        if not found:
            behind = select(
                reader, "SELECT min(first) FROM merged WHERE series = ? AND first > ?", (series, one.instance_id)
            )
            stop = behind[0][0]
        if length >= MAX_UNMERGED_BYTES or (stop is not None and one.instance_id > stop):
            break
        found.append(one)
        length += len(one.sealed)
    return found


def home_of(reader: apsw.Connection, series: int, instance_id: int) -> Merged | None:
    """Return the last merged blob of a series that begins in front of an instance, None when none does."""
    found = select(
        reader,
        f"SELECT {_MERGED} FROM merged WHERE series = ? AND first < ? ORDER BY first DESC LIMIT 1",  # noqa: S608 -- our text
        (series, instance_id),
    )
    return Merged(*found[0]) if found else None


def put_merged(
    connection: apsw.Connection,
    series: int,
    instances: Sequence[int],
    made: Sequence[Merged],
    *,
    in_place_of: Merged | None,
) -> bool:
    """
    Keep merged blobs in place of the fragments of *instances* and of an older blob; False, having changed nothing, when
    one of these is gone meanwhile.

    Without *instances* nothing is kept, and the series is no longer due unless there are fragments all the same.
    """
    if not instances:
        connection.execute(
            "DELETE FROM merge_due WHERE series = ? AND NOT EXISTS (SELECT 1 FROM instance CROSS JOIN fragment"
            " ON fragment.instance = instance.id WHERE instance.series = merge_due.series)",
            (series,),
        )
        return True
    marks = f"({', '.join('?' * len(instances))})"
    there = select(connection, f"SELECT count(*) FROM fragment WHERE instance IN {marks}", tuple(instances))  # noqa: S608 -- our text
    if there[0][0] != len(instances):
        return False
    if in_place_of is not None:
        connection.execute("DELETE FROM merged WHERE id = ?", (in_place_of.id,))
        if not connection.changes():
            return False
    connection.execute(f"DELETE FROM fragment WHERE instance IN {marks}", tuple(instances))  # noqa: S608 -- our text
    for one in made:
        connection.execute(
            "INSERT INTO merged (series, first, last, plain_length, merged_id, key_id, sealed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (series, one.first, one.last, one.plain_length, one.merged_id, one.key_id, one.sealed),
        )
    return True


def dissolve(connection: apsw.Connection, merged: Merged) -> None:
    """Let go of a merged blob: the metadata of its instances is to be made again."""
    connection.execute(
        "INSERT OR IGNORE INTO fragment_due (instance) SELECT id FROM instance"
        " WHERE series = (SELECT series FROM merged WHERE id = ?) AND id BETWEEN ? AND ?"
        " AND NOT EXISTS (SELECT 1 FROM fragment WHERE fragment.instance = instance.id)",
        (merged.id, merged.first, merged.last),
    )
    connection.execute("DELETE FROM merged WHERE id = ?", (merged.id,))
