"""
The 128 bytes in front of a file (PS3.10 §7.1): a place for another format's header, and so for a program's (PS3.10
§7.5, CVE-2019-11687, SECURITY C30, F01, F02).

Only looked at, never given out: whatever stands there, files leave with zeros.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, final

__all__ = ["Kind", "kind_of"]

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
"""TIFF 6.0 in both byte orders, and BigTIFF."""
_BLANK: Final = b" \t\r\n\0"
"""What a shell, a browser or a reader of PDF passes over."""
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks in front of text; in UTF-16 the letters behind are spread by zeros."""
_PROGRAMS: Final = (
    *(b"mz", b"zm", b"\x7felf", b"#!", b"\0asm", b"dex\n", b"@echo", b"l\0\0\0\1\x14\2\0", b"!<arch>"),
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    *(b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf", b"\xbe\xba\xfe\xca", b"\xbf\xba\xfe\xca"),
)
"""PE and DOS, ELF, scripts, WebAssembly, Dalvik, batch, a Windows link, ar; Mach-O, fat Mach-O and Java."""
_DOCUMENTS: Final = (
    *(b"pk\3\4", b"pk\5\6", b"pk\7\x08", b"rar!", b"7z\xbc\xaf", b"mscf", b"\x1f\x8b", b"bzh", b"\xfd7zxz\0"),
    *(b"(\xb5/\xfd", b"%pdf", b"%!ps", b"<", b"{\\rtf", b"\xd0\xcf\x11\xe0"),
)
"""Archives: ZIP, RAR, 7z, CAB, gzip, bzip2, xz, zstd; PDF, PostScript, HTML and XML, RTF, OLE."""
_DISGUISES: Final = _PROGRAMS + _DOCUMENTS  # lower case, as what is compared with them


@final
class Kind(Enum):
    """What a preamble is."""

    BLANK = auto()
    """Zeros, or none at all."""
    TIFF = auto()
    """The header of a TIFF: the dual-personality file PS3.10 §7.1 has in mind."""
    DISGUISE = auto()
    """The beginning of what runs, unpacks or opens elsewhere."""
    FOREIGN = auto()
    """Other bytes: they mean nothing."""


def kind_of(preamble: bytes) -> Kind:
    """Tell what a preamble is."""
    if not preamble.strip(b"\0"):
        return Kind.BLANK
    if preamble.startswith(_TIFF):
        return Kind.TIFF
    if _is_disguise(preamble) or any(
        preamble.startswith(mark) and _is_disguise(preamble.removeprefix(mark).replace(b"\0", b"")) for mark in _MARKS
    ):
        return Kind.DISGUISE
    return Kind.FOREIGN


def _is_disguise(text: bytes) -> bool:
    lower = text.lower()
    return lower.startswith(_DISGUISES) or lower.lstrip(_BLANK).startswith(_DISGUISES)
