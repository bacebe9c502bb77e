"""
Stored values to 8 bits of grey: modality, VOI, polarity, padding (PS3.3 §C.11.1, §C.11.2; PS3.4 §N.2.1).

Up to 16 bits the whole way is computed once for every value there can be, and the frame is looked up in that. Inside
workers only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.native import Array
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.presentation import LINEAR, Lut, Window

__all__ = ["entries_of", "look_up", "stored_values", "to_grey"]

_TABLE_BITS: Final = 16
_PLAIN_BITS: Final = 8
_WHITE: Final = 255.0
_ROWS_AT_ONCE: Final = 64
_SEGMENT_HEADER: Final = 2


def to_grey(pixels: PixelDescription, cells: Array, window: Window | None) -> Array:
    """Show one decoded frame; *window*, the viewer's, wins over all that the data set says (PS3.18 §8.3.5.1.4)."""
    if pixels.bits_allocated == 1:
        shown = cells * np.uint8(255)
        return np.asarray(255 - shown if _inverse(pixels) else shown, np.uint8)
    if pixels.real or pixels.bits_stored > _TABLE_BITS:
        values = cells if pixels.real else stored_values(pixels, cells)
        return _shown(pixels, values, window, values)
    index = _stored_bits(pixels, cells)
    every = np.arange(1 << pixels.bits_stored, dtype=np.int64)
    found = np.zeros(len(every), bool)
    for rows in _some_rows(index):
        found[index[rows]] = True
    if pixels.pixel_representation:
        every = _signed(every, pixels.bits_stored)
    table = _shown(pixels, every, window, every[found])
    grey = np.empty(index.shape, np.uint8)
    for rows in _some_rows(index):
        grey[rows] = table[index[rows]]
    return grey


def _some_rows(index: Array) -> Iterator[slice]:
    """Rows by the dozen: an index is widened to eight bytes before it is used."""
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(index), _ROWS_AT_ONCE))


def _stored_bits(pixels: PixelDescription, cells: Array) -> Array:
    """The stored bits of each cell as a number from 0."""
    unsigned = cells.view(f"<u{cells.dtype.itemsize}")
    down = pixels.high_bit + 1 - pixels.bits_stored
    bits: Array = (unsigned >> unsigned.dtype.type(down)) & unsigned.dtype.type((1 << pixels.bits_stored) - 1)
    return bits


def _signed(bits: Array, stored: int) -> Array:
    half = 1 << (stored - 1)
    signed: Array = (bits ^ half) - half
    return signed


def stored_values(pixels: PixelDescription, cells: Array) -> Array:
    """The stored values as numbers, whatever lies in the unused bits."""
    bits = _stored_bits(pixels, cells).astype(np.int64)
    return _signed(bits, pixels.bits_stored) if pixels.pixel_representation else bits


def _shown(pixels: PixelDescription, values: Array, window: Window | None, present: Array) -> Array:
    """The grey of *values*; those of *present* stand in the frame and decide where nothing else does."""
    told = pixels.presentation
    padded = _padding(pixels, values)
    real = _modality(pixels, values)
    if window is None and told.voi_luts:
        lut = told.voi_luts[0]
        entries = entries_of(lut)
        grey = look_up(np.rint(real).astype(np.int64), lut, entries) * (_WHITE / _highest(lut, entries))
    else:
        usable = [one for one in told.windows if _is_usable(one)]
        chosen = window or (usable[0] if usable else None)
        if chosen is None:
            kept = present[~_padding(pixels, present)]
            chosen = _whole_range(pixels, _modality(pixels, kept if kept.size else present))
        grey = _windowed(real, chosen)
    if _inverse(pixels):
        grey = _WHITE - grey
    grey[padded] = 0.0
    return np.clip(np.floor(grey + 0.5), 0, 255).astype(np.uint8)


def _inverse(pixels: PixelDescription) -> bool:
    """MONOCHROME1 and INVERSE mean the same and stand together (PS3.3 §C.11.6)."""
    return pixels.photometric_interpretation == "MONOCHROME1" or pixels.presentation.shape == "INVERSE"


def _padding(pixels: PixelDescription, values: Array) -> Array:
    """Where there is no image (PS3.3 §C.7.5.1.1.2)."""
    told = pixels.presentation
    if told.padding is None or pixels.real:
        return np.zeros(values.shape, bool)
    low, high = sorted((told.padding, told.padding if told.padding_limit is None else told.padding_limit))
    padded: Array = (values >= low) & (values <= high)
    return padded


