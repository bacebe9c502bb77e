"""Identifiers against their information model (PS3.4 C.4.1.2, C.4.2.1.4)."""

from __future__ import annotations

import pytest

from strongroom.dicom.model import Level
from strongroom.scp.errors import IdentifierError
from strongroom.scp.identifier import parse_query, parse_target
from strongroom.scp.ports import Root, Target


def keys(**values):
    """An identifier in the DICOM JSON model, by tag."""
    return {tag[1:]: {"vr": "LO", "Value": value} if value else {"vr": "LO"} for tag, value in values.items()}


def test_a_query_keeps_the_keys_and_not_what_is_about_the_request() -> None:
    """Level and character set say how to read the identifier; group lengths say nothing."""
    query = parse_query(
        keys(_00080052=["STUDY"], _00080005=["ISO_IR 100"], _00080000=[4], _00100020=["P1"], _00081030=[]), Root.STUDY
    )

    assert (query.root, query.level) == (Root.STUDY, Level.STUDY)
    assert keys(_00100020=["P1"], _00081030=[]) == query.keys


def test_a_list_of_uids_is_fine_at_the_level_itself() -> None:
    """UID list matching belongs to the level asked for."""
    query = parse_query(keys(_00080052=["SERIES"], _0020000D=["1.2"], _0020000E=["1.2.1", "1.2.2"]), Root.STUDY)

    assert query.keys["0020000E"]["Value"] == ["1.2.1", "1.2.2"]


@pytest.mark.parametrize(
    ("root", "identifier", "expected"),
    [
        (Root.PATIENT, keys(_00080052=["PATIENT"], _00100020=["P*"]), Target(Level.PATIENT, patient_id="P*")),
        (
            Root.PATIENT,
            keys(_00080052=["SERIES"], _00100020=["P"], _0020000D=["1"], _0020000E=["2", "3"]),
            Target(Level.SERIES, patient_id="P", study_instance_uids=("1",), series_instance_uids=("2", "3")),
        ),
        (
            Root.STUDY,
            keys(_00080052=["STUDY"], _0020000D=["1", "2"]),
            Target(Level.STUDY, study_instance_uids=("1", "2")),
        ),
        (
            Root.STUDY,
            keys(_00080052=["IMAGE"], _0020000D=["1"], _0020000E=["2"], _00080018=["3"]),
            Target(Level.IMAGE, study_instance_uids=("1",), series_instance_uids=("2",), sop_instance_uids=("3",)),
        ),
    ],
)
def test_targets(root: Root, identifier: dict, expected: Target) -> None:
    """One value above the level, one or more at it; a Patient ID is never a pattern."""
    assert expected == parse_target(identifier, root)


@pytest.mark.parametrize(
    "identifier",
    [
        {},
        keys(_00080052=[]),
        keys(_00080052=["study"]),
        keys(_00080052=[None]),
        {"00080052": {"vr": "PN", "Value": [{"Alphabetic": "STUDY"}]}},
        {"00080052": {"vr": "CS", "InlineBinary": "U1RVRFk="}},
        keys(_00080052=["STUDY"], _0020000D=[None, ""]),
        keys(_00080052=["SERIES"], _0020000D=["1", "2"], _0020000E=["3"]),
    ],
)
def test_odd_identifiers_name_an_element(identifier: dict) -> None:
    """Whatever shape the values have, the answer is an IdentifierError."""
    with pytest.raises(IdentifierError) as caught:
        parse_target(identifier, Root.STUDY)

    assert caught.value.offending_element in {0x00080052, 0x0020000D}
