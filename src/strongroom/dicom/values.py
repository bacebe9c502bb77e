"""
Values of one data element: bytes (PS3.5 §6.2) to DICOM JSON values (PS3.18 Table F.2.3-1) and back.

Decoding never fails: a number that cannot be read stays the text it was, bytes beyond the last whole word are dropped.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Sequence
from typing import Final, Required, TypeAlias, TypedDict

from strongroom.dicom import charset
from strongroom.errors import DataSetError

__all__ = [
    "BINARY_VRS",
    "LONG_VRS",
    "VRS",
    "JsonElement",
    "JsonValue",
    "decode_binary",
    "decode_values",
    "encode_element",
    "tag_text",
]

JsonValue: TypeAlias = "str | int | float | dict[str, str] | dict[str, JsonElement] | None"


class JsonElement(TypedDict, total=False):
    """One data element of the DICOM JSON model (PS3.18 §F.2.2): its VR and one of three forms of content, or none."""

    vr: Required[str]
    Value: list[JsonValue]
    InlineBinary: str
    BulkDataURI: str


VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW"}
    | {"PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV"}
)
# A 32-bit length after two reserved bytes in explicit VR (PS3.5 Table 7.1-1).
LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
# Shown as InlineBinary or bulk data; the word size tells what to swap in big endian.
BINARY_VRS: Final = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

_NUMBERS: Final = {
    "US": ("H", 2),
    "SS": ("h", 2),
    "UL": ("I", 4),
    "SL": ("i", 4),
    "UV": ("Q", 8),
    "SV": ("q", 8),
    "FL": ("f", 4),
    "FD": ("d", 8),
}
_SINGLE_TEXT: Final = frozenset({"ST", "LT", "UT", "UR"})
_MULTI_TEXT: Final = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"})
_CHARSET_VRS: Final = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_MAX_DS_LENGTH: Final = 16  # PS3.5 Table 6.2-1
_MAX_IS_DIGITS: Final = 12
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def tag_text(tag: int) -> str:
    """Write a tag as (gggg,eeee) for an error message."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


# ------------------------------------------------------------------------------------------------------------ decoding


def decode_values(raw: bytes, vr: str, character_sets: tuple[str, ...], *, little_endian: bool) -> list[JsonValue]:
    """Decode the bytes of any element but a sequence or one of BINARY_VRS; empty when it has no value."""
    decoder = _DECODERS.get(vr)
    if decoder is not None:
        return decoder(raw, vr, character_sets)
    if vr in _NUMBERS:
        return _decode_numbers(raw, vr, little_endian=little_endian)
    return _decode_tags(raw, little_endian=little_endian)


def _decode_multi(raw: bytes, vr: str, character_sets: tuple[str, ...]) -> list[JsonValue]:
    text = charset.decode(raw, vr, character_sets)
    if "\\" in text:
        return [value.strip(" ") or None for value in text.split("\\")]
    text = text.strip(" ")
    return [text] if text else []


def _decode_single(raw: bytes, vr: str, character_sets: tuple[str, ...]) -> list[JsonValue]:
    text = charset.decode(raw, vr, character_sets)
    return [text] if text else []


def _decode_person_names(raw: bytes, vr: str, character_sets: tuple[str, ...]) -> list[JsonValue]:
    text = charset.decode(raw, vr, character_sets)
    if not text:
        return []
    if "\\" in text:
        return [charset.split_person_name(value.strip(" ")) or None for value in text.split("\\")]
    groups = charset.split_person_name(text.strip(" "))
    return [groups] if groups else []


def _decode_decimals(raw: bytes, _vr: str, character_sets: tuple[str, ...]) -> list[JsonValue]:
    if b"\\" in raw:
        return [_decimal(part, character_sets) for part in raw.split(b"\\")]
    value = _decimal(raw, character_sets)
    return [] if value is None else [value]


def _decimal(raw: bytes, character_sets: tuple[str, ...]) -> JsonValue:
    try:
        number = float(raw)
    except ValueError:
        raw = raw.rstrip(b"\0 ")
        try:
            number = float(raw)
        except ValueError:
            return charset.decode(raw, "DS", character_sets).strip(" ") or None
    # float() also takes nan, infinity, 1_000 and what overflows: none of these is a JSON number of that value.
    if number - number != 0.0 or b"_" in raw:
        return charset.decode(raw, "DS", character_sets).strip(" ")
    return number


def _decode_integers(raw: bytes, _vr: str, character_sets: tuple[str, ...]) -> list[JsonValue]:
    if b"\\" in raw:
        return [_integer(part, character_sets) for part in raw.split(b"\\")]
    value = _integer(raw, character_sets)
    return [] if value is None else [value]


def _integer(raw: bytes, character_sets: tuple[str, ...]) -> JsonValue:
    raw = raw.strip(b"\0 ")
    if len(raw) <= _MAX_IS_DIGITS and b"_" not in raw:
        try:
            return int(raw)
        except ValueError:
            pass
    return charset.decode(raw, "IS", character_sets) or None


def _decode_numbers(raw: bytes, vr: str, *, little_endian: bool) -> list[JsonValue]:
    code, size = _NUMBERS[vr]
    count = len(raw) // size
    if len(raw) % size:
        raw = raw[: count * size]
    values: list[JsonValue] = list(struct.unpack(f"{'<' if little_endian else '>'}{count}{code}", raw))
    if code in "fd":
        return [_finite(value) for value in values]
    return values


