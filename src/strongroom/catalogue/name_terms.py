"""
The index of names (table `study_name`): written with a study, asked by conditions, walked by passes.

A range of terms meets a study once for each of its words that lies in it, and a patient once more for each of its
studies; a walk takes the first of them only. A patient is found by the names its studies state.
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

_INDEX: Final = "study_name AS listed"
_STARTS: Final = {
    "study": f"{_INDEX} CROSS JOIN study ON study.id = listed.study",
    "patient": f"{_INDEX} CROSS JOIN study AS named ON named.id = listed.study"
    " CROSS JOIN patient ON patient.id = named.patient",
}
_OTHERS: Final = {
    "study": "FROM study_name AS other WHERE other.study = study.id",
    "patient": "FROM study AS theirs CROSS JOIN study_name AS other ON other.study = theirs.id"
    " WHERE theirs.patient = patient.id",
}
"""The terms of the row at hand."""
_EARLIER: Final = {
    "study": "FROM study_name AS other WHERE other.study = listed.study",
    "patient": "FROM study AS theirs CROSS JOIN study_name AS other ON other.study = theirs.id"
    " WHERE theirs.patient = (SELECT one.patient FROM study AS one WHERE one.id = listed.study)",
}
"""The terms of the row that an entry of the index leads to."""
_LEVELS: Final = {"patient": Level.PATIENT, "study": Level.STUDY}


def list_name(connection: apsw.Connection, study: int, groups: Sequence[str]) -> None:
    """
    Replace the terms of a new or renamed *study*; *groups* are the three folded component groups of its name.

    A name is never taken away, so of a study without a name there is nothing to delete.
    """
    found = terms(*groups)
    if not found:
        return
    connection.execute("DELETE FROM study_name WHERE study = ?", (study,))
    connection.executemany("INSERT INTO study_name (term, study) VALUES (?, ?)", [(term, study) for term in found])


def name_condition(table: str, values: Iterable[tuple[Asked, ...]]) -> Condition:
    """The name of the row of *table* at hand has all the words of one of *values*."""
    return either(every(_word(table, word) for word in words) for words in values)


def _word(table: str, word: Asked) -> Condition:
    whole = either(_some(table, term) for term in word.terms)
    return whole | every(_word(table, part) for part in word.parts) if word.parts else whole


def _some(table: str, term: Term) -> Condition:
    """The row has *term*, or one that begins with it."""
    low, high = _ends(term)
    if high is None:
        return some_row(f"{_OTHERS[table]} AND other.term = ?", (low,))
    return some_row(f"{_OTHERS[table]} AND other.term >= ? AND other.term < ?", (low, high))


def _ends(term: Term) -> tuple[str, str | None]:
    """Where the terms begin and end; None: it is the one term itself."""
    found = prefix_of(term.text + "*") if term.prefix else None
    return (term.text, None) if found is None else (found.low, found.high)


def name_passes(table: str, leading: Iterable[Term]) -> list[Pass]:
    """The passes that together meet every row of *table* with one of the *leading* terms."""
    return [_pass(table, term) for term in leading]


def _pass(table: str, term: Term) -> Pass:
    low, high = _ends(term)
    begin = Condition("listed.term = ?" if high is None else "listed.term >= ?", (low,))
    end = TRUE if high is None else Condition("listed.term < ?", (high,))
    seek = end if high is not None else begin
    if high is not None or table == "patient":  # one term leads to a study once, and to a patient by many studies
        seek &= ~some_row(
            f"{_EARLIER[table]} AND other.term >= ? AND (other.term, other.study) < (listed.term, listed.study)", (low,)
        )
    covered = _some(table, term)
    if high is None:
        return Pass(_LEVELS[table], _STARTS[table], ("listed.study",), seek, covered=covered, probed=_INDEX)
    order = ("listed.term", "listed.study")
    return Pass(_LEVELS[table], _STARTS[table], order, seek, begin, covered, _INDEX)
