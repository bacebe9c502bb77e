"""YBR_FULL to RGB and back (PS3.3 §C.7.6.3.1.2: ITU-R BT.601 with full range), for 8 bits."""

from __future__ import annotations

from typing import Final

import numpy as np

from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.native import Array

__all__ = ["to_rgb"]

_TO_RGB: Final = np.array([[1.0, 0.0, 1.402], [1.0, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587], [1.0, 1.772, 0.0]])
_ROWS_AT_ONCE: Final = 64  # a frame as floating point numbers would take twelve times its room


def to_rgb(ybr: Array) -> Array:
    """Convert colour by pixel; halves are rounded up, results clipped."""
    if ybr.dtype != np.uint8:
        raise UnreadablePixelsError("YBR_FULL has 8 bits")
    rgb = np.empty_like(ybr)
    transposed = _TO_RGB.T
    for start in range(0, len(ybr), _ROWS_AT_ONCE):
        part = ybr[start : start + _ROWS_AT_ONCE].astype(np.float64)
        part[..., 1:] -= 128.0
        made = np.floor(part @ transposed + 0.5)
        rgb[start : start + _ROWS_AT_ONCE] = np.clip(made, 0, 255, out=made)
    return rgb
