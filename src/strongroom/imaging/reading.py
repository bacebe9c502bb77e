"""Values out of the DICOM JSON model that may be anything: a wrong one counts as absent."""

from __future__ import annotations

import base64
import binascii
import math
import re
from array import array
from collections.abc import Mapping
from typing import Final, cast

from strongroom.dicom.values import JsonElement

__all__ = ["binary", "integer", "integers", "item", "items", "real", "reals", "text"]

_WHOLE: Final = re.compile(r" *[+-]?[0-9]{1,12} *")
_EXACT: Final = 1 << 53  # beyond, a JSON number is not exact
_NUMBERS_AT_MOST: Final = 65_536  # entries of a lookup table (PS3.3 §C.11.1.1)


def _values(metadata: Mapping[str, JsonElement], tag: str) -> list[object]:
    element = metadata.get(tag)
    values = element.get("Value") if element is not None else None
    return list(values[:_NUMBERS_AT_MOST]) if isinstance(values, list) else []


def integers(metadata: Mapping[str, JsonElement], tag: str) -> list[int]:
    """The whole numbers of an element; nothing at all when one of them is none."""
    found = []
    for value in _values(metadata, tag):
        if (isinstance(value, str) and _WHOLE.fullmatch(value)) or (
            isinstance(value, int | float) and abs(value) <= _EXACT and value == int(value)
        ):
            found.append(int(value))
        else:
            return []
    return found


def integer(metadata: Mapping[str, JsonElement], tag: str, default: int) -> int:
    """The first whole number of an element."""
    found = integers(metadata, tag)
    return found[0] if found else default


def reals(metadata: Mapping[str, JsonElement], tag: str) -> list[float]:
    """The numbers of an element that are finite; nothing at all when one is none."""
    found = []
    for value in _values(metadata, tag):
        try:
            number = float(value) if isinstance(value, int | float | str) else math.nan
        except (ValueError, OverflowError):
            return []
        if not math.isfinite(number):
            return []
        found.append(number)
    return found


def real(metadata: Mapping[str, JsonElement], tag: str, default: float) -> float:
    """The first number of an element."""
    found = reals(metadata, tag)
    return found[0] if found else default


def text(metadata: Mapping[str, JsonElement], tag: str) -> str:
    """The first text of an element, without blanks."""
    values = _values(metadata, tag)
    return values[0].strip() if values and isinstance(values[0], str) else ""


def items(metadata: Mapping[str, JsonElement], tag: str) -> list[Mapping[str, JsonElement]]:
    """The items of a sequence."""
    # an item is told from a person name's groups by the VR of its element
    return [cast("Mapping[str, JsonElement]", one) for one in _values(metadata, tag) if isinstance(one, dict)]


def item(metadata: Mapping[str, JsonElement], tag: str, number: int = 0) -> Mapping[str, JsonElement]:
    """One item of a sequence, empty when it is not there."""
    element = metadata.get(tag)
    values = element.get("Value") if element is not None else None
    found = values[number] if isinstance(values, list) and 0 <= number < len(values) else None
    return cast("Mapping[str, JsonElement]", found) if isinstance(found, dict) else {}


def binary(
    metadata: Mapping[str, JsonElement], tag: str, bulk: Mapping[str, bytes], *, little_endian: bool, words: bool = True
) -> bytes | None:
    """
    The bytes of a value, words little endian; None when it is absent or among the bulk data that was not given.

    Inline values are little endian already (PS3.18 §F.2.7); those in *bulk* are as they stand in the data set.
    """
    element = metadata.get(tag)
    if element is None:
        return None
    if "InlineBinary" in element:
        try:
            return base64.b64decode(element["InlineBinary"], validate=True)
        except (binascii.Error, ValueError):
            return None
    if "BulkDataURI" in element:
        given = bulk.get(element["BulkDataURI"])
        if given is None or little_endian or not words or element["vr"] not in ("OW", "US", "SS"):
            return given
        swapped = array("H", given[: len(given) // 2 * 2])
        swapped.byteswap()
        return swapped.tobytes()
    numbers = integers(metadata, tag)
    if not numbers or not all(-32_768 <= number <= 65_535 for number in numbers):
        return None
    return b"".join((number & 0xFFFF).to_bytes(2, "little") for number in numbers)
