"""Which media type holds which transfer syntax (PS3.18 Tables 8.7.3-4 and 8.7.3-5), and what is meant by none."""

from __future__ import annotations

from typing import Final

from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from strongroom.imaging import syntaxes

__all__ = ["COMPRESSED", "DICOM", "JSON", "OCTETS", "XML", "default_syntax", "media_type_of"]

DICOM: Final = "application/dicom"
JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"
OCTETS: Final = "application/octet-stream"

_RLE: Final = "1.2.840.10008.1.2.5"
_JPEG: Final = "1.2.840.10008.1.2.4."
COMPRESSED: Final[dict[str, tuple[str, ...]]] = {
    "image/jpeg": tuple(_JPEG + leaf for leaf in ("70", "50", "51", "57")),
    "image/jls": (_JPEG + "80", _JPEG + "81"),
    "image/jp2": (_JPEG + "90", _JPEG + "91"),
    "image/jpx": (_JPEG + "92", _JPEG + "93"),
    "image/jphc": (_JPEG + "201", _JPEG + "202", _JPEG + "203"),
    "image/jxl": (_JPEG + "110", _JPEG + "111", _JPEG + "112"),
    "image/dicom-rle": (_RLE,),
    "image/x-jls": (_JPEG + "80", _JPEG + "81"),
    "image/x-dicom-rle": (_RLE,),
    "video/mpeg": (_JPEG + "100", _JPEG + "101"),
    "video/mpeg2": (_JPEG + "100", _JPEG + "101"),
    "video/mp4": tuple(_JPEG + leaf for leaf in ("102", "103", "104", "105", "106")),
    "video/H265".lower(): (_JPEG + "107", _JPEG + "108"),
}
"""The first syntax of each is the one meant when none is named. Names with `x-` are what older clients say."""

_MEDIA_TYPES: Final = {uid: name for name, uids in reversed(COMPRESSED.items()) for uid in uids} | {
    f"{_JPEG}{leaf}.1": kind
    for kind, leaves in (("video/mpeg", ("100", "101")), ("video/mp4", ("102", "103", "104", "105", "106")))
    for leaf in leaves
}


def media_type_of(transfer_syntax_uid: str) -> str:
    """The media type of a frame in that syntax; what has none of its own is a row of bytes."""
    return _MEDIA_TYPES.get(transfer_syntax_uid, OCTETS)


def default_syntax(stored: str) -> str:
    """
    The syntax of an answer to whoever names none: explicit VR little endian, but what was compressed with loss, or what
    nothing here can decode, stays as it is (PS3.18 §8.7.3.5.2).
    """
    known = transfer_syntax(stored)
    if known is None or stored in syntaxes.LOSSY:
        return stored
    if not known.encapsulated or syntaxes.can_convert(stored, EXPLICIT_VR_LITTLE_ENDIAN):
        return EXPLICIT_VR_LITTLE_ENDIAN
    return stored
