"""
What a request says of the picture it wants (PS3.18 §8.3.5): window, viewport, quality, annotation, colour profile.

Every value is a number within its bounds or a word of a list; anything else is 400, before a worker hears of it (W16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from strongroom.dicomweb.problems import HttpProblem
from strongroom.errors import DataSetError
from strongroom.imaging.options import RenderOptions, Viewport
from strongroom.imaging.presentation import Window

__all__ = ["ANNOTATIONS", "THUMBNAIL_SIDE", "Wish", "number_of", "read", "window_of"]

PARAMETERS: Final = ("accept", "annotation", "iccprofile", "quality", "viewport", "window")
THUMBNAIL_SIDE: Final = 128
"""Columns and rows at most of a thumbnail, unless the client says another size."""
_FUNCTIONS: Final = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
ANNOTATIONS: Final = frozenset({"patient", "technique"})
_MAX_NUMBER: Final = 1e9
"""Larger than any value of a pixel that a window could be about."""


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """A picture as it is asked for; the lines of its annotation come out of the instance."""

    viewport: Viewport | None = None
    window: Window | None = None
    quality: int = 90
    annotation: frozenset[str] = frozenset()
    iccprofile: str = "no"
    region: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom as parts of the image's width and height (WADO-URI)."""

    def of_size(self, columns: int, rows: int) -> Wish:
        """The same with *region* in pixels of an image of that size; raises DataSetError."""
        if self.region is None:
            return self
        left, top, right, bottom = self.region
        width, height = (right - left) * columns, (bottom - top) * rows
        size = self.viewport or Viewport(max(round(width), 1), max(round(height), 1))
        viewport = replace(size, source_x=left * columns, source_y=top * rows, source_width=width, source_height=height)
        return replace(self, viewport=viewport, region=None)

    def small(self) -> Wish:
        """The same for a thumbnail: of a size of its own where none is asked for."""
        return self if self.viewport is not None else replace(self, viewport=Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE))

    def options(
        self,
        media_type: str,
        *,
        patient: Sequence[str] = (),
        technique: Sequence[str] = (),
        frame_milliseconds: float = 100.0,
    ) -> RenderOptions:
        """What a worker is told; raises HttpProblem (400)."""
        try:
            return RenderOptions(
                media_type=media_type,
                viewport=self.viewport,
                window=self.window,
                quality=self.quality,
                patient=tuple(patient) if "patient" in self.annotation else (),
                technique=tuple(technique) if "technique" in self.annotation else (),
                iccprofile=self.iccprofile,
                frame_milliseconds=frame_milliseconds,
            )
        except DataSetError as error:
            raise HttpProblem(400, f"This picture cannot be made: {error}.") from error


def read(query: Sequence[tuple[str, str]], *, thumbnail: bool = False) -> Wish:
    """Read the parameters of a rendered resource; a thumbnail has no window and only the size of a viewport."""
    given: dict[str, str] = {}
    for name, value in query:
        if name in PARAMETERS and name != "accept":
            if name in given:
                raise HttpProblem(400, f"The parameter {name} stands twice.")
            given[name] = value
    try:
        return Wish(
            viewport=_viewport(given, size_only=thumbnail),
            window=None if thumbnail else _window(given),
            quality=_quality(given),
            annotation=frozenset() if thumbnail else _annotation(given),
            iccprofile="no" if thumbnail else _profile(given),
        )
    except DataSetError as error:
        raise HttpProblem(400, f"This picture cannot be made: {error}.") from error


def number_of(text: str, name: str) -> float:
    """Read a number of the parameter *name*; raises HttpProblem (400) for what is none, or none of this world."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > _MAX_NUMBER:
        raise HttpProblem(400, f"A number of the parameter {name} is none.")
    return value


def _viewport(given: Mapping[str, str], *, size_only: bool) -> Viewport | None:
    """`vw,vh[,sx,sy,sw,sh]`, where those of the source may be empty (PS3.18 §8.3.5.1.3)."""
    text = given.get("viewport")
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 and (size_only or len(parts) != 6):
        raise HttpProblem(400, "A viewport has two numbers, or six.")
    sides = [number_of(part, "viewport") for part in parts[:2]]
    if any(side != int(side) for side in sides):
        raise HttpProblem(400, "The size of a viewport is in whole pixels.")
    source = [number_of(part, "viewport") if part else None for part in parts[2:]] or [None] * 4
    return Viewport(
        int(sides[0]),
        int(sides[1]),
        source_x=source[0] or 0.0,
        source_y=source[1] or 0.0,
        source_width=source[2],
        source_height=source[3],
    )


def _window(given: Mapping[str, str]) -> Window | None:
    """`center,width,function` (PS3.18 §8.3.5.1.4)."""
    text = given.get("window")
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3):
        raise HttpProblem(400, "A window has a center, a width and a function.")
    return window_of(parts[0], parts[1], parts[2] if len(parts) == 3 else "linear")


def window_of(center: str, width: str, function: str = "linear") -> Window:
    """A window of three texts; raises HttpProblem (400)."""
    name = _FUNCTIONS.get(function.lower().replace("_", "-"))
    if name is None:
        raise HttpProblem(400, "The function of a window is linear, linear-exact or sigmoid.")
    found = Window(number_of(center, "window"), number_of(width, "window"), name)
    if found.width < (1 if name == "LINEAR" else 0) or found.width == 0:
        raise HttpProblem(400, "The width of a window is at least 1, or above 0 where it is not linear.")
    return found


def _quality(given: Mapping[str, str]) -> int:
    text = given.get("quality", "90")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise HttpProblem(400, "Quality is a whole number from 1 to 100.")
    return int(text)


def _annotation(given: Mapping[str, str]) -> frozenset[str]:
    words = {word.strip().lower() for word in given.get("annotation", "").split(",") if word.strip()}
    if not words <= ANNOTATIONS:
        raise HttpProblem(400, "Annotation is patient, technique or both.")
    return frozenset(words)


def _profile(given: Mapping[str, str]) -> str:
    word = given.get("iccprofile", "no").strip().lower()
    if word not in ("no", "yes", "srgb"):
        raise HttpProblem(400, "A colour profile is no, yes or srgb.")
    return word
