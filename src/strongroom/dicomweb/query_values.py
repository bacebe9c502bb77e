"""
The values of a match parameter: taken apart, and checked for the form of their VR (PS3.5 §6.2, PS3.4 §C.2.2.2).

A value of nothing but asterisks is universal for every VR. What is refused is named by its parameter alone.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.dicom.json import JsonValue
from strongroom.dicomweb.problems import HttpProblem

__all__ = ["values_of"]

MAX_VALUE_BYTES: Final = 4_096
"""Bytes of a parameter's value, lists of UIDs apart."""
MAX_UIDS: Final = 1_000
"""UIDs in one list: what a request line holds."""

_NONE: Final = '""'
"""What stands for no value in empty value matching (PS3.4 C.2.2.2.7)."""
_LITERAL: Final = frozenset({"LT", "ST", "UT", "UR"})
"""VRs of one value, in which a backslash is a character."""
_SIGNED: Final = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_HOUR, _MINUTE, _SECOND = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]", r"(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?"
_DATE = f"[0-9]{{4}}{_MONTH}{_DAY}"
_TIME = f"{_HOUR}(?:{_MINUTE}(?:{_SECOND})?)?"
_DATETIME = f"[0-9]{{4}}(?:{_MONTH}(?:{_DAY}(?:{_TIME})?)?)?(?:[+-](?:0[0-9]|1[0-4])[0-5][0-9])?"
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,32}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:[Ee][+-]?[0-9]{1,3})?")


def _ranges(one: str) -> re.Pattern[str]:
    return re.compile(f"{one}(?:-(?:{one})?)?|-{one}")


_FORMS: Final = {
    "AS": re.compile("[0-9]{3}[DWMY]"),
    "DA": _ranges(_DATE),
    "TM": _ranges(_TIME),
    "DT": _ranges(_DATETIME),
    "DS": _FLOAT,
    "FD": _FLOAT,
    "FL": _FLOAT,
    "UI": re.compile(r"[0-9.]{1,64}"),
    **dict.fromkeys(_SIGNED, re.compile("[+-]?[0-9]{1,20}")),
}
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def values_of(name: str, vr: str, text: str) -> list[JsonValue]:
    """
    Return the values in *text*, none when it is universal. Two quotation marks are let through whatever the VR: what
    they mean is said by another parameter.

    Raises HttpProblem (400) that names the parameter *name*.
    """
    if not text.strip("* "):
        return []
    if vr == "SQ":
        raise HttpProblem(400, f"{name} is a sequence: a search names an attribute in it.")
    if vr != "UI" and len(text.encode("utf-8", "replace")) > MAX_VALUE_BYTES:
        raise HttpProblem(400, f"{name} has a value of more than {MAX_VALUE_BYTES} bytes.")
    if text == _NONE:
        return [{"Alphabetic": text}] if vr == "PN" else [text]
    values = [value for value in (part.strip(" ") for part in _parts(vr, text)) if value]
    if len(values) > MAX_UIDS:
        raise HttpProblem(400, f"{name} has {len(values)} values, the limit is {MAX_UIDS}.")
    form = _FORMS.get(vr)
    for value in values:
        if _UNPRINTABLE.search(value) or (form is not None and not form.fullmatch(value) and value.strip("*")):
            raise HttpProblem(400, f"{name} has a value that is none of VR {vr}.")
    return [_named(value) for value in values] if vr == "PN" else list(values)


def _parts(vr: str, text: str) -> list[str]:
    if vr in _LITERAL:
        return [text]
    if vr in ("UI", "CS"):  # no comma can be in either
        text = text.replace(",", "\\")
    return text.split("\\")


def _named(value: str) -> JsonValue:
    groups = zip(_GROUPS, value.split("=", 2), strict=False)
    return {group: part for group, part in groups if part}
