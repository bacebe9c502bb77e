"""What all requests together hold in memory until their instances are whole (SECURITY C34, W01)."""

from __future__ import annotations

from typing import Final, final

from strongroom.dicomweb.problems import HttpProblem

__all__ = ["Held"]

MAX_HELD: Final = 512 << 20
"""Metadata and bulk data of every request under way: four requests that hold all they may."""


@final
class Held:
    """One for the web door; each request takes what it holds and gives it back, however it ends."""

    __slots__ = ("_most", "length")

    def __init__(self, most: int = MAX_HELD) -> None:
        self._most = most
        self.length = 0

    def take(self, length: int) -> None:
        """Hold so many bytes more; raises HttpProblem (503) when there is no room for them."""
        if self.length + length > self._most:
            raise HttpProblem(503, "Other requests wait for their bulk data; send again later.", {"Retry-After": "30"})
        self.length += length

    def give(self, length: int) -> None:
        """Hold them no longer."""
        self.length -= length
