"""The Native DICOM Model from outside (PS3.19 Annex A.1; SECURITY C35)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dicom.json import JsonElement
from strongroom.dicom.limits import LimitExceeded
from strongroom.dicom.xml import to_xml
from strongroom.dicom.xml_reader import from_xml
from strongroom.errors import DataSetError

MODEL: dict[str, JsonElement] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
    "00100020": {"vr": "LO", "Value": ["a & <b>\r\n"]},
    "00100030": {"vr": "DA"},
    "00081110": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
    "00280030": {"vr": "DS", "Value": ["0.5", "0.25"]},
    "00091010": {"vr": "OB", "InlineBinary": "AAEC"},
    "7FE00010": {"vr": "OW", "BulkDataURI": "px"},
}


def document(inside: str, head: str = "") -> bytes:
    """A document of the model."""
    return f'{head}<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">{inside}</NativeDicomModel>'.encode()


def nested(depth: int) -> str:
    """Sequences in each other."""
    begin = '<DicomAttribute tag="00081110" vr="SQ"><Item number="1">'
    return begin * depth + "</Item></DicomAttribute>" * depth


def test_what_was_written_is_read() -> None:
    """Names with their groups, sequences, empty elements, binary and bulk data come back as they were."""
    assert MODEL == from_xml("".join(to_xml(MODEL)).encode())


@pytest.mark.parametrize("namespace", ['xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"', ""])
def test_numbers_come_as_text(namespace: str) -> None:
    """XML has text only; the VR says what it means. Old writers leave the namespace out."""
    text = f'<NativeDicomModel {namespace}><DicomAttribute tag="00280010" vr="US"><Value number="1">512</Value></DicomAttribute></NativeDicomModel>'

    assert {"00280010": {"vr": "US", "Value": ["512"]}} == from_xml(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html/>",
        document("", '<?xml version="1.0" encoding="utf-7"?>'),
        document("", '<?xml version="1.0" encoding="nonsense"?>'),
        document("")[:-1],
        document("", '<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        document("&a;", '<!DOCTYPE x [<!ENTITY a "lol">]>'),
        document("&a;"),
        document("<Value number='1'>x</Value>"),
        document('<DicomAttribute tag="x" vr="LO"/>'),
        document('<DicomAttribute tag="00100020" vr="ZZ"/>'),
        document('<DicomAttribute tag="00100020"/>'),
        document('<DicomAttribute tag="00100020" vr="LO"/>' * 2),
        document('<DicomAttribute tag="00100020" vr="LO"><Value number="2">x</Value></DicomAttribute>'),
        document('<DicomAttribute tag="00280010" vr="US"><Value number="1">x</Value></DicomAttribute>'),
        document('<DicomAttribute tag="00091010" vr="OB"><InlineBinary>!</InlineBinary></DicomAttribute>'),
        document('<DicomAttribute tag="00091010" vr="LO"><Item number="1"/></DicomAttribute>'),
    ],
)
def test_what_is_no_data_set_is_refused(text: bytes) -> None:
    """Not XML, another model, entities of any kind, what no data set can hold: DataSetError."""
    with pytest.raises(DataSetError):
        from_xml(text)


def test_depth_is_bounded() -> None:
    """64 sequences in each other are read, more are not, however many more (F04)."""
    assert from_xml(document(nested(64)))
    for depth in (65, 5_000):
        with pytest.raises(LimitExceeded):
            from_xml(document(nested(depth)))


@given(st.lists(st.tuples(st.integers(0, 1500), st.sampled_from(list("<>&/\"'= aV1\0é"))), max_size=5))
def test_damage_gives_a_data_set_or_the_error(changes: list[tuple[int, str]]) -> None:
    """Whatever is changed, nothing else comes out."""
    text = list("".join(to_xml(MODEL)))
    for at, character in changes:
        text[at % len(text)] = character
    found = None
    with contextlib.suppress(DataSetError):
        found = from_xml("".join(text).encode())

    assert found is None or isinstance(found, dict)
