"""Native cells: byte orders, planes, subsampling, signs (PS3.5 8.1, 8.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from strongroom.imaging import native
from strongroom.imaging.colour import to_rgb
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription

LITTLE = PixelDescription(
    rows=2, columns=2, transfer_syntax_uid="1.2.840.10008.1.2.1", bits_allocated=16, bits_stored=12, high_bit=11
)
BIG = replace(LITTLE, transfer_syntax_uid="1.2.840.10008.1.2.2")
BYTES = replace(LITTLE, bits_allocated=8, bits_stored=8, high_bit=7)


def test_either_byte_order_gives_the_same() -> None:
    """Words of 16 bits, and bytes that were written as words."""
    expected = np.array([[1, 2], [3, 0x0400]], "<u2")

    assert np.array_equal(expected, native.decode(LITTLE, expected.tobytes()))
    assert np.array_equal(expected, native.decode(BIG, expected.astype(">u2").tobytes()))
    for vr, data in (("OW", b"\2\1\4\3"), ("OB", b"\1\2\3\4")):
        pixels = replace(BIG, bits_allocated=8, bits_stored=8, high_bit=7, vr=vr)
        assert [[1, 2], [3, 4]] == native.decode(pixels, data).tolist()


def test_colour_by_plane_becomes_colour_by_pixel() -> None:
    """Planar Configuration 1."""
    colour = replace(BYTES, samples_per_pixel=3, photometric_interpretation="RGB", planar_configuration=1)
    found = native.decode(colour, bytes(range(12)))

    assert [[[0, 4, 8], [1, 5, 9]], [[2, 6, 10], [3, 7, 11]]] == found.tolist()


def test_two_pixels_share_their_chrominance() -> None:
    """YBR_FULL_422; one that has every sample in spite of its name is taken as it is."""
    shared = replace(BYTES, samples_per_pixel=3, photometric_interpretation="YBR_FULL_422")

    assert [[[1, 3, 4], [2, 3, 4]], [[5, 7, 8], [6, 7, 8]]] == native.decode(shared, bytes(range(1, 9))).tolist()
    assert bytes(range(12)) == native.decode(shared, bytes(range(12))).tobytes()
    with pytest.raises(UnreadablePixelsError):
        native.decode(replace(shared, columns=3), bytes(12))


def test_unused_bits_take_the_sign() -> None:
    """PS3.5 8.1.1 leaves them undefined."""
    signed = replace(LITTLE, pixel_representation=1)
    cells = np.array([[0x0FFF, 0xF001], [0x8800, 0x07FF]], "<u2")

    assert [[-1, 1], [-2048, 2047]] == native.signs_settled(signed, cells.view("<i2")).tolist()
    assert [[0x0FFF, 1], [0x800, 0x7FF]] == native.signs_settled(LITTLE, cells).tolist()


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_short_frame_is_refused(length: int) -> None:
    """Nothing is made up at its end."""
    for pixels in (LITTLE, BIG, replace(LITTLE, planar_configuration=0)):
        with pytest.raises(UnreadablePixelsError):
            native.decode(pixels, bytes(length))
    with pytest.raises(UnreadablePixelsError):
        native.array_of(LITTLE, bytes(9))


def test_single_bits_are_unpacked_from_the_lowest() -> None:
    """The first pixel is bit 0 (PS3.5 8.1.1)."""
    bits = replace(LITTLE, rows=1, columns=9, bits_allocated=1, bits_stored=1, high_bit=0)

    assert [[1, 0, 0, 0, 0, 0, 0, 1, 1]] == native.decode(bits, b"\x81\xff").tolist()


def test_grey_and_primary_colours_survive_ybr() -> None:
    """The matrix of PS3.3 C.7.6.3.1.2, clipped; other depths are refused."""
    ybr = np.array([[[0, 128, 128], [255, 128, 128], [76, 85, 255], [255, 255, 255]]], np.uint8)

    assert [[[0, 0, 0], [255, 255, 255], [254, 0, 0], [255, 121, 255]]] == to_rgb(ybr).tolist()
    with pytest.raises(UnreadablePixelsError):
        to_rgb(ybr.astype(np.uint16))
