"""
From the keys of a query to conditions on the tables: which table an attribute is kept in, and how it is compared there.

A key the level does not have is no condition: it is answered empty (PS3.4 C.4.1.1.3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from strongroom.catalogue import computed
from strongroom.catalogue.condition import TRUE, Condition, either, every
from strongroom.catalogue.folding import UNREADABLE, Span, range_of
from strongroom.catalogue.matching import (
    Place,
    asks_for_none,
    items_matching,
    matches,
    names_match,
    text_matches,
    uid_matches,
    values_of,
    vr_for,
)
from strongroom.catalogue.name_terms import name_condition
from strongroom.catalogue.names import Asked, asked_words
from strongroom.catalogue.query import UNIQUE_KEYS, Query, levels_down_to
from strongroom.catalogue.scope import Scope
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import INSTANCE_TAGS, PATIENT_TAGS, SERIES_TAGS, STUDY_TAGS, Level

__all__ = ["Key", "conditions", "in_scope", "item_positions", "keys_of", "table_of"]

_TABLES: Final = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.IMAGE: "instance"}
_TAGS: Final = {
    Level.PATIENT: frozenset(PATIENT_TAGS),
    Level.STUDY: frozenset(STUDY_TAGS),
    Level.SERIES: frozenset(SERIES_TAGS),
    Level.IMAGE: frozenset(INSTANCE_TAGS),
}
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "patient": {"00100020": "patient_id", "00100021": "issuer_of_patient_id", "00100030": "birth_date"},
    "study": {
        "0020000D": "study_instance_uid",
        "00100020": "patient_id",
        "00100021": "issuer_of_patient_id",
        "00080020": "study_date",
        "00080050": "accession_number",
        "00200010": "study_id",
    },
    "series": {"0020000E": "series_instance_uid", "00080060": "modality"},
    "instance": {"00080018": "sop_instance_uid", "00080016": "sop_class_uid"},
}
_NAME: Final = "00100010"
_TIME_OF_DATE: Final = {
    "00080012": "00080013",
    "00080020": "00080030",
    "00080021": "00080031",
    "00080022": "00080032",
    "00080023": "00080033",
    "00100030": "00100032",
    "00400002": "00400003",
    "00400244": "00400245",
    "00400250": "00400251",
}
"""The pairs of date and time that combined matching joins (PS3.4 C.2.2.2.5.4)."""


@final
@dataclass(frozen=True, slots=True)
class Key:
    """One key of a query that its level has: the table it is kept in, its VR and its values (none: only answered)."""

    tag: str
    table: str
    vr: str
    element: JsonElement
    values: tuple[object, ...]
    literal: bool
    """A unique key above the level of a hierarchical search: no character in it is a wild card."""
    fuzzy: tuple[tuple[Asked, ...], ...] = ()
    """For Patient's Name in a fuzzy search: the words of each of the values."""
    none: bool = False
    """It asks for entities without a value; *values* is empty then."""

    @property
    def column(self) -> str | None:
        """The indexed column the attribute has beside its place in the JSON, if it has one."""
        name = _COLUMNS[self.table].get(self.tag)
        return None if name is None else f"{self.table}.{name}"


def table_of(tag: str, level: Level) -> str | None:
    """The table that keeps *tag* for entities of *level*; a study carries the attributes of its patient."""
    number = int(tag, 16)
    for at in levels_down_to(level):
        if number in _TAGS[at] or tag == UNIQUE_KEYS[at]:
            return "study" if at is Level.PATIENT and level is not Level.PATIENT else _TABLES[at]
    return None


def keys_of(query: Query, checked: Mapping[str, JsonElement]) -> dict[str, Key]:
    """Return those of the *checked* keys that are kept; computed ones are not among them."""
    above = () if query.relational else levels_down_to(query.level, root=query.root)[:-1]
    single = {UNIQUE_KEYS[level] for level in above}
    keys: dict[str, Key] = {}
    for tag, element in checked.items():
        table = table_of(tag, query.level)
        if table is not None and computed.computed_at(query.level, tag) is None:
            vr = vr_for(tag, element)
            literal = tag in single
            values = (
                [value for value in element.get("Value") or () if value] if literal else values_of(tag, vr, element)
            )
            if tag == UNIQUE_KEYS[Level.PATIENT] and len(values) > 1:
                values.append("\\".join(map(str, values)))  # a Patient ID with a backslash is kept as one text
            none = query.empty_values and not literal and asks_for_none(element)
            fuzzy = _words(values) if query.fuzzy and tag == _NAME and not none else ()
            keys[tag] = Key(tag, table, vr, element, () if none else tuple(values), literal, fuzzy, none)
    return keys


