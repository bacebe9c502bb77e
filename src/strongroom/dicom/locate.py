"""
Where one value lies in a data set: the way back from a BulkDataURI of `json` to bytes (PS3.18 §10.4.1.1.5).

A path names tags and item numbers from 0, `00880200/0/7FE00010`. The walk stops where the value has been found, and
whoever reads may pass over what lies inside other values.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NoReturn, final

from strongroom.dicom.dictionary import vr_of
from strongroom.dicom.header import Located
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.limits import DEFAULT, Limits
from strongroom.dicom.uid import IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from strongroom.dicom.values import BINARY_VRS
from strongroom.dicom.walk import ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED, Mark, Walker
from strongroom.errors import DataSetError, NotFound

__all__ = ["Locator"]

_PATH: Final = re.compile(r"[0-9A-F]{8}(?:/[0-9]{1,7}/[0-9A-F]{8}){0,64}")
_PIECE: Final = 1 << 20
_HEADER: Final = struct.Struct("<HHI")  # of an element in implicit VR little endian


@final
class Locator:
    """
    Looks for the value at *path* in one data set. Use: `feed` pieces in order until `found` is not None, or `finish`.

    Raises NotFound for what is no path, and as soon as it is certain that there is no such value; DataSetError when the
    data set in front of it is not whole.
    """

    __slots__ = ("_ending", "_fragments", "_inflater", "_inner", "_open", "_reached", "_steps", "_walker", "found")

    def __init__(self, transfer_syntax_uid: str, path: str, *, limits: Limits = DEFAULT) -> None:
        syntax = transfer_syntax(transfer_syntax_uid)
        if syntax is None:
            raise DataSetError("the transfer syntax is not one of a data set")
        if not _PATH.fullmatch(path):
            raise NotFound("no value of that path")
        parts = path.split("/")
        self._steps = [(int(tag, 16), int(number)) for tag, number in zip(parts[::2], [*parts[1::2], "0"], strict=True)]
        self._inflater = Inflater(limits) if syntax.deflated else None
        self._walker = Walker(explicit=syntax.explicit, little_endian=syntax.little_endian, nested=True, limits=limits)
        # Of each open sequence: how many items have begun, None when it is not on the way.
        self._open: list[int | None] = []
        self._reached = 0  # items on the way that have begun and not ended
        self._fragments = False
        self._ending: Mark | None = None  # the value asked for, whose end has to come first
        self._inner: _Inside | None = None
        self.found: Located | None = None
        """VR, offset and length of the value in the (inflated) data set."""

    def feed(self, view: bytes | memoryview) -> None:
        """Take the next bytes; what comes when `found` is known is not looked at."""
        if self._inflater is not None:
            for piece in self._inflater.feed(view):
                self._take(piece)
        else:
            for start in range(0, len(view), _PIECE):
                self._take(view[start : start + _PIECE])

    def finish(self) -> NoReturn:
        """The data set has ended without the value; raises NotFound."""
        raise NotFound("no value of that path")

    @property
    def coming(self) -> int:
        """Bytes of another value that have not come yet: `pass_over` does without them."""
        return self._walker.coming if self._inflater is None and self._inner is None else 0

    def pass_over(self, count: int) -> None:
        """Go on *count* bytes ahead inside another value."""
        self._walker.pass_over(count)

    def _take(self, view: bytes | memoryview) -> None:
        if self.found is not None:
            return
        base = self._walker.offset
        marks = self._walker.feed(view)
        if self._inner is not None:
            self._look_inside(view)
        for mark in marks:
            if self._look(mark):
                return
            if self._inner is not None and self._inner.fresh:
                self._look_inside(view[max(mark[2] - base, 0) :])

    def _look(self, mark: Mark) -> bool:
        """Look at what begins or ends; say whether the value has been found."""
        tag, vr, offset, length = mark
        if self._fragments:
            self._fragments = tag != SEQUENCE_DELIMITATION
            if not self._fragments and self._ending is not None:
                self.found = Located(self._ending[1] or "OB", self._ending[2], offset - self._ending[2])
        elif tag == ITEM:
            self._begin_item()
        elif tag == ITEM_DELIMITATION:
            self._end_item()
        elif tag == SEQUENCE_DELIMITATION:
            if self._open.pop() is not None:
                raise NotFound("no value of that path")
        else:
            here = self._reached == len(self._open) and tag == self._steps[self._reached][0]
            last = self._reached == len(self._steps) - 1
            if length == UNDEFINED and vr in ("OB", "OW"):
                self._fragments = True
                self._ending = mark if here and last else None
            elif length == UNDEFINED or (vr == "SQ" and length):
                self._open.append(0 if here and not last else None)
            elif here and last:
                self.found = Located(_vr_as_shown(tag, vr), offset, length)
            elif here and vr == "UN" and vr_of(tag) == "SQ":
                self._inner = _Inside(self._steps[self._reached :], offset, length)
        return self.found is not None

    def _begin_item(self) -> None:
        begun = self._open[-1]
        if begun is None:
            return
        self._open[-1] = begun + 1
        if begun == self._steps[self._reached][1] and self._reached == len(self._open) - 1:
            self._reached += 1

    def _end_item(self) -> None:
        if self._open and self._reached == len(self._open):
            raise NotFound("no value of that path")

    def _look_inside(self, view: bytes | memoryview) -> None:
        assert self._inner is not None
        self.found = self._inner.look(view)


@final
class _Inside:
    """The value of an UN element that is a sequence in implicit VR (PS3.5 §6.2.2), as `json_reader` reads it."""

    __slots__ = ("_left", "_locator", "_shift", "fresh")

    def __init__(self, steps: list[tuple[int, int]], offset: int, length: int) -> None:
        path = "/".join(f"{tag:08X}/{number}" for tag, number in steps).rpartition("/")[0]
        tag = steps[0][0]
        self._locator = Locator(IMPLICIT_VR_LITTLE_ENDIAN, path)
        self._locator.feed(_HEADER.pack(tag >> 16, tag & 0xFFFF, length))
        self._shift = offset - _HEADER.size
        self._left = length
        self.fresh = True

    def look(self, view: bytes | memoryview) -> Located | None:
        """Take the next bytes of the value; raises NotFound when it ends."""
        self.fresh = False
        part = view[: self._left]
        self._left -= len(part)
        try:
            self._locator.feed(part)
        except DataSetError:
            raise NotFound("no value of that path") from None
        found = self._locator.found
        if found is None:
            if not self._left:
                raise NotFound("no value of that path")
            return None
        return Located(found.vr, found.offset + self._shift, found.length)


def _vr_as_shown(tag: int, vr: str | None) -> str:
    """The VR that DICOM JSON gives the element."""
    known = vr_of(tag)
    if vr is None:
        return known or "UN"
    return known if vr == "UN" and known is not None and known not in BINARY_VRS else vr
