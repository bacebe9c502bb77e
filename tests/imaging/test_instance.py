"""Whole data sets from one transfer syntax into another, with real workers, read again with pydicom."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from pydicom.encaps import generate_frames, parse_basic_offsets

from imaging.corpus import Image, as_pydicom, images, name_of, named, taken
from strongroom.errors import DataSetError, StrongroomError
from strongroom.imaging import instance, syntaxes
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.instance import convert
from strongroom.imaging.pool import Pool

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
DAMAGED = {"JPEG2000-embedded-sequence-delimiter.dcm"}
SAMPLES = [
    one for one in images() if one.pixels.native_length * one.number_of_frames < 4 << 20 and one.name not in DAMAGED
]
READ_BY_PYDICOM = [EXPLICIT, IMPLICIT, syntaxes.RLE, syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS]


@pytest.fixture(scope="module")
def runner():
    """One loop and one pool for the conversions of this file."""
    with asyncio.Runner() as runner:
        pool = Pool(2)
        runner.run(pool.start())
        yield lambda image, uid: runner.run(gathered(pool, image, uid))
        runner.run(pool.stop())


async def gathered(pool: Pool, source: Image, uid: str) -> list[bytes]:
    return [bytes(piece) async for piece in convert(pool, source, uid)]


@pytest.mark.parametrize("image", [one for one in SAMPLES if one.array is not None], ids=name_of)
def test_a_converted_data_set_has_the_pixels_and_everything_else(image: Image, runner) -> None:
    """Each shipped image in each syntax pydicom reads: equal pixels, and the other elements untouched."""
    changed = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression"}
    changed |= {"IconImageSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"}
    before = {one.tag: one for one in image.dataset if one.keyword not in changed and one.tag.element}
    for uid in READ_BY_PYDICOM:
        if uid == image.uid or not syntaxes.can_convert(image.uid, uid, image.pixels):
            continue
        if uid == syntaxes.JPEG_2000_LOSSLESS and image.pixels.bits_stored > 8 and image.pixels.samples_per_pixel > 1:
            continue  # pydicom's decoder (Pillow) has no more than 8 bits of colour
        dataset = as_pydicom(b"".join(runner(image, uid)), uid)

        assert np.array_equal(image.array, dataset.pixel_array), uid
        after = {one.tag: one for one in dataset if one.keyword not in changed and one.tag.element}
        assert sorted(before) == sorted(after)
        if IMPLICIT not in (uid, image.uid) and image.uid != "1.2.840.10008.1.2.2":  # others change VRs: test_convert
            assert [] == [tag for tag in before if before[tag].value != after[tag].value]


@pytest.mark.parametrize("uid", [syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_LOSSLESS_RPCL, syntaxes.JPEG_LOSSLESS_SV1])
def test_what_pydicom_cannot_read_comes_back_the_same(uid: str, runner) -> None:
    """There and back again, several frames and colour."""
    for name in ("emri_small.dcm", "SC_rgb_2frame.dcm", "693_UNCR.dcm", "eCT_Supplemental.dcm"):
        image = named(name)
        made = taken(name, uid, b"".join(runner(image, uid)))
        back = as_pydicom(b"".join(runner(made, EXPLICIT)), EXPLICIT)

        assert np.array_equal(image.array, back.pixel_array)
        assert image.dataset.PhotometricInterpretation == back.PhotometricInterpretation


def test_the_colour_says_what_it_is(runner) -> None:
    """YBR_RCT in JPEG 2000, planes in RLE, RGB by pixel when decoded (PS3.5 8.2)."""
    image = named("SC_rgb.dcm")
    found = {}
    for uid in (syntaxes.JPEG_2000_LOSSLESS, syntaxes.RLE, syntaxes.JPEG_LS):
        dataset = as_pydicom(b"".join(runner(image, uid)), uid)
        found[uid] = (dataset.PhotometricInterpretation, dataset.PlanarConfiguration, dataset["PixelData"].VR)

    assert {
        syntaxes.JPEG_2000_LOSSLESS: ("YBR_RCT", 0, "OB"),
        syntaxes.RLE: ("RGB", 1, "OB"),
        syntaxes.JPEG_LS: ("RGB", 0, "OB"),
    } == found


def test_offsets_of_a_small_instance_stand_in_front(runner, monkeypatch) -> None:
    """A Basic Offset Table that is right; of a large one it is empty, and frames leave one by one."""
    image = named("emri_small.dcm")
    pieces = runner(image, syntaxes.JPEG_LS)
    dataset = as_pydicom(b"".join(pieces), syntaxes.JPEG_LS)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=10))
    offsets = parse_basic_offsets(dataset.PixelData)
    monkeypatch.setattr(instance, "GATHERED_BYTES", 0)
    streamed = as_pydicom(b"".join(runner(image, syntaxes.JPEG_LS)), syntaxes.JPEG_LS)

    assert [0, *np.cumsum([len(frame) + 8 for frame in frames])[:-1]] == offsets
    assert [] == parse_basic_offsets(streamed.PixelData)
    assert frames == list(generate_frames(streamed.PixelData, number_of_frames=10))


def test_offset_tables_and_icons_of_the_old_syntax_are_gone(runner) -> None:
    """They name places that are no more (PS3.3 C.7.6.3.1.8); an icon may be compressed as its image was."""
    image = named("emri_small_jpeg_2k_lossless.dcm")
    icon = b"\x88\0\0\2SQ\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0"
    table = b"\xe0\x7f\1\0OV\0\0\x08\0\0\0" + bytes(8)
    extended = Image(
        image.name,
        image.uid,
        image.data[: image.start] + icon + table + image.data[image.start :],
        image.tag,
        image.vr,
        image.start + len(icon) + len(table),
        image.value + len(icon) + len(table),
        image.length,
    )
    assert "ExtendedOffsetTable" in extended.dataset
    dataset = as_pydicom(b"".join(runner(extended, EXPLICIT)), EXPLICIT)

    assert ["ExtendedOffsetTable", "IconImageSequence"] == [
        key for key in ("ExtendedOffsetTable", "IconImageSequence") if key not in dataset
    ]
    assert np.array_equal(image.array, dataset.pixel_array)


def test_nothing_is_sent_of_what_cannot_be_converted(runner) -> None:
    """Lossy into lossless, single bits into RLE, frames that are not there: refused before the first piece."""
    with pytest.raises(UnreadablePixelsError):
        runner(named("JPEG2000.dcm"), syntaxes.RLE)
    with pytest.raises(UnreadablePixelsError):
        runner(named("liver_1frame.dcm"), syntaxes.RLE)
    image = named("emri_small_RLE.dcm")
    liar = Image(image.name, image.uid, image.data, image.tag, image.vr, image.start, image.value, image.length)
    liar.__dict__["pixels"] = replace(image.pixels, number_of_frames=9)
    with pytest.raises(DataSetError, match="9 frames are there, 10"):
        runner(liar, EXPLICIT)


def test_an_overlay_in_unused_bits_is_not_dropped(runner) -> None:
    """Retired, but it is a finding somebody made: better no conversion than one without it."""
    image = named("MR_small.dcm")
    overlay = b"\0\x60\x10\0US\2\0\x40\0" + b"\0\x60\0\1US\2\0\x10\0" + b"\0\x60\2\1US\2\0\x0c\0"
    marked = taken("x", image.uid, image.data[: image.start] + overlay + image.data[image.start :])

    with pytest.raises(UnreadablePixelsError):
        runner(marked, syntaxes.JPEG_LS)


def test_damaged_heads_give_our_errors_only(runner) -> None:
    """Cut and changed anywhere in front of the pixels."""
    image = named("MR_small_RLE.dcm")
    rng = np.random.default_rng(7)
    for _ in range(40):
        data = bytearray(image.data)
        for at in rng.integers(image.start - 400, image.start, 3):
            data[at] ^= int(rng.integers(1, 256))
        broken = Image("x", image.uid, bytes(data), image.tag, image.vr, image.start, image.value, image.length)
        broken.__dict__["pixels"] = image.pixels
        try:
            pieces = runner(broken, EXPLICIT)
        except StrongroomError:
            continue
        assert sum(map(len, pieces)) > 8192
