"""
Metadata says what pydicom's `to_json_dict` says of the same data set, over every file at hand (PS3.18 Annex F).

Known differences, each on our side by the standard: an empty value among others is null (F.2.5), not an empty text; words
of a big endian data set are little endian in Base64 (F.2.7); the character set is declared as UTF-8; private elements that
implicit VR does not describe are UN; padding is no part of a code string; what blinds viewers is left out.
"""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import pytest

from dicom_corpus import BIG, RealFile, name, reals
from strongroom.dicom import metadata
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.json import dumps, encode_dataset
from strongroom.dicom.limits import Limits
from strongroom.dicom.skeleton import Skeleton

BINARY = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
EXPLICIT = "1.2.840.10008.1.2.1"
NOT_FOR_PYDICOM = {"badVR.dcm": "a number that is none"}
FILES = [file for file in reals() if file.whole and file.path.name not in NOT_FOR_PYDICOM]


def header_of(file: RealFile) -> Any:
    """The header as a deposit reads it."""
    reader = HeaderReader(file.transfer_syntax_uid)
    reader.feed(file.data_set)
    return reader.finish()


def skeleton_of(file: RealFile, step: int) -> Skeleton:
    """The skeleton of a data set that comes in pieces."""
    made = Skeleton(file.transfer_syntax_uid)
    for start in range(0, len(file.data_set), step):
        made.feed(file.data_set[start : start + step])
    made.finish()
    return made


def plain(elements: dict[str, Any], *, swap: bool = False) -> dict[str, Any]:
    """The model without the known differences."""
    found = {}
    for tag, element in elements.items():
        vr, values = element["vr"], element.get("Value", [])
        if tag[4:] == "0000" or tag == "00080005":
            continue
        if vr == "SQ":
            found[tag] = [plain(item, swap=swap) for item in values]
        elif vr in BINARY:
            found[tag] = vr, content_of(element, BINARY[vr] if swap else 1)
        else:
            values = [one.strip(" ") or None if isinstance(one, str) else one for one in values]
            found[tag] = vr, values
    return found


def content_of(element: dict[str, Any], word: int) -> bytes | str:
    """The bytes that stand inline, where they are short enough on both sides; otherwise that they are elsewhere."""
    raw = base64.b64decode(element.get("InlineBinary", ""))
    if "BulkDataURI" in element or len(element.get("InlineBinary", "")) > 1000:
        return "bulk"
    return b"".join(raw[at : at + word][::-1] for at in range(0, len(raw), word)) if word > 1 else raw


def differs_by_design(tag: str, ours: Any, theirs: Any) -> bool:
    """A private element that only pydicom's own dictionary knows; what was left out; Pixel Data that pydicom inlines."""
    private = int(tag[:4], 16) % 2 == 1
    if private and ours is not None and ours[0] == "UN":
        return True
    if tag == "7FE00010":
        return bool(ours[0] == theirs[0] and ours[1] == "bulk")
    return ours is None and tag in metadata._SPACINGS and theirs[1] == [0.0, 0.0]


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What is not the same."""
    return [
        (tag, ours.get(tag), theirs.get(tag))
        for tag in sorted(ours.keys() | theirs.keys())
        if ours.get(tag) != theirs.get(tag) and not differs_by_design(tag, ours.get(tag), theirs.get(tag))
    ]


def test_there_are_enough_files_to_compare() -> None:
    """Sixty varied ones at least (issue 3); pydicom's own and those of pydicom-data."""
    assert len(FILES) >= 60
    assert len({file.transfer_syntax_uid for file in FILES}) >= 10


