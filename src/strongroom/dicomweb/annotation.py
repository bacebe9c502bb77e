"""Lines that are burnt into a picture when a client asks for them (PS3.18 §8.3.5.1.1): patient, technique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from strongroom.dicom.json import JsonElement

__all__ = ["patient", "technique"]

MAX_CHARACTERS: Final = 64
"""Of one line: longer ones would be too small to be read."""

_TECHNIQUE: Final = (
    ("", "00080060"),
    ("", "0008103E"),
    ("", "00181030"),
    ("kVp", "00180060"),
    ("mA", "00181151"),
    ("mAs", "00181152"),
    ("mm", "00180050"),
    ("TR", "00180080"),
    ("TE", "00180081"),
)


def patient(elements: Mapping[str, JsonElement]) -> tuple[str, ...]:
    """Who it is, and which study and image."""
    born, sex = _text(elements, "00100030"), _text(elements, "00100040")
    when = " ".join(filter(None, (_text(elements, "00080020"), _text(elements, "00081030"))))
    place = " / ".join(filter(None, (_text(elements, "00200011"), _text(elements, "00200013"))))
    lines = (_text(elements, "00100010"), _text(elements, "00100020"), " ".join(filter(None, (born, sex))), when, place)
    return tuple(line[:MAX_CHARACTERS] for line in lines if line)


def technique(elements: Mapping[str, JsonElement]) -> tuple[str, ...]:
    """How it was made."""
    return tuple(line[:MAX_CHARACTERS] for line in _technique(elements))


def _technique(elements: Mapping[str, JsonElement]) -> Iterator[str]:
    for unit, tag in _TECHNIQUE:
        text = _text(elements, tag)
        if text:
            yield f"{text} {unit}".strip()


def _text(elements: Mapping[str, JsonElement], tag: str) -> str:
    """The first value as people write it; a name without its carets."""
    value = (elements.get(tag) or {"vr": "LO"}).get("Value") or [""]
    first = value[0]
    if isinstance(first, dict):
        first = str(first.get("Alphabetic") or first.get("Ideographic") or "").replace("^", " ")
    text = "" if first is None else str(first)
    return "".join(character for character in text if character.isprintable()).strip()
