"""
Which transfer syntaxes pixel data can be read in and written in (PS3.5 §10, Annex A.4), and what a frame is afterwards.

Pure tables and rules; the work is done in `codecs`, inside a worker. Converting is lossless or it is decoding: what was
compressed with loss goes out decoded and is never compressed anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from strongroom.dicom.uid import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.imaging.pixels import PixelDescription

__all__ = [
    "DECODABLE",
    "ENCODABLE",
    "LOSSY",
    "NATIVE",
    "PREFERRED",
    "after_decoding",
    "after_encoding",
    "can_convert",
]

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
JPEG_2000: Final = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL: Final = "1.2.840.10008.1.2.4.202"
HTJ2K: Final = "1.2.840.10008.1.2.4.203"

NATIVE: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED})
"""Frames stand in them as cells, one after the other."""

JPEG_SYNTAXES: Final = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1})
JPEG_LS_SYNTAXES: Final = frozenset({JPEG_LS, JPEG_LS_NEAR})
JPEG_2000_SYNTAXES: Final = frozenset({JPEG_2000_LOSSLESS, JPEG_2000})
HTJ2K_SYNTAXES: Final = frozenset({HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K})

LOSSY: Final = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000, HTJ2K})
"""A frame in one of them may have lost something; it is decoded, never compressed into another syntax."""

DECODABLE: Final = NATIVE | {RLE} | JPEG_SYNTAXES | JPEG_LS_SYNTAXES | JPEG_2000_SYNTAXES | HTJ2K_SYNTAXES
"""Private compressions are kept and given back as they are, and never decoded (SECURITY F16)."""

ENCODABLE: Final = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        RLE,
        JPEG_LOSSLESS_SV1,
        JPEG_LS,
        JPEG_2000_LOSSLESS,
        HTJ2K_LOSSLESS,
        HTJ2K_LOSSLESS_RPCL,
    }
)
"""All of them lossless."""

PREFERRED: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS_RPCL,
    HTJ2K_LOSSLESS,
    JPEG_LS,
    RLE,
    JPEG_LOSSLESS_SV1,
    JPEG_2000_LOSSLESS,
)
"""What a receiver gets that does not take the stored syntax: decoded first, then the quickest codec first."""

_MOST_BITS: Final = {
    RLE: 32,
    JPEG_LOSSLESS_SV1: 16,
    JPEG_LS: 16,
    JPEG_2000_LOSSLESS: 16,
    HTJ2K_LOSSLESS: 16,
    HTJ2K_LOSSLESS_RPCL: 16,
}
_DECODED_TO_RGB: Final = frozenset({"YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420"})
_YBR: Final = frozenset({"YBR_FULL", "YBR_FULL_422"})


def can_convert(from_uid: str, to_uid: str, pixels: PixelDescription | None = None) -> bool:
    """
    Tell whether a frame can go from one syntax into the other: losslessly, or decoded.

    Without *pixels* the answer is for ordinary images of 8 and 16 bits. A data set whose syntax only has to be
    rewritten (`dicom.convert`) is not meant, though it is converted as well.
    """
    if from_uid not in DECODABLE or to_uid not in ENCODABLE:
        return False
    if to_uid in NATIVE:
        return True
    if from_uid in LOSSY:
        return False
    if pixels is None:
        return True
    if pixels.real or pixels.bits_allocated == 1:
        return False
    if pixels.bits_allocated > _MOST_BITS[to_uid] or (to_uid != RLE and not pixels.low_justified):
        return False
    return to_uid in (RLE, JPEG_LS) or pixels.bits_stored > 1


def after_decoding(pixels: PixelDescription) -> PixelDescription:
    """Describe what `Pool.decode` gives: explicit VR little endian, colour by pixel, no subsampling."""
    colour = pixels.photometric_interpretation
    uid = pixels.transfer_syntax_uid
    if colour in _DECODED_TO_RGB or (colour in _YBR and uid in (JPEG_BASELINE, JPEG_EXTENDED)):
        colour = "RGB"
    elif colour == "YBR_FULL_422":
        colour = "YBR_FULL"
    return replace(
        pixels,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        photometric_interpretation=colour,
        planar_configuration=0,
        vr="OW" if pixels.bits_allocated > 8 or pixels.bits_allocated == 1 else "OB",
    )


def after_encoding(native: PixelDescription, to_uid: str) -> PixelDescription:
    """Describe what `Pool.encode` makes of frames that are described by *native* (PS3.5 §8.2)."""
    if to_uid in NATIVE:
        return replace(native, transfer_syntax_uid=to_uid)
    colour = native.photometric_interpretation
    if colour == "RGB" and to_uid in JPEG_2000_SYNTAXES | HTJ2K_SYNTAXES:
        colour = "YBR_RCT"
    return replace(
        native,
        transfer_syntax_uid=to_uid,
        photometric_interpretation=colour,
        planar_configuration=int(to_uid == RLE and native.samples_per_pixel > 1),
        vr="OB",
    )
