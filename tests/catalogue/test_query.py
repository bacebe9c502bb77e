"""What an information model lets ask."""

from __future__ import annotations

import pytest

from catalogue.holding import Holding, elements, tag
from strongroom.catalogue.matching import MAX_LENGTH, MAX_PATTERN, MAX_UIDS, MAX_VALUES
from strongroom.catalogue.query import MAX_KEYS, Query, Root, check
from strongroom.catalogue.scope import EVERYTHING
from strongroom.catalogue.search import search
from strongroom.dicom.model import Level
from strongroom.errors import DataSetError, MismatchError


@pytest.mark.parametrize(
    ("root", "level", "keys"),
    [
        (Root.STUDY, Level.PATIENT, {}),
        (Root.PATIENT, Level.STUDY, {}),
        (Root.PATIENT, Level.STUDY, {"PatientID": None}),
        (Root.STUDY, Level.SERIES, {}),
        (Root.STUDY, Level.SERIES, {"StudyInstanceUID": ["1.1", "1.2"]}),
        (Root.STUDY, Level.IMAGE, {"StudyInstanceUID": "1.1"}),
        (Root.PATIENT, Level.IMAGE, {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.1"}),
    ],
)
def test_a_hierarchical_search_names_one_entity_above(root, level, keys):
    """Without negotiation a search below a level needs its unique key, once (PS3.4 C.4.1.3.1.1, SECURITY D13)."""
    with pytest.raises(MismatchError):
        check(Query(root, level, elements(**keys)))


def test_a_relational_search_need_not():
    """QIDO-RS asks any level by any key."""
    assert check(Query(Root.STUDY, Level.IMAGE, {}, relational=True)) == {}


def test_what_says_how_to_read_a_query_is_no_key():
    """Character set, level and group lengths are dropped, the time zone is answered but not matched."""
    keys = elements(SpecificCharacterSet="ISO_IR 192", QueryRetrieveLevel="STUDY", TimezoneOffsetFromUTC="+0100")
    keys |= {"00080000": {"vr": "UL", "Value": [1]}, "nonsense": {"vr": "LO"}}

    assert check(Query(Root.STUDY, Level.STUDY, keys)) == {"00080201": {"vr": "SH"}}


def nested(depth):
    """A sequence key inside itself."""
    key = {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["x"]}}]}
    for _ in range(depth):
        key = {"vr": "SQ", "Value": [{"00400275": key}]}
    return {"00400275": key}


@pytest.mark.parametrize(
    "keys",
    [
        nested(60),
        {f"0009{number:04X}": {"vr": "LO"} for number in range(16, 17 + MAX_KEYS)},
        elements(StudyDescription="x" * (MAX_LENGTH + 1)),
        elements(StudyDescription="x*" * MAX_PATTERN),
        elements(PatientName="x*" * MAX_PATTERN),
        elements(StudyDescription=["x"] * (MAX_VALUES + 1)),
        elements(StudyInstanceUID=["1.2"] * (MAX_UIDS + 1)),
        {tag("ProcedureCodeSequence"): {"vr": "SQ", "Value": [{"00080100": {"vr": "SH"}}] * 2}},
    ],
    ids=["depth", "keys", "length", "pattern", "name pattern", "values", "uids", "items"],
)
def test_more_than_the_limits_is_refused(keys):
    """A query beyond a limit raises before any SQL runs, and its text names no value (SECURITY D11, D13)."""
    with pytest.raises(DataSetError) as raised:
        search(Holding().connection, Query(Root.STUDY, Level.STUDY, keys), EVERYTHING)

    assert "x" * 10 not in str(raised.value)
