"""
The lines that `annotation=patient,technique` burns into a rendered picture (PS3.18 §8.3.5.1.1).

They are made out of the metadata by whoever has it and travel to the worker as text; without the parameter none of them
leaves the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strongroom.dicom.values import JsonElement
from strongroom.imaging.options import MAX_LINE, MAX_LINES

__all__ = ["patient_lines", "technique_lines"]

_PATIENT: Final = (("", "00100010"), ("", "00100020"), ("", "00100030"), ("", "00100040"))
_TECHNIQUE: Final = (
    ("", "00080080"),
    ("", "00080020"),
    ("", "00080060"),
    ("", "00081030"),
    ("", "0008103E"),
    ("Se ", "00200011"),
    ("Im ", "00200013"),
    ("kV ", "00180060"),
    ("mA ", "00181151"),
    ("mm ", "00180050"),
    ("TR ", "00180080"),
    ("TE ", "00180081"),
)


def patient_lines(metadata: Mapping[str, JsonElement]) -> tuple[str, ...]:
    """Name, ID, birth date and sex, as far as they are there."""
    return _lines(metadata, _PATIENT)


def technique_lines(metadata: Mapping[str, JsonElement]) -> tuple[str, ...]:
    """Where, when and how: institution, date, modality, descriptions, numbers, exposure."""
    return _lines(metadata, _TECHNIQUE)


def _lines(metadata: Mapping[str, JsonElement], wanted: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    found = ((label, _text(metadata.get(tag))) for label, tag in wanted)
    return tuple(f"{label}{text}"[:MAX_LINE] for label, text in found if text)[:MAX_LINES]


def _text(element: JsonElement | None) -> str:
    """The first value in one line; of a person's name the first group that is there."""
    values = element.get("Value") if element is not None else None
    value = values[0] if isinstance(values, list) and values else None
    if isinstance(value, dict):
        value = next((one for one in value.values() if isinstance(one, str) and one), None)
        value = value.replace("^", " ") if value is not None else None
    if value is None:
        return ""
    return "".join(one if one.isprintable() else " " for one in str(value)).strip()
