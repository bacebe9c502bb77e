"""Codec by codec, every shipped frame: decoded as pydicom decodes it, encoded without loss, read again by others."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import openjpeg
import pydicom
import pytest

from imaging.corpus import Image, images, name_of, named
from strongroom.errors import DataSetError
from strongroom.imaging import codecs, syntaxes
from strongroom.imaging.codestream import jpeg2000_header
from strongroom.imaging.colour import to_rgb
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription

MOST_FRAMES = 4
DAMAGED = {"JPEG2000-embedded-sequence-delimiter.dcm"}  # its codestream holds a wrong size, and openjpeg fails too
DECODABLE = [image for image in images() if image.name not in DAMAGED]
SEEN_BY_PYDICOM = [image for image in DECODABLE if image.array is not None]
ENCODED = [image for image in DECODABLE if image.pixels.native_length < 3 << 20]  # larger ones take seconds each
ENCODINGS = sorted(syntaxes.ENCODABLE)


def decoded(image: Image, number: int) -> np.ndarray:
    return codecs.decode(image.pixels, image.frame(number))


@pytest.mark.parametrize("image", SEEN_BY_PYDICOM, ids=name_of)
def test_a_frame_is_what_pydicom_decodes(image: Image) -> None:
    """Value for value and type for type; YBR_FULL compared as RGB, which is what pydicom gives."""
    described = syntaxes.after_decoding(image.pixels)
    for number in range(1, min(image.number_of_frames, MOST_FRAMES) + 1):
        found = decoded(image, number)
        if described.photometric_interpretation == "YBR_FULL":
            found = to_rgb(found)
        expected = image.expected(number)

        assert (expected.dtype.newbyteorder("="), expected.shape) == (found.dtype.newbyteorder("="), found.shape)
        assert np.array_equal(expected, found)


def test_the_comparison_covers_every_codec() -> None:
    """If the shipped files or pydicom change, this says that the test above has become weaker."""
    seen = {image.uid for image in SEEN_BY_PYDICOM}

    assert len(SEEN_BY_PYDICOM) >= 160
    assert {syntaxes.RLE, syntaxes.JPEG_BASELINE, syntaxes.JPEG_LS, syntaxes.JPEG_LS_NEAR} <= seen
    assert syntaxes.NATIVE | syntaxes.JPEG_2000_SYNTAXES <= seen


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="needs DCMTK")
@pytest.mark.parametrize(
    "name", ["JPEG-LL.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "bad_sequence.dcm"]
)
def test_what_pydicom_cannot_decode_is_what_dcmtk_decodes(name: str, tmp_path) -> None:
    """JPEG lossless and extended with 12 bits."""
    path = next(image for image in _paths() if image.name == name)
    run = subprocess.run(["dcmdjpeg", path, tmp_path / "native.dcm"], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = pydicom.dcmread(tmp_path / "native.dcm").pixel_array

    assert np.array_equal(expected, decoded(named(name), 1))


def _paths():
    import dicom_corpus

    return dicom_corpus.paths()


@pytest.mark.parametrize("uid", ENCODINGS)
@pytest.mark.parametrize("image", ENCODED, ids=name_of)
def test_encoding_loses_nothing(image: Image, uid: str) -> None:
    """Every shipped image in every syntax we write, and back."""
    described = syntaxes.after_decoding(image.pixels)
    if not syntaxes.can_convert(described.transfer_syntax_uid, uid, described):
        pytest.skip("not written in this syntax")
    cells = decoded(image, 1)
    encoded = codecs.encode(described, cells, uid)
    found = codecs.decode(syntaxes.after_encoding(described, uid), encoded)

    assert cells.dtype == found.dtype
    assert np.array_equal(cells, found)


HTJ2K_SAMPLES = ["693_UNCR.dcm", "MR2_UNCR.dcm", "CT_small.dcm", "US1_UNCR.dcm", "SC_rgb_16bit.dcm", "mlut_18.dcm"]


@pytest.mark.parametrize("name", [*HTJ2K_SAMPLES, "SC_ybr_full_uncompressed.dcm", "SC_rgb_small_odd.dcm"])
def test_another_decoder_reads_our_htj2k(name: str) -> None:
    """OpenJPEG gives the same, the precision is Bits Stored, the order RPCL and the tile-part lengths are there (.202)."""
    image = named(name)
    described = syntaxes.after_decoding(image.pixels)
    cells = decoded(image, 1)
    encoded = codecs.encode(described, cells, syntaxes.HTJ2K_LOSSLESS_RPCL)
    header = jpeg2000_header(encoded)
    coding = encoded.index(b"\xff\x52")
    order, transformed = encoded[coding + 5], encoded[coding + 8]

    assert np.array_equal(cells, openjpeg.decode(encoded))
    assert (image.pixels.bits_stored, bool(image.pixels.pixel_representation)) == (header.precision, header.signed)
    assert (2, described.photometric_interpretation == "RGB") == (order, bool(transformed))
    assert b"\xff\x55" in encoded[: encoded.index(b"\xff\x90")]


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="needs DCMTK")
@pytest.mark.parametrize("name", ["693_UNCR.dcm", "MR2_UNCR.dcm", "SC_rgb.dcm", "OBXXXX1A.dcm"])
def test_dcmtk_reads_our_jpeg_lossless(name: str, tmp_path) -> None:
    """Process 14, selection value 1, with the precision of Bits Stored."""
    image = named(name)
    described = syntaxes.after_decoding(image.pixels)
    encoded = codecs.encode(described, decoded(image, 1), syntaxes.JPEG_LOSSLESS_SV1)
    dataset = pydicom.dcmread(next(path for path in _paths() if path.name == name))
    dataset.PixelData = pydicom.encaps.encapsulate([encoded])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntaxes.JPEG_LOSSLESS_SV1
    dataset.save_as(tmp_path / "ours.dcm", enforce_file_format=True)
    run = subprocess.run(["dcmdjpeg", tmp_path / "ours.dcm", tmp_path / "theirs.dcm"], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr

    assert np.array_equal(image.array, pydicom.dcmread(tmp_path / "theirs.dcm").pixel_array)


@pytest.mark.parametrize(("bits_stored", "signed"), [(12, 0), (12, 1), (10, 1), (16, 0), (16, 1), (1, 0), (9, 0)])
@pytest.mark.parametrize("uid", ENCODINGS)
def test_every_value_of_every_depth_survives(bits_stored: int, signed: int, uid: str) -> None:
    """The lowest and highest values, signed or not, in fewer bits than are allocated."""
    described = PixelDescription(
        rows=33,
        columns=47,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        bits_allocated=16,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1,
        pixel_representation=signed,
    )
    if not syntaxes.can_convert(described.transfer_syntax_uid, uid, described):
        pytest.skip("not written in this syntax")
    low = -(1 << (bits_stored - 1)) if signed else 0
    values = np.random.default_rng(1).integers(low, low + (1 << bits_stored), (33, 47))
    values[0, :2] = low, low + (1 << bits_stored) - 1
    cells = values.astype("<i2" if signed else "<u2")
    encoded = codecs.encode(described, cells, uid)

    assert np.array_equal(cells, codecs.decode(syntaxes.after_encoding(described, uid), encoded))


@pytest.mark.parametrize("uid", sorted(syntaxes.DECODABLE))
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xd8\xff", b"\xff\x4f\xff\x51\0\x29", b"\1" * 64], ids=len)
def test_a_frame_that_is_none_is_unreadable(uid: str, data: bytes) -> None:
    """Whatever a codec thinks of it, it is one error of ours."""
    pixels = PixelDescription(rows=16, columns=16, transfer_syntax_uid=uid)

    with pytest.raises(DataSetError):
        codecs.decode(pixels, data)


def test_what_nobody_should_decode_is_not_decoded() -> None:
    """Private compressions are kept, and no more (SECURITY F16)."""
    pixels = PixelDescription(rows=4, columns=4, transfer_syntax_uid="1.2.840.10008.1.2.4.102")

    with pytest.raises(UnreadablePixelsError, match="not decoded"):
        codecs.decode(pixels, bytes(16))


def test_an_rle_header_that_points_outside_is_refused() -> None:
    """Before the codec sees it."""
    pixels = PixelDescription(rows=4, columns=4, transfer_syntax_uid=syntaxes.RLE)
    header = np.zeros(16, "<u4")
    header[:2] = 1, 64
    for change in ((0, 2), (1, 0), (1, 65)):
        broken = header.copy()
        broken[change[0]] = change[1]
        with pytest.raises(UnreadablePixelsError):
            codecs.decode(pixels, broken.tobytes() + b"\xf1\0")
    with pytest.raises(UnreadablePixelsError):
        codecs.decode(pixels, header.tobytes())

    assert np.array_equal(np.full((4, 4), 7), codecs.decode(pixels, header.tobytes() + b"\xf1\7"))
