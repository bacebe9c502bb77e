"""
Search the catalogue: C-FIND and QIDO-RS alike (PS3.4 C.4.1, PS3.18 §10.6), all levels, inside a scope, a page at a
time.

1. `query.check` refuses what the information model does not have.
2. `filters` turns each key, and the scope, into conditions with bound values.
3. `plan` chooses which index to walk.
4. Each page is one statement, run to its end: between pages no snapshot is held and nothing of the archive waits. A
   page begins behind the last row of the one before it, never at a count of rows. What an offset leaves out is walked
   past in the same way, with nothing selected but where the rows lie.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.catalogue import computed
from strongroom.catalogue.condition import FALSE, Condition, every
from strongroom.catalogue.filters import Key, conditions, item_positions, keys_of, table_of
from strongroom.catalogue.instances import InstanceRow, instances
from strongroom.catalogue.matching import asks_for_none
from strongroom.catalogue.names import teach
from strongroom.catalogue.plan import key_walk, uid_walk
from strongroom.catalogue.query import MAX_OFFSET, UNIQUE_KEYS, Query, Root, Target, check, levels_down_to
from strongroom.catalogue.rows import select
from strongroom.catalogue.scope import Scope
from strongroom.catalogue.walk import Pass
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import Level

__all__ = ["InstanceRow", "Match", "Query", "Root", "Target", "goes_on", "instances", "search"]

FIRST_PAGE: Final = 64
"""Rows of the first page: most questions have few answers, and the first should come soon."""
PAGE: Final = 256
SKIPPED_PAGE: Final = 4_096
"""Rows walked past by one statement."""

Match = dict[str, JsonElement]

_MODALITY: Final = "00080060"
_MODALITIES_IN_STUDY: Final = "00080061"
_KEPT: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.PATIENT: ("patient",),
    Level.STUDY: ("study",),
    Level.SERIES: ("study", "series"),
    Level.IMAGE: ("study", "series", "instance"),
}
_SERIES_OF_STUDY: Final = " CROSS JOIN series ON series.study = study.id"
_STUDY_OF_SERIES: Final = " CROSS JOIN study ON study.id = series.study"
_INSTANCE_OF_SERIES: Final = " CROSS JOIN instance ON instance.series = series.id"
_SERIES_OF_INSTANCE: Final = " CROSS JOIN series ON series.id = instance.series"
_JOINS: Final[Mapping[tuple[Level, Level], tuple[str, tuple[str, ...]]]] = {
    # (where the walk enters, what is answered): the other tables, and what follows in the order
    (Level.PATIENT, Level.PATIENT): ("", ()),
    (Level.STUDY, Level.STUDY): ("", ()),
    (Level.STUDY, Level.SERIES): (_SERIES_OF_STUDY, ("series.series_instance_uid",)),
    (Level.STUDY, Level.IMAGE): (
        _SERIES_OF_STUDY + _INSTANCE_OF_SERIES,
        ("series.series_instance_uid", "instance.id"),
    ),
    (Level.SERIES, Level.SERIES): (_STUDY_OF_SERIES, ()),
    (Level.SERIES, Level.IMAGE): (_STUDY_OF_SERIES + _INSTANCE_OF_SERIES, ("instance.id",)),
    (Level.IMAGE, Level.IMAGE): (_SERIES_OF_INSTANCE + _STUDY_OF_SERIES, ()),
}

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_list = msgspec.json.Decoder(list[Any]).decode


def search(reader: apsw.Connection, query: Query, scope: Scope) -> Generator[Match]:
    """
    Answer *query* inside *scope*, one DICOM JSON object for each match: the keys asked for and the unique keys.

    A key the archive does not keep, or the entity has no value for, is answered without a value. The connection is
    only used while the generator is advanced, from one thread at a time. Raises MismatchError or DataSetError before
    the first match, as `query.check` says.
    """
    checked = check(query)
    keys = keys_of(query, checked)
    where = every(conditions(query, checked, keys, scope))
    answer = _Answer(query, checked, keys, scope)
    if scope.nothing or where == FALSE or query.limit == 0:
        return _nothing()
    if query.fuzzy:
        teach(reader)
    return _pages(reader, query, checked, keys, scope, answer)


def goes_on(reader: apsw.Connection, query: Query, scope: Scope) -> bool:
    """Tell whether there are matches behind the last one that the limit of *query* lets through."""
    if query.limit is None:
        return False
    behind = replace(query, offset=min(query.offset + query.limit, MAX_OFFSET), limit=1)
    return next(search(reader, behind, scope), None) is not None


def _nothing() -> Generator[Match]:
    yield from ()


def _modalities(query: Query, checked: Mapping[str, JsonElement], keys: Mapping[str, Key]) -> tuple[str, ...]:
    """The modalities one of which a matching study must have, as far as the keys say."""
    element = checked.get(_MODALITIES_IN_STUDY)
    key = keys.get(_MODALITY)
    if key is not None and key.values:
        return tuple(str(value).strip(" ") for value in key.values)
    if query.level is Level.PATIENT or element is None or (query.empty_values and asks_for_none(element)):
        return ()
    values = computed.asked_modalities(element)
    return tuple(value.strip(" ") for value in values)


def _pages(
    reader: apsw.Connection,
    query: Query,
    checked: Mapping[str, JsonElement],
    keys: Mapping[str, Key],
    scope: Scope,
    answer: _Answer,
) -> Generator[Match]:
    walk = uid_walk(query.level, keys, scope)
    if walk is None:
        walk = key_walk(reader, query.level, keys, _modalities(query, checked, keys), scope)
    where = every(conditions(query, checked, keys, scope, walk.done))
    left = query.limit
    skip = query.offset
    page = FIRST_PAGE
    for one in walk.passes:
        skip, after, ended = answer.skip(reader, one, where, skip)
        while not ended:
            size = page if left is None else min(page, left)
            rows = answer.fetch(reader, one, where, after, size)
            for row in rows:
                yield answer.match(row)
            if left is not None:
                left -= len(rows)
                if left <= 0:
                    return
            page = PAGE
            if len(rows) < size:
                break
            after = rows[-1][: answer.places(one)]


@final
class _Answer:
    """What is selected for each match, and how a row becomes a DICOM JSON object."""

    def __init__(self, query: Query, checked: Mapping[str, JsonElement], keys: Mapping[str, Key], scope: Scope) -> None:
        self._query = query
        self._tables = _KEPT[query.level]
        self._kept: dict[str, Match] = {}
        self._texts: dict[str, str] = {}
        self._wanted = self._named(checked)
        tags = {*checked, *(computed.computed_tags(query.level) if query.every_attribute else ())}
        found = {tag: computed.computed_at(query.level, tag) for tag in sorted(tags)}
        self._computed = {tag: one for tag, one in found.items() if one is not None}
        self._positions = {tag: at for tag, key in keys.items() if (at := item_positions(query, key)) is not None}
        expressions = [
            *(Condition(f"{table}.attributes") for table in self._tables),
            *(computed.expression(one, query.level, scope) for one in self._computed.values()),
            *self._positions.values(),
        ]
        self._selected = ", ".join(one.sql for one in expressions)
        self._bound = tuple(value for one in expressions for value in one.values)

    def _named(self, checked: Mapping[str, JsonElement]) -> dict[str, tuple[str | None, JsonElement]]:
        """The keys to answer, with the table that keeps each."""
        level = self._query.level
        unique = {
            UNIQUE_KEYS[at]: {"vr": "LO" if at is Level.PATIENT else "UI"}
            for at in levels_down_to(level, root=self._query.root)
        }
        wanted: dict[str, Any] = {**unique, **checked}
        return {tag: (table_of(tag, level), element) for tag, element in wanted.items()}

    def places(self, one: Pass) -> int:
        """How many columns at the front of a row say where it lies in the walk."""
        return len(self._order(one))

    def _order(self, one: Pass) -> tuple[str, ...]:
        return (*one.order, *_JOINS[one.level, self._query.level][1])

    def skip(
        self, reader: apsw.Connection, one: Pass, where: Condition, count: int
    ) -> tuple[int, tuple[Any, ...] | None, bool]:
        """
        Walk past up to *count* rows of a pass; return how many are left to skip, the last place, and whether the pass
        has ended.
        """
        after: tuple[Any, ...] | None = None
        while count:
            size = min(SKIPPED_PAGE, count)
            rows = self._run(reader, one, where, after, size, Condition(""))
            count -= len(rows)
            if len(rows) < size:
                return count, after, True
            after = rows[-1]
        return count, after, False

    def fetch(
        self, reader: apsw.Connection, one: Pass, where: Condition, after: tuple[Any, ...] | None, size: int
    ) -> list[tuple[Any, ...]]:
        """Run the statement of one page."""
        return self._run(reader, one, where, after, size, Condition(f", {self._selected}", self._bound))

    def _run(
        self,
        reader: apsw.Connection,
        one: Pass,
        where: Condition,
        after: tuple[Any, ...] | None,
        size: int,
        selected: Condition,
    ) -> list[tuple[Any, ...]]:
        order = self._order(one)
        columns = ", ".join(order)
        begin = one.low
        if after is not None:
            begin = Condition(f"({columns}) > ({', '.join('?' * len(order))})", after)
        wanted = every((one.seek, begin, where))
        statement = (
            f"SELECT {columns}{selected.sql} FROM {one.start}{_JOINS[one.level, self._query.level][0]}"  # noqa: S608 -- our text
            f" WHERE {wanted.sql} ORDER BY {columns} LIMIT ?"
        )
        return select(reader, statement, (*selected.values, *wanted.values, size))

    def match(self, row: tuple[Any, ...]) -> Match:
        """Make the DICOM JSON object of one row."""
        fields = iter(row[len(row) - len(self._tables) - len(self._computed) - len(self._positions) :])
        for table in self._tables:
            text = next(fields)
            if text != self._texts.get(table):  # the rows of a series share what its study says
                self._texts[table] = text
                self._kept[table] = _decode(text)
        match: Match = {}
        if self._query.every_attribute:
            for table in self._tables:
                match |= self._kept[table]
        for tag, (kept_in, element) in self._wanted.items():
            kept = None if kept_in is None else self._kept[kept_in].get(tag)
            match[tag] = {"vr": element["vr"]} if kept is None else kept
        for tag, one in self._computed.items():
            match[tag] = _computed_element(one, next(fields))
        for tag in self._positions:
            match[tag] = _items_at(match[tag], _decode_list(next(fields)))
        for tag, (_, element) in self._wanted.items():
            if element["vr"] == "SQ" and match[tag].get("Value") and not self._query.every_attribute:
                match[tag] = _pruned(match[tag], element)
        return match


def _computed_element(one: computed.Computed, value: Any) -> JsonElement:
    if not one.compared:
        return {"vr": one.vr, "Value": [value]}
    values = sorted(_decode_list(value))
    return {"vr": one.vr, "Value": values} if values else {"vr": one.vr}


def _items_at(element: JsonElement, positions: list[Any]) -> JsonElement:
    """Only the items that match are answered (PS3.4 C.2.2.2.6)."""
    items = element.get("Value") or []
    return {"vr": "SQ", "Value": [items[at] for at in sorted(positions)]}


def _pruned(element: JsonElement, key: JsonElement) -> JsonElement:
    """Of each item only the attributes the key names, or all when it names none (PS3.4 C.2.2.2.6)."""
    asked = next((item for item in key.get("Value") or () if isinstance(item, dict) and item), None)
    if asked is None:
        return element
    items: list[Any] = []
    for item in element.get("Value") or ():
        pruned: dict[str, Any] = {}
        for tag, inner in asked.items():
            kept = item.get(tag) if isinstance(item, dict) else None
            vr = inner.get("vr", "UN") if isinstance(inner, dict) else "UN"
            if kept is None:
                pruned[tag] = {"vr": vr}
            else:
                pruned[tag] = _pruned(kept, inner) if vr == "SQ" else kept  # type: ignore[arg-type]
        items.append(pruned)
    return {"vr": "SQ", "Value": items}
