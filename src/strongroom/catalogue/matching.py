"""
Attribute matching (PS3.4 C.2.2.2) as SQL conditions: single value, list of UID, universal, wild card, range, sequence.

- Case and width matter except in person names; leading and trailing spaces never do.
- "*" and "?" are wild cards in text and names only; every other character, those of SQL patterns included, stands for
  itself.
- A value of nothing but "*" is universal for every VR.
- Several values of a key (other than UIDs, where the standard has lists) match when one of them does; PS3.4 C.2.2.2.8
  leaves that undefined without extended negotiation.
- A fuzzy search compares person names by their words (`names`), unless a wild card stands inside of one.
- A person name key without "=" is tried on each component group the value has, one with "=" group by group.
- An attribute with several values matches when one of them does; the indexed columns hold the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import msgspec

from strongroom.catalogue.condition import FALSE, TRUE, Condition, SqlValue, either, every
from strongroom.catalogue.folding import UNREADABLE, fold_name, name_groups, range_of
from strongroom.catalogue.names import NAME_FUNCTION, asked_words
from strongroom.dicom.dictionary import vr_of
from strongroom.errors import DataSetError

__all__ = [
    "Place",
    "Prefix",
    "asks_for_none",
    "is_tag",
    "items_matching",
    "matches",
    "name_patterns",
    "names_match",
    "number_matches",
    "prefix_of",
    "text_matches",
    "uid_matches",
    "values_of",
    "vr_for",
]

MAX_VALUES: Final = 64
"""Values of a key that is no list of UIDs: each is a comparison of its own."""
MAX_UIDS: Final = 100_000
"""UIDs in one list; it is handed to SQL as one value."""
MAX_LENGTH: Final = 10_240
"""Characters of one value: the longest the standard knows with a fixed limit (LT)."""
MAX_PATTERN: Final = 256
"""Characters of a value with wild cards: a comparison costs their product with the length of what is compared."""
MAX_DEPTH: Final = 8
"""Sequences inside sequences of a key."""

_NUMBERS: Final = frozenset({"IS", "DS", "US", "UL", "SS", "SL", "FL", "FD", "SV", "UV"})
_INSTANTS: Final = frozenset({"DA", "TM", "DT"})
_WILD: Final = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_LITERAL: Final = frozenset({"AS", "AT"})
_TAG: Final = re.compile(r"[0-9A-F]{8}")
_LAST_CHARACTER: Final = 0x10FFFF


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where elements are kept: two expressions of DICOM JSON texts; inside a sequence the two are one folded item."""

    attributes: str
    folded: str
    depth: int = 0
    fuzzy: bool = False
    empty_values: bool = False

    def item(self, kept: str) -> Place:
        """The same inside the item *kept* of a sequence."""
        return Place(kept, kept, self.depth + 1, self.fuzzy, self.empty_values)


@final
@dataclass(frozen=True, slots=True)
class Prefix:
    """
    The texts from *low* up to, but without, *high*: what a pattern or value leaves of an index. None: only *low*
    itself.
    """

    low: str
    high: str | None


def is_tag(tag: str) -> bool:
    """Tell whether *tag* is the key of a standard or private element; only such a text becomes part of a JSON path."""
    return _TAG.fullmatch(tag) is not None and not tag.endswith("0000")


def vr_for(tag: str, element: Mapping[str, Any]) -> str:
    """The VR a key is matched as: the dictionary's, or what the query says of a private element."""
    return vr_of(int(tag, 16)) or str(element.get("vr") or "UN")


def values_of(tag: str, vr: str, element: Mapping[str, Any]) -> list[Any]:
    """
    Return the values of a key, none when it is universal (PS3.4 C.2.2.2.3).

    Raises DataSetError when they exceed a limit.
    """
    values = [value for value in element.get("Value") or () if value not in (None, "", {})]
    limit = MAX_UIDS if vr == "UI" else 1 if vr == "SQ" else MAX_VALUES
    if len(values) > limit:
        raise DataSetError(f"key {tag} has {len(values)} values, the limit for VR {vr} is {limit}")
    if vr == "SQ":
        return values
    for value in values:
        text = "=".join(name_groups(value)) if vr == "PN" else str(value)
        if len(text) > MAX_LENGTH:
            raise DataSetError(f"key {tag} has a value of {len(text)} characters, the limit is {MAX_LENGTH}")
        if not text.rstrip("=").strip(" *"):
            return []  # universal, and so is the whole list
    return values


