"""The DICOM JSON model to data set bytes: query answers, and identifiers sent to others (PS3.5 Chapter 7)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, final

from strongroom.dicom.limits import DEFAULT, LimitExceeded
from strongroom.dicom.values import LONG_VRS, VRS, JsonElement, encode_element, tag_text
from strongroom.errors import DataSetError

__all__ = ["Writer"]

_CHARACTER_SET_KEY: Final = "00080005"
_LENGTH: Final = {
    (True, 2): struct.Struct("<H"),
    (True, 4): struct.Struct("<I"),
    (False, 2): struct.Struct(">H"),
    (False, 4): struct.Struct(">I"),
}


@lru_cache(maxsize=4096)
def _prefix(key: str, vr: str, explicit: bool, little_endian: bool) -> tuple[int, bytes, int]:  # noqa: FBT001 -- cached by position
    """Return tag, the bytes before the length, and how many bytes the length has."""
    if vr not in VRS or len(key) != 8 or not (key.isascii() and key.isalnum()):
        raise DataSetError("an element has no valid tag or VR")
    try:
        tag = int(key, 16)
    except ValueError:
        raise DataSetError("an element has no valid tag") from None
    order = "<" if little_endian else ">"
    if not explicit:
        return tag, struct.pack(order + "HH", tag >> 16, tag & 0xFFFF), 4
    if vr in LONG_VRS:
        return tag, struct.pack(order + "HH2s2x", tag >> 16, tag & 0xFFFF, vr.encode()), 4
    return tag, struct.pack(order + "HH2s", tag >> 16, tag & 0xFFFF, vr.encode()), 2


@final
class Writer:
    """Write one data set in one native transfer syntax and one list of character sets."""

    __slots__ = ("_character_sets", "_explicit", "_little_endian", "extended")

    def __init__(self, *, explicit: bool, little_endian: bool, character_sets: tuple[str, ...]) -> None:
        self._explicit = explicit
        self._little_endian = little_endian
        self._character_sets = character_sets
        self.extended = False  # whether a byte beyond ASCII was written into a text

    def data_set(self, elements: dict[str, JsonElement], depth: int = 0) -> bytes:
        """Encode the elements in the order of their tags, without group lengths and without Specific Character Set."""
        if depth > DEFAULT.max_depth:
            raise LimitExceeded("max_depth", DEFAULT.max_depth, depth)
        out: list[bytes] = []
        explicit, little_endian = self._explicit, self._little_endian
        for key in sorted(elements):
            if key == _CHARACTER_SET_KEY or key[4:] == "0000":
                continue
            element = elements[key]
            try:
                vr = element["vr"]
                tag, prefix, size = _prefix(key, vr, explicit, little_endian)
            except (KeyError, TypeError) as error:
                raise DataSetError("an element is no object with a VR") from error
            if vr == "SQ":
                raw = self._sequence(tag, element, depth)
            else:
                raw = encode_element(tag, element, vr, self._character_sets, little_endian=little_endian)
                if not self.extended and vr in _CHARSET_VRS and (not raw.isascii() or b"\x1b" in raw):
                    self.extended = True
            out.append(self.element(tag, prefix, size, raw))
        return b"".join(out)

    def element(self, tag: int, prefix: bytes, size: int, raw: bytes) -> bytes:
        """Put prefix, length and value together."""
        if len(raw) > (0xFFFE if size == 2 else 0xFFFFFFFE):
            raise DataSetError(f"element {tag_text(tag)} has {len(raw)} bytes, its length field has {size}")
        return prefix + _LENGTH[self._little_endian, size].pack(len(raw)) + raw

    def character_set(self, terms: tuple[str, ...]) -> bytes:
        """Encode Specific Character Set (0008,0005)."""
        raw = "\\".join(terms).encode("ascii", "replace")
        tag, prefix, size = _prefix(_CHARACTER_SET_KEY, "CS", self._explicit, self._little_endian)
        return self.element(tag, prefix, size, raw + b" " if len(raw) & 1 else raw)

    def _sequence(self, tag: int, element: JsonElement, depth: int) -> bytes:
        """Encode items of defined length (PS3.5 §7.5.2)."""
        order = "<" if self._little_endian else ">"
        out: list[bytes] = []
        items = element.get("Value", [])
        if not isinstance(items, list):
            raise DataSetError(f"element {tag_text(tag)} has no list of items")
        for item in items:
            if item is not None and not isinstance(item, dict):
                raise DataSetError(f"element {tag_text(tag)} has an item that is no data set")
            raw = self.data_set(item or {}, depth + 1)  # type: ignore[arg-type] # checked element by element
            out.append(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(raw)) + raw)
        return b"".join(out)


_CHARSET_VRS: Final = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
