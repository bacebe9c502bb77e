"""The DICOM JSON model (PS3.18 Annex F): pydicom's to_json is the oracle on every file it ships."""

from __future__ import annotations

import base64
import contextlib
import math
import struct
import zlib

import msgspec
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset

from dicom.shipped import DEFLATED, EXPLICIT, PATHS, body
from strongroom.dicom import json
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.errors import DataSetError, StrongroomError

IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
WRITABLE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)

# Files that are not whole, each with what is wrong; the walk refuses them as well.
BROKEN = {
    "MR_truncated.dcm": "8192 bytes",
    "rtplan_truncated.dcm": "976 bytes",
    "DICOMDIR-nooffset": "248 bytes",
    "SC_rgb_jpeg.dcm": "no VR",  # says explicit VR in its meta information and is implicit
}


def difference(ours, theirs, path="", ignored=()):
    """Yield where two models differ in what the standard fixes."""
    for key in sorted(set(ours) | set(theirs)):
        if key[4:] == "0000" or key.startswith("7FE0") or key in ignored:
            continue
        if key not in ours or key not in theirs:
            yield path + key, "only on one side"
            continue
        one, other = ours[key], theirs[key]
        if one["vr"] == "UN" and int(key[:4], 16) & 1:
            continue  # pydicom has private dictionaries
        if one["vr"] == other["vr"] == "SQ":
            items, others = one.get("Value", []), other.get("Value", [])
            if len(items) != len(others):
                yield path + key, len(items), len(others)
            for number, pair in enumerate(zip(items, others, strict=False)):
                yield from difference(*pair, f"{path}{key}/{number}/", ignored)
        elif one["vr"] != other["vr"] or values(one) != values(other):
            yield path + key, one, other


def values(element):
    """Return the content of an element, with what both sides may write differently made alike."""
    if "InlineBinary" in element:
        return element["InlineBinary"]
    # pydicom writes an empty value among several as "", PS3.18 §F.2.5 wants null; and it keeps padding inside
    return [
        None if value in ("", None) else value.strip() if isinstance(value, str) else value
        for value in element.get("Value", [])
    ]


def inline(elements):
    """Return the model without what has no bytes in it."""
    return {
        key: {"vr": "SQ", "Value": [inline(item) for item in element["Value"]]}
        if element["vr"] == "SQ" and "Value" in element
        else element
        for key, element in elements.items()
        if "BulkDataURI" not in element
    }


def test_the_shipped_files_are_there():
    """The oracle has data: without the files the comparisons below would prove nothing."""
    assert len(PATHS) >= 150


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_shipped_file_gives_pydicoms_model_and_encodes_back(path):
    """All elements, VRs and values are pydicom's, and the model encodes to bytes that give the same model again."""
    data, syntax = body(path)
    if not syntax:
        pytest.skip("the file names no transfer syntax")
    if path.name in BROKEN:
        with pytest.raises(DataSetError, match=BROKEN[path.name]):
            json.decode_dataset(data, syntax)
        return
    ours = json.decode_dataset(data, syntax)
    theirs = {}
    for element in pydicom.dcmread(path):
        try:
            theirs[f"{int(element.tag):08X}"] = element.to_json_dict(None, 1 << 40)
        except ValueError:  # pydicom refuses what is no number or UID; we keep it as text
            ours.pop(f"{int(element.tag):08X}")

    assert list(difference(ours, theirs)) == []
    whole = inline(ours)
    again = json.decode_dataset(json.encode_dataset(whole, EXPLICIT), EXPLICIT)
    assert list(difference(again, padded(whole), ignored=("00080005",))) == []
    assert msgspec.json.decode(json.dumps(ours)) == ours


