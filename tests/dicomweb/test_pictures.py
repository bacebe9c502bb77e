"""Ordinary pictures, films and documents that become instances (PS3.18 §10.5.2; SECURITY F13)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from starlette.responses import Response

from archive.world import STUDY, World, aio, opened
from dicomweb.asked import Part, ask, failed, multipart, others, related, stored
from dicomweb.mp4 import mp4
from strongroom.archive import Target
from strongroom.dicom.model import Level
from strongroom.dicom.part10 import encode_header
from strongroom.dicomweb import pictures
from strongroom.imaging.pool import Pool

KIND = "application/dicom+json"
JPEG = "1.2.840.10008.1.2.4."
SC = "1.2.840.10008.5.1.4.1.1.7"
PICTURE = np.random.default_rng(1).integers(0, 255, (12, 20, 3), dtype=np.uint8)


def encoded(mode: str = "RGB", kind: str = "JPEG", **options: Any) -> bytes:
    """A picture of 12 rows and 20 columns."""
    out = BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(out, kind, **options)
    return out.getvalue()


def metadata(tag: str = "7FE00010", frames: int = 0, **changes: Any) -> Part:
    """The least a sender says of a picture: whose it is."""
    model: dict[str, Any] = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        tag: {"vr": "OB", "BulkDataURI": "picture"},
    }
    if frames:
        model["00280008"] = {"vr": "IS", "Value": [frames]}
    model |= {name.removeprefix("t"): value for name, value in changes.items()}
    return f"Content-Type: {KIND}\r\n", json.dumps([{tag: value for tag, value in model.items() if value}]).encode()


def picture(content: bytes, kind: str, number: int | None = None) -> Part:
    """The part with the picture."""
    suffix = "" if number is None else f"/frames/{number}"
    return f"Content-Type: {kind}\r\nContent-Location: picture{suffix}\r\n", content


@contextlib.asynccontextmanager
async def archive(tmp_path: Path) -> AsyncIterator[tuple[World, Pool]]:
    """An archive, and a pool of real workers."""
    pool = Pool(1)
    await pool.start()
    try:
        async with opened(tmp_path / "home") as world:
            yield world, pool
    finally:
        await pool.stop()


async def send(world: World, pool: Pool, *parts: Part) -> Response:
    """Store and answer."""
    return await ask(await world.device("CAMERA"), multipart(*parts), related(KIND), pool=pool)


async def read(world: World, response: Response) -> pydicom.Dataset:
    """The one instance that was stored, as a file that pydicom reads."""
    assert 200 == response.status_code, bytes(response.body)
    (sop_instance_uid,) = stored(response)
    target = Target(Level.STUDY, study_instance_uids=(STUDY,))
    async with await (await world.device("READER")).retrieve(target) as disclosure:
        (instance,) = [one for one in disclosure.instances if one.sop_instance_uid == sop_instance_uid]
        data = b"".join([bytes(piece) async for piece in disclosure.open(instance)])
        disclosure.sent(instance)
    row = world.row(sop_instance_uid)
    assert row is not None
    file = encode_header(row.sop_class_uid, sop_instance_uid, row.transfer_syntax_uid) + data
    return pydicom.dcmread(BytesIO(file))


@pytest.mark.parametrize(
    ("mode", "options", "colour"),
    [
        ("RGB", {}, "YBR_FULL_422"),
        ("RGB", {"subsampling": 0}, "YBR_FULL"),
        ("L", {}, "MONOCHROME2"),
        ("RGB", {"keep_rgb": True}, "RGB"),
    ],
)
@aio
async def test_a_jpeg_is_kept_bit_for_bit(tmp_path: Path, mode: str, options: dict[str, Any], colour: str) -> None:
    """Baseline goes into a fragment as it is, described by its own header; UIDs are made where none came."""
    content = encoded(mode, **options)
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(), picture(content, "image/jpeg")))

    (frame,) = generate_frames(found.PixelData, number_of_frames=1)
    assert content == frame[: len(content)]
    assert (JPEG + "50", SC, colour, 12, 20, 8, 8, 7, 0) == (
        found.file_meta.TransferSyntaxUID,
        found.SOPClassUID,
        found.PhotometricInterpretation,
        found.Rows,
        found.Columns,
        found.BitsAllocated,
        found.BitsStored,
        found.HighBit,
        found.PixelRepresentation,
    )
    assert (1 if mode == "L" else 3, "01", "ISO_10918_1", "WSD", "OT") == (
        found.SamplesPerPixel,
        found.LossyImageCompression,
        found.LossyImageCompressionMethod,
        found.ConversionType,
        found.Modality,
    )
    assert found.SOPInstanceUID.startswith("2.25.")
    assert abs(PICTURE.size / 3 * found.SamplesPerPixel / len(content) - found.LossyImageCompressionRatio) < 0.01


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG")])
@aio
async def test_a_png_is_decoded(tmp_path: Path, mode: str, kind: str) -> None:
    """DICOM has no PNG: native pixels, and nothing says that anything was lost."""
    content = encoded(mode, kind)
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(), picture(content, "image/png")))

    expected = np.asarray(Image.open(BytesIO(content)).convert("L" if mode == "L" else "RGB"))
    assert (expected == found.pixel_array).all()
    assert "1.2.840.10008.1.2.1" == found.file_meta.TransferSyntaxUID
    assert "LossyImageCompression" not in found


@aio
async def test_a_progressive_jpeg_is_decoded_and_marked_lossy(tmp_path: Path) -> None:
    """No transfer syntax takes it; its pixels come in, with the ratio it was compressed by."""
    content = encoded(progressive=True)
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(), picture(content, "image/jpeg")))

    assert (np.asarray(Image.open(BytesIO(content))) == found.pixel_array).all()
    assert ("1.2.840.10008.1.2.1", "01", "RGB") == (
        found.file_meta.TransferSyntaxUID,
        found.LossyImageCompression,
        found.PhotometricInterpretation,
    )


@aio
async def test_several_pictures_are_frames(tmp_path: Path) -> None:
    """As many parts as the metadata says frames: multi-frame true colour, with an offset table and page numbers."""
    pages = [encoded(quality=quality) for quality in (50, 70, 90)]
    parts = [picture(page, "image/jpeg", number) for number, page in enumerate(pages, 1)]
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(frames=3), *parts))

    frames = list(generate_frames(found.PixelData, number_of_frames=3))
    assert pages == [frame[: len(page)] for frame, page in zip(frames, pages, strict=True)]
    assert (SC + ".4", 3, [1, 2, 3], "YES") == (
        found.SOPClassUID,
        found.NumberOfFrames,
        list(found.PageNumberVector),
        found.BurnedInAnnotation,
    )


@pytest.mark.parametrize(("modality", "sop_class"), [("XC", "1.2.840.10008.5.1.4.1.1.77.1.4"), ("OT", SC), ("DX", SC)])
@aio
async def test_a_photograph_is_one_where_the_modality_says_so(tmp_path: Path, modality: str, sop_class: str) -> None:
    """External-camera photography is VL Photographic Image, everything else Secondary Capture."""
    said = metadata(t00080060={"vr": "CS", "Value": [modality]})
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, said, picture(encoded(), "image/jpeg")))

    assert (sop_class, modality) == (found.SOPClassUID, found.Modality)
    assert (sop_class == SC) != ("AcquisitionContextSequence" in found)


@aio
async def test_what_the_metadata_says_stays(tmp_path: Path) -> None:
    """UIDs, class and description are the sender's where it gives them."""
    said = metadata(
        t00080016={"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.77.1.2"]},
        t00080018={"vr": "UI", "Value": ["1.2.77"]},
        t0020000E={"vr": "UI", "Value": ["1.2.78"]},
        t00280010={"vr": "US", "Value": [12]},
        t00080008={"vr": "CS", "Value": ["DERIVED", "SECONDARY"]},
    )
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, said, picture(encoded(), "image/jpeg")))

    assert ("1.2.840.10008.5.1.4.1.1.77.1.2", "1.2.77", "1.2.78", ["DERIVED", "SECONDARY"]) == (
        found.SOPClassUID,
        found.SOPInstanceUID,
        found.SeriesInstanceUID,
        list(found.ImageType),
    )


