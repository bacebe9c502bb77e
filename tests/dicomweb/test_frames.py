"""Frames as OHIF, slide viewers and dicomweb-client ask for them; pixels as pydicom decodes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

from archive.world import aio, data_set, deposit, uid
from dicomweb.place import EXPLICIT, Shared, deposit_shipped, parts_of, running, shared

OHIF = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
OCTETS = 'multipart/related; type="application/octet-stream"'
CLIENT = 'multipart/related; type="*/*"'
MICROSCOPY = ", ".join(
    f'multipart/related; type="{kind}"; transfer-syntax={syntax}'
    for kind, syntax in (
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jls", "1.2.840.10008.1.2.4.81"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"),
        ("image/jp2", "1.2.840.10008.1.2.4.91"),
        ("image/jpx", "1.2.840.10008.1.2.4.92"),
        ("application/octet-stream", "*"),
        ("image/jpeg", "1.2.840.10008.1.2.4.50"),
    )
)
NAMES = (
    "CT_small.dcm",
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG2000.dcm",
    "color3d_jpeg_baseline.dcm",
    "liver.dcm",
    "test-SR.dcm",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """An archive with one file of each kind."""
    yield from shared(tmp_path_factory.mktemp("frames") / "home", *NAMES)


def expected(path: Path, frame: int) -> bytes:
    """The pixels of a frame (from 1) as pydicom decodes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pydicom.dcmread(path)
        if read.PhotometricInterpretation.startswith("YBR"):
            pixels = pixel_array(path, index=frame - 1, raw=False)
        else:
            pixels = read.pixel_array[frame - 1] if int(read.get("NumberOfFrames") or 1) > 1 else read.pixel_array
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("name", ["CT_small.dcm", "emri_small_RLE.dcm", "JPEG2000.dcm", "color3d_jpeg_baseline.dcm"])
def test_ohif_gets_the_stored_syntax(place: Shared, name: str) -> None:
    """The body begins with the delimiter, the part says what it is in just that spelling, its length is known."""
    kept = place.kept[name]
    answer = place.ask(f"{kept.url}/frames/1", OHIF)
    (part,) = parts_of(answer)

    assert f"application/octet-stream; transfer-syntax={kept.syntax}" == part.headers["content-type"]
    assert b"\r\nContent-Type: application/octet-stream; transfer-syntax=" in answer.content[:200]
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers
    assert part.content in kept.data
    assert len(part.content) == int(part.headers["content-length"])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("test-SR.dcm", "liver.dcm")])
def test_pixels_are_those_of_pydicom(place: Shared, name: str) -> None:
    """Decoded to octets, codec by codec, native ones of every byte order."""
    kept = place.kept[name]
    (part,) = parts_of(place.ask(f"{kept.url}/frames/1", f"{OCTETS}; transfer-syntax={EXPLICIT}"))

    assert f"application/octet-stream; transfer-syntax={EXPLICIT}" == part.headers["content-type"]
    assert expected(kept.path, 1) == part.content


def test_several_frames_in_any_order(place: Shared) -> None:
    """As they are listed, one twice; of compressed and of native ones."""
    for name in ("emri_small.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm"):
        kept = place.kept[name]
        parts = parts_of(place.ask(f"{kept.url}/frames/3,1,2,3", OCTETS))
        assert [expected(kept.path, frame) for frame in (3, 1, 2, 3)] == [part.content for part in parts], name

        stored = parts_of(place.ask(f"{kept.url}/frames/3%2C1", OHIF))
        assert [True, True] == [part.content in kept.data for part in stored]


def test_a_slide_viewer_gets_what_is_stored(place: Shared) -> None:
    """The long list names every codec: the one that is stored wins where it is on it, else octets do."""
    for name, kind in (
        ("emri_small_jpeg_ls_lossless.dcm", "image/jls"),
        ("emri_small_jpeg_2k_lossless.dcm", "image/jp2"),
    ):
        kept = place.kept[name]
        (part,) = parts_of(place.ask(f"{kept.url}/frames/1", MICROSCOPY))
        assert f"{kind}; transfer-syntax={kept.syntax}" == part.headers["content-type"]
        assert part.content in kept.data


@pytest.mark.parametrize(
    ("name", "media_type", "syntax"),
    [
        ("CT_small.dcm", "application/octet-stream", EXPLICIT),
        ("emri_small_RLE.dcm", "application/octet-stream", EXPLICIT),
        ("color3d_jpeg_baseline.dcm", "image/jpeg", "1.2.840.10008.1.2.4.50"),
        ("JPEG2000.dcm", "image/jp2", "1.2.840.10008.1.2.4.91"),
    ],
)
def test_anything_means_the_default(place: Shared, name: str, media_type: str, syntax: str) -> None:
    """Octets, but what lost something already in its own media type (dicomweb-client, curl)."""
    for accept in (CLIENT, "*/*", ""):
        (part,) = parts_of(place.ask(f"{place.kept[name].url}/frames/1", accept))
        assert f"{media_type}; transfer-syntax={syntax}" == part.headers["content-type"]


