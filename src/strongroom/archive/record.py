"""The plain bytes of one instance in its pack: by range, or from the front without what nobody wants to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

from strongroom.archive.blobs import found_again, open_blob, place
from strongroom.errors import NotFound
from strongroom.ground.seal import SEGMENT, WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.ground.seal import Cover

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
    One sealed blob, prepared for reading; raises IntegrityError as `open_blob` and `Opener.open` do, and NotFound when
    it was erased.

    When its pack was compacted away since the row was read, it is looked up once more.
    """

    def __init__(self, parts: Parts, row: InstanceRow) -> None:
        self._parts = parts
        self._row = row
        try:
            self._opener = open_blob(parts, row)
        except NotFound:
            self._row = found_again(parts, row)
            self._opener = open_blob(parts, self._row)

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes *start* to *stop* of the data set as it was received."""
        return self.open(self._opener.cover(start, stop))

    def windows(self, start: int, stop: int | None, *, window: int) -> Iterator[Cover]:
        """Divide a range (None: to the end) into what is read and opened at a time."""
        return self._opener.windows(start, stop, window=window)

    def open(self, cover: Cover) -> memoryview:
        """Return the bytes of one cover."""
        try:
            sealed = self._sealed(cover)
        except NotFound:
            self._row = found_again(self._parts, self._row)
            sealed = self._sealed(cover)
        return self._opener.open(sealed, cover)

    def _sealed(self, cover: Cover) -> bytes:
        return self._parts.vault.read(place(self._row), cover.sealed_start, cover.sealed_stop)

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
