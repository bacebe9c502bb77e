"""What pixel work raises; a message holds numbers and names of formats, never what is in a data set."""

from __future__ import annotations

from typing import final

from strongroom.errors import DataSetError, OutOfResources

__all__ = ["NoPixelDataError", "PoolBusyError", "UnreadablePixelsError"]


class UnreadablePixelsError(DataSetError):
    """One frame or picture cannot be decoded, encoded or shown; others of the same instance may be."""


@final
class NoPixelDataError(UnreadablePixelsError):
    """The instance holds no pixel data: a report, a plan, a waveform."""


@final
class PoolBusyError(OutOfResources):
    """Too much pixel work is waiting already, or no worker could be started; later it may go (503)."""