def test_one_frame_alone(place: Shared) -> None:
    """A bare media type gets a body of one part; of several frames there is none."""
    kept = place.kept["emri_small.dcm"]
    answer = place.ask(f"{kept.url}/frames/2", "application/octet-stream")

    assert f"application/octet-stream; transfer-syntax={EXPLICIT}" == answer.headers["content-type"]
    assert expected(kept.path, 2) == answer.content
    assert (
        expected(kept.path, 2)[10:20]
        == place.ask(f"{kept.url}/frames/2", "application/octet-stream", Range="bytes=10-19").content
    )
    assert 406 == place.ask(f"{kept.url}/frames/1,2", "application/octet-stream").status_code


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/x-jls", "1.2.840.10008.1.2.4.80"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"),
        ("image/jphc", "1.2.840.10008.1.2.4.201"),
        ("image/jpeg", "1.2.840.10008.1.2.4.70"),
        ("image/dicom-rle", "1.2.840.10008.1.2.5"),
    ],
)
def test_encoding_on_the_way_out(place: Shared, media_type: str, syntax: str) -> None:
    """Native pixels in every lossless compression, named by its media type alone."""
    kept = place.kept["CT_small.dcm"]
    answer = place.ask(f"{kept.url}/frames/1", media_type)

    assert 200 == answer.status_code
    assert f"{media_type}; transfer-syntax={syntax}" == answer.headers["content-type"]
    assert len(answer.content) < len(expected(kept.path, 1))


@pytest.mark.parametrize(
    ("name", "tail", "accept", "status"),
    [
        ("CT_small.dcm", "0", OHIF, 404),
        ("CT_small.dcm", "2", OHIF, 404),
        ("emri_small.dcm", "1,11", OHIF, 404),
        ("CT_small.dcm", "99999999999999999999", OHIF, 404),
        ("test-SR.dcm", "1", OHIF, 404),
        ("CT_small.dcm", "x", OHIF, 404),
        ("CT_small.dcm", "1", "text/html", 406),
        ("CT_small.dcm", "1", "multipart/related; type=video/mp4", 406),
        ("JPEG2000.dcm", "1", "image/jls", 406),
        ("liver.dcm", "1", "image/jls", 406),
    ],
)
def test_frames_that_are_not_there(place: Shared, name: str, tail: str, accept: str, status: int) -> None:
    """No such frame, no pixels, no such form."""
    assert status == place.ask(f"{place.kept[name].url}/frames/{tail}", accept).status_code


def test_frames_of_single_bits(place: Shared) -> None:
    """A segmentation whose frames end inside a byte: each begins at a bit of its own."""
    kept = place.kept["liver.dcm"]
    read = pydicom.dcmread(kept.path)
    bits = read.pixel_array
    for frame in (1, 2, 3):
        (part,) = parts_of(place.ask(f"{kept.url}/frames/{frame}", OCTETS))
        found = np.unpackbits(np.frombuffer(part.content, np.uint8), bitorder="little")
        assert (bits[frame - 1].ravel() == found[: read.Rows * read.Columns]).all()


@aio
async def test_pixels_that_cannot_be_read(tmp_path: Path) -> None:
    """Compressed pixels that are none: 422, and as they are stored they can still be had."""
    async with running(tmp_path / "home") as place:
        whole = data_set(1, pixels=b"")
        item = (
            b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x08\x00\x00\x00notajpeg\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        )
        pixels = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + item
        session = await place.world.host()
        await deposit(session, whole + pixels, number=None, syntax="1.2.840.10008.1.2.4.90")
        url = f"/studies/1.2.3/series/1.2.3.4/instances/{uid(1)}"

        assert 422 == (await place.ask(f"{url}/frames/1", OCTETS)).status_code
        assert 422 == (await place.ask(f"{url}/rendered", "image/png")).status_code
        (part,) = parts_of(await place.ask(f"{url}/frames/1", OHIF))
        assert b"notajpeg" == part.content


@aio
async def test_a_reader_sees_frames_and_takes_nothing_away(tmp_path: Path) -> None:
    """Query and view: frames and metadata, no whole instances."""
    async with running(tmp_path / "home", role="reader") as place:
        (kept,) = await deposit_shipped(place, "CT_small.dcm")

        assert 200 == (await place.ask(f"{kept.url}/frames/1", OHIF)).status_code
        assert 200 == (await place.ask(f"{kept.url}/metadata")).status_code
        assert 404 == (await place.ask(kept.url)).status_code
