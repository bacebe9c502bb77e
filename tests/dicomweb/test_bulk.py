"""References to bulk data and the elements that hold it (PS3.18 §8.6.1.2, PS3.5 §A.4; SECURITY C35, W08)."""

from __future__ import annotations

import struct

import pytest
from pydicom.encaps import generate_frames

from dicomweb.asked import BASE
from strongroom.dicom.json import JsonElement
from strongroom.dicomweb.bulk import element_header, encapsulated, inside, names_of, references
from strongroom.errors import DataSetError, MismatchError


def referring(*uris: str) -> dict[str, JsonElement]:
    """A data set whose private elements refer to bulk data."""
    return {f"0019{0x1000 + number:04X}": {"vr": "OB", "BulkDataURI": uri} for number, uri in enumerate(uris)}


@pytest.mark.parametrize(
    "uri",
    ["1", "a/b?c=d", "./x", "../x", "/x", "cid:1@x", "URN:uuid:1", "uuid:1", f"{BASE}/studies/1/bulkdata/7FE00010"],
)
def test_names_inside_the_request_are_taken(uri: str) -> None:
    """Relative, opaque, or below our own address: compared with the parts, and nothing else is done with them."""
    assert {uri: ("00191000",)} == references(referring(uri), BASE)


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest", "https://localhost:8443/other", f"{BASE}.example.com/x", "file:///etc/passwd", "//host/x",
        "\\\\host\\x", "ftp://h/x", "HTTP://[::1]/", "data:,x", "", "x" * 1025,
    ],
)  # fmt: skip
def test_other_places_are_refused(uri: str) -> None:
    """An address of another machine, a file, no name at all: the instance fails, nobody is asked (W08)."""
    with pytest.raises(MismatchError):
        references(referring(uri), BASE)


def test_a_name_that_stands_twice_is_refused() -> None:
    """Which element the part belongs to could not be told."""
    with pytest.raises(MismatchError):
        references(referring("a", "a"), BASE)


def test_references_inside_sequences_are_found() -> None:
    """The way goes through items; `inside` goes it again."""
    item: dict[str, JsonElement] = {"54001010": {"vr": "OW", "BulkDataURI": "wave"}}
    elements: dict[str, JsonElement] = {"54000100": {"vr": "SQ", "Value": [None, item]}}  # type: ignore[list-item] # as `loads` makes it
    place = ("54000100", 1, "54001010")

    assert {"wave": place} == references(elements, BASE)
    assert item is inside(elements, place)


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ({"content-location": " a/b "}, ["a/b"]),
        ({"content-location": "a/frames/12"}, ["a/frames/12", "a"]),
        ({"content-id": "<1@x>"}, ["cid:1@x"]),
        ({"content-type": "image/png"}, []),
    ],
)
def test_a_part_is_called_by_its_headers(headers: dict[str, str], names: list[str]) -> None:
    """Content-Location, with and without a frame number, and Content-ID."""
    assert names == names_of(headers)


@pytest.mark.parametrize("frames", [[b"\xff\xd8abc\xff\xd9"], [b"one", b"four", b""], [bytes(1000)] * 70])
def test_frames_come_back_out_of_their_fragments(frames: list[bytes]) -> None:
    """A fragment each, of even length, with an offset table when there are several (pydicom reads them)."""
    written = b"".join(map(bytes, encapsulated(frames)))
    padded = [frame + b"\0" * (len(frame) & 1) for frame in frames]

    assert padded == list(generate_frames(written, number_of_frames=len(frames)))
    assert len(written) % 2 == 0


def test_a_header_says_the_even_length() -> None:
    """Values are padded; undefined length is for fragments; what no header can say is refused."""
    assert b"\xe0\x7f\x10\0OB\0\0" + struct.pack("<I", 4) == element_header(0x7FE00010, "OB", 3)
    assert b"\xff\xff\xff\xff" == element_header(0x7FE00010, "OB", None)[8:]
    for vr, length in (("OW", 0xFFFFFFFF), ("US", 2)):
        with pytest.raises(DataSetError):
            element_header(0x7FE00010, vr, length)