def _finite(value: JsonValue) -> JsonValue:
    """Write what is no JSON number as the names JavaScript and the other archives use."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_tags(raw: bytes, *, little_endian: bool) -> list[JsonValue]:
    count = len(raw) // 4
    words = struct.unpack(f"{'<' if little_endian else '>'}{2 * count}H", raw[: count * 4])
    return [f"{words[at]:04X}{words[at + 1]:04X}" for at in range(0, 2 * count, 2)]


_DECODERS: Final[dict[str, Callable[[bytes, str, tuple[str, ...]], list[JsonValue]]]] = {
    **dict.fromkeys(_MULTI_TEXT, _decode_multi),
    **dict.fromkeys(_SINGLE_TEXT, _decode_single),
    "PN": _decode_person_names,
    "DS": _decode_decimals,
    "IS": _decode_integers,
}


def decode_binary(raw: bytes, vr: str, *, little_endian: bool) -> str:
    """Write the bytes of one of BINARY_VRS in Base64, words in little endian (PS3.18 §F.2.7)."""
    return base64.b64encode(raw if little_endian else _swap(raw, BINARY_VRS[vr])).decode("ascii")


def _swap(raw: bytes, size: int) -> bytes:
    """Turn around the bytes of each word."""
    if size == 1:
        return raw
    whole = len(raw) // size * size
    swapped = bytearray(raw)
    for at in range(size):
        swapped[at:whole:size] = raw[size - 1 - at : whole : size]
    return bytes(swapped)


# ------------------------------------------------------------------------------------------------------------ encoding


def encode_element(
    tag: int, element: JsonElement, vr: str, character_sets: tuple[str, ...], *, little_endian: bool
) -> bytes:
    """
    Encode the content of any element but a sequence, padded to even length (PS3.5 §6.2).

    Raises DataSetError when the content is not what the VR allows, or is bulk data that is somewhere else.
    """
    if "BulkDataURI" in element:
        raise DataSetError(f"element {tag_text(tag)} refers to bulk data, there are no bytes to encode")
    try:
        if vr in BINARY_VRS:
            return _encode_binary(element, vr, little_endian=little_endian)
        return _encode_values(element.get("Value", []), vr, character_sets, little_endian=little_endian)
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error, binascii.Error) as error:
        raise DataSetError(f"element {tag_text(tag)} has a value its VR does not allow") from error


def _encode_values(values: list[JsonValue], vr: str, character_sets: tuple[str, ...], *, little_endian: bool) -> bytes:
    if not isinstance(values, list):
        raise TypeError("not a list of values")
    if not values:
        return b""
    if vr in _NUMBERS:
        return _encode_numbers(values, vr, little_endian=little_endian)
    if vr == "AT":
        return _encode_tags(values, little_endian=little_endian)
    return _encode_text(values, vr, character_sets)


def _encode_binary(element: JsonElement, vr: str, *, little_endian: bool) -> bytes:
    raw = base64.b64decode(element.get("InlineBinary", ""), validate=True)
    if not little_endian:
        raw = _swap(raw, BINARY_VRS[vr])
    return raw + b"\0" if len(raw) & 1 else raw


def _encode_numbers(values: Sequence[JsonValue], vr: str, *, little_endian: bool) -> bytes:
    code, _ = _NUMBERS[vr]
    order = "<" if little_endian else ">"
    if code in "fd":
        floats = [_NOT_FINITE[v] if isinstance(v, str) and v in _NOT_FINITE else _number(v, float) for v in values]
        return struct.pack(f"{order}{len(floats)}{code}", *floats)
    return struct.pack(f"{order}{len(values)}{code}", *(_number(value, int) for value in values))


def _number(value: JsonValue, kind: type[int | float]) -> float:
    """Take a number, or a string of one (PS3.18 Table F.2.3-1 allows it for SV and UV)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not a number")
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError("not an integer")
    return kind(value)


def _encode_tags(values: Sequence[JsonValue], *, little_endian: bool) -> bytes:
    words: list[int] = []
    for value in values:
        if not isinstance(value, str) or len(value) != 8:
            raise ValueError("not a tag")
        number = int(value, 16)
        words += (number >> 16, number & 0xFFFF)
    return struct.pack(f"{'<' if little_endian else '>'}{len(words)}H", *words)


def _encode_text(values: Sequence[JsonValue], vr: str, character_sets: tuple[str, ...]) -> bytes:
    text = "\\".join([_text(value, vr) for value in values])
    if text.isascii():
        raw = text.encode("ascii")
    elif vr in _CHARSET_VRS:
        raw = charset.encode(text, character_sets)
    else:
        raw = text.encode("ascii", "replace")
    if len(raw) & 1:
        raw += b"\0" if vr == "UI" else b" "
    return raw


def _text(value: JsonValue, vr: str) -> str:
    """Write one value as text; a value must not contain the delimiter of values."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = value
    elif vr == "PN" and isinstance(value, dict):
        text = charset.join_person_name(value)  # type: ignore[arg-type] # groups that are not text raise TypeError
    elif vr == "DS":
        text = _decimal_text(value)
    elif vr == "IS":
        text = str(int(_number(value, int)))
    else:
        raise TypeError("not a text")
    if "\\" in text and vr not in _SINGLE_TEXT:
        raise ValueError("a delimiter inside a value")
    return text


def _decimal_text(value: JsonValue) -> str:
    """Write a number as DS: at most 16 characters, so with as many digits as have room."""
    number = _number(value, float)
    if not math.isfinite(number):
        raise ValueError("not finite")
    text = str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    digits = 15
    while len(text) > _MAX_DS_LENGTH:
        text = f"{number:.{digits}g}"
        digits -= 1
    return text