def matches(place: Place, tag: str, element: Mapping[str, Any]) -> Condition:
    """Return the condition that the element *tag* kept at *place* matches the key *element*; TRUE when universal."""
    vr = vr_for(tag, element)
    values = values_of(tag, vr, element)
    if not values:
        return TRUE
    if vr == "SQ":
        return _sequence_matches(place, tag, values[0])
    if place.empty_values and asks_for_none(element):
        source, path = _kept(place, tag, folded=False)
        return Condition(f"json_type({source}, ?) IS NULL", (path,))
    kept = f"value{place.depth}.value"
    if vr == "PN" and place.fuzzy and all(asked_words(value) for value in values):
        inner = either(Condition(f"{NAME_FUNCTION}({kept}, ?)", ("=".join(name_groups(value)),)) for value in values)
    elif vr == "PN":
        inner = either(_name_matches(kept, value) for value in values)
    elif vr in _INSTANTS:
        inner = either(_instant_matches(kept, vr, str(value)) for value in values)
    elif vr == "UI":
        inner = uid_matches(kept, values)
    elif vr in _NUMBERS:
        inner = number_matches(kept, values)
    elif vr in _WILD or vr in _LITERAL:
        inner = either(text_matches(f"trim({kept})", str(value), wild=vr in _WILD) for value in values)
    else:
        return TRUE  # bytes are no key: not matched, like every key that is not supported (PS3.4 C.4.1.1.4)
    folded = vr == "PN" or vr in _INSTANTS
    return _some_value(place, tag, inner, folded=folded)


def asks_for_none(element: Mapping[str, Any]) -> bool:
    """Tell whether a key is two quotation marks: with empty value matching it asks for no value (PS3.4 C.2.2.2.7)."""
    return ["=".join(name_groups(value)).rstrip("=") for value in element.get("Value") or ()] == ['""']


def _some_value(place: Place, tag: str, inner: Condition, *, folded: bool) -> Condition:
    if inner in (TRUE, FALSE):
        return inner
    kept, path = _kept(place, tag, folded=folded)
    sql = f"EXISTS (SELECT 1 FROM json_each({kept}, ?) AS value{place.depth} WHERE {inner.sql})"  # noqa: S608 -- our text
    return Condition(sql, (path, *inner.values))


def _kept(place: Place, tag: str, *, folded: bool) -> tuple[str, str]:
    """The JSON and the path in it where the values of an element are."""
    if folded or place.depth:
        return place.folded, f'$."{tag}"'
    return place.attributes, f'$."{tag}".Value'


def items_matching(place: Place, tag: str, item: Mapping[str, Any]) -> Condition:
    """
    Return an expression for the JSON array of the positions of those items of a sequence that match the key *item*:
    only they are answered (PS3.4 C.2.2.2.6).
    """
    inner = _item_matches(place, item)
    kept, path = _kept(place, tag, folded=True)
    item_row = f"value{place.depth}"
    start = f"json_each({kept}, ?) AS {item_row}"
    sql = f"(SELECT json_group_array({item_row}.key) FROM {start} WHERE {inner.sql})"  # noqa: S608 -- our text
    return Condition(sql, (path, *inner.values))


def _item_matches(place: Place, item: Mapping[str, Any]) -> Condition:
    if place.depth >= MAX_DEPTH:
        raise DataSetError(f"a key with more than {MAX_DEPTH} sequences inside each other")
    kept = f"value{place.depth}.value"
    inside = place.item(kept)
    return every(matches(inside, tag, element) for tag, element in item.items() if is_tag(tag))


def _sequence_matches(place: Place, tag: str, item: Mapping[str, Any]) -> Condition:
    """One item of the sequence matches all keys of the one item of the query (PS3.4 C.2.2.2.6)."""
    return _some_value(place, tag, _item_matches(place, item), folded=True)


