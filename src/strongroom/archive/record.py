"""The plain bytes of one instance in its pack: by range, or from the front without what nobody wants to look at."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, final

from strongroom.archive.blobs import found_again, open_blob, opener_of, place
from strongroom.catalogue.instances import find_instance
from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.seal import HEADER, SEGMENT, WINDOW
from strongroom.vault.packs import read_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.ground.medium import File
    from strongroom.ground.seal import Cover, Opener

__all__ = ["Record", "Taker"]

WORTH_A_JUMP: Final = 128 * 1024
"""Bytes of a value that are read rather than passed over: a read of its own costs as much."""


class Taker(Protocol):
    """Whoever walks a data set: HeaderReader, Skeleton, Locator."""

    def feed(self, view: memoryview) -> None:
        """Take the next bytes."""

    @property
    def coming(self) -> int:
        """Bytes that have not come yet and need not."""

    def pass_over(self, count: int) -> None:
        """Go on without them."""


@final
class Record:
    """
    One sealed blob, prepared for reading.

    1. It is read where its row says. What does not open there is looked for anew: compaction may have moved it.
    2. What is damaged is reported (`parts.damaged`), and read from the second vault if there is one: the seal proves
       that those bytes are the ones that were written.
    3. Otherwise it is an IntegrityError, and nothing of it is served. NotFound when it was deleted or erased meanwhile.
    """

    def __init__(self, parts: Parts, row: InstanceRow) -> None:
        self._parts = parts
        self._row = row
        self._copy: File | None = None
        try:
            self._opener = open_blob(parts, row)
        except (IntegrityError, NotFound) as wrong:
            self._opener = self._otherwise(wrong)

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes *start* to *stop* of the data set as it was received."""
        return self.open(self._opener.cover(start, stop))

    def windows(self, start: int, stop: int | None, *, window: int) -> Iterator[Cover]:
        """Divide a range (None: to the end) into what is read and opened at a time."""
        return self._opener.windows(start, stop, window=window)

    def open(self, cover: Cover) -> memoryview:
        """Return the bytes of one cover."""
        try:
            return self._opener.open(self._sealed(cover.sealed_start, cover.sealed_stop), cover)
        except (IntegrityError, NotFound) as wrong:
            if self._copy is not None:
                raise
            self._opener = self._otherwise(wrong)
            return self._opener.open(self._sealed(cover.sealed_start, cover.sealed_stop), cover)

    def _sealed(self, start: int, stop: int) -> bytes:
        where = place(self._row)
        if self._copy is not None:
            return read_sealed(self._copy, where, start, stop)
        return self._parts.vault.read(where, start, stop)

    def _otherwise(self, wrong: IntegrityError | NotFound) -> Opener:
        """What opens the blob instead (see the list above)."""
        parts, row = self._parts, self._row
        with parts.database.reader() as connection:
            now = find_instance(connection, row.sop_instance_uid)
        if row.id and (now is None or now.blob_id != row.blob_id):
            raise NotFound("the instance is not there any more") from wrong
        if now is not None and row.id and now.location != row.location:
            self._row = now
            return open_blob(parts, now)
        if not row.id:  # not in the catalogue: deleted, or kept aside
            with suppress(NotFound):
                self._row = found_again(parts, row)
                return open_blob(parts, self._row)
        source = parts.second
        copy = None if source is None else source.open(row.location.pack)
        parts.damaged(row, copy is not None)
        if copy is None:
            raise IntegrityError(f"the stored bytes are not what was written: {wrong}") from wrong
        self._copy = copy
        return opener_of(parts, row, read_sealed(copy, place(row), 0, HEADER))

    def walk(self, taker: Taker, *, until: str = "") -> None:
        """
        Feed the data set to *taker* from the front, in windows that begin small and grow, until its attribute *until*
        is set, or to the end.
        """
        at, length, window = 0, self._opener.plain_length, SEGMENT
        while at < length and not (until and getattr(taker, until)):
            cover = next(self._opener.windows(at, window=window))
            piece = self.open(cover)
            taker.feed(piece)
            at += len(piece)
            ahead = min(taker.coming, length - at)
            if ahead > WORTH_A_JUMP:
                taker.pass_over(ahead)
                at += ahead
                window = SEGMENT
            else:
                window = min(2 * window, WINDOW)
