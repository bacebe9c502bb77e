"""Deflated data sets (PS3.5 §A.5), inflated in bounded pieces, with an end to bombs (SECURITY F05)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, final

from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Inflater"]

_PIECE: Final = 256 * 1024  # inflated bytes in memory at a time
_MAX_BEHIND: Final = 4096  # what may stand behind the deflated stream: padding of the largest usual block
_INPUT: Final = 64 * 1024  # zlib copies what it has not used yet at each call, so it gets little at once


@final
class Inflater:
    """Inflates one data set piece by piece."""

    __slots__ = ("_behind", "_inflate", "_limits", "taken", "written")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._limits = limits
        self._behind = bytearray()
        self.taken = 0
        self.written = 0

    def feed(self, view: bytes | memoryview) -> Iterator[bytes]:
        """Yield what *view* inflates to, at most 256 KiB at a time; raise DataSetError on garbage and on bombs."""
        for start in range(0, len(view), _INPUT):
            yield from self._feed(view[start : start + _INPUT])

    def finish(self) -> Iterator[bytes]:
        """Yield what zlib still holds; raise DataSetError when the stream is cut off."""
        while piece := self._inflated(b""):
            yield piece
        if not self._inflate.eof:
            raise DataSetError(f"the deflated data set is cut off after {self.taken} bytes")
        # The standard pads to an even length with one zero byte, writers of blocks with more of them; and some write
        # the end of a gzip file: a checksum, and the length of what was deflated.
        behind = bytes(self._behind)
        gzip_end = len(behind) in (8, 9) and int.from_bytes(behind[4:8], "little") == self.written & 0xFFFFFFFF
        if behind.strip(b"\0") and not (gzip_end and not behind[8:].strip(b"\0")):
            raise self._too_much()

    def _too_much(self) -> DataSetError:
        return DataSetError(f"{len(self._behind)} bytes or more stand behind the end of the deflated data set")

    def _feed(self, view: bytes | memoryview) -> Iterator[bytes]:
        self.taken += len(view)
        waiting: bytes | memoryview = view
        while len(waiting):
            if self._inflate.eof:
                self._behind += waiting
                if len(self._behind) > _MAX_BEHIND:
                    raise self._too_much()
                return
            piece = self._inflated(waiting)
            waiting = self._inflate.unused_data or self._inflate.unconsumed_tail
            if piece:
                yield piece

    def _inflated(self, waiting: bytes | memoryview) -> bytes:
        try:
            piece = self._inflate.decompress(waiting, _PIECE)
        except zlib.error as error:
            raise DataSetError(f"the deflated data set does not inflate near byte {self.taken}") from error
        self.written += len(piece)
        self._check_ratio()
        return piece

    def _check_ratio(self) -> None:
        limits = self._limits
        if self.written > limits.max_inflated_length:
            raise LimitExceeded("max_inflated_length", limits.max_inflated_length, self.written)
        if self.written > limits.inflate_allowance and self.written > self.taken * limits.max_inflate_ratio:
            raise LimitExceeded("max_inflate_ratio", limits.max_inflate_ratio, self.written // max(self.taken, 1))
