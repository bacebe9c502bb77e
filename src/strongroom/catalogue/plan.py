"""
Which index a search walks: the difference between 0.1 ms and a second among a million studies.

A search is a row of passes, each a walk along one index, which together meet every entity that can match exactly
once. UIDs go first. Otherwise each index that the keys leave a part of is probed for at most PROBE entries, and the
smallest part is walked; only when no key has an index is the table itself read through, in the order of its ids.

The order of the answers is that of the walk. Parts of about the same size count as equal, and then the order of the
candidates decides: so the walk of a question, and with it the order of its answers, seldom changes while others
deposit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import apsw

from strongroom.catalogue.condition import TRUE, Condition, every, some_row
from strongroom.catalogue.filters import Key, date_matches
from strongroom.catalogue.folding import name_groups, range_of
from strongroom.catalogue.matching import Prefix, name_patterns, prefix_of, uid_matches
from strongroom.catalogue.name_terms import name_passes
from strongroom.catalogue.rows import select
from strongroom.catalogue.scope import Scope
from strongroom.catalogue.walk import Pass, Walk
from strongroom.dicom.model import Level

__all__ = ["Pass", "Walk", "key_walk", "uid_walk"]

PROBE: Final = 1_000
"""Index entries counted at most before an index is chosen: about 50 microseconds."""
CHUNK: Final = 500
"""UIDs of a list looked up by one statement."""
MAX_PASSES: Final = 48
"""Passes one key may need; with more values than that it only filters."""


@final
@dataclass(frozen=True, slots=True)
class Index:
    """An index over *column*, with the columns that follow it."""

    level: Level
    start: str
    column: str
    tail: tuple[str, ...]
    partial: bool = False
    """It leaves out empty values, and SQLite wants to be told so."""


def _on(table: str, name: str, column: str, *tail: str, partial: bool = False) -> Index:
    level = Level.PATIENT if table == "patient" else Level.STUDY
    return Index(
        level,
        f"{table} INDEXED BY {table}_by_{name}",
        f"{table}.{column}",
        tuple(f"{table}.{one}" for one in (*tail, "id")),
        partial,
    )


_NAMES: Final = {
    table: tuple(
        _on(table, f"name_{group}", f"name_{group}", *tail, partial=group != "alphabetic")
        for group in ("alphabetic", "ideographic", "phonetic")
    )
    for table, tail in (("patient", ()), ("study", ("study_date",)))
}
_TEXTS: Final[Mapping[tuple[str, str], Index]] = {
    ("study", "00080050"): _on("study", "accession_number", "accession_number"),
    ("study", "00100020"): _on("study", "patient_id", "patient_id", "study_date"),
    ("study", "00200010"): _on("study", "study_id", "study_id"),
    ("patient", "00100020"): _on("patient", "patient_id", "patient_id", "issuer_of_patient_id", "lone_study"),
}
_DATES: Final[Mapping[tuple[str, str], Index]] = {
    ("study", "00080020"): _on("study", "study_date", "study_date"),
    ("patient", "00100030"): _on("patient", "birth_date", "birth_date"),
}
_UIDS: Final = (
    (Level.IMAGE, "00080018", "instance INDEXED BY instance_by_uid", "instance.sop_instance_uid", "instance.id"),
    (Level.SERIES, "0020000E", "series INDEXED BY series_by_uid", "series.series_instance_uid", "series.id"),
    (Level.STUDY, "0020000D", "study INDEXED BY study_by_uid", "study.study_instance_uid", "study.id"),
)
_NAME: Final = "00100010"
_MODALITY: Final = "study_modality AS listed"
_SENT: Final = "study_source AS listed"
_STUDY_OF_LISTED: Final = " CROSS JOIN study ON study.id = listed.study"
_DEPTHS: Final = {Level.PATIENT: 0, Level.STUDY: 1, Level.SERIES: 2, Level.IMAGE: 3}


def uid_walk(level: Level, keys: Mapping[str, Key], scope: Scope) -> Walk | None:
    """
    Return the walk for the lowest UID given; None when there is no UID.

    A scope that lists studies gives theirs.
    """
    for entry, tag, start, column, order in _UIDS:
        if _DEPTHS[entry] > _DEPTHS[level]:
            continue
        key = keys.get(tag)
        asked = {str(value).strip(" \0") for value in key.values} if key is not None and key.values else None
        listed = scope.listed_studies if entry is Level.STUDY else None
        if listed is not None:
            asked = set(listed) if asked is None else asked & listed
        if asked is not None:
            # Below the level of the UIDs each has many entities: one after the other keeps the index's order.
            chunk = CHUNK if entry is level else 1
            return Walk(_uid_passes(entry, start, column, order, sorted(asked), chunk), frozenset({tag}))
    return None


def key_walk(
    connection: apsw.Connection, level: Level, keys: Mapping[str, Key], modalities: Sequence[str], scope: Scope
) -> Walk:
    """Choose the walk for a search without UIDs; a match has a series of one of *modalities*, unless there are none."""
    best: tuple[list[Pass], frozenset[str]] | None = None
    smallest = _size(PROBE) + 1
    for candidate, done in _candidates(level, keys, modalities, scope):
        size = _size(_probe(connection, candidate))
        if size < smallest:
            best, smallest = (candidate, done), size
    if best is None:
        table, entry = ("patient", Level.PATIENT) if level is Level.PATIENT else ("study", Level.STUDY)
        return Walk((Pass(entry, table, (f"{table}.id",)),))
    return Walk(_apart(best[0]), best[1])


def _size(count: int) -> int:
    """Counts within a factor of four are one size; what reached PROBE may be of any."""
    return (count.bit_length() + 1) // 2 if count < PROBE else PROBE


def _apart(walk: list[Pass]) -> list[Pass]:
    """Several passes may overlap: each leaves out what those before it covered."""
    return [
        replace(one, seek=one.seek & every(~earlier.covered for earlier in walk[:number]))
        for number, one in enumerate(walk)
    ]


def _uid_passes(entry: Level, start: str, column: str, order: str, uids: list[str], chunk: int) -> Iterator[Pass]:
    for at in range(0, len(uids), chunk):
        yield Pass(entry, start, (order,), seek=uid_matches(column, uids[at : at + chunk]))


def _candidates(
    level: Level, keys: Mapping[str, Key], modalities: Sequence[str], scope: Scope
) -> Iterator[tuple[list[Pass], frozenset[str]]]:
    """The walks the keys offer, those that usually leave least first: they win when several are beyond the probe."""
    table = "patient" if level is Level.PATIENT else "study"
    for (of_table, tag), index in _TEXTS.items():
        if of_table == table and (key := keys.get(tag)) is not None:
            exact = key.literal or all(_simple(str(value).strip(" ")) for value in key.values)
            yield from _offered(_text_passes(index, key), tag if exact else None)
    name = keys.get(_NAME)
    if name is not None and name.table == table and name.fuzzy:
        yield from _fuzzy(table, name)
    elif name is not None and name.table == table:
        exact = all(_simple_name(value) for value in name.values)
        yield from _offered(_name_passes(_NAMES[table], name), _NAME if exact else None)
    if level is not Level.PATIENT:
        yield from _offered([_device_pass(device) for device in sorted(scope.listed_devices)], None)
        if modalities:
            yield from _offered(_modality_passes(modalities, keys.get("00080020")), None)
    for (of_table, tag), index in _DATES.items():
        if of_table == table and (key := keys.get(tag)) is not None:
            yield from _offered(_date_passes(index, key), tag)


def _fuzzy(table: str, name: Key) -> Iterator[tuple[list[Pass], frozenset[str]]]:
    """Each word of a single name leads by itself; of several names each needs its own."""
    if len(name.fuzzy) == 1:
        for word in name.fuzzy[0]:
            yield from _offered(name_passes(table, word.leading), None)
        return
    leading = [max(words, key=lambda word: len(word.terms[0].text)).leading for words in name.fuzzy]
    yield from _offered(name_passes(table, dict.fromkeys(term for terms in leading for term in terms)), None)


def _device_pass(device: str) -> Pass:
    seek = Condition("listed.device = ?", (device,))
    covered = some_row("FROM study_source AS other WHERE other.device = ? AND other.study = study.id", (device,))
    return Pass(Level.STUDY, _SENT + _STUDY_OF_LISTED, ("listed.study",), seek, covered=covered, probed=_SENT)


def _offered(walk: list[Pass] | None, done: str | None) -> Iterator[tuple[list[Pass], frozenset[str]]]:
    if walk and len(walk) <= MAX_PASSES:
        yield walk, frozenset() if done is None else frozenset({done})


def _simple(pattern: str) -> bool:
    """A stretch of the index is just what matches: no wild card, or one asterisk at the end."""
    return "?" not in pattern and "*" not in pattern.rstrip("*")


def _simple_name(value: object) -> bool:
    groups = name_groups(value)
    patterns = name_patterns(groups[0])
    return not groups[1] and not groups[2] and len(patterns) == 1 and _simple(patterns[0])


def _probe(connection: apsw.Connection, walk: list[Pass]) -> int:
    count = 0
    for one in walk:
        where = one.seek & one.low
        counted = select(
            connection,
            f"SELECT count(*) FROM (SELECT 1 FROM {one.probed or one.start} WHERE {where.sql} LIMIT ?)",  # noqa: S608 -- our text
            (*where.values, PROBE - count),
        )
        count += int(counted[0][0])
        if count >= PROBE:
            break
    return count


def _prefix_pass(index: Index, prefix: Prefix) -> Pass:
    filled = Condition(f"{index.column} <> ''") if index.partial else TRUE
    if prefix.high is None:
        seek = Condition(f"{index.column} = ?", (prefix.low,))
        return Pass(index.level, index.start, index.tail, seek & filled, covered=seek)
    low = Condition(f"{index.column} >= ?", (prefix.low,))
    high = Condition(f"{index.column} < ?", (prefix.high,))
    order = (index.column, *index.tail)
    return Pass(index.level, index.start, order, high & filled, low, low & high)


def _text_passes(index: Index, key: Key) -> list[Pass] | None:
    walk: list[Pass] = []
    for value in key.values:
        text = str(value).strip(" ")
        prefix = Prefix(text, None) if key.literal else prefix_of(text)
        if prefix is None:
            return None
        walk.append(_prefix_pass(index, prefix))
    return walk


def _name_passes(indexes: tuple[Index, ...], key: Key) -> list[Pass] | None:
    """A key without "=" may be found in any component group; one with "=" is found where its first filled group is."""
    walk: list[Pass] = []
    for value in key.values:
        groups = name_groups(value)
        anywhere = not groups[1] and not groups[2]
        sought = [(index, groups[0]) for index in indexes] if anywhere else list(zip(indexes, groups, strict=True))
        found = [(index, prefix) for index, group in sought if group and (prefix := _name_prefix(group)) is not None]
        if not found or (anywhere and len(found) < len(indexes)):
            return None
        walk.extend(_prefix_pass(index, prefix) for index, prefix in (found if anywhere else found[:1]))
    return walk


def _name_prefix(group: str) -> Prefix | None:
    patterns = name_patterns(group)
    # The last of several is what all of them begin with.
    return prefix_of(patterns[0] if len(patterns) == 1 else patterns[-1] + "*")


def _date_passes(index: Index, key: Key) -> list[Pass]:
    walk: list[Pass] = []
    for value in key.values:
        covered = date_matches(index.column, str(value))
        asked = range_of("DA", str(value))
        if asked is None or asked[0] == asked[1]:
            equal = Condition(f"{index.column} = ?", covered.values[:1])
            walk.append(Pass(index.level, index.start, index.tail, equal, covered=covered))
        else:
            low, high = (
                Condition(f"{index.column} {sign} ?", (day,)) for sign, day in zip((">=", "<="), asked, strict=True)
            )
            walk.append(Pass(index.level, index.start, (index.column, *index.tail), high, low, covered))
    return walk


def _modality_passes(modalities: Sequence[str], date: Key | None) -> list[Pass] | None:
    """One modality with a range of dates is one stretch of the index."""
    if any("*" in modality or "?" in modality for modality in modalities):
        return None
    low = high = TRUE
    if date is not None and len(date.values) == 1:
        asked = range_of("DA", str(date.values[0]))
        if asked is not None:
            low, high = Condition("listed.study_date >= ?", asked[:1]), Condition("listed.study_date <= ?", asked[1:])
    walk: list[Pass] = []
    for modality in dict.fromkeys(modalities):
        covered = some_row(
            "FROM study_modality AS other WHERE other.modality = ?"
            " AND other.study_date = study.study_date AND other.study = study.id",
            (modality,),
        )
        seek = Condition("listed.modality = ?", (modality,)) & high
        order = ("listed.study_date", "listed.study")
        walk.append(Pass(Level.STUDY, _MODALITY + _STUDY_OF_LISTED, order, seek, low, covered, _MODALITY))
    return walk
