"""
Frames decoded and encoded by well-kept libraries, codec by codec (PS3.5 Annex A.4, §8.2).

Imported inside workers only. A codec's own exception, whatever its type, is one unreadable frame; a codec that crashes
takes its worker with it, which is what workers are for. What may be large was checked in `codestream` before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import imagecodecs
import jpeg_ls.CharLS as charls  # noqa: N813 -- a module with the name of a class
import numpy as np
import openjpeg.utils as openjpeg
import rle.utils as rle

from strongroom.imaging import native, syntaxes
from strongroom.imaging.codestream import (
    CodestreamHeader,
    check,
    codestream_of,
    jpeg2000_header,
    jpeg_header,
)
from strongroom.imaging.colour import to_rgb
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.native import Array, dtype_of, interleaved, shape_of, signs_settled, widened
from strongroom.imaging.pixels import PixelDescription

__all__ = ["decode", "encode", "warm_up"]

_FEW_PIXELS: Final = 1_024
_MOST_SEGMENTS: Final = 15  # of an RLE frame (PS3.5 §G.5)
_RLE_HEADER: Final = 64
_J2K_RESOLUTIONS: Final = 6  # five decompositions, as encoders usually make; fewer where an image is small
_YBR: Final = frozenset({"YBR_FULL", "YBR_FULL_422"})


def decode(pixels: PixelDescription, frame: bytes) -> Array:
    """
    Decode one frame to an array as `syntaxes.after_decoding` describes it; single bits as bytes of 0 and 1.

    Raises UnreadablePixelsError.
    """
    uid = pixels.transfer_syntax_uid
    decoder = _DECODERS.get(uid)
    if decoder is None:
        raise UnreadablePixelsError("pixel data in this transfer syntax is not decoded")
    try:
        cells = decoder(pixels, frame)
    except (UnreadablePixelsError, MemoryError):
        raise
    except Exception as error:
        raise UnreadablePixelsError(f"the codec failed: {type(error).__name__}") from error
    if cells.shape != shape_of(pixels):
        raise UnreadablePixelsError("the codec gave a frame of another size")
    return np.ascontiguousarray(cells)


def encode(pixels: PixelDescription, cells: Array, uid: str) -> bytes:
    """Encode what `decode` gave, losslessly; *pixels* describes the decoded frame. Raises UnreadablePixelsError."""
    if not syntaxes.can_convert(pixels.transfer_syntax_uid, uid, pixels):
        raise UnreadablePixelsError("frames of this kind are not written in this transfer syntax")
    try:
        return _ENCODERS[uid](pixels, np.ascontiguousarray(cells))
    except (UnreadablePixelsError, MemoryError):
        raise
    except Exception as error:
        raise UnreadablePixelsError(f"the codec failed: {type(error).__name__}") from error


def warm_up() -> None:
    """Load every codec now: a worker opens no file once it works."""
    for name in ("jpeg8_decode", "jpeg8_encode", "htj2k_decode", "htj2k_encode"):
        getattr(imagecodecs, name)
    cells = np.arange(64, dtype=np.uint8).reshape(8, 8)
    pixels = PixelDescription(rows=8, columns=8, transfer_syntax_uid=syntaxes.JPEG_LS)
    described = syntaxes.after_decoding(pixels)
    for uid in sorted(syntaxes.ENCODABLE):
        encoded = encode(described, cells, uid)
        decode(syntaxes.after_encoding(described, uid), encoded)


# ---------------------------------------------------------------- decoding


def _decode_native(pixels: PixelDescription, frame: bytes) -> Array:
    return signs_settled(pixels, native.decode(pixels, frame))


def _decode_rle(pixels: PixelDescription, frame: bytes) -> Array:
    """PS3.5 Annex G: a segment for each byte of each sample, most significant first."""
    segments = pixels.samples_per_pixel * pixels.bits_allocated // 8
    if not 1 <= segments <= _MOST_SEGMENTS or len(frame) < _RLE_HEADER:
        raise UnreadablePixelsError(f"an RLE frame of {len(frame)} bytes cannot have {segments} segments")
    offsets = np.frombuffer(frame, "<u4", count=16)
    used = offsets[1 : segments + 1]
    if offsets[0] != segments or used[0] != _RLE_HEADER or (np.diff(used.astype(np.int64)) <= 0).any():
        raise UnreadablePixelsError("the header of an RLE frame does not go with its cells")
    if used[-1] >= len(frame):
        raise UnreadablePixelsError("an RLE segment begins outside its frame")
    planes = rle.decode_pixel_data(
        frame, version=2, rows=pixels.rows, columns=pixels.columns, bits_allocated=pixels.bits_allocated
    )
    cells = np.frombuffer(planes, dtype_of(pixels))
    if pixels.samples_per_pixel > 1:
        cells = interleaved(cells.reshape(pixels.samples_per_pixel, pixels.rows, pixels.columns))
    return signs_settled(pixels, cells.reshape(shape_of(pixels)))


def _decode_jpeg(pixels: PixelDescription, frame: bytes) -> Array:
    header = jpeg_header(frame)
    check(header, pixels)
    if header.process == 0xF7:
        raise UnreadablePixelsError("a frame of JPEG-LS stands where JPEG belongs")
    if header.components == 1:
        return signs_settled(pixels, widened(pixels, imagecodecs.jpeg8_decode(frame)))
    ybr = _is_ybr(header, pixels)
    space = "YCBCR" if ybr else "RGB"
    cells = widened(pixels, imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace=space))
    if ybr and pixels.transfer_syntax_uid in (syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED):
        return to_rgb(cells)
    return cells


def _is_ybr(header: CodestreamHeader, pixels: PixelDescription) -> bool:
    """Whether the components are luminance and chrominance: the codestream knows best, then the data set."""
    if header.component_ids in ((82, 71, 66), (114, 103, 98)):  # "RGB", "rgb"
        return False
    if header.adobe_transform is not None:
        return header.adobe_transform == 1
    return header.jfif or pixels.photometric_interpretation in _YBR


def _decode_jpeg_ls(pixels: PixelDescription, frame: bytes) -> Array:
    header = jpeg_header(frame)
    check(header, pixels)
    if header.process != 0xF7:
        raise UnreadablePixelsError("a frame of JPEG stands where JPEG-LS belongs")
    data, info = charls.decode_pixel_data(frame)
    cells = np.frombuffer(data, "<u1" if header.precision <= 8 else "<u2")
    if header.components > 1 and info["interleave_mode"] == 0:
        cells = interleaved(cells.reshape(header.components, header.rows, header.columns))
    cells = cells.reshape(shape_of(pixels))
    if pixels.pixel_representation:  # JPEG-LS knows no sign: it is that of the data set
        cells = signs_settled(pixels, cells.view(f"<i{cells.dtype.itemsize}"), header.precision)
    return widened(pixels, cells)


def _decode_jpeg_2000(pixels: PixelDescription, frame: bytes) -> Array:
    return _settled_j2k(pixels, frame, openjpeg.decode)


def _decode_htj2k(pixels: PixelDescription, frame: bytes) -> Array:
    return _settled_j2k(pixels, frame, lambda data: imagecodecs.htj2k_decode(data, planar=False))


def _settled_j2k(pixels: PixelDescription, frame: bytes, codec: Callable[[bytes], Array]) -> Array:
    """Decode, and where the codestream and the data set do not agree on the sign, believe the data set."""
    data = codestream_of(frame)
    header = jpeg2000_header(data)
    check(header, pixels)
    cells = codec(data)
    if header.signed != bool(pixels.pixel_representation) and pixels.samples_per_pixel == 1:
        kind = "i" if pixels.pixel_representation else "u"
        cells = signs_settled(pixels, cells.view(f"<{kind}{cells.dtype.itemsize}"), header.precision)
    return widened(pixels, cells)


_DECODERS: Final[Mapping[str, Callable[[PixelDescription, bytes], Array]]] = (
    dict.fromkeys(syntaxes.NATIVE, _decode_native)
    | {syntaxes.RLE: _decode_rle}
    | dict.fromkeys(syntaxes.JPEG_SYNTAXES, _decode_jpeg)
    | dict.fromkeys(syntaxes.JPEG_LS_SYNTAXES, _decode_jpeg_ls)
    | dict.fromkeys(syntaxes.JPEG_2000_SYNTAXES, _decode_jpeg_2000)
    | dict.fromkeys(syntaxes.HTJ2K_SYNTAXES, _decode_htj2k)
)


# ---------------------------------------------------------------- encoding


def _encode_native(pixels: PixelDescription, cells: Array) -> bytes:
    if pixels.bits_allocated == 1:
        return np.packbits(cells, axis=None, bitorder="little").tobytes()
    return cells.astype(dtype_of(pixels), copy=False).tobytes()


def _encode_rle(pixels: PixelDescription, cells: Array) -> bytes:
    encoded = rle.encode_pixel_data(
        cells.tobytes(),
        rows=pixels.rows,
        columns=pixels.columns,
        samples_per_pixel=pixels.samples_per_pixel,
        bits_allocated=pixels.bits_allocated,
        byteorder="<",
    )
    return bytes(encoded)


def _unsigned(pixels: PixelDescription, cells: Array) -> Array:
    """The stored bits as whole numbers from 0, in the narrowest cell: for codecs that know no sign."""
    wide = cells.view(f"<u{cells.dtype.itemsize}") & np.uint32((1 << pixels.bits_stored) - 1)
    return np.ascontiguousarray(wide, "<u1" if pixels.bits_stored <= 8 else "<u2")


def _encode_jpeg_ls(pixels: PixelDescription, cells: Array) -> bytes:
    if pixels.rows * pixels.columns < _FEW_PIXELS:  # CharLS' output buffer is too small for what random ones take
        whole = signs_settled(pixels, cells)
        return bytes(imagecodecs.jpegls_encode(whole.view(f"<u{whole.dtype.itemsize}")))
    return bytes(
        charls.encode_buffer(
            _unsigned(pixels, cells).tobytes(),
            pixels.rows,
            pixels.columns,
            pixels.samples_per_pixel,
            max(pixels.bits_stored, 2),
            interleave_mode=2 if pixels.samples_per_pixel > 1 else 0,
        )
    )


def _encode_jpeg_lossless(pixels: PixelDescription, cells: Array) -> bytes:
    space = "RGB" if pixels.samples_per_pixel > 1 else "GRAYSCALE"
    encoded = imagecodecs.jpeg8_encode(
        _unsigned(pixels, cells),
        lossless=True,
        predictor=1,
        bitspersample=max(pixels.bits_stored, 2),
        colorspace=space,
        outcolorspace=space,
        validate=False,
    )
    return bytes(encoded)


def _encode_jpeg_2000(pixels: PixelDescription, cells: Array) -> bytes:
    encoded = imagecodecs.jpeg2k_encode(
        _narrow(pixels, cells),
        codecformat="J2K",
        reversible=True,
        bitspersample=pixels.bits_stored,
        mct=pixels.photometric_interpretation == "RGB",
        resolutions=min(_J2K_RESOLUTIONS, min(pixels.rows, pixels.columns).bit_length()),
        numthreads=1,
    )
    return bytes(encoded)


def _narrow(pixels: PixelDescription, cells: Array) -> Array:
    """Settled cells in as many bytes as the stored bits take."""
    settled = signs_settled(pixels, cells)
    if pixels.bits_stored <= 8 < pixels.bits_allocated:
        return settled.astype(f"<{settled.dtype.kind}1")
    return settled


def _encode_htj2k(pixels: PixelDescription, cells: Array) -> bytes:
    """
    Encode with the precision that Bits Stored says.

    The library writes the precision of the cell, 16 for 12 bits stored. So the level shift of 15444-1 G.1 is done
    here, the shifted (signed) cells are encoded, for which the encoder shifts nothing, and precision and sign are then
    written into SIZ as they are.
    """
    narrow = _narrow(pixels, cells)
    if not pixels.pixel_representation:
        # modulo the cell: 0 becomes -2^(bits-1), as the decoder will undo
        narrow = (narrow - narrow.dtype.type(1 << (pixels.bits_stored - 1))).view(f"<i{narrow.dtype.itemsize}")
        narrow = signs_settled(pixels, narrow)
    colour = pixels.samples_per_pixel > 1
    encoded = bytearray(
        imagecodecs.htj2k_encode(
            narrow, reversible=True, tlm=True, rgb=colour and pixels.photometric_interpretation == "RGB"
        )
    )
    precision = pixels.pixel_representation << 7 | (pixels.bits_stored - 1)
    for component in range(pixels.samples_per_pixel):
        encoded[42 + 3 * component] = precision  # Ssiz (15444-1 Table A.9), behind SOC, SIZ and 36 bytes of sizes
    return bytes(encoded)


_ENCODERS: Final[Mapping[str, Callable[[PixelDescription, Array], bytes]]] = dict.fromkeys(
    syntaxes.NATIVE, _encode_native
) | {
    syntaxes.RLE: _encode_rle,
    syntaxes.JPEG_LOSSLESS_SV1: _encode_jpeg_lossless,
    syntaxes.JPEG_LS: _encode_jpeg_ls,
    syntaxes.JPEG_2000_LOSSLESS: _encode_jpeg_2000,
    syntaxes.HTJ2K_LOSSLESS: _encode_htj2k,
    syntaxes.HTJ2K_LOSSLESS_RPCL: _encode_htj2k,
}
