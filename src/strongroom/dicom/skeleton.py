"""
A data set without its long values, for the metadata of what is too long to be held (PS3.18 §10.4.1.1.2).

Every value that DICOM JSON refers to as bulk data is left out while the bytes pass, at every depth; what comes out is
a data set in explicit VR whose sequences have undefined lengths, and `json.to_json` is told where values are missing.
"""

from __future__ import annotations

import struct
from typing import Final, final

from strongroom.dicom.dictionary import vr_candidates, vr_of
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.json_reader import MAX_INLINE_VALUES
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.uid import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from strongroom.dicom.values import BINARY_VRS, LONG_VRS
from strongroom.dicom.walk import (
    ITEM,
    ITEM_DELIMITATION,
    PIXEL_DATA_TAGS,
    SEQUENCE_DELIMITATION,
    UNDEFINED,
    Mark,
    Walker,
)
from strongroom.errors import DataSetError

__all__ = ["Skeleton"]

_PIECE: Final = 1 << 20
_WIDE: Final = 0xFFFF  # the longest value of a VR with a length of 16 bits
_PLAIN: Final = {True: struct.Struct("<HHI"), False: struct.Struct(">HHI")}
_SHORT: Final = {True: struct.Struct("<HH2sH"), False: struct.Struct(">HH2sH")}
_LONG: Final = {True: struct.Struct("<HH2sHI"), False: struct.Struct(">HH2sHI")}


@final
class Skeleton:
    """
    Takes one data set as it comes. Use: `feed` every piece in order, `finish`, then read `data` and `elided`.

    Raises DataSetError when the data set is not whole, or when what is left of it is longer than Limits.max_captured.
    """

    __slots__ = ("_fragments", "_inflater", "_left", "_limits", "_orders", "_threshold", "_walker", "data", "elided")

    def __init__(self, transfer_syntax_uid: str, *, bulk_threshold: int = 1024, limits: Limits = DEFAULT) -> None:
        syntax = transfer_syntax(transfer_syntax_uid)
        if syntax is None:
            raise DataSetError("the transfer syntax is not one of a data set")
        self._limits = limits
        self._threshold = bulk_threshold
        self._inflater = Inflater(limits) if syntax.deflated else None
        self._walker = Walker(explicit=syntax.explicit, little_endian=syntax.little_endian, nested=True, limits=limits)
        self._orders = [syntax.little_endian]  # of the data set and of each open sequence
        self._fragments = False  # inside encapsulated data, of which nothing is kept
        self._left = 0  # bytes of the value being copied that have not come yet
        self.data = bytearray()
        """The data set so far."""
        self.elided: set[int] = set()
        """Where in `data` a value would begin that was left out."""

    @property
    def encoding_uid(self) -> str:
        """The transfer syntax that `data` is in."""
        return EXPLICIT_VR_LITTLE_ENDIAN if self._orders[0] else EXPLICIT_VR_BIG_ENDIAN

    def feed(self, view: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._inflater is not None:
            for piece in self._inflater.feed(view):
                self._take(piece)
        else:
            for start in range(0, len(view), _PIECE):
                self._take(view[start : start + _PIECE])

    def finish(self) -> None:
        """Close what is open; raises DataSetError when the data set is not whole."""
        if self._inflater is not None:
            for piece in self._inflater.finish():
                self._take(piece)
        for mark in self._walker.finish():
            self._begin(mark)

    @property
    def coming(self) -> int:
        """Bytes of a value left out that have not come yet: `pass_over` does without them."""
        return self._walker.coming if self._inflater is None and not self._left else 0

    def pass_over(self, count: int) -> None:
        """Go on *count* bytes ahead inside a value left out."""
        self._walker.pass_over(count)

    def _take(self, view: bytes | memoryview) -> None:
        base = self._walker.offset
        marks = self._walker.feed(view)
        if self._left:
            self._copy(view[: self._left])
        for mark in marks:
            self._begin(mark)
            if self._left:
                begin = mark[2] - base
                self._copy(view[max(begin, 0) : begin + self._left])
        if len(self.data) > self._limits.max_captured:
            raise LimitExceeded("max_captured", self._limits.max_captured, len(self.data))

    def _copy(self, part: bytes | memoryview) -> None:
        self.data += part
        self._left -= len(part)

    def _begin(self, mark: Mark) -> None:
        """Write the header of what begins, or the delimiter of what ends."""
        tag, vr, _, length = mark
        little_endian = self._orders[-1]
        if self._fragments:
            self._fragments = tag != SEQUENCE_DELIMITATION
        elif tag == ITEM:
            self.data += _PLAIN[little_endian].pack(tag >> 16, tag & 0xFFFF, UNDEFINED)
        elif tag in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
            self.data += _PLAIN[little_endian].pack(tag >> 16, tag & 0xFFFF, 0)
            if tag == SEQUENCE_DELIMITATION:
                self._orders.pop()
        elif vr in ("OB", "OW") and length == UNDEFINED:
            self._leave_out(tag, vr)
            self._fragments = True
        elif length == UNDEFINED or (vr == "SQ" and length):
            self.data += self._header(tag, vr or "SQ", UNDEFINED)
            self._orders.append(little_endian or vr == "UN")
        elif self._is_bulk(tag, vr, length):
            self._leave_out(tag, vr or vr_of(tag) or "UN")
        else:
            self.data += self._header(tag, vr or _vr_to_write(tag, length), length)
            self._left = length

    def _is_bulk(self, tag: int, vr: str | None, length: int) -> bool:
        """Decide as `json_reader` does, which knows the VR of some elements that are written as UN."""
        known = vr_of(tag) or "UN"
        if vr is not None and (vr != "UN" or known in BINARY_VRS):
            known = vr
        if known in BINARY_VRS:
            return length > self._threshold or tag in PIXEL_DATA_TAGS
        return length > MAX_INLINE_VALUES

    def _leave_out(self, tag: int, vr: str) -> None:
        self.data += self._header(tag, vr, 0)
        self.elided.add(len(self.data))

    def _header(self, tag: int, vr: str, length: int) -> bytes:
        little_endian = self._orders[-1]
        code = vr.encode("ascii")
        if vr in LONG_VRS:
            return _LONG[little_endian].pack(tag >> 16, tag & 0xFFFF, code, 0, length)
        return _SHORT[little_endian].pack(tag >> 16, tag & 0xFFFF, code, length)


def _vr_to_write(tag: int, length: int) -> str:
    """The VR of an element out of implicit VR; UN where `json_reader` has to decide, as it does for such an element."""
    vr = vr_of(tag)
    if vr is None or (vr == "US" and "SS" in vr_candidates(tag)) or (vr not in LONG_VRS and length > _WIDE):
        return "UN"
    return vr
