"""
Data set bytes to the DICOM JSON model: the one pass behind `json.to_json`, `decode_dataset` and `element_to_json`.

Any bytes give a dict or DataSetError; depth, elements and lengths are checked before anything is allocated (C33).
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from typing import Final, final

from strongroom.dicom import charset
from strongroom.dicom.dictionary import vr_candidates, vr_of
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.values import (
    BINARY_VRS,
    LONG_VRS,
    VRS,
    JsonElement,
    JsonValue,
    decode_binary,
    decode_values,
    tag_text,
)
from strongroom.errors import DataSetError

__all__ = ["Reader", "Scope"]

# Text and numbers longer than this become bulk data too: as JSON they would take up to ten times the room.
MAX_INLINE_VALUES: Final = 64 << 10

_UNDEFINED: Final = 0xFFFFFFFF
_DELIMITER_GROUP: Final = 0xFFFE
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UTF_8: Final = "ISO_IR 192"

# By code: the VR, and whether its length is 32 bits long.
_VR: Final = {vr.encode(): (vr, vr in LONG_VRS) for vr in VRS}
_NO_VR: Final = (b"??", b"--", b"  ", b"\0\0")
_SHORT: Final = {True: struct.Struct("<HH2sH"), False: struct.Struct(">HH2sH")}
_PLAIN: Final = {True: struct.Struct("<HHI"), False: struct.Struct(">HHI")}
_LONG: Final = {True: struct.Struct("<I"), False: struct.Struct(">I")}


@final
class Scope:
    """What holds inside one data set or item: how it is written, and what of it bears on later elements."""

    __slots__ = ("character_sets", "depth", "elements", "explicit", "little_endian", "path", "signed")

    def __init__(self, *, explicit: bool, little_endian: bool, character_sets: tuple[str, ...] = ()) -> None:
        self.explicit = explicit
        self.little_endian = little_endian
        self.character_sets = character_sets
        self.depth = 0
        self.path = ""
        self.signed: bool | None = None
        self.elements: dict[str, JsonElement] = {}

    def item(self, path: str, *, little_endian: bool) -> Scope:
        """Open an item inside; the character sets are inherited (PS3.5 §6.1.2.5.1 note, PS3.3 §C.12.1.1.2)."""
        inner = Scope(explicit=self.explicit, little_endian=little_endian, character_sets=self.character_sets)
        inner.depth = self.depth + 1
        inner.path = path
        return inner


@final
class Reader:
    """
    Read one data set; take a new one for each, because it counts the elements.

    *bulk_threshold*: binary values longer than this become a BulkDataURI, None keeps every one inline. *declare_utf_8*:
    say ISO_IR 192 in place of the Specific Character Set read, because that is what the text now is. *elided*: where in
    the data set values begin that were left out (see `skeleton`); they are bulk data.
    """

    __slots__ = ("_bulk_threshold", "_data", "_declare_utf_8", "_elided", "_limits", "_pending", "_remaining")

    def __init__(
        self,
        data: bytes,
        *,
        bulk_threshold: int | None = None,
        declare_utf_8: bool = False,
        elided: AbstractSet[int] = frozenset(),
        limits: Limits = DEFAULT,
    ) -> None:
        self._data = data
        self._elided = elided
        self._bulk_threshold = bulk_threshold
        self._declare_utf_8 = declare_utf_8
        self._limits = limits
        self._remaining = limits.max_elements
        # Elements taken as US that are SS if a Pixel Representation, which may come later or outside, says so.
        self._pending: list[tuple[dict[str, JsonElement], str, bytes, bool]] = []

    def data_set(self, at: int, stop: int, scope: Scope, *, delimited: bool = False) -> int:
        """Read elements into *scope* from *at* until *stop* or, when *delimited*, an item delimiter; return the end."""
        if scope.depth and scope.explicit and scope.little_endian and stop - at >= 8:
            self._turn_implicit(at, scope)
        header = self._explicit_header if scope.explicit else self._implicit_header
        elements, little_endian = scope.elements, scope.little_endian
        first_pending = len(self._pending)
        while at < stop:
            self._remaining -= 1
            if self._remaining < 0:
                raise self._too_many()
            if stop - at < 8:
                raise DataSetError(f"{stop - at} bytes are left at byte {at}, an element has at least 8")
            tag, vr, length, at = header(at, stop, little_endian)
            if tag >> 16 == _DELIMITER_GROUP:
                # In an item of defined length the delimiter is superfluous, and taken as its last bytes only.
                if tag == _ITEM_END and (delimited or (scope.depth and at == stop)):
                    delimited = False
                    break
                raise DataSetError(f"delimiter {tag_text(tag)} before byte {at} where an element belongs")
            if length == _UNDEFINED:
                elements[f"{tag:08X}"], at = self._undefined(tag, vr, at, stop, scope)
                continue
            end = at + length
            if end > stop:
                raise DataSetError(f"element {tag_text(tag)} has {length} bytes, {stop - at} are left at byte {at}")
            if tag & 0xFFFF:  # a group length is no part of the model (PS3.18 §F.2.2)
                elements[f"{tag:08X}"] = self.element(tag, vr, at, end, scope)
            at = end
        if delimited:
            raise DataSetError(f"an item of undefined length has no end before byte {stop}")
        if len(self._pending) > first_pending and scope.signed is not None:
            self._settle(first_pending, signed=scope.signed)
        return at

    def _turn_implicit(self, at: int, scope: Scope) -> None:
        """
        Read an item as implicit VR little endian when its first element has no letters where the VR should be.

        So it is inside UN (PS3.5 §6.2.2), and some scanners write it inside other sequences too; as `walk` decides it.
        """
        code = self._data[at + 4 : at + 6]
        group = _PLAIN[True].unpack_from(self._data, at)[0]
        if group != _DELIMITER_GROUP and not (code.isalpha() and code.isupper()):
            scope.explicit = False

    def _explicit_header(self, at: int, stop: int, little_endian: bool) -> tuple[int, str, int, int]:  # noqa: FBT001 -- one call for each element
        """Read tag, VR and length of an element in explicit VR (PS3.5 §7.1.2); return them and where its value is."""
        group, number, code, length = _SHORT[little_endian].unpack_from(self._data, at)
        tag = group << 16 | number
        known = _VR.get(code)
        at += 8
        if group == _DELIMITER_GROUP:
            return tag, "", 0, at
        if known is None:
            # A VR of a later edition has the long form (PS3.5 §6.2); what stands for no VR has a 16-bit length.
            if not (code.isalpha() and code.isupper()) and code not in _NO_VR:
                raise DataSetError(f"element {tag_text(tag)} has no VR before byte {at}")
            known = ("UN", length == 0 and code not in _NO_VR)
        if known[1]:
            if stop - at < 4:
                raise DataSetError(f"element {tag_text(tag)} is cut off in its length at byte {at}")
            return tag, known[0], _LONG[little_endian].unpack_from(self._data, at)[0], at + 4
        return tag, known[0], length, at

    def _implicit_header(self, at: int, stop: int, little_endian: bool) -> tuple[int, str, int, int]:  # noqa: ARG002, FBT001 -- as above
        """Read tag and length of an element in implicit VR (PS3.5 §7.1.3), and look up its VR."""
        group, number, length = _PLAIN[little_endian].unpack_from(self._data, at)
        tag = group << 16 | number
        vr = vr_of(tag) or "UN"
        if length == _UNDEFINED:
            vr = "OB" if tag in _PIXEL_DATA else "SQ"
        return tag, vr, length, at + 8

    def element(self, tag: int, vr: str, at: int, end: int, scope: Scope) -> JsonElement:
        """Read the value between *at* and *end*."""
        if at in self._elided:
            return {"vr": vr, "BulkDataURI": f"{scope.path}{tag:08X}"}
        if vr == "UN" and scope.explicit:
            found = self._unknown(tag, at, end, scope)
            if found is not None:
                return found
        if vr == "SQ":
            return self._sequence(at, end, scope, f"{scope.path}{tag:08X}", delimited=False)[0]
        if vr == "US" and not scope.explicit and "SS" in vr_candidates(tag):
            self._pending.append((scope.elements, f"{tag:08X}", self._data[at:end], scope.little_endian))
        return self._value(tag, vr, at, end, scope, little_endian=scope.little_endian)

    def _value(self, tag: int, vr: str, at: int, end: int, scope: Scope, *, little_endian: bool) -> JsonElement:
        threshold = self._bulk_threshold
        if vr in BINARY_VRS:
            if threshold is not None and (end - at > threshold or tag in _PIXEL_DATA):
                return {"vr": vr, "BulkDataURI": f"{scope.path}{tag:08X}"}
            if end == at:
                return {"vr": vr}
            return {"vr": vr, "InlineBinary": decode_binary(self._data[at:end], vr, little_endian=little_endian)}
        if threshold is not None and end - at > MAX_INLINE_VALUES:
            return {"vr": vr, "BulkDataURI": f"{scope.path}{tag:08X}"}
        raw = self._data[at:end]
        if tag == _CHARACTER_SET:
            scope.character_sets = charset.parse(raw)
            if self._declare_utf_8:
                return {"vr": "CS", "Value": [_UTF_8]}
        values = decode_values(raw, vr, scope.character_sets, little_endian=little_endian)
        if tag == _PIXEL_REPRESENTATION and values and isinstance(values[0], int):
            scope.signed = values[0] == 1
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _unknown(self, tag: int, at: int, end: int, scope: Scope) -> JsonElement | None:
        """
        Read an UN element whose VR the dictionary knows: some archives write it for all they did not know themselves.

        Its bytes are implicit VR little endian whatever is around them (PS3.5 §6.2.2). None: it stays UN.
        """
        vr = vr_of(tag)
        if vr is None or vr in BINARY_VRS:
            return None
        if vr != "SQ":
            if vr == "US" and "SS" in vr_candidates(tag):
                self._pending.append((scope.elements, f"{tag:08X}", self._data[at:end], True))
            return self._value(tag, vr, at, end, scope, little_endian=True)
        before = len(self._pending)
        try:
            return self._sequence(at, end, scope, f"{scope.path}{tag:08X}", delimited=False, little_endian=True)[0]
        except LimitExceeded:
            raise
        except DataSetError:
            del self._pending[before:]
            return None

    def _undefined(self, tag: int, vr: str, at: int, stop: int, scope: Scope) -> tuple[JsonElement, int]:
        """Read an element of undefined length: a sequence, or fragments of encapsulated pixel data (PS3.5 §A.4)."""
        path = f"{scope.path}{tag:08X}"
        if vr == "SQ":
            return self._sequence(at, stop, scope, path, delimited=True)
        if vr == "UN":
            return self._sequence(at, stop, scope, path, delimited=True, little_endian=True)
        if vr not in ("OB", "OW"):
            raise DataSetError(f"element {tag_text(tag)} has an undefined length at byte {at}")
        plain = _PLAIN[scope.little_endian].unpack_from
        while stop - at >= 8:
            group, number, length = plain(self._data, at)
            at += 8
            if length > stop - at:
                raise DataSetError(f"a fragment has {length} bytes, {stop - at} are left at byte {at}")
            at += length
            if (group << 16 | number) == _SEQUENCE_END:
                return {"vr": vr, "BulkDataURI": path}, at
            if (group << 16 | number) != _ITEM:
                raise DataSetError(f"element {tag_text(group << 16 | number)} among fragments before byte {at}")
        raise DataSetError(f"the fragments of {tag_text(tag)} have no end before byte {stop}")

    def _sequence(
        self, at: int, stop: int, scope: Scope, path: str, *, delimited: bool, little_endian: bool = False
    ) -> tuple[JsonElement, int]:
        """Read items until *stop* or, when *delimited*, a sequence delimiter (PS3.5 §7.5)."""
        little_endian = little_endian or scope.little_endian
        plain = _PLAIN[little_endian].unpack_from
        if scope.depth >= self._limits.max_depth:
            raise LimitExceeded("max_depth", self._limits.max_depth, scope.depth + 1)
        items: list[JsonValue] = []
        while at < stop:
            self._remaining -= 1
            if self._remaining < 0:
                raise self._too_many()
            if stop - at < 8:
                raise DataSetError(f"{stop - at} bytes are left at byte {at}, an item has at least 8")
            group, number, length = plain(self._data, at)
            at += 8
            tag = group << 16 | number
            if tag == _SEQUENCE_END and (delimited or at == stop):
                delimited = False
                break
            if tag != _ITEM:
                raise DataSetError(f"element {tag_text(tag)} before byte {at} where an item belongs")
            inner = scope.item(f"{path}/{len(items)}/", little_endian=little_endian)
            if length == _UNDEFINED:
                at = self.data_set(at, stop, inner, delimited=True)
            elif length > stop - at:
                raise DataSetError(f"an item has {length} bytes, {stop - at} are left at byte {at}")
            else:
                at = self.data_set(at, at + length, inner)
            items.append(inner.elements)
        if delimited:
            raise DataSetError(f"a sequence of undefined length has no end before byte {stop}")
        return ({"vr": "SQ", "Value": items} if items else {"vr": "SQ"}), at

    def _too_many(self) -> LimitExceeded:
        limit = self._limits.max_elements
        return LimitExceeded("max_elements", limit, limit - self._remaining)

    def _settle(self, first: int, *, signed: bool) -> None:
        """Decide between US and SS for what waited since *first* (PS3.5 §A.1; PS3.3 §C.7.6.3.1)."""
        waiting = self._pending[first:]
        del self._pending[first:]
        if not signed:
            return
        for elements, key, raw, little_endian in waiting:
            if "BulkDataURI" not in elements[key]:
                values = decode_values(raw, "SS", (), little_endian=little_endian)
                elements[key] = {"vr": "SS", "Value": values} if values else {"vr": "SS"}
            else:
                elements[key]["vr"] = "SS"
