"""
Search forms: what a value becomes before it is compared, on the way into the index and on the way out of a query.

Person names are compared without case and width, dates and times as fixed-length digits so that a range is a
comparison of texts (PS3.4 C.2.2.2.1, C.2.2.2.5; PS3.5 §6.2). Pure; the same functions serve both sides, which is what
makes them agree.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

__all__ = ["UNREADABLE", "fold", "fold_name", "folded_vr", "name_groups", "range_of", "span"]

Span = tuple[str, str]
"""The earliest and the latest instant a date or time of limited precision stands for, as comparable texts."""

UNREADABLE: Final = "?"
"""In front of a date or time that is none. It sorts behind every digit, so no range can contain it."""

_FOLDED: Final = frozenset({"PN", "DA", "TM", "DT", "SQ"})
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})")  # with points: ACR-NEMA 300, still met (PS3.5 §6.2, DA)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATETIME = re.compile(r"(\d{4})((?:\d{2}){0,5})(?:\.(\d{1,6}))?(?:([+-])(\d{2})(\d{2}))?")
_OPEN: Final[Mapping[str, Span]] = {
    "DA": ("00000000", "99999999"),
    "TM": ("000000.000000", "999999.999999"),
    "DT": ("00000000000000.000000", "99999999999999.999999"),
}


def folded_vr(vr: str) -> bool:
    """Tell whether values of *vr* are searched in their folded form; all others are searched as they are answered."""
    return vr in _FOLDED


def fold_name(group: str) -> str:
    """
    Fold one component group of a person name: case and width do not matter, nor spaces around a component or trailing
    empty components (PS3.5 §6.2.1.1).
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", group).casefold())
    return "^".join(part.strip() for part in folded.split("^")).rstrip("^")


def name_groups(value: object) -> tuple[str, str, str]:
    """Return alphabetic, ideographic and phonetic group of a PN value of DICOM JSON (PS3.18 F.2.2), not folded."""
    if isinstance(value, Mapping):
        return (
            str(value.get("Alphabetic") or ""),
            str(value.get("Ideographic") or ""),
            str(value.get("Phonetic") or ""),
        )
    groups = [*("" if value is None else str(value)).split("=", 2), "", ""]
    return groups[0], groups[1], groups[2]


def span(vr: str, text: str) -> Span | None:
    """Return what instants the DA, TM or DT *text* stands for; None when it is not one."""
    text = text.strip()
    if vr == "DA":
        found = _DATE.fullmatch(text)
        return None if found is None else ((day := found[1] + found[3] + found[4]), day)
    if vr == "TM":
        found = _TIME.fullmatch(text)
        return None if found is None else _time_span(found)
    return _datetime_span(text)


def range_of(vr: str, text: str) -> Span | None:
    """
    Return the range a key of VR DA, TM or DT asks for (PS3.4 C.2.2.2.5); a single value is the range it stands for.

    In a DT a hyphen also begins an offset from UTC: it is read as one where it can be one (at most 14 hours, and no
    year before 1400 is asked for).
    """
    single = span(vr, text)
    if single is not None:
        return single
    for at, character in enumerate(text):
        if character != "-":
            continue
        before, after = text[:at].strip(), text[at + 1 :].strip()
        low = span(vr, before) if before else _OPEN[vr]
        high = span(vr, after) if after else _OPEN[vr]
        if low is not None and high is not None and (before or after):
            return low[0], high[1]
    return None


def fold(attributes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Fold those of *attributes* (DICOM JSON) whose VR is searched folded."""
    folded: dict[str, list[Any]] = {}
    for tag, element in attributes.items():
        vr = element["vr"]
        if vr in _FOLDED:
            values = element.get("Value")
            if values:
                folded[tag] = _fold_values(vr, values)
    return folded


def _fold_values(vr: str, values: Sequence[Any]) -> list[Any]:
    if vr == "SQ":
        return [_fold_item(item or {}) for item in values]
    if vr == "PN":
        return [[fold_name(group) for group in name_groups(value)] for value in values]
    return [_fold_instant(vr, value) for value in values]


def _fold_item(item: Mapping[str, Any]) -> dict[str, list[Any]]:
    """An item of a sequence keeps all its elements, so that it is matched in one place."""
    folded: dict[str, list[Any]] = {}
    for tag, element in item.items():
        values = element.get("Value")
        if values:
            vr = element["vr"]
            folded[tag] = _fold_values(vr, values) if vr in _FOLDED else list(values)
    return folded


def _fold_instant(vr: str, value: object) -> str:
    text = "" if value is None else str(value)
    found = span(vr, text)
    return UNREADABLE + text.strip() if found is None else found[0]


def _time_span(found: re.Match[str]) -> Span:
    hours, minutes, seconds, fraction = found.groups()
    low = f"{hours}{minutes or '00'}{seconds or '00'}.{(fraction or '').ljust(6, '0')}"
    high = f"{hours}{minutes or '59'}{seconds or '59'}.{(fraction or '').ljust(6, '9')}"
    return low, high


def _datetime_span(text: str) -> Span | None:
    """A DT without offset stays as it is, one with an offset is moved to UTC (PS3.5 §6.2, DT)."""
    found = _DATETIME.fullmatch(text)
    if found is None or (found[3] and len(found[2]) < 10):
        return None
    year, rest, fraction, sign, hours, minutes = found.groups()
    low = f"{year}{rest}{'0101000000'[len(rest) :]}"
    high_rest = rest
    if len(rest) < 4:
        month = int(rest[:2] or "12")
        last_day = monthrange(int(year), month)[1] if 1 <= month <= 12 and int(year) else 31
        high_rest = f"{month:02}{last_day:02}"
    high = f"{year}{high_rest}{'0101235959'[len(high_rest) :]}"
    low_fraction, high_fraction = (fraction or "").ljust(6, "0"), (fraction or "").ljust(6, "9")
    if sign is not None:
        if int(hours) > 14 or int(minutes) > 59:
            return None
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)
        moved_low, moved_high = _moved(low, offset), _moved(high, offset)
        if moved_low is None or moved_high is None:
            return None
        low, high = moved_low, moved_high
    return f"{low}.{low_fraction}", f"{high}.{high_fraction}"


def _moved(digits: str, offset: timedelta) -> str | None:
    if digits.endswith("60"):
        digits = digits[:-2] + "59"  # a leap second: datetime does not know them
    try:
        moved = datetime.strptime(digits, "%Y%m%d%H%M%S") - offset  # noqa: DTZ007 -- the offset is taken off right here
    except (ValueError, OverflowError):
        return None
    return f"{moved.year:04}{moved.month:02}{moved.day:02}{moved.hour:02}{moved.minute:02}{moved.second:02}"
