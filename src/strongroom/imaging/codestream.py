"""
The headers of compressed frames (ISO 10918-1 B.2, 14495-1 C.2, 15444-1 A.5), read before a codec sees a byte of them.

A codec allocates by what the codestream says, not by what the data set says; so the two have to agree, and tiles,
scans and levels that only an attacker writes are refused (SECURITY F13, F14). Nothing is decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, error
from typing import Final, final

from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription

__all__ = ["CodestreamHeader", "check", "codestream_of", "jpeg2000_header", "jpeg_header"]

MAX_SCANS: Final = 64
"""Scans of a JPEG: a progressive one has about ten; 80,000 are minutes of work out of nothing (F13)."""

MAX_SEGMENTS: Final = 4_096
"""Marker segments before the first scan; some are written for every few tables."""

MAX_FILL: Final = 65_536
"""Fill bytes and markers without a length in a row: some encoders align by a few, more only keep a reader busy."""

MAX_TILES: Final = 65_535
"""Tiles of a JPEG 2000 codestream (15444-1 A.4.2: a number of 16 bits)."""

MAX_LAYERS: Final = 1_000
"""Quality layers; encoders write one to twenty."""

MAX_LEVELS: Final = 32
"""Decomposition levels (15444-1 Table A.15)."""

_SOI: Final = b"\xff\xd8"
_SIZ: Final = b"\xff\x4f\xff\x51"
_JP2: Final = b"\x00\x00\x00\x0cjP  "
_JP2_HEADERS: Final = 1 << 16  # where the codestream of a JP2 file begins at the latest
_BARE: Final = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xF7})  # what DICOM allows; arithmetic and hierarchical ones are not
_REFUSED_SOF: Final = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SIZ_FIELDS: Final = Struct(">HHIIIIIIIIH")
_COD_FIELDS: Final = Struct(">HBBHBB")


@final
@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """What a codestream says of itself."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    process: int = 0
    """The second byte of the SOF marker, 0 for JPEG 2000."""
    component_ids: tuple[int, ...] = ()
    adobe_transform: int | None = None
    jfif: bool = False


def check(header: CodestreamHeader, pixels: PixelDescription) -> None:
    """Raise UnreadablePixelsError unless the codestream is a frame of *pixels*."""
    if (header.rows, header.columns) != (pixels.rows, pixels.columns):
        raise UnreadablePixelsError(
            f"the codestream has {header.rows} x {header.columns} pixels, the data set {pixels.rows} x {pixels.columns}"
        )
    if header.components != pixels.samples_per_pixel:
        raise UnreadablePixelsError(
            f"the codestream has {header.components} components, the data set {pixels.samples_per_pixel}"
        )
    if not 1 <= header.precision <= pixels.bits_allocated:
        raise UnreadablePixelsError(
            f"the codestream has {header.precision} bits, the data set {pixels.bits_allocated} allocated"
        )


def jpeg_header(data: bytes) -> CodestreamHeader:
    """Read JPEG and JPEG-LS up to the frame header; raises UnreadablePixelsError."""
    if data[:2] != _SOI:
        raise UnreadablePixelsError("a frame does not begin like JPEG")
    at, adobe, jfif = 2, None, False
    for _ in range(MAX_SEGMENTS):
        marker, at, length = _segment(data, at)
        if marker in _SOF:
            _check_scans(data)
            return _frame_header(data[at : at + length], marker, adobe, jfif=jfif)
        if marker in _REFUSED_SOF or marker in (0xDA, 0xD9):
            raise UnreadablePixelsError("a frame is of a JPEG process that DICOM does not have")
        if marker == 0xEE and length >= 12 and data[at : at + 5] == b"Adobe":
            adobe = data[at + 11]
        elif marker == 0xE0 and data[at : at + 4] == b"JFIF":
            jfif = True
        at += length
    raise UnreadablePixelsError("a JPEG frame has too many segments")


