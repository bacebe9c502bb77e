"""
Files (PS3.10 Chapter 7): preamble and File Meta Information in front of a data set.

Written strictly, with an all-zero preamble (PS3.10 §7.5, SECURITY F01); read as they are found: without a preamble,
without any File Meta Information, with a wrong group length. The group length is never believed: the meta information
ends where the group does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, final

from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.uid import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
    clean,
    is_valid,
    transfer_syntax,
)
from strongroom.dicom.walk import LONG_VRS, SHORT_VRS, UNDEFINED
from strongroom.errors import DataSetError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PREAMBLE_LENGTH", "FileMeta", "Part10Reader", "encode_header"]

PREAMBLE_LENGTH: Final = 128
_PREFIX: Final = b"DICM"
_META_GROUP: Final = 0x0002
_ENOUGH: Final = 12  # bytes of the longest element header: with them the beginning can be told
_EXPLICIT: Final = Struct("<HH2sH")
_IMPLICIT: Final = Struct("<HHI")
_LENGTH: Final = Struct("<I")
_PLAUSIBLE: Final = 1 << 16  # no first element of a data set is longer
_VRS: Final = frozenset(vr.encode() for vr in SHORT_VRS | LONG_VRS)
_LONG: Final = frozenset(vr.encode() for vr in LONG_VRS)
_UID_FIELDS: Final = {
    0x0002: "media_storage_sop_class_uid",
    0x0003: "media_storage_sop_instance_uid",
    0x0010: "transfer_syntax_uid",
}
_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")  # PS3.5 Table 6.2-1: no backslash, no control character


@final
@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file says about its data set; a UID is "" when the file does not say it."""

    media_storage_sop_class_uid: str
    media_storage_sop_instance_uid: str
    transfer_syntax_uid: str
    """As stated, or guessed from the first element of the data set when it is not stated."""
    transfer_syntax_stated: bool
    preamble: bytes
    """128 bytes as found, b"" when there are none: foreign bytes that may be a program (see `preamble`)."""
    length: int
    """Bytes in front of the data set."""


