"""
A ZIP archive that is written as its files come (APPNOTE 6.3): stored, never seeking, of any size.

Images hardly deflate, and a stored file is a copy of the bytes. The check value is not known in front of a file, so it
stands behind it (a data descriptor) and in the directory at the end, which is what programs read. ZIP64 fields are
written where a length or an offset needs them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import Struct
from typing import Final, final

from strongroom.errors import LocalProtocolError

__all__ = ["ZipWriter"]

_LOCAL: Final = Struct("<IHHHHHIIIHH")
_DESCRIPTOR: Final = Struct("<IIII")
_DESCRIPTOR_64: Final = Struct("<IIQQ")
_CENTRAL: Final = Struct("<IHHHHHHIIIHHHHHII")
_END: Final = Struct("<IHHHHIIH")
_END_64: Final = Struct("<IQHHIIQQQQ")
_LOCATOR: Final = Struct("<IIQI")
_EXTRA_LOCAL: Final = Struct("<HHQQ")
_EXTRA_CENTRAL: Final = Struct("<HHQQQ")

_VERSION_64: Final = 45
_VERSION: Final = 20
_DESCRIBED: Final = 0x0008
"""Bit 3: check value and lengths stand behind the file."""
_UNIX: Final = 3 << 8
_REGULAR_0600: Final = 0o100600 << 16
_DOS_DATE: Final = 0x0021
"""1 January 1980: when an image was taken is nobody's business who sees the archive's directory only."""
_FULL: Final = 0xFFFFFFFF
_MANY: Final = 0xFFFF


@final
@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    crc: int
    length: int
    offset: int
    long: bool


@final
class ZipWriter:
    """Use: for each file `begin`, `note` every piece that is sent, `end`; then `finish`. What they return is sent."""

    __slots__ = ("_crc", "_entries", "_length", "_long", "_name", "_offset", "_open")

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._offset = 0
        self._open = False
        self._name = b""
        self._crc = 0
        self._length = 0
        self._long = False

    def begin(self, name: str, *, length: int | None = None) -> bytes:
        """What stands in front of a file; a *length* that is not known is taken for a long one."""
        if self._open:
            raise LocalProtocolError("a file of this archive has not ended yet")
        self._open, self._name, self._crc, self._length = True, name.encode("ascii"), 0, 0
        self._long = length is None or length >= _FULL
        extra = _EXTRA_LOCAL.pack(0x0001, 16, 0, 0) if self._long else b""
        size = _FULL if self._long else 0
        header = _LOCAL.pack(
            0x04034B50,
            _VERSION_64 if self._long else _VERSION,
            _DESCRIBED,
            *(0, 0, _DOS_DATE, 0, size, size),
            *(len(self._name), len(extra)),
        )
        return header + self._name + extra

    def note(self, piece: bytes | memoryview) -> None:
        """Count a piece of the file."""
        self._crc = zlib.crc32(piece, self._crc)
        self._length += len(piece)

    def end(self) -> bytes:
        """What stands behind the file."""
        if not self._open or (self._length >= _FULL and not self._long):
            raise LocalProtocolError("a file of this archive is longer than it was said to be, or none was begun")
        self._open = False
        entry = _Entry(self._name, self._crc, self._length, self._offset, self._long)
        self._entries.append(entry)
        layout = _DESCRIPTOR_64 if entry.long else _DESCRIPTOR
        extra = _EXTRA_LOCAL.size if entry.long else 0
        self._offset += _LOCAL.size + len(entry.name) + extra + entry.length + layout.size
        return layout.pack(0x08074B50, entry.crc, entry.length, entry.length)

    def finish(self) -> bytes:
        """The directory of the whole."""
        central = b"".join(_central(entry) for entry in self._entries)
        count = len(self._entries)
        tail = b""
        if count >= _MANY or self._offset >= _FULL or len(central) >= _FULL:
            tail = _END_64.pack(
                *(0x06064B50, _END_64.size - 12, _UNIX | _VERSION_64, _VERSION_64, 0, 0),
                *(count, count, len(central), self._offset),
            ) + _LOCATOR.pack(0x07064B50, 0, self._offset + len(central), 1)
        few = min(count, _MANY)
        end = _END.pack(0x06054B50, 0, 0, few, few, min(len(central), _FULL), min(self._offset, _FULL), 0)
        return central + tail + end


def _central(entry: _Entry) -> bytes:
    long = entry.long or entry.offset >= _FULL
    extra = _EXTRA_CENTRAL.pack(0x0001, 24, entry.length, entry.length, entry.offset) if long else b""
    size = _FULL if long else entry.length
    version = _VERSION_64 if long else _VERSION
    header = _CENTRAL.pack(
        *(0x02014B50, _UNIX | version, version, _DESCRIBED, 0, 0, _DOS_DATE),
        *(entry.crc, size, size, len(entry.name), len(extra), 0, 0, 0),
        *(_REGULAR_0600, _FULL if long else entry.offset),
    )
    return header + entry.name + extra