def _modality(pixels: PixelDescription, values: Array) -> Array:
    """Stored values to what the modality means, Hounsfield units for one (PS3.3 §C.11.1)."""
    lut = pixels.presentation.modality_lut
    if lut is not None and not pixels.real:
        return look_up(values, lut, entries_of(lut)).astype(np.float64)
    told = pixels.presentation
    return values.astype(np.float64) * told.slope + told.intercept


def _is_usable(window: Window) -> bool:
    return window.width >= 1 if window.function == LINEAR else window.width > 0


def _whole_range(pixels: PixelDescription, real: Array) -> Window:
    """The window when nobody says one: all of 8 bits, else from the darkest to the brightest that is there."""
    if pixels.bits_stored <= _PLAIN_BITS and not pixels.real:
        ends = _modality(pixels, np.array([0, (1 << pixels.bits_stored) - 1]))
        low, high = float(ends.min()), float(ends.max())
    else:
        finite = real[np.isfinite(real)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return Window((low + high) / 2, max(high - low, 1e-9), "LINEAR_EXACT")


def _windowed(real: Array, window: Window) -> Array:
    """PS3.3 §C.11.2.1.2.1, §C.11.2.1.3."""
    if window.width <= 0 or (window.function == LINEAR and window.width < 1):
        raise UnreadablePixelsError("a window has no width")
    with np.errstate(over="ignore", invalid="ignore"):
        if window.function == "SIGMOID":
            grey = _WHITE / (1.0 + np.exp(-4.0 * (real - window.center) / window.width))
        elif window.function == LINEAR and window.width == 1:
            grey = np.where(real > window.center - 0.5, _WHITE, 0.0)
        elif window.function == LINEAR:
            grey = ((real - (window.center - 0.5)) / (window.width - 1) + 0.5) * _WHITE
        else:
            grey = ((real - window.center) / window.width + 0.5) * _WHITE
    return np.clip(np.nan_to_num(grey, nan=0.0, posinf=_WHITE, neginf=0.0), 0.0, _WHITE)


# ---------------------------------------------------------------- tables


def look_up(values: Array, lut: Lut, entries: Array) -> Array:
    """Look whole numbers up; what lies outside gets the first or last entry (PS3.3 §C.11.1.1, SECURITY F11)."""
    return np.asarray(entries[np.clip(values - np.int64(lut.first), 0, len(entries) - 1)])


def entries_of(lut: Lut) -> Array:
    """The entries of a table as numbers."""
    if lut.segmented:
        return _expanded(lut)
    if lut.wide:
        return np.frombuffer(lut.data, "<u2", count=lut.count)
    return np.frombuffer(lut.data, np.uint8, count=lut.count)


def _highest(lut: Lut, entries: Array) -> float:
    """The entry that is white: by the descriptor, unless the table obviously means 8 bits."""
    most = int(entries.max())
    bits = lut.bits if most < 1 << lut.bits else 16
    return float((1 << bits) - 1)


def _expanded(lut: Lut) -> Array:
    """Expand a segmented palette (PS3.3 §C.7.9.2); never beyond the entries that its descriptor announces."""
    words = np.frombuffer(lut.data, "<u2", count=len(lut.data) // 2).tolist()
    entries: list[int] = []
    _expand(words, 0, len(words), entries, lut.count, depth=0)
    if len(entries) != lut.count:
        raise UnreadablePixelsError(f"a segmented palette has {len(entries)} entries instead of {lut.count}")
    return np.array(entries, "<u2")


def _expand(words: list[int], at: int, most_segments: int, entries: list[int], count: int, *, depth: int) -> None:
    for _ in range(most_segments):
        if at >= len(words) or len(entries) >= count:
            return
        if at + _SEGMENT_HEADER >= len(words):
            raise UnreadablePixelsError("a segmented palette is cut off")
        kind, length = words[at], words[at + 1]
        if len(entries) + (length if kind != 2 else 0) > count:
            raise UnreadablePixelsError("a segmented palette goes beyond its end")
        if kind == 0:
            entries += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == 1 and entries:
            first, last = entries[-1], words[at + 2]
            entries += [first + (last - first) * (step + 1) // length for step in range(length)]
            at += 3
        elif kind == 2 and not depth and at + 3 < len(words):
            target = (words[at + 2] | words[at + 3] << 16) // 2
            _expand(words, target, length, entries, count, depth=1)
            at += 4
        else:
            raise UnreadablePixelsError("a segmented palette has a segment that is none")