@aio
async def test_a_pdf_becomes_a_document(tmp_path: Path) -> None:
    """Encapsulated PDF, padded to even length, with the length it had."""
    content = b"%PDF-1.7\n%%EOF\n" * 3
    async with archive(tmp_path) as (world, pool):
        said = metadata("00420011")
        found = await read(world, await send(world, pool, said, picture(content, "application/pdf")))

    assert content == found.EncapsulatedDocument[: found.EncapsulatedDocumentLength]
    assert ("1.2.840.10008.5.1.4.1.1.104.1", "application/pdf", "DOC", 0) == (
        found.SOPClassUID,
        found.MIMETypeOfEncapsulatedDocument,
        found.Modality,
        len(found.EncapsulatedDocument) % 2,
    )


@pytest.mark.parametrize(
    ("modality", "sop_class"), [(None, "1.2.840.10008.5.1.4.1.1.77.1.4.1"), ("ES", "1.2.840.10008.5.1.4.1.1.77.1.1.1")]
)
@aio
async def test_a_film_becomes_a_video(tmp_path: Path, modality: str | None, sop_class: str) -> None:
    """The file in one fragment, with the syntax of its profile and level and the rate of its index."""
    content = mp4(media=b"frames!")
    said = metadata(**({"t00080060": {"vr": "CS", "Value": [modality]}} if modality else {}))
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, said, picture(content, "video/mp4")))

    (frame,) = generate_frames(found.PixelData, number_of_frames=1)
    assert content == frame[: len(content)]
    assert (JPEG + "102", sop_class, "YBR_PARTIAL_420", 480, 640, 250, 40.0, 25) == (
        found.file_meta.TransferSyntaxUID,
        found.SOPClassUID,
        found.PhotometricInterpretation,
        found.Rows,
        found.Columns,
        found.NumberOfFrames,
        found.FrameTime,
        found.CineRate,
    )


