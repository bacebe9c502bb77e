"""Single values, documents, and the pixel data of whole resources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from archive.world import BIG_ENDIAN, EXPLICIT, aio, data_set, deposit, uid
from dicomweb.place import BASE, Shared, deposit_shipped, parts_of, running, shared

ANY = 'multipart/related; type="*/*"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'
NAMES = (
    "CT_small.dcm",
    "emri_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "examples_palette.dcm",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with images of several kinds."""
    yield from shared(tmp_path_factory.mktemp("bulk") / "home", *NAMES)


def test_native_pixel_data(place: Shared) -> None:
    """As a part with its address, as a body of its own, as a range of it."""
    kept = place.kept["CT_small.dcm"]
    url = f"{kept.url}/bulkdata/7FE00010"
    pixels = pydicom.dcmread(kept.path).PixelData
    (part,) = parts_of(place.ask(url, 'multipart/related; type="*/*"'))

    assert (pixels, BASE + url) == (part.content, part.headers["content-location"])
    assert pixels == place.ask(url, "application/octet-stream").content
    assert pixels[100:200] == place.ask(url, "application/octet-stream", Range="bytes=100-199").content
    assert pixels == place.ask(url.replace("7FE00010", "7fe00010"), "application/octet-stream").content


def test_numbers_are_little_endian(place: Shared) -> None:
    """Of a big endian data set as well; of a deflated one inflated."""
    kept = place.kept["MR_small_bigendian.dcm"]
    read = pydicom.dcmread(kept.path)
    expected = np.ascontiguousarray(read.pixel_array, "<i2").tobytes()
    assert expected == place.ask(f"{kept.url}/bulkdata/7FE00010", "application/octet-stream").content

    kept = place.kept["image_dfl.dcm"]
    assert (
        pydicom.dcmread(kept.path).PixelData
        == place.ask(f"{kept.url}/bulkdata/7FE00010", "application/octet-stream").content
    )


def test_encapsulated_pixel_data(place: Shared) -> None:
    """A part for each frame as it is stored, or all of them decoded in a row."""
    kept = place.kept["emri_small_RLE.dcm"]
    read = pydicom.dcmread(kept.path)
    url = f"{kept.url}/bulkdata/7FE00010"

    parts = parts_of(place.ask(url, ANY))
    assert 10 == len(parts)
    assert all(part.content in kept.data for part in parts)
    (row,) = parts_of(place.ask(url, OCTETS))
    assert read.pixel_array.tobytes() == row.content == place.ask(url, "application/octet-stream").content


def test_a_value_inside_a_sequence_or_table(place: Shared) -> None:
    """A lookup table by its tag; paths that lead nowhere."""
    kept = place.kept["examples_palette.dcm"]
    table = pydicom.dcmread(kept.path).RedPaletteColorLookupTableData

    assert table == place.ask(f"{kept.url}/bulkdata/00281201", "application/octet-stream").content
    for path in ("00281204", "00080016/0/00080018", "0028", "7FE00010/0", "00281201/99999999/00281201"):
        assert 404 == place.ask(f"{kept.url}/bulkdata/{path}", "application/octet-stream").status_code, path
    assert 406 == place.ask(f"{kept.url}/bulkdata/00281201", "image/png").status_code


def test_pixel_data_of_whole_resources(place: Shared) -> None:
    """Every instance's, with the address it has by itself."""
    one, other = place.kept["JPEG2000.dcm"], place.kept["JPEG-lossy.dcm"]
    parts = parts_of(place.ask(f"/studies/{one.study}/pixeldata", ANY))
    assert {f"{BASE}{kept.url}/bulkdata/7FE00010" for kept in (one, other)} == {
        part.headers["content-location"] for part in parts
    }
    assert {one.syntax, other.syntax} == {
        part.headers["content-type"].partition("transfer-syntax=")[2] for part in parts
    }

    decoded = parts_of(place.ask(f"/studies/{one.study}/pixeldata", f"{OCTETS}; transfer-syntax={EXPLICIT}"))
    assert [1024 * 256 * 2] * 2 == [len(part.content) for part in decoded]
    (alone,) = parts_of(place.ask(f"{place.kept['CT_small.dcm'].url}/pixeldata"))
    assert pydicom.dcmread(place.kept["CT_small.dcm"].path).PixelData == alone.content


@aio
async def test_a_document_is_saved_and_not_shown(tmp_path: Path) -> None:
    """An encapsulated PDF: its own type and length, as a download with a name of ours (C41)."""
    pdf = b"%PDF-1.4 it is short" + b"x" * 1999
    made = data_set(
        1,
        pixels=b"",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        EncapsulatedDocument=pdf + b"\0",
        EncapsulatedDocumentLength=len(pdf),
        MIMETypeOfEncapsulatedDocument="application/pdf",
    )
    async with running(tmp_path / "home") as place:
        await deposit(await place.world.host(), made, number=None)
        url = f"/studies/1.2.3/series/1.2.3.4/instances/{uid(1)}"
        for answer in (
            await place.ask(f"{url}/rendered?accept=application/pdf"),
            await place.ask(f"{url}/rendered", "application/pdf"),
        ):
            assert (pdf, "application/pdf") == (answer.content, answer.headers["content-type"])
            assert 'attachment; filename="document"' == answer.headers["content-disposition"]
        assert pdf == (await place.ask(f"{url}/bulkdata/00420011", "application/pdf")).content
        (part,) = parts_of(await place.ask(f"{url}/bulkdata/00420011", 'multipart/related; type="*/*"'))
        assert pdf == part.content
        assert 406 == (await place.ask(f"{url}/rendered", "image/png")).status_code
        assert 404 == (await place.ask(f"{url}/thumbnail")).status_code


@aio
async def test_no_pixel_data_at_all(tmp_path: Path) -> None:
    """A report in a study of its own: 404."""
    async with running(tmp_path / "home") as place:
        (kept,) = await deposit_shipped(place, "test-SR.dcm")

        assert 404 == (await place.ask(f"{kept.url}/pixeldata")).status_code
        assert 404 == (await place.ask(f"{kept.url}/bulkdata/7FE00010")).status_code


@aio
async def test_words_of_a_big_endian_value(tmp_path: Path) -> None:
    """A lookup table of 16-bit words comes in the byte order of the web."""
    words = b"\x01\x02\x03\x04" * 1000
    made = data_set(1, BIG_ENDIAN, RedPaletteColorLookupTableData=words)
    async with running(tmp_path / "home") as place:
        await deposit(await place.world.host(), made, number=None, syntax=BIG_ENDIAN)
        answer = await place.ask(
            f"/studies/1.2.3/series/1.2.3.4/instances/{uid(1)}/bulkdata/00281201", "application/octet-stream"
        )

        assert np.frombuffer(words, ">u2").astype("<u2").tobytes() == answer.content
