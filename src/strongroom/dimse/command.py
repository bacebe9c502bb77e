"""
The command set: group 0000 in implicit VR little endian, whatever was negotiated (PS3.7 §6.3, §9.3, Annex E.1).

The rule of this file: every length is compared with what is there before a byte is taken, and whatever comes in gives a
dictionary or RemoteProtocolError, nothing else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from enum import Enum
from typing import Final

from strongroom.errors import LocalProtocolError, RemoteProtocolError

Value = int | str | tuple[int, ...]

#: A command set of the standard stays under 1 KiB; attribute lists (AT) are the only thing that can grow.
MAX_COMMAND_LENGTH: Final = 64 * 1024

#: Command Data Set Type (0000,0800): this value says that no data set follows, every other that one does (PS3.7 §9.3).
NO_DATA_SET: Final = 0x0101
DATA_SET_FOLLOWS: Final = 0x0001


class Kind(Enum):
    """The value representations that a command set uses."""

    UI = "UI"
    US = "US"
    UL = "UL"
    AE = "AE"
    LO = "LO"
    AT = "AT"


#: Element number in group 0000 -> our field name and VR (PS3.7 Annex E.1). Retired elements (E.2) are passed over.
ELEMENTS: Final[dict[int, tuple[str, Kind]]] = {
    0x0000: ("command_group_length", Kind.UL),
    0x0002: ("affected_sop_class_uid", Kind.UI),
    0x0003: ("requested_sop_class_uid", Kind.UI),
    0x0100: ("command_field", Kind.US),
    0x0110: ("message_id", Kind.US),
    0x0120: ("message_id_being_responded_to", Kind.US),
    0x0600: ("move_destination", Kind.AE),
    0x0700: ("priority", Kind.US),
    0x0800: ("command_data_set_type", Kind.US),
    0x0900: ("status", Kind.US),
    0x0901: ("offending_element", Kind.AT),
    0x0902: ("error_comment", Kind.LO),
    0x0903: ("error_id", Kind.US),
    0x1000: ("affected_sop_instance_uid", Kind.UI),
    0x1001: ("requested_sop_instance_uid", Kind.UI),
    0x1002: ("event_type_id", Kind.US),
    0x1005: ("attribute_identifier_list", Kind.AT),
    0x1008: ("action_type_id", Kind.US),
    0x1020: ("number_of_remaining_suboperations", Kind.US),
    0x1021: ("number_of_completed_suboperations", Kind.US),
    0x1022: ("number_of_failed_suboperations", Kind.US),
    0x1023: ("number_of_warning_suboperations", Kind.US),
    0x1030: ("move_originator_application_entity_title", Kind.AE),
    0x1031: ("move_originator_message_id", Kind.US),
}
NUMBERS: Final[dict[str, int]] = {name: number for number, (name, _) in ELEMENTS.items()}

_HEADER = struct.Struct("<HHL")
_US = struct.Struct("<H")
_UL = struct.Struct("<L")
_GROUP_LENGTH = struct.Struct("<HHLL")
_LONGEST: Final = {Kind.UI: 64, Kind.AE: 16, Kind.LO: 64}
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def decode(data: bytes | bytearray | memoryview) -> dict[str, Value]:
    """
    Decode a whole command set into field name -> value; absent and empty elements are left out.

    The group length is not believed and the order of the elements not insisted on: both are wrong in real devices, and
    neither decides anything here. An element of another group, one that stands twice or one of a wrong size is refused.
    """
    values: dict[str, Value] = {}
    seen: set[int] = set()
    view = memoryview(data)
    total = len(view)
    if total > MAX_COMMAND_LENGTH:
        raise RemoteProtocolError(f"command set of {total} bytes, the limit is {MAX_COMMAND_LENGTH}")
    position = 0
    while position < total:
        if total - position < _HEADER.size:
            raise RemoteProtocolError(f"command set ends inside an element header at byte {position} of {total}")
        group, number, length = _HEADER.unpack_from(view, position)
        position += _HEADER.size
        if group != 0:
            raise RemoteProtocolError(f"element of group {group:04x} in a command set (PS3.7 6.3.1)")
        if number in seen:
            raise RemoteProtocolError(f"element 0000,{number:04x} stands twice in a command set")
        seen.add(number)
        if length > total - position:
            raise RemoteProtocolError(f"element 0000,{number:04x} of {length} bytes, {total - position} are left")
        known = ELEMENTS.get(number)
        if known is not None and length:
            name, kind = known
            values[name] = _decode_value(number, kind, view[position : position + length])
        position += length
    return values


def _decode_value(number: int, kind: Kind, raw: memoryview) -> Value:
    """Decode one non-empty value."""
    if kind is Kind.US:
        if len(raw) != _US.size:
            raise RemoteProtocolError(f"element 0000,{number:04x} has {len(raw)} bytes instead of 2")
        value: int = _US.unpack(raw)[0]
        return value
    if kind is Kind.UL:
        if len(raw) != _UL.size:
            raise RemoteProtocolError(f"element 0000,{number:04x} has {len(raw)} bytes instead of 4")
        long: int = _UL.unpack(raw)[0]
        return long
    if kind is Kind.AT:
        if len(raw) % 4:
            raise RemoteProtocolError(f"element 0000,{number:04x} has {len(raw)} bytes, not a multiple of 4")
        return tuple((group << 16) | element for group, element in struct.iter_unpack("<HH", raw))
    text = bytes(raw).decode("latin-1").rstrip("\0 ")
    if kind is not Kind.UI:
        text = text.lstrip(" ")
    # Longer text than the standard has is cut, not refused: nothing we look up is that long, so it finds nothing.
    # Control characters and the rest outside ASCII never travel on: these values end up in logs and in the trail.
    return _UNPRINTABLE.sub("?", text[: _LONGEST[kind] + 1])


def encode(values: Iterable[tuple[int, Value]]) -> bytes:
    """
    Encode (element number, value) pairs, which must ascend, with the group length in front.

    Raises LocalProtocolError for a value that its representation cannot hold.
    """
    parts: list[bytes] = []
    last = 0
    for number, value in values:
        if number <= last:
            raise LocalProtocolError(f"element 0000,{number:04x} out of order")
        last = number
        raw = _encode_value(number, value)
        parts.append(_HEADER.pack(0, number, len(raw)) + raw)
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _encode_value(number: int, value: Value) -> bytes:
    """Encode one value, padded to an even length (PS3.5 §6.2)."""
    name, kind = ELEMENTS[number]
    if isinstance(value, int):
        if kind is not Kind.US or not 0 <= value <= 0xFFFF:
            raise LocalProtocolError(f"{name} cannot hold the number {value}")
        return _US.pack(value)
    if isinstance(value, tuple):
        if kind is not Kind.AT:
            raise LocalProtocolError(f"{name} cannot hold a list of tags")
        return b"".join(_US.pack(tag >> 16) + _US.pack(tag & 0xFFFF) for tag in value)
    limit = _LONGEST.get(kind)
    if limit is None or len(value) > limit or _UNPRINTABLE.search(value):
        raise LocalProtocolError(f"{name} cannot hold this text of {len(value)} characters")
    raw = value.encode("ascii")
    if len(raw) % 2:
        raw += b"\0" if kind is Kind.UI else b" "
    return raw
