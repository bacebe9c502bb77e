"""
Native data sets from one transfer syntax to another while they stream (PS3.5 Annex A.1 to A.3, A.5): the default one
is mandatory.

What changes: the VR and length fields, the byte order of a big endian source, sequences and items (they get undefined
lengths, so nothing has to wait for its own end), odd lengths (padded, PS3.5 §7.1.1) and group lengths (left out:
retired, and wrong afterwards). What does not: the order of elements, their values, and the cells of Pixel Data.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Final, final

from strongroom.dicom.dictionary import vr_candidates, vr_of
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.limits import DEFAULT, Limits
from strongroom.dicom.uid import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax,
)
from strongroom.dicom.walk import (
    ITEM,
    ITEM_DELIMITATION,
    LONG_VRS,
    SEQUENCE_DELIMITATION,
    UNDEFINED,
    Mark,
    StructureFault,
    Walker,
)
from strongroom.errors import DataSetError, LocalProtocolError

__all__ = ["SyntaxConverter", "can_convert"]

_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_SOURCES: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, _DEFLATED})
_TARGETS: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})

_PIECE: Final = 1 << 20  # what is walked at once
_LONGEST_SHORT: Final = 0xFFFE
_LENGTH_TO_END: Final = 0x00080001
_PIXEL_DATA: Final = 0x7FE00010
_PIXEL_REPRESENTATION: Final = 0x00280103
_BITS_ALLOCATED: Final = 0x00280100
_WAVEFORM_BITS_ALLOCATED: Final = 0x54001004
_WAVEFORM_GROUP: Final = 0x5400
_DECIDING: Final = frozenset({_PIXEL_REPRESENTATION, _BITS_ALLOCATED, _WAVEFORM_BITS_ALLOCATED})

_IMPLICIT: Final = Struct("<HHI")
_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<HH2sHI")
_BEGIN_ITEM: Final = _IMPLICIT.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
_END_ITEM: Final = _IMPLICIT.pack(ITEM_DELIMITATION >> 16, ITEM_DELIMITATION & 0xFFFF, 0)
_END_SEQUENCE: Final = _IMPLICIT.pack(SEQUENCE_DELIMITATION >> 16, SEQUENCE_DELIMITATION & 0xFFFF, 0)

# Bytes that change places when the byte order does (PS3.5 §7.3); UN and OB never, text never.
_UNIT: Final = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4} | dict.fromkeys(
    ("FD", "OD", "SV", "UV", "OV"), 8
)
_ARRAY_TYPE: Final = {array(code).itemsize: code for code in "HIQ"}
_TEXT_VRS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)


def can_convert(source_uid: str, target_uid: str) -> bool:
    """Tell whether SyntaxConverter does it: native source, implicit or explicit VR little endian target."""
    return source_uid in _SOURCES and target_uid in _TARGETS


@final
class SyntaxConverter:
    """
    Rewrites one data set as it comes. Use: feed every fragment in order, send what comes out, then finish.

    Keeps a few bytes only; what one feed returns is about as long as what it was given (of a deflated source: as
    inflated). Raises DataSetError when the data set is not whole, exceeds a limit, or holds encapsulated data.
    """

    __slots__ = (
        "_deciding",
        "_explicit",
        "_inflater",
        "_left",
        "_orders",
        "_out",
        "_pad",
        "_partial",
        "_scopes",
        "_skipping",
        "_unit",
        "_verbatim",
        "_walker",
    )

    def __init__(self, source_uid: str, target_uid: str, *, limits: Limits = DEFAULT) -> None:
        source = transfer_syntax(source_uid)
        if source is None or not can_convert(source_uid, target_uid):
            raise LocalProtocolError("this pair of transfer syntaxes needs more than rewriting headers")
        self._explicit = target_uid == EXPLICIT_VR_LITTLE_ENDIAN
        # Nothing to rewrite: the bytes pass as they are, but are walked, so that a broken data set is still noticed.
        self._verbatim = source_uid == target_uid or (source.deflated and self._explicit)
        self._inflater = Inflater(limits) if source.deflated else None
        self._walker = Walker(
            explicit=source.explicit, little_endian=source.little_endian, nested=not self._verbatim, limits=limits
        )
        self._out: list[bytes | memoryview] = []
        self._left = 0  # bytes of the value being copied that have not come yet
        self._skipping = False  # that value is left out
        self._unit = 1  # its bytes change places in groups of so many
        self._partial = b""  # the beginning of such a group
        self._pad = b""  # follows the value
        self._deciding: tuple[int, bytearray] | None = None  # the value decides the VR of others: its tag and bytes
        self._scopes: list[dict[int, int]] = [{}]  # what decides VRs, in the data set and in each open item
        # Whether numbers are big endian, in the data set and in each open sequence.
        self._orders = [not source.little_endian]

    def feed(self, view: bytes | memoryview) -> bytes:
        """Take the next bytes; return what they become."""
        if self._inflater is not None:
            for piece in self._inflater.feed(view):
                self._take(piece)
        else:
            for start in range(0, len(view), _PIECE):
                self._take(view[start : start + _PIECE])
        return self._collect()

    def finish(self) -> bytes:
        """Return what ends the data set; raise DataSetError when it is not whole."""
        if self._inflater is not None:
            for piece in self._inflater.finish():
                self._take(piece)
        for mark in self._walker.finish():
            if not self._verbatim:
                self._begin(mark)
        return self._collect()

    def _collect(self) -> bytes:
        made = b"".join(self._out)
        self._out.clear()
        return made

    def _take(self, view: bytes | memoryview) -> None:
        """Rewrite one piece: the rest of a value, then each element that begins in it."""
        base = self._walker.offset
        marks = self._walker.feed(view)
        if self._verbatim:
            self._out.append(view)
            return
        if self._left:
            self._copy(view[: self._left])
        for mark in marks:
            self._begin(mark)
            if self._left:
                begin = mark[2] - base
                self._copy(view[begin : begin + self._left])

    def _begin(self, mark: Mark) -> None:
        """Write the header of what begins, or the delimiter of what ends."""
        tag, vr, offset, length = mark
        if tag == ITEM:
            self._out.append(_BEGIN_ITEM)
            self._scopes.append({})
        elif tag == ITEM_DELIMITATION:
            self._out.append(_END_ITEM)
            self._scopes.pop()
        elif tag == SEQUENCE_DELIMITATION:
            self._out.append(_END_SEQUENCE)
            self._orders.pop()
        elif length == UNDEFINED or (vr == "SQ" and length):
            if vr not in ("SQ", "UN"):
                raise StructureFault("encapsulated data stands in a native data set", offset, tag)
            self._out.append(self._header(tag, "SQ", UNDEFINED))
            # What is inside UN is little endian whatever the data set is (PS3.5 §6.2.2).
            self._orders.append(self._orders[-1] and vr != "UN")
        else:
            self._begin_value(tag, vr or self._resolve(tag), length)

    def _begin_value(self, tag: int, vr: str, length: int) -> None:
        self._left = length
        self._skipping = not tag & 0xFFFF or tag == _LENGTH_TO_END
        if self._skipping:
            return
        self._unit = _UNIT.get(vr, 1) if self._orders[-1] else 1
        if tag == _PIXEL_DATA and self._unit > 1 and (self._decided(_BITS_ALLOCATED) or 0) > 16:
            # OW is words of 16 bits (PS3.5 §6.2), but others swap the whole cell: a wrong guess would be another dose.
            raise DataSetError("big endian Pixel Data of more than 16 bits allocated is written in two ways")
        if not self._explicit and length and vr != "UN" and vr_of(tag) == "SQ":
            raise DataSetError(
                f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no sequence, which implicit VR cannot say"
            )
        self._pad = (b" " if vr in _TEXT_VRS else b"\0") if length % 2 else b""
        self._deciding = (tag, bytearray()) if tag in _DECIDING and length == 2 else None
        self._out.append(self._header(tag, vr, length + length % 2))

    def _header(self, tag: int, vr: str, length: int) -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        if not self._explicit:
            return _IMPLICIT.pack(group, element, length)
        if vr not in LONG_VRS:
            if length <= _LONGEST_SHORT:
                return _SHORT.pack(group, element, vr.encode("ascii"), length)
            vr = "UN"  # too long for the length field of its own VR (PS3.5 §6.2.2)
        return _LONG.pack(group, element, vr.encode("ascii"), 0, length)

    def _copy(self, part: bytes | memoryview) -> None:
        """Copy the next bytes of the value, and what belongs behind it once it is whole."""
        self._left -= len(part)
        if self._skipping:
            return
        if self._unit > 1:
            part = self._swapped(part)
        if self._deciding is not None:
            self._deciding[1].extend(part)
        self._out.append(part)
        if self._left:
            return
        if self._partial:  # not a whole number of units: as it is
            self._out.append(self._partial)
            self._partial = b""
        if self._pad:
            self._out.append(self._pad)
        if self._deciding is not None:
            self._scopes[-1][self._deciding[0]] = int.from_bytes(self._deciding[1], "little")
            self._deciding = None

    def _swapped(self, part: bytes | memoryview) -> bytes:
        joined = self._partial + bytes(part)
        whole = len(joined) - len(joined) % self._unit
        self._partial = joined[whole:]
        units = array(_ARRAY_TYPE[self._unit], joined[:whole])
        units.byteswap()
        return units.tobytes()

    def _resolve(self, tag: int) -> str:
        """Return the VR of an element out of implicit VR, where others may have a say in it (PS3.5 Annex A.1, A.2)."""
        vr = vr_of(tag)
        if vr is None:
            return "UN"
        if tag == _PIXEL_DATA:
            bits = self._decided(_BITS_ALLOCATED)
            return "OB" if bits is not None and bits <= 8 else "OW"
        if vr == "US" and "SS" in vr_candidates(tag):
            return "SS" if self._decided(_PIXEL_REPRESENTATION) == 1 else "US"
        if vr == "OW" and tag >> 16 == _WAVEFORM_GROUP and self._decided(_WAVEFORM_BITS_ALLOCATED) == 8:
            return "OB"
        return vr

    def _decided(self, tag: int) -> int | None:
        """Return the value that holds here: of this item or the nearest one around it."""
        return next((scope[tag] for scope in reversed(self._scopes) if tag in scope), None)
