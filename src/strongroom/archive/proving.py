"""
Opening blobs one after the other, those first that were opened longest ago: for `check --read` and the scrub.

Instances and what is kept aside take turns by that order. What is whole is remembered with its time, in the database,
a batch at a time, so a run that is cut off goes on where it was the next time.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.archive.acts import Change
from strongroom.archive.blobs import Blob, of_kept, of_row, prove
from strongroom.archive.findings import Finding, Kind
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue import places
from strongroom.errors import IntegrityError, NotFound
from strongroom.register import places as kept
from strongroom.vault.check import check_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.archive.core import Core, Parts

BATCH: Final = 64
"""Blobs looked for at a time; what was found whole is remembered after each such batch."""
_Next = tuple[float, int, str, Any]


@final
class Proving:
    """One pass over whatever was not opened since *before* (seconds since 1970 UTC)."""

    def __init__(self, parts: Parts, *, before: float) -> None:
        self._parts = parts
        self._before = before

    def blobs(self) -> Iterator[Blob]:
        """Yield them in their order, for a worker thread; rows are looked for a batch at a time."""
        streams = [self._of(table) for table in ("instance", *kept.TABLES)]
        for _, number, table, given in heapq.merge(*streams, key=lambda one: one[:2]):
            if table != "instance":
                yield of_kept(table, number, given)
                continue
            with self._parts.database.reader() as connection:
                row = catalogue.find_instance(connection, given)
            if row is not None:
                yield of_row(row)

    def _of(self, table: str) -> Iterator[_Next]:
        after: tuple[float, int] | None = None
        while True:
            with self._parts.database.reader() as connection:
                if table == "instance":
                    page: list[tuple[float, int, Any]] = [
                        *places.due(connection, before=self._before, after=after, limit=BATCH)
                    ]
                else:
                    page = [*kept.due(connection, table, before=self._before, after=after, limit=BATCH)]
            for when, number, given in page:
                yield when, number, table, given
            if not page:
                return
            after = page[-1][:2]


def look_at(parts: Parts, blob: Blob) -> Finding | None:
    """
    Open every byte of a blob and compare its digest (in a worker thread); None when it is whole, or gone meanwhile.
    """
    where = blob.location
    try:
        structure = check_record(parts.vault, where, blob.blob_id)
        if structure is not None:
            kind, detail = Kind(structure.kind.value), structure.detail
        else:
            wrong = prove(parts, blob)
            if not wrong:
                return None
            kind, detail = Kind.WRONG_DIGEST, wrong
    except NotFound as missing:
        kind, detail = Kind.DAMAGED_BLOB, str(missing)
    except IntegrityError as damaged:
        kind, detail = Kind.DAMAGED_BLOB, str(damaged)
    if not still_there(parts, blob):
        return None
    return Finding(kind, detail, pack=where.pack, offset=where.offset, what=blob.what)


def still_there(parts: Parts, blob: Blob) -> bool:
    """Whether the blob's row still says that it lies there: compaction moves blobs, deletion takes rows away."""
    where = blob.location
    with parts.database.reader() as connection:
        if blob.table == "instance":
            row = places.uid_at(connection, where.pack, where.offset)
            return row is not None and row.blob_id == blob.blob_id
        return any(
            (one[0], one[2], one[3]) == (blob.table, blob.blob_id, where.offset)
            for one in kept.in_pack(connection, where.pack)
        )


async def remember(core: Core, good: list[Blob]) -> None:
    """Note when these blobs were found whole."""
    at = core.parts.clock().timestamp()

    def note(connection: Any) -> None:
        catalogue.checked(connection, [one.id for one in good if one.table == "instance"], at)
        for table in kept.TABLES:
            kept.checked(connection, table, [one.id for one in good if one.table == table], at)

    if good:
        await core.committer.submit(Change(note, ()))


__all__ = ["BATCH", "Proving", "look_at", "remember", "still_there"]
