"""
A body as a row of segments: bytes of ours, and stretches of data sets that are read when their turn comes.

So its length is known before anything is read, one range can be cut out of it (RFC 9110 §14), and the beginning of the
next stretch is read and opened while the last one is being sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from strongroom.archive import Disclosure, Instance
from strongroom.dicomweb.answers import Pieces

__all__ = ["Segment", "Stretch", "cut", "pieces", "total"]


@final
@dataclass(frozen=True, slots=True)
class Stretch:
    """The bytes *first* to *last* (exclusive) of a data set as it is kept."""

    instance: Instance
    first: int
    last: int
    done: bool = True
    """Whether the recipient has all it gets of the instance once this has been sent."""


Segment = bytes | Stretch


def total(segments: Iterable[Segment]) -> int:
    """How many bytes they make."""
    return sum(len(one) if isinstance(one, bytes) else one.last - one.first for one in segments)


def cut(segments: Sequence[Segment], first: int, last: int) -> list[Segment]:
    """The segments that make the bytes *first* to *last* (exclusive) of the whole."""
    found: list[Segment] = []
    at = 0
    for one in segments:
        length = total((one,))
        begin, end = max(first - at, 0), min(last - at, length)
        at += length
        if begin >= end:
            continue
        if isinstance(one, bytes):
            found.append(one[begin:end])
        else:
            found.append(replace(one, first=one.first + begin, last=one.first + end))
    return found


async def pieces(disclosure: Disclosure, segments: Iterable[Segment]) -> Pieces:
    """Yield the bytes of *segments*; notes in *disclosure* what has been sent."""
    following = _Ahead(disclosure, iter(segments))
    try:
        while (segment := following.take()) is not None:
            if isinstance(segment, bytes):
                yield segment
                continue
            async for piece in segment.source():
                yield piece
            if segment.stretch.done:
                disclosure.sent(segment.stretch.instance)
    finally:
        await following.close()


@final
class _Reading:
    """A stretch whose first piece is on its way."""

    def __init__(self, disclosure: Disclosure, stretch: Stretch) -> None:
        self.stretch = stretch
        whole = stretch.first == 0 and stretch.last == stretch.instance.length
        # A range is one of the inflated data set (Disclosure.open); the whole goes out as it is kept.
        span = () if whole else (stretch.first, stretch.last)
        self._pieces = disclosure.open(stretch.instance, *span)
        self._first = asyncio.ensure_future(_first(self._pieces))

    async def source(self) -> AsyncGenerator[memoryview, None]:
        """Its pieces."""
        first = await self._first
        if first is None:
            return
        yield first
        async for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        """Stop reading."""
        await asyncio.wait({self._first})
        if not self._first.cancelled():
            self._first.exception()
        await self._pieces.aclose()


@final
class _Ahead:
    """Takes one segment after the other, with the stretch behind it already begun."""

    def __init__(self, disclosure: Disclosure, segments: Iterator[Segment]) -> None:
        self._disclosure = disclosure
        self._segments = segments
        self._waiting: list[bytes | _Reading] = []
        self._current: _Reading | None = None

    def take(self) -> bytes | _Reading | None:
        """The next one; while it is sent, the next stretch behind it is read."""
        while not (self._waiting and isinstance(self._waiting[-1], _Reading) and len(self._waiting) > 1):
            segment = next(self._segments, None)
            if segment is None:
                break
            self._waiting.append(segment if isinstance(segment, bytes) else _Reading(self._disclosure, segment))
        if not self._waiting:
            return None
        taken = self._waiting.pop(0)
        if isinstance(taken, _Reading):
            self._current = taken
        return taken

    async def close(self) -> None:
        """Stop reading ahead."""
        for one in (self._current, *self._waiting):
            if isinstance(one, _Reading):
                await one.close()


async def _first(source: AsyncIterator[memoryview]) -> memoryview | None:
    return await anext(source, None)
