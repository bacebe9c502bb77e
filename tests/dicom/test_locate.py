"""Every BulkDataURI leads back to its bytes; everything else is not found (PS3.18 10.4.1.1.5)."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom.shipped import body
from dicom_corpus import BIG, DEFLATED, EXPLICIT, IMPLICIT, RealFile, name, reals
from strongroom.dicom.json import to_json
from strongroom.dicom.locate import Locator
from strongroom.dicom.skeleton import Skeleton
from strongroom.errors import DataSetError, NotFound

WHOLE = [file for file in reals() if file.whole]


def located(uid: str, data: bytes, path: str, step: int = 1 << 20) -> tuple[str, bytes]:
    """VR and bytes of the value, found as a reader does that passes over what it may."""
    locator = Locator(uid, path)
    at = 0
    while at < len(data) and locator.found is None:
        locator.feed(data[at : at + step])
        at = min(at + step, len(data))
        if locator.found is None:
            ahead = min(locator.coming, len(data) - at)
            locator.pass_over(ahead)
            at += ahead
    if locator.found is None:
        locator.finish()
    vr, offset, length = locator.found
    return vr, data[offset : offset + length]


def references(elements: dict[str, Any]) -> list[tuple[str, str]]:
    """VR and path of every reference in a model."""
    found = []
    for element in elements.values():
        if "BulkDataURI" in element:
            found.append((element["vr"], element["BulkDataURI"]))
        if element["vr"] == "SQ":
            for item in element.get("Value", []):
                found += references(item)
    return found


@pytest.mark.parametrize("step", [256, 1 << 20])
@pytest.mark.parametrize("file", WHOLE, ids=name)
def test_every_reference_is_found(file: RealFile, step: int) -> None:
    """With the VR the metadata shows, and a value that is as long as it has to be for a reference."""
    skeleton = Skeleton(file.transfer_syntax_uid)
    skeleton.feed(file.data_set)
    skeleton.finish()
    data = body(file.path)[0] if file.transfer_syntax_uid == DEFLATED else file.data_set
    uid = EXPLICIT if file.transfer_syntax_uid == DEFLATED else file.transfer_syntax_uid
    for vr, path in references(to_json(bytes(skeleton.data), skeleton.encoding_uid, elided=skeleton.elided)):
        found, value = located(uid, data, path, step)
        assert (vr, path) == (found, path)
        assert len(value) > 1024 or path.endswith("7FE00010")


def test_native_values_are_those_pydicom_reads() -> None:
    """Byte for byte, in items too."""
    compared = 0
    for file in WHOLE:
        if file.transfer_syntax_uid not in (IMPLICIT, EXPLICIT):
            continue
        read = file.read()
        if "PixelData" in read:
            assert read.PixelData.rstrip(b"\0") == located(file.transfer_syntax_uid, file.data_set, "7FE00010")[
                1
            ].rstrip(b"\0")
            compared += 1
        if "IconImageSequence" in read and "PixelData" in read.IconImageSequence[0]:
            path = "00880200/0/7FE00010"
            assert read.IconImageSequence[0].PixelData == located(file.transfer_syntax_uid, file.data_set, path)[1]
            compared += 1

    assert compared > 50


@pytest.mark.parametrize(
    "path", ["", "7FE0001", "7fe00010", "7FE00010/", "7FE00010/0", "/7FE00010", "7FE00010/x/7FE00010", "0" * 10_000]
)
def test_what_is_no_path_is_not_found(path: str) -> None:
    """Without a look at the data set."""
    with pytest.raises(NotFound):
        Locator(EXPLICIT, path)


def test_a_path_through_what_is_no_sequence_is_not_found() -> None:
    """Nor one to an item that is not there, or behind the end."""
    file = next(one for one in WHOLE if one.path.name == "CT_small.dcm")
    for path in ("00100010/0/00100010", "00081032/0/00080100", "FFFFFFFF", "7FE00010/0/7FE00010"):
        with pytest.raises(NotFound):
            located(file.transfer_syntax_uid, file.data_set, path)


def test_inside_an_un_sequence() -> None:
    """A sequence written as UN of defined length is implicit VR inside (PS3.5 6.2.2): found like any other."""
    value = b"icon" * 400
    inner = struct.pack("<HHI", 0x7FE0, 0x0010, len(value)) + value
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    first = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    whole = first + item
    data = struct.pack("<HH2sHI", 0x0088, 0x0200, b"UN", 0, len(whole)) + whole
    shown = to_json(data, EXPLICIT)

    assert shown["00880200"]["Value"][1]["7FE00010"]["BulkDataURI"] == "00880200/1/7FE00010"
    for step in (7, 1 << 20):
        assert ("OW", value) == located(EXPLICIT, data, "00880200/1/7FE00010", step)
        for path in ("00880200/0/7FE00010", "00880200/2/7FE00010", "00880200/1/7FE00011"):
            with pytest.raises(NotFound):
                located(EXPLICIT, data, path, step)


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=300),
    st.sampled_from([IMPLICIT, EXPLICIT, BIG]),
    st.sampled_from(["7FE00010", "00080018/1/00080018"]),
)
def test_noise_is_an_error_of_ours(noise: bytes, uid: str, path: str) -> None:
    """Any bytes: found inside them, not found, or DataSetError."""
    try:
        _, value = located(uid, noise, path, 13)
    except (DataSetError, NotFound):
        return
    assert value in noise
