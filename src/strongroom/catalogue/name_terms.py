"""
The index of names (table `study_name`, `patient_name`): written with a row, asked by conditions, walked by passes.

A range of terms meets a name once for each of its words that lies in it; a walk takes the first of them only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import apsw

from strongroom.catalogue.condition import TRUE, Condition, either, every, some_row
from strongroom.catalogue.matching import prefix_of
from strongroom.catalogue.names import Asked, Term, terms
from strongroom.catalogue.walk import Pass
from strongroom.dicom.model import Level

__all__ = ["list_name", "name_condition", "name_passes"]

_LEVELS: Final = {"patient": Level.PATIENT, "study": Level.STUDY}


def list_name(connection: apsw.Connection, table: str, row: int, groups: Sequence[str]) -> None:
    """
    Replace the terms of a new or renamed *row* of *table*; *groups* are its three folded component groups.

    A name is never taken away, so of a row without a name there is nothing to delete.
    """
    found = terms(*groups)
    if not found:
        return
    connection.execute(f"DELETE FROM {table}_name WHERE {table} = ?", (row,))  # noqa: S608 -- our text
    connection.executemany(
        f"INSERT INTO {table}_name (term, {table}) VALUES (?, ?)",  # noqa: S608 -- our text
        [(term, row) for term in found],
    )


def name_condition(table: str, values: Iterable[tuple[Asked, ...]]) -> Condition:
    """The name of the row of *table* at hand has all the words of one of *values*."""
    return either(every(_word(table, word) for word in words) for words in values)


def _word(table: str, word: Asked) -> Condition:
    whole = either(_some(table, term) for term in word.terms)
    return whole | every(_word(table, part) for part in word.parts) if word.parts else whole


def _some(table: str, term: Term) -> Condition:
    inside = _inside(term, "word")
    return some_row(f"FROM {table}_name AS word WHERE word.{table} = {table}.id AND {inside.sql}", inside.values)


def _inside(term: Term, name: str) -> Condition:
    low, high = _ends(term)
    return Condition(f"{name}.term = ?", low.values) if high == TRUE else _of(name, low) & _of(name, high)


def _of(name: str, condition: Condition) -> Condition:
    return Condition(condition.sql.replace("listed.", f"{name}."), condition.values)


def _ends(term: Term) -> tuple[Condition, Condition]:
    """Where the terms begin and end; no end: it is the one term itself."""
    found = prefix_of(term.text + "*") if term.prefix else None
    if found is None or found.high is None:
        return Condition("listed.term = ?", (term.text,)), TRUE
    return Condition("listed.term >= ?", (found.low,)), Condition("listed.term < ?", (found.high,))


def name_passes(table: str, leading: Iterable[Term]) -> list[Pass]:
    """The passes that together meet every row of *table* with one of the *leading* terms."""
    return [_pass(table, term) for term in leading]


def _pass(table: str, term: Term) -> Pass:
    index = f"{table}_name AS listed"
    start = f"{index} CROSS JOIN {table} ON {table}.id = listed.{table}"
    inside = _inside(term, "other")
    covered = some_row(f"FROM {table}_name AS other WHERE other.{table} = {table}.id AND {inside.sql}", inside.values)
    low, high = _ends(term)
    if high == TRUE:
        return Pass(_LEVELS[table], start, (f"listed.{table}",), low, covered=covered, probed=index)
    earlier = some_row(
        f"FROM {table}_name AS other WHERE other.{table} = listed.{table}"
        " AND other.term >= ? AND other.term < listed.term",
        low.values,
    )
    order = ("listed.term", f"listed.{table}")
    return Pass(_LEVELS[table], start, order, high & ~earlier, low, covered, index)
