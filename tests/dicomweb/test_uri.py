"""WADO-URI, as Weasis and older viewers use it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from dicomweb.place import EXPLICIT, Shared, data_set_of, shared

NAMES = ("CT_small.dcm", "emri_small_RLE.dcm", "test-SR.dcm", "JPEG-lossy.dcm")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with images and a report."""
    yield from shared(tmp_path_factory.mktemp("uri") / "home", *NAMES)


def address(place: Shared, name: str, more: str = "") -> str:
    """The address of a file."""
    kept = place.kept[name]
    return f"/wado?requestType=WADO&studyUID={kept.study}&seriesUID={kept.series}&objectUID={kept.instance}{more}"


@pytest.mark.parametrize(
    ("name", "more", "syntax"),
    [
        ("CT_small.dcm", "", EXPLICIT),
        ("CT_small.dcm", "&transferSyntax=1.2.840.10008.1.2", "1.2.840.10008.1.2"),
        ("emri_small_RLE.dcm", "", EXPLICIT),
        ("emri_small_RLE.dcm", "&transferSyntax=*", "1.2.840.10008.1.2.5"),
        ("emri_small_RLE.dcm", "&transferSyntax=1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.80"),
        ("JPEG-lossy.dcm", "", "1.2.840.10008.1.2.4.51"),
        ("test-SR.dcm", "", EXPLICIT),
    ],
)
def test_as_dicom(place: Shared, name: str, more: str, syntax: str) -> None:
    """A file, in explicit VR little endian unless another syntax is named."""
    answer = place.ask(address(place, name, f"&contentType=application/dicom{more}"))

    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("application/dicom")
    assert syntax == data_set_of(answer.content)[0]


@pytest.mark.parametrize(
    ("more", "kind", "size"),
    [
        ("", "JPEG", (128, 128)),
        ("&contentType=image/png", "PNG", (128, 128)),
        ("&contentType=image/png&rows=64", "PNG", (64, 64)),
        ("&contentType=image/png&columns=32&rows=64", "PNG", (32, 32)),
        ("&contentType=image/png&region=0,0,0.5,0.25", "PNG", (64, 32)),
        ("&contentType=image/png&windowCenter=40&windowWidth=400", "PNG", (128, 128)),
        ("&imageQuality=20&annotation=patient", "JPEG", (128, 128)),
        ("&frameNumber=1", "JPEG", (128, 128)),
    ],
)
def test_as_a_picture(place: Shared, more: str, kind: str, size: tuple[int, int]) -> None:
    """A JPEG where nothing is said (§9.3)."""
    found = Image.open(io.BytesIO(place.ask(address(place, "CT_small.dcm", more)).content))

    assert (kind, size) == (found.format, found.size)


def test_one_frame_of_several(place: Shared) -> None:
    """By its number; the first where none is named."""
    frame = place.ask(address(place, "emri_small_RLE.dcm", "&contentType=image/png&frameNumber=3")).content
    rendered = place.ask(f"{place.kept['emri_small_RLE.dcm'].url}/frames/3/rendered", "image/png").content

    assert rendered == frame
    assert 404 == place.ask(address(place, "emri_small_RLE.dcm", "&frameNumber=11")).status_code


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("&contentType=text/html", 406),
        ("&contentType=application/dicom&transferSyntax=1.2.3", 406),
        ("&anonymize=yes", 400),
        ("&presentationUID=1.2.3", 400),
        ("&windowCenter=1", 400),
        ("&region=0,0,2,2", 400),
        ("&region=0,0", 400),
        ("&rows=0", 400),
        ("&rows=1&rows=2", 400),
        ("&frameNumber=0", 400),
        ("&imageQuality=0", 400),
        ("&columns=999999", 400),
        ("&annotation=x", 400),
    ],
)
def test_what_cannot_be_had(place: Shared, more: str, status: int) -> None:
    """Refused and not left out: the picture would be another."""
    assert status == place.ask(address(place, "CT_small.dcm", more)).status_code


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?requestType=XXX&studyUID=1&seriesUID=1&objectUID=1", 400),
        ("?requestType=WADO&studyUID=1&seriesUID=1", 400),
        ("?requestType=WADO&studyUID=1&seriesUID=1&objectUID=1", 404),
        ("?requestType=WADO&studyUID=1&seriesUID=1&objectUID=..%2f..", 404),
    ],
)
def test_what_is_needed(place: Shared, query: str, status: int) -> None:
    """The type of the request and three UIDs."""
    assert status == place.ask(f"/wado{query}").status_code


def test_the_instance_has_to_lie_where_it_is_said_to(place: Shared) -> None:
    """Another study's UID with it: absent."""
    kept, other = place.kept["CT_small.dcm"], place.kept["JPEG-lossy.dcm"]
    query = f"/wado?requestType=WADO&studyUID={other.study}&seriesUID={kept.series}&objectUID={kept.instance}"

    assert 404 == place.ask(query).status_code


def test_a_report_has_no_picture(place: Shared) -> None:
    """404 as a picture."""
    assert 404 == place.ask(address(place, "test-SR.dcm")).status_code
