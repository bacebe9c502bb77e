"""Pictures for people (PS3.18 8.3.5): formats, parts and sizes, flips, annotation, profiles, animation."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from imaging.corpus import images, name_of, named
from strongroom.imaging import presentation
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.options import GIF, JPEG, PNG, RenderOptions, Viewport
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.presentation import Lut, Presentation, Window
from strongroom.imaging.render import render

GREY = PixelDescription(rows=8, columns=16, transfer_syntax_uid="1.2.840.10008.1.2.1")
FRAME = bytes(range(128))
COLOUR = replace(GREY, samples_per_pixel=3, photometric_interpretation="RGB")


def picture(pixels: PixelDescription, *frames: bytes, **options) -> Image.Image:
    options.setdefault("media_type", PNG)
    found = Image.open(BytesIO(render(pixels, frames, RenderOptions(**options))))
    found.load()
    return found


def cells(**options) -> np.ndarray:
    return np.asarray(picture(GREY, FRAME, **options))


@pytest.mark.parametrize("image", [one for one in images() if one.pixels.native_length < 1 << 20], ids=name_of)
def test_every_shipped_image_can_be_shown(image) -> None:
    """Whatever its codec, depth and colour; only a palette that is not there is refused."""
    if image.name == "JPEG2000-embedded-sequence-delimiter.dcm":
        pytest.skip("its codestream is damaged on purpose")
    shown = picture(image.pixels, image.frame(1), viewport=Viewport(64, 64))

    assert max(shown.size) == 64


@pytest.mark.parametrize("name", ["OBXXXX1A.dcm", "examples_palette.dcm", "gdcm-US-ALOKA-16.dcm"])
def test_a_palette_gives_the_colours_pydicom_gives(name: str) -> None:
    """Red, green and blue out of the tables (PS3.3 C.7.6.3.1.5)."""
    from pydicom.pixels import apply_color_lut

    image = named(name)
    expected = apply_color_lut(image.array, image.dataset)
    expected = expected >> 8 if expected.max() > 255 else expected

    assert np.array_equal(expected, np.asarray(picture(image.pixels, image.frame(1))))


@pytest.mark.parametrize(("media_type", "name"), [(JPEG, "JPEG"), (PNG, "PNG"), (GIF, "GIF")])
def test_each_format(media_type: str, name: str) -> None:
    """What was asked for is what it is."""
    shown = picture(GREY, FRAME, media_type=media_type)

    assert (name, (16, 8)) == (shown.format, shown.size)
    assert np.abs(np.asarray(shown.convert("L")).astype(int) - np.arange(128).reshape(8, 16)).max() <= 6


def test_quality_counts() -> None:
    """A better JPEG is a longer one."""
    image = named("US1_UNCR.dcm")
    sizes = [len(render(image.pixels, [image.frame(1)], RenderOptions(JPEG, quality=q))) for q in (10, 60, 95)]

    assert sorted(sizes) == sizes
    assert sizes[0] < sizes[2] / 3


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        (Viewport(4, 4), (4, 2)),
        (Viewport(160, 40), (80, 40)),
        (Viewport(100, 100), (100, 50)),
        (Viewport(8, 8, 0, 0, 8, 8), (8, 8)),
        (Viewport(8, 8, 8, 0, 100, 100), (8, 8)),
        (Viewport(1, 1), (1, 1)),
    ],
)
def test_the_viewport_keeps_the_proportions(viewport: Viewport, size: tuple[int, int]) -> None:
    """As large as it fits; a part beyond the edge ends there (8.3.5.1.3)."""
    assert size == picture(GREY, FRAME, viewport=viewport).size


def test_a_part_and_its_mirror() -> None:
    """Exactly those pixels; widths and heights below zero flip."""
    whole = np.arange(128, dtype=np.uint8).reshape(8, 16)

    assert np.array_equal(whole[2:6, 4:12], cells(viewport=Viewport(8, 4, 4, 2, 8, 4)))
    assert np.array_equal(whole[2:6, 4:12][:, ::-1], cells(viewport=Viewport(8, 4, 4, 2, -8, 4)))
    assert np.array_equal(whole[2:6, 4:12][::-1], cells(viewport=Viewport(8, 4, 4, 2, 8, -4)))


def test_a_part_outside_the_image_is_refused() -> None:
    """Nothing is made up."""
    with pytest.raises(UnreadablePixelsError):
        picture(GREY, FRAME, viewport=Viewport(8, 8, 16, 0, 4, 4))


def test_the_window_is_used() -> None:
    """A window of the request reaches the picture."""
    assert {0, 255} == set(np.unique(cells(window=Window(64, 1))).tolist())


def test_annotation_is_burnt_in_and_only_when_asked() -> None:
    """The patient at the top, the technique at the bottom."""
    pixels = replace(GREY, rows=200, columns=200)
    black = bytes(200 * 200)
    plain = np.asarray(picture(pixels, black))
    both = np.asarray(picture(pixels, black, patient=("Doe^Jane", "1970"), technique=("CT",)))

    assert plain.max() == 0
    assert both[:60].max() > 200
    assert both[100:].max() > 200
    assert both[70:100].max() == 0


def test_an_animation() -> None:
    """Several frames make a GIF with as many, and nothing else."""
    pixels = replace(GREY, number_of_frames=3)
    frames = [bytes([value]) * 128 for value in (0, 100, 200)]
    shown = picture(pixels, *frames, media_type=GIF, frame_milliseconds=50)

    assert (3, 50) == (shown.n_frames, shown.info["duration"])
    with pytest.raises(UnreadablePixelsError):
        picture(pixels, *frames, media_type=PNG)


def test_the_colour_profile() -> None:
    """None, sRGB, or the data set's own."""
    own = presentation.Presentation(
        has_icc_profile=True, icc_profile=picture(COLOUR, FRAME * 3, iccprofile="srgb").info["icc_profile"]
    )
    with_own = replace(COLOUR, presentation=own)

    assert "icc_profile" not in picture(with_own, FRAME * 3).info
    assert "sRGB".encode("utf-16-be") in picture(COLOUR, FRAME * 3, iccprofile="yes").info["icc_profile"]
    assert own.icc_profile == picture(with_own, FRAME * 3, iccprofile="yes").info["icc_profile"]
    assert (16, 8) == picture(with_own, FRAME * 3, iccprofile="srgb").size
    broken = replace(COLOUR, presentation=replace(own, icc_profile=b"no profile"))
    with pytest.raises(UnreadablePixelsError):
        picture(broken, FRAME * 3, iccprofile="srgb")


def test_a_broken_table_stops_rendering() -> None:
    """A palette that is short or absent gives no picture, and no foreign bytes (SECURITY F11)."""
    palette = replace(GREY, photometric_interpretation="PALETTE COLOR")
    tables = (Lut(0, 256, 8, bytes(range(256))),) * 3
    good = replace(palette, presentation=Presentation(palette=tables))

    assert (16, 8) == picture(good, FRAME).size
    for bad in (palette, replace(palette, presentation=Presentation(palette=tables, broken=True))):
        with pytest.raises(UnreadablePixelsError):
            picture(bad, FRAME)
