"""
Ordinary pictures that are to become instances (PS3.18 §10.5, STOW-RS of image/jpeg and image/png). Inside workers only.

A JPEG of one process DICOM knows is kept byte for byte; everything else is decoded to native little endian. Metadata of
the picture (EXIF, text) is not looked at and does not go into the instance.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from strongroom.imaging import syntaxes
from strongroom.imaging.codestream import CodestreamHeader, jpeg_header
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import MAX_FRAME_BYTES, MAX_PIXELS, MAX_SIDE
from strongroom.imaging.protocol import PictureInfo

__all__ = ["read"]

_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_PROCESSES: Final = {
    (0xC0, 8): syntaxes.JPEG_BASELINE,
    (0xC1, 8): syntaxes.JPEG_EXTENDED,
    (0xC1, 12): syntaxes.JPEG_EXTENDED,
}


def read(data: bytes, media_type: str) -> tuple[PictureInfo, bytes]:
    """Read one picture; raises UnreadablePixelsError."""
    if media_type == "image/jpeg":
        return _jpeg(data)
    if media_type == "image/png":
        return _decoded(data, "PNG", lossy=False)
    raise UnreadablePixelsError("pictures of this media type are not taken")


def _jpeg(data: bytes) -> tuple[PictureInfo, bytes]:
    header = jpeg_header(data)
    _check_size(header.columns, header.rows, header.components)
    uid = _PROCESSES.get((header.process, header.precision))
    if uid is None or header.components not in (1, 3):
        return _decoded(data, "JPEG", lossy=True)
    if header.precision == 8:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            image.load()  # one that cannot be shown is refused at the door
    return (
        PictureInfo(
            rows=header.rows,
            columns=header.columns,
            samples_per_pixel=header.components,
            photometric_interpretation=_colour(header, data),
            bits_allocated=8 if header.precision == 8 else 16,
            transfer_syntax_uid=uid,
            lossy=True,
        ),
        data,
    )


def _colour(header: CodestreamHeader, data: bytes) -> str:
    """What the components of a JPEG are, as decoders guess it (JFIF, Adobe's marker)."""
    if header.components == 1:
        return "MONOCHROME2"
    if header.adobe_transform == 0 or (header.adobe_transform is None and header.component_ids == (82, 71, 66)):
        return "RGB"
    at = data.index(bytes((0xFF, header.process)))
    return "YBR_FULL_422" if data[at + 11] != 0x11 else "YBR_FULL"


def _decoded(data: bytes, kind: str, *, lossy: bool) -> tuple[PictureInfo, bytes]:
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as image:
            _check_size(image.width, image.height, 3)
            deep = image.mode.startswith("I")
            if deep:
                cells = np.asarray(image).astype("<u2")
            elif image.mode in ("1", "L", "LA"):
                cells = np.asarray(_flat(image, "L"))
            else:
                cells = np.asarray(_flat(image, "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePixelsError("a picture cannot be decoded") from error
    samples = 3 if cells.ndim == 3 else 1
    info = PictureInfo(
        rows=cells.shape[0],
        columns=cells.shape[1],
        samples_per_pixel=samples,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
        bits_allocated=16 if deep else 8,
        transfer_syntax_uid=_EXPLICIT,
        lossy=lossy,
    )
    return info, np.ascontiguousarray(cells).tobytes()


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Without transparency, which DICOM does not have: on white, as a page would show it."""
    if not image.has_transparency_data:
        return image.convert(mode)
    whole = image.convert("RGBA")
    page = Image.new("RGBA", whole.size, (255, 255, 255, 255))
    page.alpha_composite(whole)
    return page.convert(mode)


def _check_size(columns: int, rows: int, samples: int) -> None:
    if not (1 <= columns <= MAX_SIDE and 1 <= rows <= MAX_SIDE):
        raise UnreadablePixelsError(f"a picture of {rows} x {columns} pixels is none for DICOM")
    if rows * columns > MAX_PIXELS or rows * columns * samples > MAX_FRAME_BYTES:
        raise UnreadablePixelsError(f"a picture of {rows} x {columns} pixels is too large")
