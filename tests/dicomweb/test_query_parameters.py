"""Query parameters become a query, or a problem; nothing else, whatever they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.catalogue.query import MAX_OFFSET, check
from strongroom.dicom.dictionary import keyword_of
from strongroom.dicom.model import TAGS, Level
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.query_parameters import read

LEVELS = [Level.STUDY, Level.SERIES, Level.IMAGE]
KEPT = sorted({f"{tag:08X}" for level in TAGS.values() for tag in level})


def reading(*parameters: tuple[str, str], level: Level = Level.STUDY, **parents: str):
    """What is read of the parameters."""
    return read(parameters, level, parents, base_url="https://a/dicom-web", max_results=1000)


def outcome(level: Level, *parameters: tuple[str, str]):
    """What is read of the parameters, and the problem that was raised instead."""
    try:
        return reading(*parameters, level=level), None
    except HttpProblem as problem:
        return None, problem


def test_the_parents_of_the_path_are_keys() -> None:
    """A search below a series names both UIDs."""
    query = reading(level=Level.IMAGE, study="1.2", series="1.2.3").query

    assert ["1.2"] == query.keys["0020000D"]["Value"]
    assert ["1.2.3"] == query.keys["0020000E"]["Value"]
    assert query.relational
    assert query.combined_datetime


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_keyword_and_tag_are_one(name: str) -> None:
    """Either way the same key."""
    assert ["P1"] == reading((name, "P1")).query.keys["00100020"]["Value"]


def test_paths_into_one_sequence_are_one_item() -> None:
    """One item has to match all of them (PS3.4 C.2.2.2.6)."""
    query = reading(
        ("RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
        ("00400275.00401001", "R1"),
        ("RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue", "C1"),
        level=Level.SERIES,
    ).query
    (item,) = query.keys["00400275"]["Value"]

    assert ["S1"] == item["00400009"]["Value"]
    assert ["R1"] == item["00401001"]["Value"]
    assert ["C1"] == item["00321064"]["Value"][0]["00080100"]["Value"]


def test_names_have_groups() -> None:
    """An equals sign parts the groups of a person name."""
    query = reading(("PatientName", "Yamada=山田"), ("ReferringPhysicianName", "a\\b")).query

    assert [{"Alphabetic": "Yamada", "Ideographic": "山田"}] == query.keys["00100010"]["Value"]
    assert [{"Alphabetic": "a"}, {"Alphabetic": "b"}] == query.keys["00080090"]["Value"]


def test_texts_of_one_value_keep_their_backslash() -> None:
    """In a long text it is a character (PS3.5 6.2)."""
    assert ["a\\b"] == reading(("PatientComments", "a\\b")).query.keys["00104000"]["Value"]


@given(st.sampled_from(LEVELS), st.sampled_from(KEPT), st.text(max_size=40))
def test_a_known_attribute_is_read_by_both_its_names(level: Level, tag: str, value: str) -> None:
    """Keyword, upper and lower case digits: the same query, or the same refusal."""
    keyword = keyword_of(int(tag, 16))
    assert keyword is not None
    by_tag, by_digits, by_keyword = (outcome(level, (name, value)) for name in (tag, tag.lower(), keyword))

    assert (by_tag[1] is None) == (by_digits[1] is None) == (by_keyword[1] is None)
    if by_tag[0] and by_digits[0] and by_keyword[0]:
        assert by_tag[0].query == by_digits[0].query == by_keyword[0].query


names = st.one_of(
    st.sampled_from(
        [
            "limit",
            "offset",
            "fuzzymatching",
            "includefield",
            "accept",
            "PatientName",
            "00100010",
            "StudyDate",
            "StudyTime",
        ]
    ),
    st.sampled_from(
        ["RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009", "00400275", "BitsStored"]
    ),
    st.sampled_from(KEPT),
    st.text(max_size=20),
    st.text("0123456789abcdefABCDEF.", max_size=36),
)
values = st.one_of(
    st.sampled_from(
        ["", "*", "true", "false", "10", "all", "20240101-", "1.2,1.3", "a\\b", '""', "Doe^J*", "StudyID,00081030"]
    ),
    st.text(max_size=60),
    st.text("0123456789-.*?\\,=^", max_size=60),
)


@given(st.sampled_from(LEVELS), st.lists(st.tuples(names, values), max_size=12))
@example(Level.IMAGE, [("00400275", ""), ("00400275.00400009", "S1")])
@example(Level.SERIES, [("includefield", "00400275"), ("00400275.00400009", "S1"), ("includefield", "00400275")])
@example(Level.STUDY, [(".", ""), ("", ""), ("00080000", "1"), ("FFFEE000", "1")])
def test_any_parameters_give_a_query_or_a_problem(level: Level, parameters: list[tuple[str, str]]) -> None:
    """400 is the only refusal, and what is read the catalogue understands."""
    found, problem = outcome(level, *parameters)

    assert (found is None) == (problem is not None)
    if problem is not None:
        assert 400 == problem.status
    if found is not None:
        query = found.query
        assert query.limit is not None
        assert 0 <= query.limit <= 1000
        assert all(re.fullmatch("[A-Za-z0-9.]{1,64}|a parameter", name) for name in found.ignored)
        if query.offset <= MAX_OFFSET:
            assert set(check(query)) <= set(query.keys)


@given(st.sampled_from(KEPT), st.text(min_size=8, max_size=60))
def test_no_refusal_repeats_the_value(tag: str, value: str) -> None:
    """A problem may be logged and shown: it says which parameter, not what was looked for (I7)."""
    _, problem = outcome(Level.IMAGE, (tag, value))

    if problem is not None:
        assert value not in problem.detail
        assert tag in problem.detail
