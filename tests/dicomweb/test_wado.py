"""Studies, series and instances as DICOM: forms, syntaxes, ranges, and what the trail says of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from archive.world import aio
from dicomweb.place import EXPLICIT, Shared, data_set_of, deposit_shipped, parts_of, running, shared
from strongroom.audit.codes import Event
from strongroom.dicomweb.answers import BrokenOffError

OHIF = 'multipart/related; type="application/dicom"'
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
WEASIS = "multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.4.70,multipart/related;type=application/dicom;transfer-syntax=*"
IMPLICIT, BIG_ENDIAN, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
NAMES = (
    "CT_small.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "MR_small_bigendian.dcm",
    "emri_small_RLE.dcm",
    "test-SR.dcm",
    "liver.dcm",
    "JPEG-lossy.dcm",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with one file of each kind."""
    yield from shared(tmp_path_factory.mktemp("wado") / "home", *NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_comes_back_bit_for_bit(place: Shared, name: str) -> None:
    """As a part and as a file of its own, whatever its syntax."""
    kept = place.kept[name]
    answer = place.ask(kept.url, ANY)
    (part,) = parts_of(answer)

    assert 200 == answer.status_code
    assert f"application/dicom; transfer-syntax={kept.syntax}" == part.headers["content-type"]
    assert (kept.syntax, kept.data) == data_set_of(part.content)
    assert len(answer.content) == int(answer.headers["content-length"])

    alone = place.ask(kept.url, 'application/dicom; transfer-syntax="*"')
    assert f"application/dicom; transfer-syntax={kept.syntax}" == alone.headers["content-type"]
    assert (kept.syntax, kept.data) == data_set_of(alone.content)
    assert len(alone.content) == int(alone.headers["content-length"])


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("CT_small.dcm", EXPLICIT),
        ("emri_small_RLE.dcm", EXPLICIT),
        ("MR_small_bigendian.dcm", EXPLICIT),
        ("image_dfl.dcm", EXPLICIT),
        ("JPEG-lossy.dcm", "1.2.840.10008.1.2.4.51"),
        ("JPEG2000.dcm", "1.2.840.10008.1.2.4.91"),
    ],
)
def test_who_names_no_syntax_gets_the_default(place: Shared, name: str, syntax: str) -> None:
    """Explicit VR little endian, but what has lost something already stays as it is (PS3.18 §8.7.3.5.2)."""
    (part,) = parts_of(place.ask(place.kept[name].url, OHIF))

    assert syntax == data_set_of(part.content)[0]


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT, RLE, JPEG_LS])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "emri_small_RLE.dcm"])
def test_pixels_are_the_same_in_another_syntax(place: Shared, name: str, target: str) -> None:
    """What is converted is still the image that was kept."""
    kept = place.kept[name]
    answer = place.ask(kept.url, f"application/dicom; transfer-syntax={target}")
    read = pydicom.dcmread(io.BytesIO(answer.content))

    assert target == read.file_meta.TransferSyntaxUID
    assert (pydicom.dcmread(kept.path).pixel_array == read.pixel_array).all()


def test_weasis_gets_what_it_would_rather_have(place: Shared) -> None:
    """A syntax it names first where that can be had, else as it is kept; the same quality, so nothing is converted."""
    (part,) = parts_of(place.ask(place.kept["JPEG-lossy.dcm"].url, WEASIS))

    assert "1.2.840.10008.1.2.4.51" == data_set_of(part.content)[0]


@pytest.mark.parametrize(
    ("name", "accept"),
    [
        ("JPEG-lossy.dcm", f"{OHIF}; transfer-syntax={JPEG_LS}"),
        ("CT_small.dcm", f"{OHIF}; transfer-syntax={BIG_ENDIAN}"),
        ("CT_small.dcm", f"{OHIF}; transfer-syntax=1.2.3"),
        ("test-SR.dcm", f"{OHIF}; transfer-syntax={JPEG_LS}"),
        ("liver.dcm", f"{OHIF}; transfer-syntax={JPEG_LS}"),
        ("CT_small.dcm", "text/html"),
        ("CT_small.dcm", "application/zip"),
        ("CT_small.dcm", "application/dicom;q=0"),
    ],
)
def test_nothing_fits(place: Shared, name: str, accept: str) -> None:
    """Lossy to lossless, big endian, no pixels, one bit, another type: 406."""
    assert 406 == place.ask(place.kept[name].url, accept).status_code


def test_studies_and_series_are_parts(place: Shared) -> None:
    """Two files of one study: both come, a bare type is for one instance only."""
    one, other = place.kept["JPEG2000.dcm"], place.kept["JPEG-lossy.dcm"]
    assert one.study == other.study
    parts = parts_of(place.ask(f"/studies/{one.study}", ANY))

    assert {one.data, other.data} == {data_set_of(part.content)[1] for part in parts}
    assert 406 == place.ask(f"/studies/{one.study}", "application/dicom").status_code
    (alone,) = parts_of(
        place.ask(f"/studies/{place.kept['CT_small.dcm'].study}/series/{place.kept['CT_small.dcm'].series}", ANY)
    )
    assert place.kept["CT_small.dcm"].data == data_set_of(alone.content)[1]