def _words(values: Iterable[object]) -> tuple[tuple[Asked, ...], ...]:
    """The words of names; none at all when one of them has to be matched as it is written."""
    words = tuple(asked_words(value) for value in values)
    return words if all(words) else ()


def conditions(
    query: Query, checked: Mapping[str, JsonElement], keys: Mapping[str, Key], scope: Scope, done: Iterable[str] = ()
) -> Iterator[Condition]:
    """Every condition an entity has to fulfil, but for the keys already *done* otherwise."""
    done = set(done)
    if query.combined_datetime:
        for date, time in _TIME_OF_DATE.items():
            joined = _joined(keys.get(date), keys.get(time))
            if joined is not None:
                done |= {date, time}
                yield joined
    for tag, key in keys.items():
        if tag not in done:
            yield _condition(query, key)
    for tag, element in checked.items():
        found = computed.computed_at(query.level, tag)
        if found is not None and tag not in done:
            none = query.empty_values and asks_for_none(element)
            matching = computed.has_none if none else computed.matches
            yield matching(tag, found, element, query.level, scope)
    yield in_scope(query.level, scope)


def in_scope(level: Level, scope: Scope) -> Condition:
    """The entity of *level* has something inside *scope*."""
    if level is Level.PATIENT:
        return scope.patient("patient")
    if level is Level.STUDY:
        return scope.study("study")
    return scope.series("study", "series") if level is Level.SERIES else scope.instance("study", "instance")


def item_positions(query: Query, key: Key) -> Condition | None:
    """For a sequence key with conditions: an expression for which of its items match."""
    if key.vr != "SQ" or not key.values or not isinstance(key.values[0], dict):
        return None
    return items_matching(_place(query, key), key.tag, key.values[0])


def _place(query: Query, key: Key) -> Place:
    return Place(f"{key.table}.attributes", f"{key.table}.folded", fuzzy=query.fuzzy, empty_values=query.empty_values)


def _condition(query: Query, key: Key) -> Condition:
    if not key.values and not key.none:
        return TRUE
    if key.tag == _NAME:
        return _name_condition(key)
    column = key.column
    if column is None:
        return matches(_place(query, key), key.tag, key.element)
    if key.none:
        return Condition(f"{column} = ''")
    if key.vr == "UI":
        return uid_matches(column, key.values)
    if key.vr == "DA":
        return either(date_matches(column, str(value)) for value in key.values)
    return either(text_matches(column, str(value), wild=not key.literal) for value in key.values)


def _name_condition(key: Key) -> Condition:
    table = key.table
    columns = (f"{table}.name_alphabetic", f"{table}.name_ideographic", f"{table}.name_phonetic")
    if key.none:
        return every(Condition(f"{column} = ''") for column in columns)
    if key.fuzzy:
        return name_condition(table, key.fuzzy)
    return either(names_match(columns, value) for value in key.values)


def date_matches(column: str, text: str) -> Condition:
    """Match a column of folded dates."""
    asked = range_of("DA", text)
    if asked is None:
        return Condition(f"{column} = ?", (UNREADABLE + text.strip(),))
    return Condition(f"{column} BETWEEN ? AND ?", asked)


def _joined(date: Key | None, time: Key | None) -> Condition | None:
    """One range out of a date and a time key; None when they are not both ranges with one value."""
    if date is None or time is None or len(date.values) != 1 or len(time.values) != 1:
        return None
    days: Span | None = range_of("DA", str(date.values[0]))
    times: Span | None = range_of("TM", str(time.values[0]))
    if days is None or times is None:
        return None
    day = f"json_extract({date.table}.folded, '$.\"{date.tag}\"[0]')"
    instant = f"coalesce(json_extract({time.table}.folded, '$.\"{time.tag}\"[0]'), '{_MIDNIGHT}')"
    return Condition(f"{day} || {instant} BETWEEN ? AND ?", (days[0] + times[0], days[1] + times[1]))


_MIDNIGHT: Final = "000000.000000"
"""What a moment without a time counts as: the beginning of its day."""
