"""
A whole data set from one transfer syntax into another, frame by frame (PS3.5 §8.2, §10, Annex A): for C-GET, C-MOVE and
WADO-RS.

1. Everything in front of Pixel Data is read, rewritten (`dicom.convert`, `header`) and sent; it is bounded.
2. Each frame is read by its ranges, converted in a worker and sent; two are in memory at a time, whatever the instance
   has. Encapsulated ones of a small instance are gathered first, so that the Basic Offset Table can be written.
3. What stands behind Pixel Data follows.
Nothing has been sent when the first frame turns out to be unreadable, because it is converted before step 1 is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

from strongroom.dicom.convert import SyntaxConverter
from strongroom.dicom.json import to_json
from strongroom.dicom.limits import LimitExceeded
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.dicom.walk import PIXEL_DATA_TAGS, Walker
from strongroom.errors import DataSetError
from strongroom.imaging import header, syntaxes
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.pool import Pool

__all__ = ["Frames", "Source", "convert"]

MAX_AROUND_BYTES: Final = 64 << 20
"""What stands in front of Pixel Data, and what stands behind it: functional groups of 200,000 frames need it."""

GATHERED_BYTES: Final = 32 << 20
"""Decoded bytes of an instance whose encoded frames are gathered, so that their offsets can stand in front."""

_PIECE: Final = 1 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_LARGEST_NATIVE: Final = 0xFFFFFFFE
_ITEM: Final = struct.Struct("<HHI")
_DELIMITER: Final = _ITEM.pack(0xFFFE, 0xE0DD, 0)
_EXPLICIT_HEADER: Final = 12
_IMPLICIT_HEADER: Final = 8


class Frames(Protocol):
    """Where the frames lie in the (inflated) data set: `dicom.frames.FrameIndex`."""

    @property
    def number_of_frames(self) -> int:
        """How many there are."""

    @property
    def native(self) -> bool:
        """Whether Pixel Data is not encapsulated."""

    @property
    def whole(self) -> Sequence[tuple[int, int]]:
        """Pixel Data without the headers of items: first byte and the one behind the last."""

    def range_of(self, frame: int, /) -> Sequence[tuple[int, int]]:
        """The same of one frame, from 1."""

    def aligned(self, frame: int, data: bytes, /) -> bytes:
        """The bytes of those ranges, the frame beginning at the lowest bit of the first."""


class Source(Protocol):
    """One instance as it is kept."""

    @property
    def transfer_syntax_uid(self) -> str:
        """What it is kept in."""

    @property
    def frames(self) -> Frames:
        """Where its frames lie."""

    def read(self, first: int, last: int | None, /) -> AsyncIterator[bytes | memoryview]:
        """Its (inflated) bytes from *first* to before *last*, or to the end."""


async def convert(pool: Pool, source: Source, to_uid: str) -> AsyncGenerator[bytes, None]:
    """
    Yield the data set of *source* in the syntax *to_uid*.

    Raises UnreadablePixelsError and other DataSetErrors for what cannot be converted, PoolBusyError, and what reading
    raises; all of it before the first piece where the first frame shows it.
    """
    conversion = await _begin(pool, source, to_uid)
    async with contextlib.aclosing(conversion.frames()) as frames:
        first = await anext(frames)
        if to_uid in syntaxes.NATIVE:
            yield conversion.head + conversion.native_header()
            yield first
            async for frame in frames:
                yield frame
            if conversion.native_bytes % 2:
                yield b"\0"
        else:
            gathered = [first]
            if conversion.native_bytes <= GATHERED_BYTES:
                gathered += [frame async for frame in frames]
            offsets = _offsets(gathered) if len(gathered) == conversion.count else b""
            yield conversion.head + _encapsulated_header() + _item(offsets)
            for frame in gathered:
                yield _item(frame)
            async for frame in frames:
                yield _item(frame)
            yield _DELIMITER
    tail = await conversion.tail()
    if tail:
        yield tail


@final
@dataclass(frozen=True, slots=True)
class _Conversion:
    """One conversion under way."""

    pool: Pool
    source: Source
    pixels: PixelDescription
    made: PixelDescription
    head: bytes

    @property
    def count(self) -> int:
        return self.pixels.number_of_frames

    @property
    def native_bytes(self) -> int:
        return self.made.native_length * self.count

    @property
    def _in_words(self) -> bool:
        pixels = self.pixels
        return pixels.bits_allocated == 8 and pixels.vr == "OW" and not pixels.syntax.little_endian

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Every frame, converted; the next one is being made while this one is sent."""
        upcoming: asyncio.Task[bytes] | None = None
        try:
            for number in range(1, self.count + 1):
                made = await (upcoming or self._frame(number))
                upcoming = asyncio.create_task(self._frame(number + 1)) if number < self.count else None
                yield made
        finally:
            if upcoming is not None:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)

    async def _frame(self, number: int) -> bytes:
        """Read and convert one frame."""
        frames = self.source.frames
        parts = []
        for first, last in frames.range_of(number):
            # of bytes written as big endian words the last one may stand behind the padding (PS3.5 §7.3)
            behind = last + (last - first) % 2 if self._in_words else last
            parts += [bytes(piece) async for piece in self.source.read(first, behind)]
        stored = frames.aligned(number, b"".join(parts))
        made, _ = await self.pool.transcode(self.pixels, stored, self.made.transfer_syntax_uid)
        return made

    def native_header(self) -> bytes:
        """The element's header in front of native frames."""
        length = self.native_bytes + self.native_bytes % 2
        tag = int(self.made.tag, 16)
        if self.made.transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
            return _ITEM.pack(tag >> 16, tag & 0xFFFF, length)
        vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(self.made.tag, self.made.vr)
        return header.long_element(tag, vr, length)

    async def tail(self) -> bytes:
        """What stands behind Pixel Data."""
        frames = self.source.frames
        raw = await _gathered(self.source, frames.whole[-1][1], None)
        if not frames.native:
            # a fragment of odd length was padded, or its length in the Extended Offset Table leaves the padding out
            at = raw.find(_DELIMITER, 0, 2 * len(_DELIMITER))
            raw = raw[at + len(_DELIMITER) :] if at >= 0 else b""
        return _rewritten(raw, _as_read(self.source.transfer_syntax_uid), self.made.transfer_syntax_uid)


