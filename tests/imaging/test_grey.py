"""Stored values to grey: the formulas of PS3.3 C.11.1 and C.11.2, and what tables may and may not do (SECURITY F11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from imaging.corpus import named
from strongroom.imaging import codecs
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.grey import entries_of, look_up, stored_values, to_grey
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.presentation import Lut, Presentation, Window

CT = PixelDescription(
    rows=1,
    columns=6,
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    bits_allocated=16,
    bits_stored=12,
    high_bit=11,
    pixel_representation=1,
    presentation=Presentation(slope=2.0, intercept=-1000.0, windows=(Window(0.0, 401.0),)),
)
VALUES = np.array([[-2048, 400, 450, 500, 600, 2047]], "<i2")


def shown(pixels: PixelDescription, cells: np.ndarray = VALUES, window: Window | None = None) -> list[int]:
    return to_grey(pixels, cells, window).ravel().tolist()


def test_a_linear_window() -> None:
    """Hounsfield units -200, -100, 0 and 200 in a window of 401 around 0 (C.11.2.1.2.1)."""
    expected = [0] + [int(((x + 0.5) / 400 + 0.5) * 255 + 0.5) for x in (-200, -100, 0)] + [255, 255]

    assert expected == shown(CT)


@pytest.mark.parametrize(
    ("window", "formula"),
    [
        (Window(50, 300, "LINEAR_EXACT"), lambda x: (x - 50) / 300 + 0.5),
        (Window(50, 300, "SIGMOID"), lambda x: 1 / (1 + np.exp(-4 * (x - 50) / 300))),
        (Window(50, 300), lambda x: (x - 49.5) / 299 + 0.5),
        (Window(50, 1), lambda x: np.where(x > 49.5, 1.0, 0.0)),
    ],
)
def test_the_window_of_the_request_wins(window: Window, formula) -> None:
    """Each function of C.11.2.1.3, instead of what the data set says."""
    expected = np.floor(np.clip(formula(VALUES.astype(float) * 2 - 1000) * 255, 0, 255) + 0.5)

    assert expected.ravel().tolist() == shown(CT, window=window)


def test_monochrome1_and_inverse_are_the_same_and_do_not_cancel_out() -> None:
    """White is black once (PS3.3 C.11.6)."""
    upright = shown(CT)
    for other in (
        replace(CT, photometric_interpretation="MONOCHROME1"),
        replace(CT, presentation=replace(CT.presentation, shape="INVERSE")),
        replace(CT, photometric_interpretation="MONOCHROME1", presentation=replace(CT.presentation, shape="INVERSE")),
    ):
        assert all(abs(a + b - 255) <= 1 for a, b in zip(upright, shown(other), strict=True))


def test_padding_is_black_and_decides_no_window() -> None:
    """Without a window the range is that of the image, not of what lies around it."""
    told = Presentation(padding=-2048)
    plain = replace(CT, presentation=told)

    assert [0, 0, 8, 15, 31, 255] == shown(plain)
    assert shown(replace(plain, presentation=replace(told, padding_limit=-2000))) == shown(plain)
    assert shown(replace(plain, photometric_interpretation="MONOCHROME1"))[0] == 0


def test_eight_bits_without_a_window_stay_as_they_are() -> None:
    """A screen capture is not stretched."""
    pixels = PixelDescription(rows=1, columns=3, transfer_syntax_uid=CT.transfer_syntax_uid)

    assert [10, 100, 200] == shown(pixels, np.array([[10, 100, 200]], np.uint8))


def test_unused_bits_do_not_show() -> None:
    """An overlay in the high bits, or cells that are not low-justified (PS3.5 8.1.1)."""
    pixels = replace(CT, pixel_representation=0, presentation=Presentation())
    dirty = np.array([[0xF000, 0x8FFF]], "<u2")
    high = replace(pixels, high_bit=15)

    assert [0, 4095] == stored_values(pixels, dirty).ravel().tolist()
    assert [0xF00, 0x8FF] == stored_values(high, dirty).ravel().tolist()
    assert [-1, 1] == stored_values(replace(CT, high_bit=15), np.array([[-16, 31]], "<i2")).ravel().tolist()


def test_single_bits_and_floats() -> None:
    """Segmentations are black and white; parametric maps go from their least to their greatest finite value."""
    bits = replace(CT, bits_allocated=1, bits_stored=1, high_bit=0, pixel_representation=0)
    real = replace(CT, tag="7FE00008", bits_allocated=32, bits_stored=32, high_bit=31, presentation=Presentation())

    assert [0, 255] == shown(bits, np.array([[0, 1]], np.uint8))
    assert [0, 128, 255, 0] == shown(real, np.array([[-1.5, 0.0, 1.5, np.nan]], "<f4"))


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm", "CT_small.dcm", "693_UNCR.dcm", "MR2_UNCR.dcm"])
def test_a_shipped_image_is_shown_as_pydicom_shows_it(name: str) -> None:
    """Modality and VOI tables and windows of real files, to one of 255 steps."""
    image = named(name)
    dataset = image.dataset
    real = apply_modality_lut(image.array, dataset)
    expected = apply_voi_lut(real, dataset).astype(float)
    if "VOILUTSequence" in dataset:
        white = float((1 << dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        expected = expected * (255 / white)
    else:
        low, high = _ends(dataset, real)
        expected = (expected - low) / (high - low) * 255
    if "PixelPaddingValue" in dataset:
        expected[image.array == dataset.PixelPaddingValue] = 0
    found = to_grey(image.pixels, codecs.decode(image.pixels, image.frame(1)), None)

    assert not image.pixels.presentation.broken
    assert np.abs(expected - found).max() <= 1


def _ends(dataset, real: np.ndarray) -> tuple[float, float]:
    """The values pydicom's windows end at: those that the stored bits can have, after rescaling."""
    if "WindowWidth" not in dataset:
        return float(real.min()), float(real.max())
    bits = dataset.BitsStored
    low = -(1 << (bits - 1)) if dataset.PixelRepresentation else 0
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, (low + (1 << bits) - 1) * slope + intercept