def test_what_fits_no_wish_is_left_out(place: Shared) -> None:
    """One of two is in the syntax that is wanted: 206 with that one."""
    one = place.kept["JPEG2000.dcm"]
    answer = place.ask(f"/studies/{one.study}", f"{OHIF}; transfer-syntax={one.syntax}")

    assert 206 == answer.status_code
    assert [(one.syntax, one.data)] == [data_set_of(part.content) for part in parts_of(answer)]


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-50", -50, None),
        ("bytes=400-5000", 400, 5001),
        ("bytes=0-9999999", 0, None),
    ],
)
def test_one_range(place: Shared, field: str, first: int, last: int | None) -> None:
    """Of a file of known length; the header of the file counts as its beginning."""
    url = place.kept["CT_small.dcm"].url
    whole = place.ask(url, "application/dicom").content
    answer = place.ask(url, "application/dicom", Range=field)

    assert 206 == answer.status_code
    assert whole[first:last] == answer.content
    begin = first % len(whole)
    assert f"bytes {begin}-{begin + len(answer.content) - 1}/{len(whole)}" == answer.headers["content-range"]


@pytest.mark.parametrize(
    "field", ["bytes=0-0,1-1", "bytes=0-0" + ",1-1" * 1000, "lines=1-2", "bytes=9-1", "bytes=", "bytes=a-b"]
)
def test_several_ranges_are_none(place: Shared, field: str) -> None:
    """More than one, another unit, nonsense: the whole (W14)."""
    url = place.kept["CT_small.dcm"].url
    answer = place.ask(url, "application/dicom", Range=field)

    assert 200 == answer.status_code
    assert place.ask(url, "application/dicom").content == answer.content


def test_a_range_that_lies_outside(place: Shared) -> None:
    """416 says how long it is; where ranges are not had, in parts, the field is not looked at."""
    url = place.kept["CT_small.dcm"].url
    length = len(place.ask(url, "application/dicom").content)
    answer = place.ask(url, "application/dicom", Range=f"bytes={length}-")

    assert (416, f"bytes */{length}") == (answer.status_code, answer.headers["content-range"])
    assert 200 == place.ask(url, ANY, Range="bytes=0-0").status_code
    assert (
        200
        == place.ask(
            place.kept["image_dfl.dcm"].url, "application/dicom; transfer-syntax=*", Range="bytes=0-0"
        ).status_code
    )
    assert 200 == place.ask(url, "application/dicom", Range="bytes=0-0", If_Range='"x"').status_code


def test_a_study_as_an_archive(place: Shared, tmp_path: Path) -> None:
    """Files as PS3.10 has them, and the directory that lists them, read by pydicom's FileSet."""
    one, other = place.kept["JPEG2000.dcm"], place.kept["JPEG-lossy.dcm"]
    answer = place.ask(f"/studies/{one.study}", "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    listed = FileSet(tmp_path / "DICOMDIR")

    assert 'attachment; filename="images.zip"' == answer.headers["content-disposition"]
    assert {one.instance, other.instance} == {str(found.load().SOPInstanceUID) for found in listed}
    assert {one.data, other.data} == {data_set_of(path.read_bytes())[1] for path in (tmp_path / "DICOM").iterdir()}
    assert ["DICOM/IM000001", "DICOM/IM000002", "DICOMDIR"] == sorted(archive.namelist())


def test_an_archive_in_another_syntax(place: Shared, tmp_path: Path) -> None:
    """Converted files have other lengths; the directory names the syntax they are in."""
    kept = place.kept["emri_small_RLE.dcm"]
    answer = place.ask(f"/studies/{kept.study}", f"application/zip; transfer-syntax={EXPLICIT}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    (record,) = [
        one for one in pydicom.dcmread(tmp_path / "DICOMDIR").DirectoryRecordSequence if "ReferencedFileID" in one
    ]

    assert EXPLICIT == record.ReferencedTransferSyntaxUIDInFile
    assert (
        pydicom.dcmread(kept.path).pixel_array == pydicom.dcmread(tmp_path / "DICOM" / "IM000001").pixel_array
    ).all()


@aio
async def test_the_trail_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    """A begun and a transferred record around the bytes."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        await place.ask(kept.url, ANY)
        (begun,) = place.messages(Event.BEGIN_TRANSFERRING)
        ended = place.messages(Event.INSTANCES_TRANSFERRED)[-1]

        assert [kept.study] == list(begun.study_instance_uids()) == list(ended.study_instance_uids())
        assert (begun.act, False) == (ended.act, ended.failed)


@aio
async def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """Reading stops, and the trail says that it was interrupted."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "color3d_jpeg_baseline.dcm")
        sent = 0
        gone = asyncio.Event()

        async def receive() -> dict[str, object]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            nonlocal sent
            sent += len(message.get("body", b""))  # type: ignore[arg-type]
            if sent > 100_000:
                gone.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/dicom-web{kept.url}",
            "raw_path": f"/dicom-web{kept.url}".encode(),
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", f"Bearer {place.token}".encode()),
                (b"accept", ANY.encode()),
            ],
        }
        with pytest.raises(BrokenOffError):
            await place._door(scope, receive, send)

        assert sent < len(kept.data)
        assert "interrupted" == place.messages(Event.INSTANCES_TRANSFERRED)[-1].reason


@aio
async def test_nothing_is_sent_without_a_record(tmp_path: Path) -> None:
    """The disk takes no record: 503, and not a byte of the instance (I10)."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")
        place.world.medium.fail("trail", "vault")
        place.world.fill_database()
        for _ in range(300):  # the outbox of the database takes a few more records
            with contextlib.suppress(BrokenOffError):
                answer = await place.ask(kept.url, ANY)
                if answer.status_code != 200:
                    break

        assert 503 == answer.status_code
        assert kept.data[:1000] not in answer.content
