"""Ordinary pictures that are to become instances (STOW-RS of image/jpeg and image/png)."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from strongroom.imaging import syntaxes
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pictures import read

RGB = np.random.default_rng(3).integers(0, 256, (9, 7, 3), dtype=np.uint8)
EXPLICIT = "1.2.840.10008.1.2.1"


def saved(cells: np.ndarray, kind: str, mode: str | None = None, **options) -> bytes:
    out = BytesIO()
    image = Image.fromarray(cells)
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(("subsampling", "colour"), [(0, "YBR_FULL"), (1, "YBR_FULL_422"), (2, "YBR_FULL_422")])
def test_a_jpeg_is_kept_byte_for_byte(subsampling: int, colour: str) -> None:
    """Baseline goes into an instance as it is, and is lossy."""
    data = saved(RGB, "JPEG", subsampling=subsampling)
    info, kept = read(data, "image/jpeg")

    assert data == kept
    assert (9, 7, 3, colour, syntaxes.JPEG_BASELINE, True) == (
        info.rows,
        info.columns,
        info.samples_per_pixel,
        info.photometric_interpretation,
        info.transfer_syntax_uid,
        info.lossy,
    )
    assert "MONOCHROME2" == read(saved(RGB[..., 0], "JPEG"), "image/jpeg")[0].photometric_interpretation


def test_a_progressive_jpeg_is_decoded() -> None:
    """A process that DICOM retired."""
    data = saved(RGB, "JPEG", progressive=True)
    info, native = read(data, "image/jpeg")

    assert (EXPLICIT, "RGB", True) == (info.transfer_syntax_uid, info.photometric_interpretation, info.lossy)
    assert np.asarray(Image.open(BytesIO(data))).tobytes() == native


@pytest.mark.parametrize(("mode", "samples"), [("RGB", 3), ("L", 1), ("1", 1), ("P", 3), ("RGBA", 3), ("LA", 1)])
def test_a_png_is_decoded(mode: str, samples: int) -> None:
    """Every kind; transparency stands on white."""
    info, native = read(saved(RGB, "PNG", mode), "image/png")

    assert (EXPLICIT, samples, 9 * 7 * samples, False) == (
        info.transfer_syntax_uid,
        info.samples_per_pixel,
        len(native),
        info.lossy,
    )


def test_transparency_becomes_white_and_sixteen_bits_stay() -> None:
    """What a page would show; no depth is lost."""
    clear = np.zeros((2, 2, 4), np.uint8)
    deep = np.array([[0, 65_535], [256, 1]], np.uint16)
    info, native = read(saved(deep, "PNG"), "image/png")

    assert b"\xff" * 12 == read(saved(clear, "PNG"), "image/png")[1]
    assert (16, deep.tobytes()) == (info.bits_allocated, native)


def _png(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    parts = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in (header, data)
    )
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (_png(65_535, 65_535), "image/png"),
        (_png(70_000, 1), "image/png"),
        (_png(20_000, 20_000), "image/png"),
        (_png(5, 5), "image/png"),
        (b"", "image/png"),
        (b"", "image/jpeg"),
        (saved(RGB, "JPEG")[:200], "image/jpeg"),
        (saved(RGB, "PNG"), "image/jpeg"),
        (saved(RGB, "JPEG"), "image/png"),
        (saved(RGB, "GIF"), "image/gif"),
        (saved(RGB, "JPEG"), "image/jp2"),
    ],
    ids=range(11),
)
def test_what_is_no_picture_is_refused(data: bytes, media_type: str) -> None:
    """Bombs by their header, wrong types by their content."""
    with pytest.raises(UnreadablePixelsError):
        read(data, media_type)
