"""What can go into what: lossless or decoded, never lossy anew (PS3.5 10, A.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strongroom.dicom.uid import TRANSFER_SYNTAXES
from strongroom.imaging import syntaxes
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.syntaxes import after_decoding, after_encoding, can_convert

EXPLICIT = "1.2.840.10008.1.2.1"
GREY = PixelDescription(rows=8, columns=8, transfer_syntax_uid=EXPLICIT, bits_allocated=16, bits_stored=12, high_bit=11)
MPEG = "1.2.840.10008.1.2.4.102"


def test_every_syntax_is_one_of_a_data_set() -> None:
    """No typing mistake in a UID; what is written can be read; what is preferred can be written."""
    assert syntaxes.DECODABLE <= set(TRANSFER_SYNTAXES)
    assert syntaxes.ENCODABLE <= syntaxes.DECODABLE - syntaxes.LOSSY
    assert set(syntaxes.PREFERRED) == syntaxes.ENCODABLE


@pytest.mark.parametrize("lossy", sorted(syntaxes.LOSSY))
def test_lossy_is_only_decoded(lossy: str) -> None:
    """What was lost once is not compressed again."""
    targets = {uid for uid in TRANSFER_SYNTAXES if can_convert(lossy, uid)}

    assert {EXPLICIT, "1.2.840.10008.1.2"} == targets


def test_lossless_goes_into_everything_we_write() -> None:
    """And into nothing else."""
    for uid in sorted(syntaxes.DECODABLE - syntaxes.LOSSY):
        assert syntaxes.ENCODABLE == {to for to in TRANSFER_SYNTAXES if can_convert(uid, to, GREY)}
    assert not any(can_convert(MPEG, to) for to in TRANSFER_SYNTAXES)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (replace(GREY, bits_allocated=32, bits_stored=32, high_bit=31), {syntaxes.RLE}),
        (replace(GREY, bits_allocated=32, bits_stored=32, high_bit=31, tag="7FE00008"), set()),
        (replace(GREY, bits_allocated=1, bits_stored=1, high_bit=0), set()),
        (replace(GREY, high_bit=15), {syntaxes.RLE}),
        (replace(GREY, bits_allocated=64, bits_stored=64, high_bit=63), set()),
    ],
)
def test_what_a_codec_cannot_hold_is_not_promised(pixels: PixelDescription, expected: set[str]) -> None:
    """32 bits, floating point, single bits, cells that are not low-justified."""
    targets = {to for to in syntaxes.ENCODABLE - syntaxes.NATIVE if can_convert(EXPLICIT, to, pixels)}

    assert expected == targets
    assert can_convert(EXPLICIT, EXPLICIT, pixels)


def test_colour_before_and_after() -> None:
    """The interpretations of PS3.5 8.2 and PS3.3 C.7.6.3.1.2."""
    colour = replace(GREY, samples_per_pixel=3, photometric_interpretation="YBR_FULL_422", planar_configuration=1)
    found = {
        uid: after_decoding(replace(colour, transfer_syntax_uid=uid, photometric_interpretation=stored))
        for uid, stored in (
            (syntaxes.JPEG_BASELINE, "YBR_FULL_422"),
            (syntaxes.JPEG_2000, "YBR_ICT"),
            (syntaxes.RLE, "YBR_FULL"),
            (EXPLICIT, "YBR_FULL_422"),
        )
    }

    assert ["RGB", "RGB", "YBR_FULL", "YBR_FULL"] == [one.photometric_interpretation for one in found.values()]
    assert {0} == {one.planar_configuration for one in found.values()}
    rgb = found[syntaxes.JPEG_BASELINE]
    assert ["YBR_RCT", "YBR_RCT", "RGB", "RGB"] == [
        after_encoding(rgb, uid).photometric_interpretation
        for uid in (syntaxes.JPEG_2000_LOSSLESS, syntaxes.HTJ2K_LOSSLESS, syntaxes.RLE, syntaxes.JPEG_LS)
    ]