def test_a_table_is_never_left() -> None:
    """Values below and beyond get the first and the last entry; nothing else is ever read."""
    lut = Lut(first=10, count=3, bits=16, data=np.array([7, 8, 9], "<u2").tobytes())
    values = np.array([-(1 << 40), 9, 10, 12, 13, 1 << 40])

    assert [7, 7, 7, 9, 9, 9] == look_up(values, lut, entries_of(lut)).tolist()


def test_a_table_of_bytes() -> None:
    """Eight bits an entry, packed."""
    assert [1, 2, 3] == entries_of(Lut(0, 3, 8, b"\1\2\3\0")).tolist()


def segmented(*words: int, count: int = 8) -> Lut:
    return Lut(0, count, 16, np.array(words, "<u2").tobytes(), segmented=True)


def test_a_segmented_palette_is_expanded() -> None:
    """Discrete, linear and indirect segments (C.7.9.2)."""
    lut = segmented(0, 2, 10, 20, 1, 4, 60, 2, 1, 0, 0)

    assert [10, 20, 30, 40, 50, 60, 10, 20] == entries_of(lut).tolist()


@pytest.mark.parametrize(
    "words",
    [
        (0, 9, *range(9)),
        (0, 2, 1),
        (1, 8, 5),
        (0, 1, 5, 2, 65_535, 3, 0),
        (0, 1, 5, 2, 3, 60_000, 60_000),
        (3, 1, 1),
        (0, 0, 0, 0),
        (0, 1),
        (),
    ],
)
def test_a_segmented_palette_that_is_none_is_refused(words: tuple[int, ...]) -> None:
    """Too long, cut off, pointing at itself or outside: an error, in bounded time."""
    with pytest.raises(UnreadablePixelsError):
        entries_of(segmented(*words))


def test_a_window_without_width_is_refused() -> None:
    """Nothing is divided by zero; of the data set's windows the first that is one is taken."""
    with pytest.raises(UnreadablePixelsError):
        shown(CT, window=Window(0, 0.5))
    told = replace(CT.presentation, windows=(Window(0, 0), Window(0.0, 401.0)))

    assert shown(CT) == shown(replace(CT, presentation=told))