def number_matches(kept: str, values: Sequence[Any]) -> Condition:
    """Numbers are compared as numbers: "01" is 1. What is none is compared as the text it is."""
    bound: list[SqlValue] = []
    for value in values:
        try:
            bound.append(value if isinstance(value, (int, float)) else float(str(value)))
        except ValueError:
            bound.append(str(value).strip())
    return either(Condition(f"{kept} = ?", (value,)) for value in bound)


def uid_matches(expression: str, values: Sequence[Any]) -> Condition:
    """A list of UIDs of any length, bound as one value (PS3.4 C.2.2.2.2)."""
    uids = [str(value).strip(" \0") for value in values]
    if len(uids) == 1:
        return Condition(f"{expression} = ?", (uids[0],))
    listed = msgspec.json.encode(uids).decode()
    return Condition(f"{expression} IN (SELECT value FROM json_each(?))", (listed,))  # noqa: S608 -- our text


def _instant_matches(kept: str, vr: str, text: str) -> Condition:
    """A single date or time is the range it stands for: "10" is any time between ten and eleven o'clock."""
    asked = range_of(vr, text)
    if asked is None:
        return Condition(f"{kept} = ?", (UNREADABLE + text.strip(),))
    return Condition(f"{kept} BETWEEN ? AND ?", asked)


def _name_matches(kept: str, value: object) -> Condition:
    return names_match(
        (f"json_extract({kept}, '$[0]')", f"json_extract({kept}, '$[1]')", f"json_extract({kept}, '$[2]')"), value
    )


def names_match(expressions: tuple[str, str, str], value: object) -> Condition:
    """Match a PN key against the folded alphabetic, ideographic and phonetic group (see the rules above)."""
    groups = name_groups(value)
    if not groups[1] and not groups[2]:
        alphabetic, *others = expressions
        return either(
            (
                _group_matches(alphabetic, groups[0]),
                *(Condition(f"{other} <> ''") & _group_matches(other, groups[0]) for other in others),
            )
        )
    return every(
        _group_matches(expression, group) for expression, group in zip(expressions, groups, strict=True) if group
    )


def _group_matches(expression: str, group: str) -> Condition:
    return either(_pattern_matches(expression, pattern) for pattern in name_patterns(group))


def name_patterns(group: str) -> tuple[str, ...]:
    """
    Return the folded patterns a group of a PN key stands for.

    "SMITH^*" also means a name that ends after its first component: trailing empty components are not written (PS3.5
    §6.2.1.1), and an asterisk may stand for nothing.
    """
    pattern = _collapsed(fold_name(group))
    patterns = [pattern]
    while pattern.endswith("^*"):
        pattern = pattern[:-2].rstrip("^")
        patterns.append(pattern)
    return tuple(patterns)


def text_matches(expression: str, value: str, *, wild: bool) -> Condition:
    """Match a text against one value: exactly, or with its wild cards (PS3.4 C.2.2.2.1, C.2.2.2.4)."""
    value = value.strip(" ")
    return _pattern_matches(expression, _collapsed(value)) if wild else Condition(f"{expression} = ?", (value,))


def _collapsed(pattern: str) -> str:
    while "**" in pattern:
        pattern = pattern.replace("**", "*")
    return pattern


def _pattern_matches(expression: str, pattern: str) -> Condition:
    """GLOB has our two wild cards and no other once "[" is in brackets itself; LIKE would ignore case."""
    if pattern == "*":
        return TRUE
    if "*" not in pattern and "?" not in pattern:
        return Condition(f"{expression} = ?", (pattern,))
    if len(pattern) > MAX_PATTERN:
        raise DataSetError(f"a key value with wild cards of {len(pattern)} characters, the limit is {MAX_PATTERN}")
    return Condition(f"{expression} GLOB ?", (pattern.replace("[", "[[]"),))


def prefix_of(pattern: str) -> Prefix | None:
    """Return what of an index can match *pattern* (folded and collapsed); None when that is all of it."""
    ends = [at for at in (pattern.find("*"), pattern.find("?")) if at >= 0]
    if not ends:
        return Prefix(pattern, None)
    low = pattern[: min(ends)]
    if not low or ord(low[-1]) >= _LAST_CHARACTER:
        return None
    after = ord(low[-1]) + 1
    if 0xD800 <= after <= 0xDFFF:
        after = 0xE000  # surrogates are no characters
    return Prefix(low, low[:-1] + chr(after))