def encode_header(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    *,
    source_ae_title: str | None = None,
) -> bytes:
    """
    Encode what stands in front of a data set in a file: preamble, prefix and File Meta Information (PS3.10 §7.1).

    *source_ae_title* is the application that wrote the data set to us (0002,0016). Raises LocalProtocolError on a
    value that must not be written.
    """
    for uid in (sop_class_uid, sop_instance_uid, transfer_syntax_uid):
        # Old instances carry UIDs with leading zeros; only what would break the file or its reader is refused.
        if not is_valid(uid) and not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise LocalProtocolError("a UID for the File Meta Information is not one")
    elements = [
        (0x0001, b"OB", b"\0\1"),
        (0x0002, b"UI", sop_class_uid.encode("ascii")),
        (0x0003, b"UI", sop_instance_uid.encode("ascii")),
        (0x0010, b"UI", transfer_syntax_uid.encode("ascii")),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if source_ae_title is not None:
        if not _AE_TITLE.fullmatch(source_ae_title):
            raise LocalProtocolError("an AE title for the File Meta Information is not one")
        elements.append((0x0016, b"AE", source_ae_title.encode("ascii")))
    group = b"".join(_encode_element(element, vr, value) for element, vr, value in elements)
    return bytes(PREAMBLE_LENGTH) + _PREFIX + _encode_element(0x0000, b"UL", _LENGTH.pack(len(group))) + group


def _encode_element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr in _LONG:
        return _EXPLICIT.pack(_META_GROUP, element, vr, 0) + _LENGTH.pack(len(value)) + value
    return _EXPLICIT.pack(_META_GROUP, element, vr, len(value)) + value


@final
class Part10Reader:
    """
    Takes a file apart as it comes. Use: `feed` every piece, pass on the views it gives, then `finish`; `meta` is set
    before the first view. Only DataSetError is raised.
    """

    __slots__ = ("_begun", "_fields", "_held", "_limits", "_position", "_preamble", "_stated_end", "head", "meta")

    def __init__(self, *, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._held: bytearray = bytearray()
        self._begun = False  # the preamble, or its absence, has been seen
        self._preamble = b""
        self._position = 0  # in what is held: everything before it has been understood
        self._stated_end: int | None = None  # where the group length says that the meta information ends
        self._fields: dict[str, str] = {}
        self.meta: FileMeta | None = None
        self.head = b""
        """Everything in front of the data set, as it came; set with `meta`."""

    def feed(self, view: bytes | memoryview) -> Iterable[memoryview]:
        """Take the next bytes of the file; return the bytes of the data set in them, valid until *view* is reused."""
        if self.meta is not None:
            return (memoryview(view),)
        # What is held is copied, so a big piece is taken in parts: the rest of it is passed on uncopied.
        step = self._limits.max_meta_length
        for start in range(0, len(view), step):
            self._held += view[start : start + step]
            self.meta = self._read(last=False)
            if self.meta is not None:
                held = memoryview(bytes(self._held[self._position :]))
                self._held = bytearray()
                return tuple(part for part in (held, memoryview(view)[start + step :]) if len(part))
        return ()

    def finish(self) -> Iterable[memoryview]:
        """Return what was still held of a very short file; raise DataSetError when no data set has begun."""
        if self.meta is not None:
            return ()
        self.meta = self._read(last=True)
        if self.meta is None:
            raise DataSetError(f"the file ends after {len(self._held)} bytes, before any data set")
        return (memoryview(bytes(self._held[self._position :])),)

    def _read(self, *, last: bool) -> FileMeta | None:
        """Understand as much of what is held as there is; *last* when nothing will follow."""
        held = self._held
        if not self._begun:
            if len(held) < PREAMBLE_LENGTH + len(_PREFIX) and not last:
                return None
            if held[PREAMBLE_LENGTH : PREAMBLE_LENGTH + len(_PREFIX)] == _PREFIX:
                self._preamble = bytes(held[:PREAMBLE_LENGTH])
                self._position = PREAMBLE_LENGTH + len(_PREFIX)
            elif held[: len(_PREFIX)] == _PREFIX:
                self._position = len(_PREFIX)
            self._begun = True
        while len(held) - self._position >= (8 if last else _ENOUGH):
            group = int.from_bytes(held[self._position : self._position + 2], "little")
            if group != _META_GROUP or self._position == self._end_of_deflated():
                return self._ended()
            if not self._element():
                break
        if max(self._position, len(held) - self._position) > self._limits.max_meta_length:
            raise LimitExceeded("max_meta_length", self._limits.max_meta_length, len(held))
        return None

    def _end_of_deflated(self) -> int | None:
        """Only bytes that are deflated can look like more of the group: there the group length has to be believed."""
        syntax = transfer_syntax(self._fields.get("transfer_syntax_uid", ""))
        return self._stated_end if syntax is not None and syntax.deflated else None

    def _element(self) -> bool:
        """Read one element of the File Meta Information; return whether all of it was there."""
        _, element, vr, length = _EXPLICIT.unpack_from(self._held, self._position)
        value = self._position + 8
        if vr in _LONG:
            if len(self._held) < value + 4:
                return False
            (length,) = _LENGTH.unpack_from(self._held, value)
            value += 4
        elif vr not in _VRS:
            _, element, length = _IMPLICIT.unpack_from(self._held, self._position)  # wrong, but written by some
        if length == UNDEFINED or length > self._limits.max_meta_length:
            raise LimitExceeded("max_meta_length", self._limits.max_meta_length, length)
        if len(self._held) < value + length:
            return False
        if element == 0 and length == 4:
            self._stated_end = value + length + _LENGTH.unpack_from(self._held, value)[0]
        field = _UID_FIELDS.get(element)
        if field is not None:
            uid = clean(bytes(self._held[value : value + length]))
            if self._fields.setdefault(field, uid) != uid:
                raise DataSetError(f"element (0002,{element:04X}) stands twice in the file, with different values")
        self._position = value + length
        return True

    def _ended(self) -> FileMeta:
        """The first element behind the File Meta Information has come: the data set begins."""
        self.head = bytes(self._held[: self._position])
        stated = self._fields.get("transfer_syntax_uid", "")
        return FileMeta(
            media_storage_sop_class_uid=self._fields.get("media_storage_sop_class_uid", ""),
            media_storage_sop_instance_uid=self._fields.get("media_storage_sop_instance_uid", ""),
            transfer_syntax_uid=stated or _guess(bytes(self._held[self._position : self._position + 8])),
            transfer_syntax_stated=bool(stated),
            preamble=self._preamble,
            length=self._position,
        )


def _guess(first: bytes) -> str:
    """
    Tell the transfer syntax of a data set from its first element header.

    A data set begins in group 0008 as a rule, always in a low group (PS3.5 §7.1); in the other byte order group 0008
    is 0800.
    """
    little = int.from_bytes(first[:2], "little")
    explicit = first[4:6] in _VRS
    if little > 0xFF and int.from_bytes(first[:2], "big") <= 0xFF and explicit:
        return EXPLICIT_VR_BIG_ENDIAN
    if little <= 0xFF and explicit:
        return EXPLICIT_VR_LITTLE_ENDIAN
    length = int.from_bytes(first[4:8], "little")
    if 0 < little <= 0xFF and (length < _PLAUSIBLE or length == UNDEFINED):
        return IMPLICIT_VR_LITTLE_ENDIAN
    raise DataSetError("this is no DICOM file: no prefix, and nothing that a data set could begin with")