@pytest.mark.parametrize(
    ("kind", "syntax", "content", "colour"),
    [
        ("image/jls", "80", imagecodecs.jpegls_encode(PICTURE[..., 0].copy()), "MONOCHROME2"),
        ("image/jls; transfer-syntax=1.2.840.10008.1.2.4.81", "81", imagecodecs.jpegls_encode(PICTURE), "RGB"),
        ("image/jp2", "90", imagecodecs.jpeg2k_encode(PICTURE, level=0, reversible=True, codecformat="j2k"), "YBR_RCT"),
        ("image/jp2", "90", imagecodecs.jpeg2k_encode(PICTURE, level=0, reversible=True, codecformat="jp2"), "YBR_RCT"),
    ],
)
@aio
async def test_frames_compressed_as_dicom_does_are_described(
    tmp_path: Path, kind: str, syntax: str, content: bytes, colour: str
) -> None:
    """JPEG-LS and JPEG 2000 are kept; what the metadata leaves out is read from their headers."""
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(), picture(content, kind)))

    assert (JPEG + syntax, colour, 12, 20) == (
        found.file_meta.TransferSyntaxUID,
        found.PhotometricInterpretation,
        found.Rows,
        found.Columns,
    )
    assert (PICTURE if found.SamplesPerPixel == 3 else PICTURE[..., 0]).tobytes() == found.pixel_array.astype(
        np.uint8
    ).tobytes()


@pytest.mark.parametrize(("predictor", "syntax"), [(1, "70"), (6, "57")])
@aio
async def test_a_lossless_jpeg_is_kept(tmp_path: Path, predictor: int, syntax: str) -> None:
    """Its predictor tells which of the two transfer syntaxes it is in; no loss is claimed."""
    content = bytearray(imagecodecs.ljpeg_encode(PICTURE[..., 0].astype(np.uint16), bitspersample=12))
    scan = content.index(b"\xff\xda")
    content[scan + 7] = predictor
    async with archive(tmp_path) as (world, pool):
        found = await read(world, await send(world, pool, metadata(), picture(bytes(content), "image/jpeg")))

    (frame,) = generate_frames(found.PixelData, number_of_frames=1)
    assert bytes(content) == frame[: len(content)]
    assert (JPEG + syntax, 16, 12, 11) == (
        found.file_meta.TransferSyntaxUID,
        found.BitsAllocated,
        found.BitsStored,
        found.HighBit,
    )
    assert "LossyImageCompression" not in found


