"""What a rendered picture should be like (PS3.18 §8.3.5): media type, window, viewport, quality, annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from strongroom.errors import DataSetError
from strongroom.imaging.presentation import Window

__all__ = ["GIF", "JPEG", "PNG", "RenderOptions", "Viewport"]

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"

MAX_VIEWPORT_SIDE: Final = 16_384
"""Columns or rows of a viewport: four times the largest screen."""

MAX_VIEWPORT_PIXELS: Final = 1 << 26
"""Pixels of a viewport: 8,192 x 8,192."""

MAX_LINES: Final = 24
"""Lines of annotation."""

MAX_LINE: Final = 128
"""Characters of a line of annotation."""

_LEAST_FRAME_MILLISECONDS: Final = 20  # browsers take shorter ones for 100


@final
@dataclass(frozen=True, slots=True)
class Viewport:
    """
    The largest picture wanted, and which part of the image it shows (PS3.18 §8.3.5.1.3).

    The image keeps its proportions. *source_width* and *source_height* below zero flip; None is the whole image.
    """

    width: int
    height: int
    source_x: float = 0.0
    source_y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no viewport; raises DataSetError."""
        if not (1 <= self.width <= MAX_VIEWPORT_SIDE and 1 <= self.height <= MAX_VIEWPORT_SIDE):
            raise DataSetError(f"a viewport has between 1 and {MAX_VIEWPORT_SIDE} columns and rows")
        if self.width * self.height > MAX_VIEWPORT_PIXELS:
            raise DataSetError(f"a viewport has {MAX_VIEWPORT_PIXELS} pixels at most")
        if 0 in (self.source_width, self.source_height):
            raise DataSetError("a viewport shows a part that has no pixels")


@final
@dataclass(frozen=True, slots=True)
class RenderOptions:
    """One rendering; *patient* and *technique* are lines of text burnt in."""

    media_type: str = JPEG
    viewport: Viewport | None = None
    window: Window | None = None
    quality: int = 90
    patient: tuple[str, ...] = ()
    technique: tuple[str, ...] = ()
    iccprofile: str = "no"
    """no; yes: the profile of the data set, or sRGB; srgb."""
    frame_milliseconds: float = 100.0
    """How long a frame of an animated GIF stands."""

    def __post_init__(self) -> None:
        """Refuse what cannot be made; raises DataSetError."""
        if self.media_type not in (JPEG, PNG, GIF):
            raise DataSetError("pictures are made as JPEG, PNG and GIF")
        if not 1 <= self.quality <= 100:
            raise DataSetError("quality is between 1 and 100")
        if self.iccprofile not in ("no", "yes", "srgb"):
            raise DataSetError("the colour profile is no, yes or srgb")
        if len(self.patient) > MAX_LINES or len(self.technique) > MAX_LINES:
            raise DataSetError(f"an annotation has {MAX_LINES} lines at most")
        if any(len(line) > MAX_LINE for line in (*self.patient, *self.technique)):
            raise DataSetError(f"a line of annotation has {MAX_LINE} characters at most")
        if not _LEAST_FRAME_MILLISECONDS <= self.frame_milliseconds <= 65_535:
            raise DataSetError("a frame stands between 20 milliseconds and a minute")
