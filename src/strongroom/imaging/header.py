"""
The elements in front of Pixel Data that say how it is written, changed when it is written otherwise (PS3.3 §C.7.6.3).

Only top-level elements are touched, and every byte of the others stays.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from strongroom.dicom.values import JsonElement
from strongroom.dicom.walk import Walker
from strongroom.errors import DataSetError
from strongroom.imaging import syntaxes
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.reading import integer

__all__ = ["changes", "edited", "has_embedded_overlay", "long_element"]

_PIECE: Final = 1 << 20
_TAG: Final = struct.Struct("<HH")
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2sHI")
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_PLANAR_CONFIGURATION: Final = 0x00280006
_LOSSY_IMAGE_COMPRESSION: Final = 0x00282110
_ICON_IMAGE_SEQUENCE: Final = 0x00880200
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002)
_ALWAYS_LOSSY: Final = frozenset({syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_LS_NEAR})
_OVERLAY_GROUPS: Final = range(0x6000, 0x6020, 2)


def changes(before: PixelDescription, after: PixelDescription) -> dict[int, bytes | None]:
    """
    The elements that change, explicit VR little endian, by tag; None leaves one out.

    What was lost stays lost: Lossy Image Compression is kept, and said where a syntax that always loses did not say it.
    An icon, which is optional, may be compressed as its image was, and is left out of what is decoded.
    """
    made: dict[int, bytes | None] = dict.fromkeys(_OFFSET_TABLES)
    if before.photometric_interpretation != after.photometric_interpretation:
        value = after.photometric_interpretation.encode("ascii")
        made[_PHOTOMETRIC_INTERPRETATION] = _short(_PHOTOMETRIC_INTERPRETATION, "CS", value + b" " * (len(value) % 2))
    if after.samples_per_pixel > 1:
        value = after.planar_configuration.to_bytes(2, "little")
        made[_PLANAR_CONFIGURATION] = _short(_PLANAR_CONFIGURATION, "US", value)
    if before.transfer_syntax_uid in _ALWAYS_LOSSY:
        made[_LOSSY_IMAGE_COMPRESSION] = _short(_LOSSY_IMAGE_COMPRESSION, "CS", b"01")
    if before.transfer_syntax_uid not in syntaxes.NATIVE:
        made[_ICON_IMAGE_SEQUENCE] = None
    return made


def edited(head: bytes, made: Mapping[int, bytes | None]) -> bytes:
    """Put elements in their places in *head*, explicit VR little endian; group lengths, now wrong, are left out."""
    out: list[bytes | memoryview] = []
    view = memoryview(head)
    waiting = sorted((tag, element) for tag, element in made.items() if element is not None)
    starts = _starts(head)
    for number, (tag, start) in enumerate(starts):
        while waiting and waiting[0][0] < tag:
            out.append(waiting.pop(0)[1])
        if tag in made or not tag & 0xFFFF:
            continue
        out.append(view[start : starts[number + 1][1] if number + 1 < len(starts) else len(head)])
    out += [element for _, element in waiting]
    return b"".join(out)


def has_embedded_overlay(metadata: Mapping[str, JsonElement]) -> bool:
    """Tell whether an overlay lies in unused bits of the pixels (retired, PS3.5 §8.1.2): a codec would drop it."""
    return any(
        f"{group:04X}0010" in metadata
        and f"{group:04X}3000" not in metadata
        and integer(metadata, f"{group:04X}0100", 1) > 1
        for group in _OVERLAY_GROUPS
    )


def long_element(tag: int, vr: str, length: int) -> bytes:
    """The header of an element whose length has 32 bits, explicit VR little endian (PS3.5 §7.1.2)."""
    return _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), 0, length)


def _short(tag: int, vr: str, value: bytes) -> bytes:
    return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value


def _starts(head: bytes) -> list[tuple[int, int]]:
    """Tag and first byte of each top-level element."""
    walker = Walker(explicit=True)
    starts: list[tuple[int, int]] = []
    for at in range(0, len(head), _PIECE):
        for tag, _, offset, _ in walker.feed(head[at : at + _PIECE]):
            packed = _TAG.pack(tag >> 16, tag & 0xFFFF)
            # a header has 8 bytes, or 12 where the VR has a long length; VRs nobody knows have either
            start = next((offset - size for size in (8, 12) if head[offset - size : offset - size + 4] == packed), -1)
            if start < 0:
                raise DataSetError(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) has a header of no known length")
            if not starts or start > starts[-1][1]:  # one of undefined length is marked again when it ends
                starts.append((tag, start))
    for _ in walker.finish():
        pass
    return starts