ROWS = {"vr": "US", "Value": [13]}


@pytest.mark.parametrize(
    ("said", "parts", "reason"),
    [
        (metadata(t00100020=None), [picture(encoded(), "image/jpeg")], 0xA900),
        (metadata(t0020000D=None), [picture(encoded(), "image/jpeg")], 0xA900),
        (metadata(t00280010=ROWS), [picture(encoded(), "image/jpeg")], 0xA900),
        (metadata(t00280010=ROWS), [picture(encoded(kind="PNG"), "image/png")], 0xA900),
        (metadata(), [picture(b"\xff\xd8\xff", "image/jpeg")], 0xC000),
        (metadata(), [picture(encoded(), "image/png")], 0xC000),
        (metadata(), [picture(encoded(kind="GIF"), "image/gif")], 0xC122),
        (metadata(), [picture(b"x", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.80")], 0xC122),
        (metadata(), [picture(b"x", "image/dicom-rle")], 0xA900),
        (metadata(), [picture(mp4(entry=b"mp4v"), "video/mp4")], 0xC122),
        (metadata(), [picture(b"x" * 99, "video/mp4")], 0xC000),
        (metadata("00420011"), [picture(b"<html>", "application/pdf")], 0xC000),
        (metadata(frames=2), [picture(encoded(), "image/jpeg", 1)], 0xA900),
        (metadata(frames=2), [picture(encoded("L"), "image/jpeg", 1), picture(encoded(), "image/jpeg", 2)], 0xA900),
    ],
)
@aio
async def test_a_picture_that_is_not_what_is_said_is_refused(
    tmp_path: Path, said: Part, parts: list[Part], reason: int
) -> None:
    """No patient or study, another size, damage, a kind DICOM has nothing for, a frame missing: nothing is stored."""
    async with archive(tmp_path) as (world, pool):
        response = await send(world, pool, said, *parts)

        assert (409, [reason]) == (response.status_code, [*others(response), *failed(response).values()])
        assert 0 == (await world.status())["instances"]
        assert 0 == world.core.committer.busy_senders


@aio
async def test_many_small_pictures_do_not_become_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels of all frames together have a bound: a few kilobytes of PNG are hundreds of megabytes (C33)."""
    monkeypatch.setattr(pictures, "MAX_FRAME_BYTES", 2 * PICTURE.nbytes)
    three = [picture(encoded(kind="PNG"), "image/png", number) for number in (1, 2, 3)]
    async with archive(tmp_path) as (world, pool):
        camera = await world.device("CAMERA")
        two = await ask(camera, multipart(metadata(frames=2), *three[:2]), related(KIND), pool=pool)
        response = await ask(camera, multipart(metadata(frames=3), *three), related(KIND), pool=pool)
        assert 200 == two.status_code

        assert (409, [0xC000]) == (response.status_code, others(response))
        assert 0 == world.core.committer.busy_senders


@aio
async def test_pictures_of_one_request_share_a_new_series(tmp_path: Path) -> None:
    """A series for what was sent together, an instance for each."""
    one = json.loads(metadata()[1])[0]
    two = one | {"7FE00010": {"vr": "OB", "BulkDataURI": "second"}}
    both = f"Content-Type: {KIND}\r\n", json.dumps([one, two]).encode()
    second = "Content-Type: image/jpeg\r\nContent-Location: second\r\n", encoded(quality=50)
    async with archive(tmp_path) as (world, pool):
        response = await send(world, pool, both, picture(encoded(), "image/jpeg"), second)
        first, last = stored(response)

        assert 200 == response.status_code
        assert first != last
        assert 1 == (await world.status())["series"]