@pytest.mark.parametrize("file", FILES, ids=name)
def test_metadata_is_what_pydicom_says(file: RealFile) -> None:
    """Equal tags, VRs and values, out of the header or, where that does not hold everything, out of a skeleton."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = file.read().to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "elsewhere")
    made = metadata.of_head(header_of(file)) or metadata.of_skeleton(skeleton_of(file, 1 << 20))
    ours = json.loads(dumps(made))

    big_endian = file.transfer_syntax_uid == BIG
    assert [] == differences(plain(ours), plain(theirs, swap=big_endian))
    assert not any(tag.startswith("0002") for tag in ours)
    assert ours.get("00080005", {"Value": ["ISO_IR 192"]})["Value"] == ["ISO_IR 192"]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_header_and_skeleton_give_the_same_text(file: RealFile) -> None:
    """Byte for byte: an entity tag stays true whichever way the text was made."""
    out_of_head = metadata.of_head(header_of(file))
    if out_of_head is None:
        return

    assert dumps(dict(sorted(out_of_head.items()))) == dumps(metadata.of_skeleton(skeleton_of(file, 777)))


def data_set(**elements: Any) -> bytes:
    """An explicit data set out of DICOM JSON; tags as t00280030."""
    return encode_dataset({tag[1:]: element for tag, element in sorted(elements.items())}, EXPLICIT)


def shown(data: bytes) -> dict[str, Any]:
    """Its metadata."""
    reader = HeaderReader(EXPLICIT)
    reader.feed(data)
    made = metadata.of_head(reader.finish())
    assert made is not None
    return json.loads(dumps(made))


@pytest.mark.parametrize(
    ("tag", "values", "stays"),
    [
        ("00280030", [0.5, 0.5], True),
        ("00280030", [0, 0.5], False),
        ("00280030", [-1, 1], False),
        ("00280030", ["nan", "nan"], False),
        ("00280030", [], True),
        ("00181164", [0, 0], False),
        ("00182010", [0, 0], False),
        ("00281053", [0], False),
        ("00281053", [-1], True),
        ("00281053", ["inf"], False),
        ("00180050", [0], True),
    ],
)
def test_what_blinds_viewers_is_left_out(tag: str, values: list[Any], *, stays: bool) -> None:
    """Spacings that are not above zero, slopes of zero, what is no number; nothing else."""
    text = "\\".join(str(one) for one in values).encode()
    raw = int(tag[:4], 16).to_bytes(2, "little") + int(tag[4:], 16).to_bytes(2, "little") + b"DS"
    text += b" " * (len(text) % 2)
    found = shown(data_set(t00080060={"vr": "CS", "Value": ["CT"]}) + raw + len(text).to_bytes(2, "little") + text)

    assert stays == (tag in found)


@pytest.mark.parametrize(
    ("widths", "kept"),
    [([400, 0], [[40], [400]]), ([0], None), ([400, 1], [[40, 50], [400, 1]]), ([0.5], [[40], [0.5]])],
)
def test_windows_without_width_are_left_out_with_their_centre(
    widths: list[float], kept: list[list[float]] | None
) -> None:
    """The others stay, in pairs (PS3.3 C.11.2.1.2)."""
    centres = [40, 50][: len(widths)]
    found = shown(data_set(t00281050={"vr": "DS", "Value": centres}, t00281051={"vr": "DS", "Value": widths}))

    assert kept == ([found[tag]["Value"] for tag in ("00281050", "00281051")] if "00281051" in found else None)
    assert ("00281050" in found) == ("00281051" in found)


def test_a_header_beyond_every_limit_is_shown_as_far_as_it_can_be() -> None:
    """Elements outside sequences, each by itself: never nothing, never an exception (F22)."""
    data = data_set(
        t00080018={"vr": "UI", "Value": ["1.2.3"]},
        t00081140={"vr": "SQ", "Value": [{"00080018": {"vr": "UI", "Value": ["1.2"]}}]},
        t00100020={"vr": "LO", "Value": ["P1"]},
    )
    reader = HeaderReader(EXPLICIT, limits=Limits(max_captured=4096))
    reader.feed(data)

    assert {"00080018": {"vr": "UI", "Value": ["1.2.3"]}, "00100020": {"vr": "LO", "Value": ["P1"]}} == (
        metadata.of_what_is_captured(reader.finish())
    )
