"""
Frames to pictures for people: JPEG, PNG, GIF (PS3.18 §8.3.5, §8.7.4). Inside workers only.

The order is that of the standard: decoding, grey or colour, part and size of the viewport, annotation, colour profile.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont

from strongroom.imaging import codecs, colour, grey, syntaxes
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.native import Array
from strongroom.imaging.options import GIF, JPEG, PNG, RenderOptions, Viewport
from strongroom.imaging.pixels import PixelDescription

__all__ = ["render", "warm_up"]

_FORMATS: Final = {JPEG: "JPEG", PNG: "PNG", GIF: "GIF"}
_SMALL_FONT: Final = 9
_LINES_PER_PICTURE: Final = 40  # a line of annotation takes about so much of the height
_MARGIN: Final = 4


def render(pixels: PixelDescription, frames: Sequence[bytes], options: RenderOptions) -> bytes:
    """Make one picture; several frames become an animated GIF. Raises UnreadablePixelsError."""
    if pixels.presentation.broken:
        raise UnreadablePixelsError("a lookup table of the data set is not what it says it is")
    if len(frames) > 1 and options.media_type != GIF:
        raise UnreadablePixelsError("only a GIF shows several frames")
    images = [_image(pixels, frame, options) for frame in frames]
    out = BytesIO()
    images[0].save(out, _FORMATS[options.media_type], **_settings(pixels, images, options))
    return out.getvalue()


def warm_up() -> None:
    """Load what Pillow loads lazily, font and profile included: a worker opens no file once it works."""
    pixels = PixelDescription(rows=8, columns=8, transfer_syntax_uid="1.2.840.10008.1.2.1")
    for media_type in _FORMATS:
        options = RenderOptions(media_type, Viewport(4, 4), patient=("A",), iccprofile="srgb")
        render(pixels, [bytes(64)], options)
    grown = BytesIO()
    Image.new("RGB", (8, 8)).save(grown, "JPEG")
    Image.open(BytesIO(grown.getvalue())).load()


def _settings(pixels: PixelDescription, images: list[Image.Image], options: RenderOptions) -> dict[str, Any]:
    """What Pillow is told for this media type."""
    settings: dict[str, Any] = {}
    if options.media_type == GIF:
        settings = {"optimize": False}
        if len(images) > 1:
            settings |= {
                "save_all": True,
                "append_images": images[1:],
                "duration": round(options.frame_milliseconds),
                "loop": 0,
            }
    elif options.media_type == JPEG:
        settings = {"quality": options.quality}
        if images[0].mode == "RGB":  # fine colour edges of ultrasound and slides survive good qualities
            settings["subsampling"] = 0 if options.quality >= 90 else 2
    else:
        settings = {"compress_level": 3}
    if options.iccprofile != "no" and options.media_type != GIF:
        own = pixels.presentation.icc_profile if options.iccprofile == "yes" and images[0].mode == "RGB" else None
        settings["icc_profile"] = own or _srgb()
        if own is None and images[0].mode == "L":  # the profile is one of colour
            images[0] = images[0].convert("RGB")
    return settings


@functools.cache
def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _image(pixels: PixelDescription, frame: bytes, options: RenderOptions) -> Image.Image:
    cells = codecs.decode(pixels, frame)
    image = Image.fromarray(_shown(pixels, cells, options))
    profile = pixels.presentation.icc_profile
    if options.iccprofile == "srgb" and profile and image.mode == "RGB":
        image = _in_srgb(image, profile)
    if options.viewport is not None:
        image = _fitted(image, options.viewport)
    if options.patient or options.technique:
        image = _annotated(image, options)
    return image


def _shown(pixels: PixelDescription, cells: Array, options: RenderOptions) -> Array:
    """8 bits of grey or of red, green and blue."""
    described = syntaxes.after_decoding(pixels)
    interpretation = described.photometric_interpretation
    if interpretation == "PALETTE COLOR":
        return _palette_colour(described, cells)
    if described.samples_per_pixel == 1:
        return grey.to_grey(described, cells, options.window)
    if interpretation == "YBR_FULL":
        cells = colour.to_rgb(_eight_bits(described, cells))
    return np.ascontiguousarray(_eight_bits(described, cells))


def _eight_bits(pixels: PixelDescription, cells: Array) -> Array:
    """Colour of more bits in 8."""
    if pixels.bits_stored <= 8 and cells.dtype == np.uint8:
        return cells
    values = grey.stored_values(pixels, cells)
    if pixels.pixel_representation:
        values = values + (1 << (pixels.bits_stored - 1))
    return (values >> max(pixels.bits_stored - 8, 0)).astype(np.uint8)


def _palette_colour(pixels: PixelDescription, cells: Array) -> Array:
    """Look every pixel up in the three tables (PS3.3 §C.7.6.3.1.5)."""
    tables = pixels.presentation.palette
    if not tables:
        raise UnreadablePixelsError("the palette of the data set is not there")
    values = grey.stored_values(pixels, cells)
    rgb = np.empty((*values.shape, 3), np.uint8)
    for channel, lut in enumerate(tables):
        entries = grey.entries_of(lut)
        if lut.bits > 8 and entries.max(initial=0) > 255:
            entries = entries >> (lut.bits - 8)
        rgb[..., channel] = grey.look_up(values, lut, entries.astype(np.uint8))
    return rgb


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.ImageCmsProfile(BytesIO(_srgb()))
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise UnreadablePixelsError("the colour profile of the data set is not one") from error
    return converted or image


def _fitted(image: Image.Image, viewport: Viewport) -> Image.Image:
    """The wanted part, flipped if asked, as large as the viewport takes it without changing its proportions."""
    across = image.width if viewport.source_width is None else viewport.source_width
    down = image.height if viewport.source_height is None else viewport.source_height
    left, top = max(viewport.source_x, 0.0), max(viewport.source_y, 0.0)
    right, bottom = min(left + abs(across), image.width), min(top + abs(down), image.height)
    if right - left < 1 or bottom - top < 1:
        raise UnreadablePixelsError("the viewport shows a part where there is no image")
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    fitted = image.resize(size, method, box=(left, top, right, bottom), reducing_gap=3.0 if scale < 0.5 else None)
    if across < 0:
        fitted = fitted.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        fitted = fitted.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return fitted


def _annotated(image: Image.Image, options: RenderOptions) -> Image.Image:
    """Burn text in: the patient at the top, the technique at the bottom, white with a black edge."""
    draw = ImageDraw.Draw(image)
    size = max(_SMALL_FONT, image.height // _LINES_PER_PICTURE)
    font = ImageFont.load_default(size)
    white = 255 if image.mode == "L" else (255, 255, 255)
    black = 0 if image.mode == "L" else (0, 0, 0)
    patient, technique = "\n".join(options.patient), "\n".join(options.technique)
    if patient:
        draw.multiline_text((_MARGIN, _MARGIN), patient, fill=white, font=font, stroke_width=1, stroke_fill=black)
    if technique:
        height = draw.multiline_textbbox((0, 0), technique, font=font, stroke_width=1)[3]
        place = (_MARGIN, max(image.height - height - _MARGIN, 0))
        draw.multiline_text(place, technique, fill=white, font=font, stroke_width=1, stroke_fill=black)
    return image