def _segment(data: bytes, at: int) -> tuple[int, int, int]:
    """The next marker segment at or behind *at*: marker, where its content begins, and how long that is."""
    most = at + MAX_FILL
    while True:
        if at + 4 > len(data) or data[at] != 0xFF:
            raise UnreadablePixelsError("a JPEG frame is cut off or not built of segments")
        while at <= most and at + 4 < len(data) and data[at + 1] == 0xFF:  # fill bytes (B.1.1.2)
            at += 1
        if at > most:
            raise UnreadablePixelsError(f"a JPEG frame has more than {MAX_FILL} fill bytes in a row")
        marker = data[at + 1]
        at += 2
        if marker not in _BARE:
            break
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise UnreadablePixelsError("a JPEG segment ends outside its frame")
    return marker, at + 2, length - 2


def _check_scans(data: bytes) -> None:
    scans = data.count(b"\xff\xda")
    if not 1 <= scans <= MAX_SCANS:
        raise UnreadablePixelsError(f"a JPEG frame has {scans} scans, {MAX_SCANS} are the most")


def _frame_header(content: bytes, marker: int, adobe: int | None, *, jfif: bool) -> CodestreamHeader:
    if len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise UnreadablePixelsError("a JPEG frame header is cut off")
    return CodestreamHeader(
        rows=int.from_bytes(content[1:3], "big"),
        columns=int.from_bytes(content[3:5], "big"),
        components=content[5],
        precision=content[0],
        process=marker,
        component_ids=tuple(content[6 + 3 * number] for number in range(content[5])),
        adobe_transform=adobe,
        jfif=jfif,
    )


def codestream_of(data: bytes) -> bytes:
    """The JPEG 2000 codestream in *data*; a JP2 file around it, which DICOM does not want, is taken off."""
    if data[:4] == _SIZ:
        return data
    if data[:8] == _JP2:
        at = data.find(_SIZ, 0, _JP2_HEADERS)
        if at > 0:
            return data[at:]
    raise UnreadablePixelsError("a frame does not begin like JPEG 2000")


def jpeg2000_header(data: bytes) -> CodestreamHeader:
    """Read SIZ and COD of a JPEG 2000 or HTJ2K codestream; raises UnreadablePixelsError."""
    try:
        _, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = (
            _SIZ_FIELDS.unpack_from(data, 4)
        )
        at = 4 + _SIZ_FIELDS.size
        parts = data[at : at + 3 * components]
        if not 1 <= components <= 4 or len(parts) < 3 * components:
            raise UnreadablePixelsError(f"a JPEG 2000 frame has {components} components")
        if left >= right or top >= bottom or not tile_width or not tile_height:
            raise UnreadablePixelsError("a JPEG 2000 frame has no pixels")
        if len({parts[3 * number : 3 * number + 3] for number in range(components)}) > 1 or parts[1:3] != b"\x01\x01":
            raise UnreadablePixelsError("the components of a JPEG 2000 frame differ in size or depth")
        tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
        if not 1 <= tiles <= MAX_TILES:
            raise UnreadablePixelsError(f"a JPEG 2000 frame has {tiles} tiles")
        _check_coding(data, at + 3 * components)
    except error as cut:
        raise UnreadablePixelsError("a JPEG 2000 header is cut off") from cut
    return CodestreamHeader(bottom - top, right - left, components, (parts[0] & 0x7F) + 1, bool(parts[0] & 0x80))


def _check_coding(data: bytes, at: int) -> None:
    """Bound layers and levels of every COD and COC in the main header."""
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data):
            raise UnreadablePixelsError("a JPEG 2000 header is cut off")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or length < 2:
            raise UnreadablePixelsError("a JPEG 2000 header is not built of segments")
        if marker == 0x90:  # SOT: the header is over
            return
        if marker == 0x52:
            _, _, _, layers, _, levels = _COD_FIELDS.unpack_from(data, at + 2)
            if layers > MAX_LAYERS or levels > MAX_LEVELS:
                raise UnreadablePixelsError(f"a JPEG 2000 frame has {layers} layers and {levels} levels")
        at += 2 + length
    raise UnreadablePixelsError("a JPEG 2000 header has too many segments")