async def _begin(pool: Pool, source: Source, to_uid: str) -> _Conversion:
    """Read and rewrite what stands in front of Pixel Data."""
    frames, uid = source.frames, source.transfer_syntax_uid
    raw = await _gathered(source, 0, frames.whole[0][0])
    tag, vr, start = _pixel_data(raw, uid)
    head = raw[:start]
    read_as = _as_read(uid)
    metadata = to_json(head, read_as)
    metadata[f"{tag:08X}"] = {"vr": vr, "BulkDataURI": f"{tag:08X}"}
    pixels = PixelDescription.from_json(metadata, uid)
    if pixels.number_of_frames != frames.number_of_frames:
        raise DataSetError(f"{frames.number_of_frames} frames are there, {pixels.number_of_frames} are said to be")
    if not syntaxes.can_convert(uid, to_uid, pixels) or header.has_embedded_overlay(metadata):
        raise UnreadablePixelsError("pixel data of this kind does not go into that transfer syntax without loss")
    made = syntaxes.after_encoding(syntaxes.after_decoding(pixels), to_uid)
    if to_uid in syntaxes.NATIVE and made.native_length * made.number_of_frames > _LARGEST_NATIVE:
        raise UnreadablePixelsError("native pixel data of more than 4 GiB has no length")
    if made.bits_allocated == 1 and made.number_of_frames > 1 and made.rows * made.columns % 8:
        raise UnreadablePixelsError("frames of single bits that do not fill bytes are not put together anew")
    explicit = _rewritten(head, read_as, EXPLICIT_VR_LITTLE_ENDIAN)
    edited = header.edited(explicit, header.changes(pixels, made))
    return _Conversion(pool, source, pixels.bare(), made.bare(), _rewritten(edited, EXPLICIT_VR_LITTLE_ENDIAN, to_uid))


def _as_read(uid: str) -> str:
    """The syntax of what `Source.read` gives: a deflated data set is read inflated, an encapsulated one is explicit."""
    if uid in syntaxes.NATIVE - {syntaxes.DEFLATED}:
        return uid
    return EXPLICIT_VR_LITTLE_ENDIAN


def _pixel_data(raw: bytes, uid: str) -> tuple[int, str, int]:
    """Tag and VR of the Pixel Data element that begins at the end of *raw*, and where its header begins."""
    syntax = PixelDescription(rows=1, columns=1, transfer_syntax_uid=uid).syntax
    walker = Walker(explicit=syntax.explicit, little_endian=syntax.little_endian)
    for at in range(0, len(raw), _PIECE):
        for tag, vr, offset, _ in walker.feed(raw[at : at + _PIECE]):
            if tag in PIXEL_DATA_TAGS:
                return tag, vr or "OW", offset - (_EXPLICIT_HEADER if syntax.explicit else _IMPLICIT_HEADER)
    raise DataSetError("Pixel Data does not begin where its frames are said to lie")


def _rewritten(data: bytes, from_uid: str, to_uid: str) -> bytes:
    """Elements in another native syntax; encapsulated syntaxes are explicit VR little endian but for Pixel Data."""
    target = to_uid if to_uid == IMPLICIT_VR_LITTLE_ENDIAN else EXPLICIT_VR_LITTLE_ENDIAN
    if not data or from_uid == target:
        return data
    converter = SyntaxConverter(from_uid, target)
    return converter.feed(data) + converter.finish()


async def _gathered(source: Source, first: int, last: int | None) -> bytes:
    """Read a range that is kept as a whole."""
    kept, length = [], 0
    async for piece in source.read(first, last):
        length += len(piece)
        if length > MAX_AROUND_BYTES:
            raise LimitExceeded("MAX_AROUND_BYTES", MAX_AROUND_BYTES, length)
        kept.append(bytes(piece))
    return b"".join(kept)


def _encapsulated_header() -> bytes:
    return header.long_element(0x7FE00010, "OB", _UNDEFINED)


def _item(data: bytes) -> bytes:
    padded = data + b"\0" * (len(data) % 2)
    return _ITEM.pack(0xFFFE, 0xE000, len(padded)) + padded


def _offsets(frames: Sequence[bytes]) -> bytes:
    """The Basic Offset Table (PS3.5 §A.4)."""
    places, at = [], 0
    for frame in frames:
        places.append(at)
        at += _ITEM.size + len(frame) + len(frame) % 2
    return struct.pack(f"<{len(places)}I", *places)
