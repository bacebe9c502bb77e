"""What may be asked of a picture."""

from __future__ import annotations

import pytest

from strongroom.errors import DataSetError
from strongroom.imaging.options import RenderOptions, Viewport


@pytest.mark.parametrize(
    "arguments",
    [(0, 5), (5, -1), (20_000, 5), (16_000, 16_000), (5, 5, 0, 0, 0, 5), (5, 5, 0, 0, 5, 0)],
)
def test_a_viewport_that_is_none_is_refused(arguments: tuple) -> None:
    """Too large, or without pixels."""
    with pytest.raises(DataSetError):
        Viewport(*arguments)


@pytest.mark.parametrize(
    "options",
    [
        {"media_type": "image/webp"},
        {"quality": 0},
        {"quality": 101},
        {"iccprofile": "cmyk"},
        {"patient": ("x",) * 100},
        {"technique": ("x" * 1000,)},
        {"frame_milliseconds": 0},
        {"frame_milliseconds": 1e9},
    ],
)
def test_options_that_are_none_are_refused(options: dict) -> None:
    """Before any worker sees them."""
    with pytest.raises(DataSetError):
        RenderOptions(**options)


def test_what_nobody_asked_for() -> None:
    """A JPEG of the whole image without a person's name in it."""
    plain = RenderOptions()

    assert ("image/jpeg", None, None, (), ()) == (
        plain.media_type,
        plain.viewport,
        plain.window,
        plain.patient,
        plain.technique,
    )
