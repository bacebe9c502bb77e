"""
Native frames to arrays (PS3.5 §8.1, §8.2, Annex A.1 to A.3), and what codecs need around them: cells, planes, signs.

Imported inside workers only, as everything that imports numpy.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription

__all__ = ["Array", "array_of", "decode", "dtype_of", "interleaved", "shape_of", "signs_settled", "unpacked", "widened"]

Array: TypeAlias = npt.NDArray[Any]

_BE_WORDS: Final = ("OW",)


def dtype_of(pixels: PixelDescription) -> np.dtype[Any]:
    """The type of a cell, little endian; of packed bits the byte."""
    if pixels.real:
        return np.dtype(f"<f{pixels.bits_allocated // 8}")
    return np.dtype(f"<{'i' if pixels.pixel_representation else 'u'}{max(pixels.bits_allocated // 8, 1)}")


def shape_of(pixels: PixelDescription) -> tuple[int, ...]:
    """Rows, columns and, of colour, samples."""
    shape = (pixels.rows, pixels.columns)
    return (*shape, pixels.samples_per_pixel) if pixels.samples_per_pixel > 1 else shape


def array_of(pixels: PixelDescription, native: bytes | memoryview) -> Array:
    """A view of decoded bytes (see Pool.decode); bits become bytes of 0 and 1."""
    if len(native) != pixels.native_length:
        raise UnreadablePixelsError(f"a frame has {len(native)} bytes where {pixels.native_length} belong")
    if pixels.bits_allocated == 1:
        return unpacked(pixels, native)
    return np.frombuffer(native, dtype_of(pixels)).reshape(shape_of(pixels))


def unpacked(pixels: PixelDescription, native: bytes | memoryview) -> Array:
    """Packed bits, the first in the lowest place (PS3.5 §8.1.1), as bytes of 0 and 1."""
    bits = np.unpackbits(np.frombuffer(native, np.uint8), count=pixels.rows * pixels.columns, bitorder="little")
    return bits.reshape(shape_of(pixels))


def decode(pixels: PixelDescription, frame: bytes) -> Array:
    """Decode a native frame of any byte order and planar configuration."""
    if pixels.bits_allocated == 1:
        return unpacked(pixels, _cut(frame, pixels.native_length))
    # some write every sample and leave the name that a lossy original had
    if pixels.photometric_interpretation == "YBR_FULL_422" and len(frame) < pixels.native_length:
        return _upsampled(pixels, frame)
    dtype = dtype_of(pixels)
    length = pixels.native_length
    if not pixels.syntax.little_endian:
        if dtype.itemsize > 1:
            dtype = dtype.newbyteorder(">")
        elif pixels.vr in _BE_WORDS:
            frame = _words_swapped(frame, length)
    flat = np.frombuffer(_cut(frame, length), dtype)
    if pixels.planar_configuration:
        planes = flat.reshape(pixels.samples_per_pixel, pixels.rows, pixels.columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0), dtype_of(pixels))
    return flat.reshape(shape_of(pixels)).astype(dtype_of(pixels), copy=False)


def _cut(frame: bytes, length: int) -> bytes | memoryview:
    """Take off the padding of an odd length; refuse what is too short."""
    if len(frame) < length:
        raise UnreadablePixelsError(f"a frame has {len(frame)} bytes where {length} belong")
    return memoryview(frame)[:length]


def _words_swapped(frame: bytes, length: int) -> bytes:
    """Bytes that were written as big endian words (PS3.5 §7.3), in their order again."""
    even = length + length % 2
    if len(frame) < even:
        raise UnreadablePixelsError(f"a frame has {len(frame)} bytes where {even} belong")
    return np.frombuffer(memoryview(frame)[:even], ">u2").astype("<u2").tobytes()


def _upsampled(pixels: PixelDescription, frame: bytes) -> Array:
    """YBR_FULL_422 as YBR_FULL: two pixels share a pair of chrominance values (PS3.3 §C.7.6.3.1.2)."""
    if pixels.bits_allocated != 8 or pixels.columns % 2 or pixels.planar_configuration:
        raise UnreadablePixelsError("YBR_FULL_422 has bytes by pixel and an even number of columns")
    quads = np.frombuffer(_cut(frame, pixels.rows * pixels.columns * 2), np.uint8).reshape(-1, 4)
    if not pixels.syntax.little_endian and pixels.vr in _BE_WORDS:
        quads = quads[:, [1, 0, 3, 2]]
    return quads[:, [0, 2, 3, 1, 2, 3]].reshape(shape_of(pixels))


def interleaved(planes: Array) -> Array:
    """Colour by plane as colour by pixel."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def signs_settled(pixels: PixelDescription, cells: Array, bits: int | None = None) -> Array:
    """
    Give unused high bits the value that the stored ones imply (PS3.5 §8.1.1 leaves them undefined).

    *bits* is the precision of the codestream where it is not Bits Stored. Cells that are not low-justified stay.
    """
    unused = 8 * cells.dtype.itemsize - (bits or pixels.bits_stored)
    if unused <= 0 or pixels.real or pixels.bits_allocated == 1 or not pixels.low_justified:
        return cells
    settled: Array = np.right_shift(np.left_shift(cells, unused), unused)
    return settled


def widened(pixels: PixelDescription, cells: Array) -> Array:
    """The values in cells of Bits Allocated: codecs give them in cells of the codestream's precision."""
    wanted = dtype_of(pixels)
    if cells.dtype == wanted:
        return cells
    if cells.dtype.itemsize == wanted.itemsize:  # only the sign differs
        return cells.view(wanted)
    if cells.dtype.itemsize > wanted.itemsize:
        raise UnreadablePixelsError(
            f"a codec gave {cells.dtype.itemsize} bytes a cell, {wanted.itemsize} are allocated"
        )
    # The sign is settled in the narrow cell: a byte 0xFF is -1 where the data set says signed.
    signed = cells.view(f"<{wanted.kind}{cells.dtype.itemsize}")
    return signed.astype(wanted)
