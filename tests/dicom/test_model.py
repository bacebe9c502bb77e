"""Patient, study, series and image: what is indexed of each, on every file pydicom ships."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from dicom.shipped import DEFLATED, EXPLICIT, PATHS, body
from strongroom.dicom import json, model
from strongroom.dicom.header import Header, HeaderReader
from strongroom.dicom.model import Level
from strongroom.errors import DataSetError

IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def read(data: bytes, syntax: str = EXPLICIT) -> Header:
    """Read a whole data set at once."""
    reader = HeaderReader(syntax)
    reader.feed(data)
    return reader.finish()


def headers():
    """Give the header of each shipped file that has a whole data set."""
    for path in PATHS:
        data, syntax = body(path)
        try:
            yield pytest.param(data, syntax, read(data, syntax), id=path.name)
        except DataSetError:
            continue


HEADERS = list(headers())


def test_most_shipped_files_are_read():
    """The comparisons below have data."""
    assert len(HEADERS) >= 140


def test_every_tag_has_the_vr_of_the_dictionary():
    """The lists agree with the standard, and no tag but the time zone belongs to two levels."""
    lists = [*model.TAGS.values(), *model.COMPUTED_TAGS.values()]
    for tags in lists:
        for tag, vr in tags.items():
            assert dictionary_VR(tag) == vr, hex(tag)
    seen = [tag for tags in model.TAGS.values() for tag in tags if tag != 0x00080201]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (Level.PATIENT, "00100010 00100020 00100030 00100040 00100021 00101002"),
        (Level.STUDY, "00080020 00080030 00080050 00080090 00200010 0020000D 00081030 00080201"),
        (Level.SERIES, "00080060 00200011 0020000E 0008103E 00400244 00400245 00400275 00080201"),
        (Level.IMAGE, "00080016 00080018 00200013 00280010 00280011 00280100 00280008 00080201"),
    ],
)
def test_the_required_keys_of_each_level_are_there(level, keys):
    """Required and unique keys of PS3.4 C.6.1.1 and the QIDO tables of PS3.18 10.6.3 are indexed or computed."""
    assert {int(key, 16) for key in keys.split()} <= set(model.TAGS[level])
    assert model.UNIQUE_TAGS[level] in model.TAGS[level]


@pytest.mark.parametrize(("data", "syntax", "header"), HEADERS)
def test_a_description_is_the_part_of_the_whole_model(data, syntax, header):
    """What describe gives for a level is what the JSON model of the whole data set says of the same tags."""
    whole = json.to_json(data, syntax, bulk_threshold=1 << 20)
    for level, tags in model.TAGS.items():
        wanted = {key: whole[key] for key in (f"{tag:08X}" for tag in tags) if key in whole}
        assert model.describe(header, level) == {
            key: value for key, value in wanted.items() if int(key, 16) in header.elements
        }
        assert model.fingerprint(header, level) == model.fingerprint(read(data, syntax), level)


@pytest.mark.parametrize(("data", "syntax", "header"), HEADERS)
def test_an_identity_is_what_pydicom_reads(data, syntax, header):
    """UIDs, patient ID and modality are those of the JSON model."""
    whole = json.to_json(data, syntax)
    identity = model.identify(header)

    def first(key):
        return "\\".join(str(value) for value in whole.get(key, {}).get("Value", [""]))

    assert identity.patient_id == first("00100020")
    assert identity.issuer == first("00100021")
    assert identity.study_instance_uid == first("0020000D")
    assert identity.series_instance_uid == first("0020000E")
    assert identity.sop_instance_uid == first("00080018")
    assert identity.sop_class_uid == first("00080016")
    assert identity.modality == first("00080060")


BASE = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.1"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Hans"}]},
    "00100020": {"vr": "LO", "Value": ["Nr. 7"]},
    "00100021": {"vr": "LO", "Value": ["Klinik"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3.0"]},
    "00200013": {"vr": "IS", "Value": [1]},
    "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["Schädel"]}}]},
}


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_an_instance_is_described_alike_in_every_syntax(syntax):
    """Identity and descriptions do not depend on how the data set is written."""
    header = read(json.encode_dataset(BASE, syntax), syntax)

    assert model.identify(header) == model.Identity(
        "Nr. 7", "Klinik", "1.2.3", "1.2.3.0", "1.2.3.1", "1.2.840.10008.5.1.4.1.1.2", "CT"
    )
    described = {key: value for level in Level for key, value in model.describe(header, level).items()}
    assert described == BASE


@given(st.sampled_from(sorted(BASE)), st.text("ABC 123", min_size=1, max_size=4))
def test_a_change_on_one_level_changes_its_fingerprint_only(key, text):
    """The fingerprint of a level is equal exactly when what is described on that level is equal."""
    changed = dict(BASE)
    if BASE[key]["vr"] in ("LO", "CS", "UI"):
        changed[key] = {"vr": BASE[key]["vr"], "Value": [text]}
    else:
        del changed[key]
    one, other = (read(json.encode_dataset(elements, EXPLICIT)) for elements in (BASE, changed))
    declared = one.character_set == other.character_set
    for level, tags in model.TAGS.items():
        same = model.fingerprint(one, level) == model.fingerprint(other, level)
        assert not same or model.describe(one, level) == model.describe(other, level)
        assert same or int(key, 16) in tags or not declared


def test_nothing_present_is_nothing_described():
    """A data set without any of the tags has an empty identity and empty descriptions."""
    header = read(json.encode_dataset({"00091010": {"vr": "UN", "InlineBinary": "AAA="}}, EXPLICIT))

    assert model.identify(header) == model.Identity("", "", "", "", "", "", "")
    assert [model.describe(header, level) for level in Level] == [{}] * 4


def test_a_patient_id_of_two_values_is_not_cut():
    r"""`A\B` and `A\C` are two patients, not one."""
    raw = b"\x10\x00\x20\x00LO\x04\x00A\\B "

    assert model.identify(read(raw)).patient_id == "A\\B"


def test_a_text_in_an_undeclared_set_stays_distinct():
    """Two patient IDs with different unreadable bytes are different identities."""
    ids = set()
    for byte in (b"\xc4", b"\xd6", b"\x80", b"\x81"):
        raw = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 999\x10\x00\x20\x00LO\x02\x00A" + byte
        ids.add(model.identify(read(raw)).patient_id)

    assert len(ids) == 4


def test_a_vr_of_the_writer_does_not_change_the_type_in_the_index():
    """Text written as UN or as another text VR is described by the dictionary; a wider number stays its number."""
    data = (
        b"\x10\x00\x10\x00UN\0\0" + struct.pack("<I", 4) + b"A^B "
        b"\x10\x00\x20\x00SH\x02\x00ID"
        b"\x28\x00\x10\x00UL\x04\x00\x00\x02\x00\x00"
        b"\x28\x00\x11\x00US\x02\x00\x00\x02"
    )
    header = read(data)

    assert model.describe(header, Level.PATIENT) == {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
        "00100020": {"vr": "LO", "Value": ["ID"]},
    }
    assert model.describe(header, Level.IMAGE)["00280010"] == {"vr": "UL", "Value": [512]}
    assert model.describe(header, Level.IMAGE)["00280011"] == {"vr": "US", "Value": [512]}


def test_a_sequence_that_cannot_be_taken_apart_has_no_items():
    """UN that should be a sequence but is none is described empty, nothing is raised."""
    data = b"\x40\x00\x75\x02UN\0\0" + struct.pack("<I", 10) + b"no items!!"

    assert model.describe(read(data), Level.SERIES) == {"00400275": {"vr": "SQ"}}