def padded(elements):
    """Return the model with binary values of odd length padded, as they must be written."""
    out = {}
    for key, element in elements.items():
        out[key] = element
        if element["vr"] == "SQ" and "Value" in element:
            out[key] = {"vr": "SQ", "Value": [padded(item) for item in element["Value"]]}
        elif "InlineBinary" in element:
            raw = base64.b64decode(element["InlineBinary"])
            out[key] = {"vr": element["vr"], "InlineBinary": base64.b64encode(raw + b"\0" * (len(raw) & 1)).decode()}
    return out


# ------------------------------------------------------------------------------------------------------- round trips

plain_text = st.text(
    st.characters(codec="utf-8", exclude_characters="\\=^", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
).filter(lambda text: text.strip(" ") == text and text)
ascii_text = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=12
)
names = st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), plain_text, min_size=1)


def several(value):
    """Give some values, of which not only the last is empty."""
    return st.lists(value, min_size=1, max_size=4)


def content(vr):
    """Give elements of one VR."""
    numbers = {"US": (0, 16), "UL": (0, 32), "UV": (0, 64), "SS": (1, 15), "SL": (1, 31), "SV": (1, 63)}
    if vr in numbers:
        signed, bits = numbers[vr]
        value = st.integers(-(2**bits) if signed else 0, 2**bits - 1)
    elif vr in ("FL", "FD"):
        value = st.one_of(
            st.floats(allow_nan=False, allow_infinity=False, width=32 if vr == "FL" else 64),
            st.sampled_from(["NaN", "Infinity", "-Infinity"]),
        )
    elif vr == "DS":
        value = st.one_of(st.integers(-(10**9), 10**9).map(float), st.sampled_from([0.5, -1.25, 1e-7, 3.14159265]))
    elif vr == "IS":
        value = st.integers(-(2**31), 2**31 - 1)
    elif vr == "AT":
        value = st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}")
    elif vr == "PN":
        value = names
    elif vr in ("LO", "SH", "UC"):
        value = plain_text
    elif vr in ("ST", "LT", "UT", "UR"):
        return st.one_of(
            st.just({"vr": vr}), plain_text.map(lambda text: {"vr": vr, "Value": [text if vr != "UR" else "urn:x"]})
        )
    elif vr in ("OB", "OW", "OF", "OD", "OL", "OV", "UN"):
        binary = st.binary(min_size=1, max_size=4).map(lambda raw: base64.b64encode(raw * 8).decode())
        return st.one_of(st.just({"vr": vr}), binary.map(lambda text: {"vr": vr, "InlineBinary": text}))
    else:
        value = ascii_text
    return st.one_of(st.just({"vr": vr}), several(value).map(lambda found: {"vr": vr, "Value": found}))


VRS = [
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FD",
    "FL",
    "IS",
    "LO",
    "LT",
    "OB",
    "OD",
    "OF",
    "OL",
    "OV",
    "OW",
    "PN",
    "SH",
    "SL",
    "SS",
    "ST",
    "SV",
    "TM",
    "UC",
    "UI",
    "UL",
    "UN",
    "UR",
    "US",
    "UT",
    "UV",
]
any_tag = (
    st.integers(0x00091001, 0xFFFDFFFF)
    .filter(lambda tag: tag & 0x1FFFF > 0x11000 and tag >> 16 != 0x7FE0)
    .map(lambda tag: f"{tag:08X}")
)
any_element = st.sampled_from(VRS).flatmap(content)
any_model = st.recursive(
    st.dictionaries(any_tag, any_element, max_size=4),
    lambda inner: st.dictionaries(
        any_tag,
        st.one_of(any_element, st.lists(inner, min_size=1, max_size=2).map(lambda items: {"vr": "SQ", "Value": items})),
        max_size=3,
    ),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # making a model takes longer than trying it
@given(any_model, st.sampled_from([EXPLICIT, BIG_ENDIAN, DEFLATED]))
def test_any_model_comes_back_from_its_bytes(model, syntax):
    """Whatever the model holds, encoding and decoding give it again, in either byte order and deflated."""
    raw = json.encode_dataset(model, syntax)
    back = json.decode_dataset(raw, syntax)
    back.pop("00080005", None)

    assert len(raw) % 2 == 0
    assert back == model


@given(any_model)
def test_what_we_write_pydicom_reads(model):
    """Pydicom finds every element we encoded, with the VR we gave it."""
    raw = json.encode_dataset(model, EXPLICIT)
    read = read_dataset(DicomBytesIO(raw), is_implicit_VR=False, is_little_endian=True)

    assert {key for key in model} == {f"{int(tag):08X}" for tag in read.keys()} - {"00080005"}  # noqa: C416, SIM118 -- a Dataset iterates elements


KEYS = {
    "00080020": {"vr": "DA", "Value": ["20260101-20260131"]},
    "00080050": {"vr": "SH"},
    "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
    "00081199": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI"}}]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "MÜLLER^*"}]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3", "1.2.4"]},
    "00201206": {"vr": "IS"},
}


