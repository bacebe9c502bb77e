"""
Where each frame of an image lies in its data set (PS3.5 §8.2, §A.4), so that one can be read without the others.

Nothing here trusts a table: every offset has to be the beginning of a fragment that the structure walk found, in
ascending order (SECURITY F17), so that no range reaches outside Pixel Data. What does not fit is a DataSetError, never
a guess: another patient's frame would be worse than none.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self, final

from strongroom.dicom.shape import MAX_FRAMES, Shape
from strongroom.dicom.walk import MAX_FRAGMENTS
from strongroom.errors import DataSetError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FrameIndex", "Tables", "is_stream"]

_VERSION: Final = 1
_FIXED: Final = struct.Struct("<BBxxIQQQII")
_NATIVE, _FRAGMENTS, _STREAM = range(3)
START: Final = 12
"""Bytes of a fragment that tell whether a codestream begins in it."""
# JPEG and JPEG-LS (SOI and another marker), JPEG 2000 and HTJ2K (SOC, SIZ), JPEG XL, and the boxes of the last two.
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ")
_STREAMS: Final = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4 and HEVC end in 100 to 108 (PS3.5 §A.4.5 to §A.4.8)


def is_stream(transfer_syntax_uid: str) -> bool:
    """Tell whether Pixel Data is a video stream: its frames depend on one another and have no bytes of their own."""
    return transfer_syntax_uid.startswith(_STREAMS)


@final
class Tables:
    """The offset tables of encapsulated Pixel Data as they stand in the data set; empty bytes where there is none."""

    __slots__ = ("basic", "extended", "lengths")

    def __init__(self, basic: bytes = b"", extended: bytes = b"", lengths: bytes = b"") -> None:
        self.basic = basic
        """Value of the first item of Pixel Data (PS3.5 §A.4), 32-bit offsets."""
        self.extended = extended
        """Extended Offset Table (7FE0,0001), 64-bit offsets."""
        self.lengths = lengths
        """Extended Offset Table Lengths (7FE0,0002)."""


@final
class FrameIndex:
    """
    The byte ranges of the frames of one instance, in its data set (inflated where it is deflated).

    Frames are counted from 1, as the standard does. Made by `of_native` and `of_fragments`; `encode` and `decode` keep
    it: 12 bytes for each fragment.
    """

    __slots__ = ("_first", "_firsts", "_frame_bits", "_kind", "_lengths", "_offsets", "_total", "number_of_frames")

    def __init__(
        self,
        kind: int,
        number_of_frames: int,
        *,
        native: tuple[int, int, int] = (0, 0, 0),
        offsets: array[int] | None = None,
        lengths: array[int] | None = None,
        firsts: array[int] | None = None,
    ) -> None:
        self._kind = kind
        self.number_of_frames = number_of_frames
        self._first, self._total, self._frame_bits = native
        self._offsets = array("Q") if offsets is None else offsets
        self._lengths = array("I") if lengths is None else lengths
        # Number of the first fragment of each frame; empty when each frame has one fragment.
        self._firsts = array("I") if firsts is None else firsts

    @classmethod
    def of_native(cls, shape: Shape, offset: int, length: int) -> Self:
        """
        Cut native Pixel Data of *length* bytes at *offset* into frames; raises DataSetError when they do not fit.

        Frames follow one another without padding, of one bit too (PS3.5 §8.2).
        """
        frames = shape.number_of_frames
        bits = shape.frame_bits(length)
        if (bits * frames + 7) // 8 > length:
            raise DataSetError(f"{frames} frames of {bits} bits do not fit into {length} bytes of Pixel Data")
        return cls(_NATIVE, frames, native=(offset, length, bits))

    @classmethod
    def of_fragments(
        cls,
        number_of_frames: int,
        fragments: Sequence[int],
        tables: Tables,
        *,
        stream: bool = False,
        starts: Callable[[Sequence[int]], Sequence[bytes]] | None = None,
    ) -> Self:
        """
        Divide *fragments* (offset and length in turn, the Basic Offset Table's item first) among the frames.

        *starts* gives the first START bytes at each of some offsets; it is asked only where several fragments
        make a frame and no table says which. Raises DataSetError when they cannot be divided for certain.
        """
        offsets, lengths = _taken_apart(fragments)
        if stream:
            return cls(_STREAM, number_of_frames, offsets=offsets, lengths=lengths)
        firsts: array[int] | None = None
        if number_of_frames == 1:  # all there is, whatever a table says
            firsts = array("I", (0,))
        elif tables.extended:
            lengths = _from_extended(number_of_frames, offsets, lengths, tables)
        elif tables.basic:
            firsts = _from_basic(number_of_frames, offsets, tables.basic)
        elif number_of_frames != len(offsets):
            firsts = _from_starts(number_of_frames, offsets, starts)
        if firsts is not None and len(firsts) == len(offsets):
            firsts = None
        return cls(_FRAGMENTS, number_of_frames, offsets=offsets, lengths=lengths, firsts=firsts)

    @property
    def native(self) -> bool:
        """Whether Pixel Data is not encapsulated."""
        return self._kind == _NATIVE

    @property
    def stream(self) -> bool:
        """Whether it is a video: there is `whole`, and no range of a frame."""
        return self._kind == _STREAM

    @property
    def bit_packed(self) -> bool:
        """Whether a frame can begin inside a byte; then `aligned` has to be asked."""
        return self.native and bool(self._frame_bits % 8)

    @property
    def whole(self) -> list[tuple[int, int]]:
        """All of Pixel Data, without the headers of items and the offset table: first byte and the one behind."""
        if self.native:
            return [(self._first, self._first + self._total)]
        return [(start, start + length) for start, length in zip(self._offsets, self._lengths, strict=True)]

    def range_of(self, frame: int) -> list[tuple[int, int]]:
        """
        Return the ranges (first byte, and the one behind the last) that make frame number *frame*, in order.

        Raises NotFound when there is no such frame, DataSetError when the frames of a video are asked for one by one.
        """
        if not 1 <= frame <= self.number_of_frames:
            raise NotFound("no frame of that number")
        if self.native:
            begin = (frame - 1) * self._frame_bits
            end = begin + self._frame_bits
            return [(self._first + begin // 8, self._first + (end + 7) // 8)]
        if self.stream:
            raise DataSetError("the frames of a video stream have no bytes of their own")
        first, behind = frame - 1, frame
        if self._firsts:
            first = self._firsts[frame - 1]
            behind = self._firsts[frame] if frame < self.number_of_frames else len(self._offsets)
        offsets, lengths = self._offsets, self._lengths
        return [(offsets[at], offsets[at] + lengths[at]) for at in range(first, behind)]

    def length_of(self, frame: int) -> int:
        """Return how many bytes frame number *frame* has; raises as `range_of`."""
        return sum(stop - start for start, stop in self.range_of(frame))

    def aligned(self, frame: int, data: bytes) -> bytes:
        """Return the bytes of `range_of(frame)` so that the frame begins with the lowest bit of the first byte."""
        if not self.bit_packed:
            return data
        bits = self._frame_bits
        number = int.from_bytes(data, "little") >> (frame - 1) * bits % 8
        return (number & (1 << bits) - 1).to_bytes((bits + 7) // 8, "little")

    def encode(self) -> bytes:
        """Return the index as bytes (docs/formats/metadata.md)."""
        fixed = _FIXED.pack(
            _VERSION,
            self._kind,
            self.number_of_frames,
            self._first,
            self._total,
            self._frame_bits,
            len(self._offsets),
            len(self._firsts),
        )
        return fixed + b"".join(map(_little, (self._offsets, self._lengths, self._firsts)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote, which was kept sealed; raises DataSetError for another version or length."""
        if len(data) < _FIXED.size or data[0] != _VERSION:
            raise DataSetError(f"{len(data)} bytes are no frame index of version {_VERSION}")
        _, kind, frames, first, total, bits, fragments, firsts = _FIXED.unpack_from(data)
        if len(data) != _FIXED.size + 12 * fragments + 4 * firsts:
            raise DataSetError(f"{len(data)} bytes are no index of {fragments} fragments")
        at = _FIXED.size
        parts = []
        for code, count in (("Q", fragments), ("I", fragments), ("I", firsts)):
            size = array(code).itemsize * count
            parts.append(_from_little(code, data[at : at + size]))
            at += size
        return cls(kind, frames, native=(first, total, bits), offsets=parts[0], lengths=parts[1], firsts=parts[2])


def _taken_apart(fragments: Sequence[int]) -> tuple[array[int], array[int]]:
    """Offsets and lengths of the fragments behind the offset table."""
    count = len(fragments) // 2
    if count > MAX_FRAGMENTS:
        raise DataSetError(f"Pixel Data has more than {MAX_FRAGMENTS} fragments")
    if count < 2:
        raise DataSetError("encapsulated Pixel Data has no fragment")
    return array("Q", fragments[2::2]), array("I", fragments[3::2])


def _from_extended(frames: int, offsets: array[int], lengths: array[int], tables: Tables) -> array[int]:
    """Check the Extended Offset Table, by which a frame is one fragment (PS3.3 §C.7.6.3.1.8); return their lengths."""
    places = _table(tables.extended, "Q", frames)
    base = offsets[0]
    if len(offsets) != frames or any(offset != base + place for offset, place in zip(offsets, places, strict=True)):
        raise DataSetError(f"the Extended Offset Table of {frames} frames does not name their fragments")
    if not tables.lengths:
        return lengths
    given = _table(tables.lengths, "Q", frames)
    if any(length > room for length, room in zip(given, lengths, strict=True)):
        raise DataSetError("the Extended Offset Table Lengths are not those of the fragments")
    return array("I", given)


def _from_basic(frames: int, offsets: array[int], basic: bytes) -> array[int]:
    """Number of the first fragment of each frame, by the Basic Offset Table."""
    places = _table(basic, "I", frames)
    base = offsets[0]
    firsts = array("I")
    for place in places:
        at = bisect_left(offsets, base + place)
        if at == len(offsets) or offsets[at] != base + place:
            raise DataSetError("the Basic Offset Table names a place where no fragment begins")
        firsts.append(at)
    if firsts[0] != 0 or any(one >= following for one, following in pairwise(firsts)):
        raise DataSetError("the Basic Offset Table is not in ascending order from the first fragment")
    return firsts


def _from_starts(
    frames: int, offsets: array[int], starts: Callable[[Sequence[int]], Sequence[bytes]] | None
) -> array[int]:
    """Number of the first fragment of each frame, where a codestream begins in each frame and nowhere else."""
    if frames > len(offsets) or starts is None:
        raise DataSetError(f"{len(offsets)} fragments and no offset table do not make {frames} frames")
    firsts = array("I", (at for at, start in enumerate(starts(offsets)) if start.startswith(_STARTS)))
    if len(firsts) != frames or firsts[0] != 0:
        raise DataSetError(f"{len(firsts)} codestreams begin in the fragments of {frames} frames")
    return firsts


def _table(raw: bytes, code: str, frames: int) -> array[int]:
    """The entries of an offset table, one for each frame; little endian, as every encapsulated data set is."""
    entry = array(code).itemsize
    if frames > MAX_FRAMES or len(raw) != frames * entry:
        raise DataSetError(f"an offset table of {len(raw)} bytes does not have {frames} entries of {entry}")
    return _from_little(code, raw)


def _little(numbers: array[int]) -> bytes:
    return numbers.tobytes() if _IS_LITTLE else _swapped(numbers).tobytes()


def _from_little(code: str, raw: bytes) -> array[int]:
    numbers = array(code, raw)
    return numbers if _IS_LITTLE else _swapped(numbers)


def _swapped(numbers: array[int]) -> array[int]:
    copy = array(numbers.typecode, numbers)
    copy.byteswap()
    return copy


_IS_LITTLE: Final = array("H", (1,)).tobytes()[0] == 1
