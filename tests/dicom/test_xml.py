"""The Native DICOM Model says what the DICOM JSON says, and is XML whatever stands in the values."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dicom.limits import DEFAULT, LimitExceeded
from strongroom.dicom.xml import to_xml

NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


def read(elements) -> ET.Element:
    """The document, read by somebody else's parser."""
    return ET.fromstring("".join(to_xml(elements)))


def attribute(elements, tag: str) -> ET.Element:
    """One attribute of it."""
    found = read(elements).find(f"{NATIVE}DicomAttribute[@tag='{tag}']")
    assert found is not None
    return found


def test_values_are_numbered_and_attributes_named() -> None:
    """Tag, VR and keyword, then the values from 1; an empty one keeps its number."""
    found = attribute({"00080061": {"vr": "CS", "Value": ["CT", None, "MR"]}}, "00080061")

    assert {"tag": "00080061", "vr": "CS", "keyword": "ModalitiesInStudy"} == found.attrib
    assert [("1", "CT"), ("2", None), ("3", "MR")] == [(value.get("number"), value.text) for value in found]


def test_attributes_are_in_the_order_of_their_tags() -> None:
    """As in a data set."""
    document = read({"00200010": {"vr": "SH"}, "00080050": {"vr": "SH"}})

    assert ["00080050", "00200010"] == [one.get("tag") for one in document]


def test_a_name_is_taken_apart() -> None:
    """Groups and components (PS3.19 A.1.5)."""
    name = {"Alphabetic": "Doe^Jane^^Dr", "Ideographic": "山田^太郎"}
    found = attribute({"00100010": {"vr": "PN", "Value": [name, {}]}}, "00100010")
    parts = {(group.tag, part.tag): part.text for group in found[0] for part in group}

    assert {
        (f"{NATIVE}Alphabetic", f"{NATIVE}FamilyName"): "Doe",
        (f"{NATIVE}Alphabetic", f"{NATIVE}GivenName"): "Jane",
        (f"{NATIVE}Alphabetic", f"{NATIVE}NamePrefix"): "Dr",
        (f"{NATIVE}Ideographic", f"{NATIVE}FamilyName"): "山田",
        (f"{NATIVE}Ideographic", f"{NATIVE}GivenName"): "太郎",
    } == parts
    assert 0 == len(found[1])


def test_sequences_bulk_data_and_bytes() -> None:
    """Items hold attributes; bulk data is named by its address."""
    document = {
        "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, None]},
        "00880200": {"vr": "OB", "InlineBinary": "AAE="},
        "7FE00010": {"vr": "OW", "BulkDataURI": "7FE00010?a&b"},
    }
    items = attribute(document, "00400275")
    inside = items[0].find(f"{NATIVE}DicomAttribute/{NATIVE}Value")

    assert ["1", "2"] == [item.get("number") for item in items]
    assert inside is not None
    assert "S1" == inside.text
    assert "AAE=" == attribute(document, "00880200")[0].text
    assert "7FE00010?a&b" == attribute(document, "7FE00010")[0].get("uri")


def test_a_private_attribute_names_who_reserved_it() -> None:
    """The creator of its block, where the data set has it."""
    document = {
        "00190010": {"vr": "LO", "Value": ["ACME <1>"]},
        "00191001": {"vr": "LO", "Value": ["x"]},
        "00191101": {"vr": "LO", "Value": ["y"]},
    }

    assert "ACME <1>" == attribute(document, "00191001").get("privateCreator")
    assert attribute(document, "00191101").get("privateCreator") is None
    assert attribute(document, "00190010").get("privateCreator") is None


def test_sequences_too_deep_are_refused() -> None:
    """Bounded like everything that is read."""
    element = {"vr": "SQ", "Value": [{}]}
    for _ in range(DEFAULT.max_depth + 1):
        element = {"vr": "SQ", "Value": [{"00400275": element}]}
    with pytest.raises(LimitExceeded):
        "".join(to_xml({"00400275": element}))  # type: ignore[dict-item]


@given(st.text())
def test_any_text_is_well_formed_and_comes_back(text: str) -> None:
    """Markup is escaped; only what XML cannot hold is replaced."""
    found = attribute({"00104000": {"vr": "LT", "Value": [f"x{text}"]}}, "00104000")
    kept = "".join(
        one
        if one in "\t\n\r" or "\x20" <= one <= "\ud7ff" or "\ue000" <= one <= "\ufffd" or one > "\uffff"
        else "\ufffd"
        for one in text
    )

    assert f"x{kept}" == found[0].text