@pytest.mark.parametrize("syntax", WRITABLE)
def test_an_identifier_keeps_its_empty_keys(syntax):
    """A query's universal keys, ranges, lists and sequences survive in every syntax it may come in (PS3.4 C.2.2.2)."""
    back = json.decode_dataset(json.encode_dataset(KEYS, syntax), syntax)

    assert back.pop("00080005") == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert back == KEYS


def test_the_character_set_is_declared_only_when_needed_or_asked_for():
    """Pure ASCII needs no (0008,0005); a key of that name or other text brings the set really used."""
    ascii_only = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}}
    asked = {"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, **ascii_only}
    german = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ü"}]}}

    assert "00080005" not in json.decode_dataset(json.encode_dataset(ascii_only, EXPLICIT), EXPLICIT)
    assert json.decode_dataset(json.encode_dataset(asked, EXPLICIT), EXPLICIT)["00080005"]["Value"] == ["ISO_IR 192"]
    latin = json.encode_dataset(german, EXPLICIT, "ISO_IR 100")
    assert b"CS\x0a\x00ISO_IR 100" in latin
    assert latin.endswith(b"PN\x02\x00\xdc ")
    assert json.encode_dataset(german, EXPLICIT, "").endswith(b"PN\x02\x00? ")


# ----------------------------------------------------------------------------------------------------- what comes out


def element(tag: int, vr: str, raw: bytes, syntax: str = EXPLICIT) -> bytes:
    """Encode one element by hand."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", len(raw)) + raw
    if vr in ("OB", "OW", "UN", "SQ", "UT", "UC", "OF"):
        return head + vr.encode() + b"\0\0" + struct.pack(order + "I", len(raw)) + raw
    return head + vr.encode() + struct.pack(order + "H", len(raw)) + raw


@pytest.mark.parametrize(
    ("vr", "raw", "expected"),
    [
        ("LO", b"a\\\\b ", ["a", None, "b"]),
        ("LO", b"  ", None),
        ("CS", b" A \\B ", ["A", "B"]),
        ("UI", b"1.2\0\\1.3\0", ["1.2", "1.3"]),
        ("PN", b"A^B\\=\xe5\xb1\xb1", [{"Alphabetic": "A^B"}, {"Ideographic": "山"}]),
        (
            "PN",
            b"<img src=x onerror=alert(1)>",
            [{"Alphabetic": "<img src", "Ideographic": "x onerror", "Phonetic": "alert(1)>"}],
        ),
        ("DS", b"1.50\\ -2 \\\\x", [1.5, -2.0, None, "x"]),
        ("DS", b"nan\\1e400\\1_0\\-inf", ["nan", "1e400", "1_0", "-inf"]),
        ("IS", b"007\\ +3\\1.5\\99999999999999999999", [7, 3, "1.5", "99999999999999999999"]),
        ("FD", struct.pack("<3d", math.nan, math.inf, -math.inf), ["NaN", "Infinity", "-Infinity"]),
        ("US", b"\x01\x00\x02\x00\x03", [1, 2]),
        ("US", b"\x01", None),
        ("UV", b"\xff" * 8, [2**64 - 1]),
        ("AT", b"\x10\x00\x20\x00", ["00100020"]),
        ("ST", b"a\\b ", ["a\\b"]),
        ("LT", b"a\r\nb\x1b[2J", ["a\r\nb⟨1B⟩[2J"]),
    ],
    ids=str,
)
def test_one_value_of_each_kind(vr, raw, expected):
    """Values become what PS3.18 Table F.2.3-1 wants; what is no number stays text, what is empty has no Value."""
    found = json.element_to_json(0x00091010, vr, raw, ("ISO_IR 192",))

    assert found == ({"vr": vr} if expected is None else {"vr": vr, "Value": expected})
    assert msgspec.json.decode(json.dumps(found)) == found


def test_a_vr_nobody_knows_is_shown_as_bytes():
    """An element whose VR is of another edition is UN."""
    assert json.element_to_json(0x00091010, "XY", b"\0\1", ()) == {"vr": "UN", "InlineBinary": "AAE="}


def test_big_endian_words_come_out_little_endian():
    """InlineBinary is little endian whatever the data set was (PS3.18 §F.2.7)."""
    data = element(0x00091010, "OW", b"\x01\x02\x03\x04", BIG_ENDIAN) + element(
        0x00091011, "OF", b"\x01\x02\x03\x04", BIG_ENDIAN
    )
    found = json.decode_dataset(data, BIG_ENDIAN)

    assert base64.b64decode(found["00091010"]["InlineBinary"]) == b"\x02\x01\x04\x03"
    assert base64.b64decode(found["00091011"]["InlineBinary"]) == b"\x04\x03\x02\x01"


def test_large_values_become_bulk_data_with_the_way_to_them():
    """Long binary values, very long text and any pixel data are referred to by their tags and item numbers."""
    icon = element(0x7FE00010, "OW", b"\0\0")
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(icon)) + icon
    data = (
        element(0x00091010, "OB", bytes(1024))
        + element(0x00091011, "OB", bytes(1026))
        + element(0x00091012, "UT", b"x" * 65538)
        + element(0x00880200, "SQ", item + item)
    )
    found = json.to_json(data, EXPLICIT)

    assert "InlineBinary" in found["00091010"]
    assert found["00091011"] == {"vr": "OB", "BulkDataURI": "00091011"}
    assert found["00091012"] == {"vr": "UT", "BulkDataURI": "00091012"}
    assert found["00880200"]["Value"][1] == {"7FE00010": {"vr": "OW", "BulkDataURI": "00880200/1/7FE00010"}}
    assert "InlineBinary" in json.to_json(data, EXPLICIT, bulk_threshold=2000)["00091011"]


def test_json_says_it_is_utf_8_and_items_inherit_the_character_set():
    """(0008,0005) of the model is ISO_IR 192; the text inside items is read by the set declared outside or inside."""
    name = element(0x00100010, "PN", b"\xfc ")
    own = element(0x00080005, "CS", b"ISO_IR 144") + element(0x00100010, "PN", b"\xbb ")
    items = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(raw)) + raw for raw in (name, own, name))
    data = element(0x00080005, "CS", b"ISO_IR 100") + element(0x00081120, "SQ", items) + name
    found = json.to_json(data, EXPLICIT)

    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert [item["00100010"]["Value"][0]["Alphabetic"] for item in found["00081120"]["Value"]] == ["ü", "Л", "ü"]
    assert json.to_json(data, EXPLICIT, declare_utf_8=False)["00080005"]["Value"] == ["ISO_IR 100"]


@pytest.mark.parametrize(("sign", "vr", "value"), [(0, "US", 65535), (1, "SS", -1), (None, "US", 65535)])
def test_implicit_signedness_follows_pixel_representation(sign, vr, value):
    """US or SS is decided by Pixel Representation, also when the element lies in front of it in an item (PS3.5 A.1)."""
    smallest = element(0x00280106, "", b"\xff\xff", IMPLICIT)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(smallest)) + smallest
    data = element(0x00081120, "", item, IMPLICIT)
    if sign is not None:
        data += element(0x00280103, "", bytes((sign, 0)), IMPLICIT)
    found = json.decode_dataset(data + smallest, IMPLICIT)

    assert found["00280106"] == {"vr": vr, "Value": [value]}
    assert found["00081120"]["Value"][0]["00280106"] == {"vr": vr, "Value": [value]}


def test_un_of_a_known_element_is_read_by_the_dictionary():
    """An archive in between wrote UN for what it did not know: it is read, sequences as well; garbage stays UN."""
    inner = element(0x00100020, "", b"ID", IMPLICIT)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
    data = (
        element(0x00081115, "UN", item)
        + element(0x00081120, "UN", b"no sequence!")
        + element(0x00091010, "UN", b"\1\2")
        + element(0x00100010, "UN", b"A^B ")
        + element(0x00280010, "UN", b"\x02\x00")
    )
    found = json.decode_dataset(data, EXPLICIT)

    assert found["00081115"] == {"vr": "SQ", "Value": [{"00100020": {"vr": "LO", "Value": ["ID"]}}]}
    assert found["00081120"]["vr"] == "UN"
    assert found["00091010"]["vr"] == "UN"
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}
    assert found["00280010"] == {"vr": "US", "Value": [2]}


def test_un_of_undefined_length_is_a_sequence():
    """Its items are implicit VR little endian, in explicit big endian too (PS3.5 §6.2.2)."""
    inner = element(0x00100020, "", b"ID", IMPLICIT)
    items = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    for syntax, order in ((EXPLICIT, "<"), (BIG_ENDIAN, ">")):
        data = struct.pack(order + "HH", 9, 0x1010) + b"UN\0\0\xff\xff\xff\xff" + items
        found = json.decode_dataset(data + element(0x00100010, "PN", b"A ", syntax), syntax)
        assert found["00091010"] == {"vr": "SQ", "Value": [{"00100020": {"vr": "LO", "Value": ["ID"]}}]}
        assert found["00100010"]["Value"] == [{"Alphabetic": "A"}]


def test_group_lengths_are_no_part_of_the_model():
    """(gggg,0000) is dropped, right or wrong (PS3.18 §F.2.2)."""
    data = element(0x00080000, "UL", b"\xff\xff\xff\xff") + element(0x00080060, "CS", b"CT")

    assert json.to_json(data, EXPLICIT) == {"00080060": {"vr": "CS", "Value": ["CT"]}}


# ------------------------------------------------------------------------------------------------------ hostile bytes


def nested(depth: int, *, defined: bool) -> bytes:
    """Build sequences inside sequences in explicit VR little endian."""
    data = b""
    for _ in range(depth):
        if defined:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data
            data = b"\x08\x00\x20\x11SQ\0\0" + struct.pack("<I", len(item)) + item
        else:
            data = (
                b"\x08\x00\x20\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
                + data
                + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
            )
    return data


@pytest.mark.parametrize("defined", [True, False])
def test_nesting_ends_at_64(defined):
    """64 sequences inside each other are read, 65 and 20,000 are refused without a deep stack (F04)."""
    found = json.to_json(nested(64, defined=defined), EXPLICIT)
    for _ in range(64):
        found = found["00081120"]["Value"][0]
    assert found == {}
    for depth in (65, 2000, 20_000 if not defined else 3000):
        with pytest.raises(LimitExceeded, match="max_depth") as error:
            json.to_json(nested(depth, defined=defined), EXPLICIT)
        assert error.value.limit == 64


def test_elements_are_counted_at_every_depth():
    """The element limit counts items and what is in them."""
    data = element(0x00081120, "SQ", b"\xfe\xff\x00\xe0\0\0\0\0" * 20)
    with pytest.raises(LimitExceeded, match="max_elements"):
        json.to_json(data, EXPLICIT, limits=Limits(max_elements=20))
    assert len(json.to_json(data, EXPLICIT, limits=Limits(max_elements=21))["00081120"]["Value"]) == 20


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00\x60",
        b"\x08\x00\x60\x00CS\x04\x00CT",
        b"\x08\x00\x60\x00OB\x00\x00\x04",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0\0\0\0\0",
        b"\x08\x00\x60\x00\x01\x02\x04\x00abcd",
        b"\x10\x00\x10\x00UT\0\0\xff\xff\xff\xff",
        b"\x08\x00\x20\x11SQ\0\0\xff\xff\xff\xff",
        b"\x08\x00\x20\x11SQ\0\0\x08\0\0\0\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\x08\x00\x20\x11SQ\0\0\x08\0\0\0\xfe\xff\x00\xe0\x01\0\0\0",
        b"\x08\x00\x20\x11SQ\0\0\x08\0\0\0\x08\x00\x60\x00\0\0\0\0",
        b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\x02\0\0\0ab",
    ],
)
def test_bytes_that_are_no_data_set_are_refused(data):
    """Cut off elements, misplaced delimiters, lengths beyond the end: DataSetError, each."""
    with pytest.raises(DataSetError):
        json.decode_dataset(data, EXPLICIT)


@given(st.binary(max_size=200), st.sampled_from([*WRITABLE, "1.2.3", "1.2.840.10008.1.2.4.90"]))
def test_random_bytes_raise_nothing_else(data, syntax):
    """Any bytes give a model that can be dumped, or DataSetError."""
    try:
        found = json.decode_dataset(data, syntax)
    except DataSetError:
        return
    json.dumps(found)


@given(st.sampled_from([path for path in PATHS if path.stat().st_size < 20_000 and body(path)[1]]), st.data())
def test_damaged_files_raise_nothing_else(path, data):
    """
    Real data sets with bytes changed, removed and repeated give a model or DataSetError; what the header reader takes as
    whole always gives a model.
    """
    raw, syntax = body(path)
    raw = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(raw), 4000)))
        new = data.draw(
            st.sampled_from([b"", b"\xff\xff\xff\xff", b"UN\0\0", b"SQ\0\0", b"\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0"])
        )
        raw[at : at + len(new)] = new
    try:
        reader = HeaderReader(syntax)
        reader.feed(raw)
        head = reader.finish().head
    except DataSetError:
        head = None
    if head is not None:
        json.dumps(json.to_json(head, syntax))
    with contextlib.suppress(DataSetError):
        json.dumps(json.decode_dataset(bytes(raw), syntax))


def test_a_deflate_bomb_is_stopped():
    """An identifier that inflates beyond 100:1 is refused before it is inflated whole (F05)."""
    bomb = element(0x00091010, "OB", bytes(10 << 20))
    deflater = zlib.compressobj(9, wbits=-15)
    with pytest.raises(LimitExceeded, match="max_inflate_ratio"):
        json.decode_dataset(deflater.compress(bomb) + deflater.flush(), DEFLATED)
    with pytest.raises(DataSetError, match="before the deflated stream does"):
        json.decode_dataset(zlib.compressobj(wbits=-15).compress(b"") + b"\x4b", DEFLATED)
    with pytest.raises(DataSetError, match="does not inflate"):
        json.decode_dataset(b"\xff\xff\xff", DEFLATED)


@pytest.mark.parametrize(
    "model",
    [
        {"0010001": {"vr": "LO"}},
        {"0010_010": {"vr": "LO"}},
        {"GGGG0010": {"vr": "LO"}},
        {"00100010": {"vr": "XX"}},
        {"00100010": {"Value": ["a"]}},
        {"00100010": ["a"]},
        {"00100010": {"vr": "PN", "Value": ["a\\b"]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 1}]}},
        {"00100010": {"vr": "PN", "Value": 1}},
        {"00100020": {"vr": "LO", "Value": "abc"}},
        {"00081120": {"vr": "SQ", "Value": True}},
        {"00081120": {"vr": "SQ", "Value": {"00100010": {"vr": "PN"}}}},
        {"00100020": {"vr": "LO", "Value": [{"a": "b"}]}},
        {"00280010": {"vr": "US", "Value": [65536]}},
        {"00280010": {"vr": "US", "Value": [1.5]}},
        {"00280010": {"vr": "US", "Value": ["x"]}},
        {"00280010": {"vr": "US", "Value": [None]}},
        {"00280010": {"vr": "US", "Value": [True]}},
        {"00280010": {"vr": "FL", "Value": [1e300]}},
        {"00280010": {"vr": "DS", "Value": [math.inf]}},
        {"00280009": {"vr": "AT", "Value": ["0010"]}},
        {"00280009": {"vr": "AT", "Value": ["-0000001"]}},
        {"00091010": {"vr": "OB", "InlineBinary": "a"}},
        {"00091010": {"vr": "OB", "InlineBinary": "ää=="}},
        {"00091010": {"vr": "OB", "BulkDataURI": "file:///etc/passwd"}},
        {"00081120": {"vr": "SQ", "Value": ["x"]}},
        {"00104000": {"vr": "LT", "Value": ["x" * 65536]}},
    ],
)
def test_a_model_no_data_set_can_hold_is_refused(model):
    """Wrong tags, VRs, types and values give DataSetError, whose text holds no value (I7)."""
    with pytest.raises(DataSetError) as error:
        json.encode_dataset(model, EXPLICIT)
    assert "passwd" not in str(error.value)


def test_a_model_nested_too_deep_is_refused():
    """65 levels are not written either."""
    model: dict = {}
    for _ in range(66):
        model = {"00081120": {"vr": "SQ", "Value": [model]}}
    with pytest.raises(LimitExceeded, match="max_depth"):
        json.encode_dataset(model, EXPLICIT)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.one_of(any_tag, st.text(max_size=9)),
        st.fixed_dictionaries(
            {"vr": st.sampled_from([*VRS, "SQ", "x"])}, optional={"Value": json_values, "InlineBinary": json_values}
        ),
        max_size=3,
    )
)
def test_any_object_encodes_or_is_refused(model):
    """Whatever JSON came in, encoding gives bytes or DataSetError."""
    try:
        raw = json.encode_dataset(model, EXPLICIT)
    except DataSetError:
        return
    json.decode_dataset(raw, EXPLICIT)


def test_a_long_decimal_is_shortened_to_sixteen_characters():
    """DS holds 16 characters at most (PS3.5 Table 6.2-1), and keeps as many digits as fit."""
    for number in (1 / 3, -1 / 3, 1e-300 / 3, 123456789.123456789, -1.2345678901234567e-100, 1e22):
        raw = json.encode_dataset({"00101020": {"vr": "DS", "Value": [number]}}, EXPLICIT)[8:].strip()
        assert len(raw) <= 16
        assert float(raw) == pytest.approx(number, rel=1e-8)


def test_trusted_text_is_read_back_and_other_text_refused():
    """What dumps wrote loads_trusted reads; broken or foreign JSON is DataSetError."""
    assert json.loads_trusted(json.dumps(KEYS)) == KEYS
    for text in (b"", b"{", b"[]", b"1", b"[" * 100_000, b'{"a":1e999}', b"\xff"):
        with pytest.raises(StrongroomError):
            json.loads_trusted(text)


@given(any_model)
def test_text_from_outside_gives_the_model_it_holds(model):
    """A right model comes back from its text unchanged."""
    assert json.loads(json.dumps(model)) == model


@pytest.mark.parametrize(
    "text",
    [
        b'{"00100010":{"vr":"PN"},"00100010":{"vr":"PN"}}',
        b'{"00100010":{"vr":"PN","vr":"LO"}}',
        b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"a","Alphabetic":"b"}]}}',
        b'{"00081120":{"vr":"SQ","Value":[{"00100020":{"vr":"LO"},"00100020":{"vr":"LO"}}]}}',
        b'{"00100010":{"vr":"PN","x":{"a":1,"a":2}}}',
        b'{"00100010":{"vr":"PN"},"0010\\u0030010":{"vr":"PN"}}',
        b'{"0010001a":{"vr":"PN"}}',
        b'{"PatientName":{"vr":"PN"}}',
        b'{"00100010":{"vr":["PN"]}}',
        b'{"00100010":{"vr":"ZZ"}}',
        b'{"00100010":"x"}',
        b'{"00100020":{"vr":"LO","Value":["\\ud800"]}}',
        b'{"00100020":{"vr":"LO","Value":[1]}}',
        b'{"00280010":{"vr":"US","Value":["x"]}}',
        b'{"00181020":{"vr":"DS","Value":[1e400]}}',
        b'{"00091010":{"vr":"OB","InlineBinary":"%%%"}}',
        b'{"00091010":{"vr":"OB","Value":[1]}}',
        b'{"00100020":{"vr":"LO","InlineBinary":"AAAA"}}',
        b'{"00091010":{"vr":"OB","InlineBinary":"AAAA","BulkDataURI":"x"}}',
        b'{"00091010":{"vr":"OB","BulkDataURI":1}}',
        b'{"00081120":{"vr":"SQ","Value":[1]}}',
        b'{"00081120":{"vr":"SQ","Value":{}}}',
        b'[{"00100010":{"vr":"PN"}}]',
        b'{"00100010":{"vr":"PN"}',
        b"",
    ],
)
def test_text_from_outside_that_is_no_model_is_refused(text):
    """Names twice, however written, wrong VRs and types, huge numbers, lone surrogates, bad Base64: DataSetError (W07)."""
    with pytest.raises(DataSetError):
        json.loads(text)


def test_text_from_outside_is_bounded_before_it_is_built():
    """64 sequences inside each other are read; 65, 3,000 levels and too many names are refused in linear time (W07)."""
    for depth in (65, 200):
        text = b'{"00081120":{"vr":"SQ","Value":[' * depth + b"{}" + b"]}}" * depth
        with pytest.raises(LimitExceeded, match="max_depth"):
            json.loads(text)
    for text in (b"[" * 3000 + b"]" * 3000, b'{"a":' * 100_000, b'"' + b'\\"' * 100_000):
        with pytest.raises(DataSetError):
            json.loads(text)
    assert json.loads(b'{"00081120":{"vr":"SQ","Value":[' * 64 + b"{}" + b"]}}" * 64)
    many = b"{" + b",".join(b'"%08X":{"vr":"LO"}' % (0x00091000 + n) for n in range(100)) + b"}"
    with pytest.raises(LimitExceeded, match="max_elements"):
        json.loads(many, limits=Limits(max_elements=10))
    assert len(json.loads(many)) == 100


def test_members_the_model_does_not_know_are_left_out():
    """Some programs add keywords and names for people; they are no content."""
    text = b'{"00100010":{"vr":"PN","keyword":"PatientName","Value":[{"Alphabetic":"A"}]}}'

    assert json.loads(text) == {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}]}}


@given(
    st.one_of(
        st.binary(max_size=60),
        json_values.map(
            lambda value: (
                json.dumps({"00091010": {"vr": "LO", "Value": value}}) if not isinstance(value, float) else b"1"
            )
        ),
    )
)
def test_any_text_from_outside_is_read_or_refused(text):
    """Whatever text comes, a model or DataSetError."""
    try:
        found = json.loads(text)
    except DataSetError:
        return
    json.dumps(found)
