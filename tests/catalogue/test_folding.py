"""Search forms of names, dates and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.catalogue.folding import UNREADABLE, fold, fold_name, name_groups, range_of, span


@given(st.text())
def test_folding_a_name_twice_changes_nothing(text):
    """The folded form is its own folded form, so that index and query agree."""
    assert fold_name(text) == fold_name(fold_name(text))


@pytest.mark.parametrize(
    ("group", "folded"),
    [("Doe ^ John ^^", "doe^john"), ("STRASSE", "strasse"), ("Straße", "strasse"), ("ﾔﾏﾀﾞ", "ヤマダ"), ("^^", "")],
)
def test_case_width_and_empty_ends_do_not_count(group, folded):
    """What PS3.4 lets an application ignore in names is folded away."""
    assert folded == fold_name(group)


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        ({"Alphabetic": "a", "Phonetic": "c"}, ("a", "", "c")),
        ("a=b=c=d", ("a", "b", "c=d")),
        ("", ("", "", "")),
        (None, ("", "", "")),
    ],
)
def test_a_name_has_three_groups(value, groups):
    """Missing groups are empty, whatever form the value has."""
    assert groups == name_groups(value)


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20200229", ("20200229", "20200229")),
        ("DA", "2020.02.29", ("20200229", "20200229")),
        ("DA", "2020-02-29", None),
        ("DA", "202002", None),
        ("TM", "10", ("100000.000000", "105959.999999")),
        ("TM", "10:30", ("103000.000000", "103059.999999")),
        ("TM", "103059.5", ("103059.500000", "103059.599999")),
        ("TM", "1", None),
        ("DT", "2020", ("20200101000000.000000", "20201231235959.999999")),
        ("DT", "202002", ("20200201000000.000000", "20200229235959.999999")),
        ("DT", "20200101120000.25-0130", ("20200101133000.250000", "20200101133000.259999")),
        ("DT", "20201231235960+0000", ("20201231235959.000000", "20201231235959.999999")),
        ("DT", "20201301+0100", None),
        ("DT", "00010101+1400", None),
        ("DT", "2020.5", None),
    ],
)
def test_a_moment_of_limited_precision_is_a_span(vr, text, expected):
    """What is not said may be anything (PS3.5 §6.2, DA, TM, DT)."""
    assert expected == span(vr, text)


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20200101-20200131", ("20200101", "20200131")),
        ("DA", "20200101 - 20200131", ("20200101", "20200131")),
        ("DA", "-20200131", ("00000000", "20200131")),
        ("DA", "20200101-", ("20200101", "99999999")),
        ("DA", "-", None),
        ("DA", "20200101-x", None),
        ("TM", "10-11", ("100000.000000", "115959.999999")),
        ("DT", "2020-0500", ("20200101050000.000000", "20210101045959.999999")),
        ("DT", "2020-2021", ("20200101000000.000000", "20211231235959.999999")),
        ("DT", "2020-0100-2021", ("20200101010000.000000", "20211231235959.999999")),
    ],
)
def test_a_range_has_one_or_two_ends(vr, text, expected):
    """PS3.4 C.2.2.2.5; a single value is the range it stands for."""
    assert expected == range_of(vr, text)


@given(st.sampled_from(["DA", "TM", "DT"]), st.text(alphabet="0123456789-+.: x", max_size=30))
def test_no_text_breaks_a_range(vr, text):
    """Whatever a peer sends is a range whose ends are comparable digits, or none."""
    found = range_of(vr, text)
    assert found is None or all(len(end) == len(found[0]) and end[0].isdigit() for end in found)


def test_only_names_moments_and_sequences_are_folded():
    """Other values are searched as they are answered; an unreadable date keeps its text behind a mark."""
    attributes = {
        "00080020": {"vr": "DA", "Value": ["soon"]},
        "00080050": {"vr": "SH", "Value": ["A"]},
        "00080030": {"vr": "TM"},
        "00400275": {"vr": "SQ", "Value": [{"00401001": {"vr": "SH", "Value": ["R"]}, "00400002": {"vr": "DA"}}]},
    }
    assert fold(attributes) == {"00080020": [UNREADABLE + "soon"], "00400275": [{"00401001": ["R"]}]}
