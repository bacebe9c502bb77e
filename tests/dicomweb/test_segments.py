"""Rows of segments: what is cut out of them, and how reading ahead ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from archive.world import aio
from strongroom.archive import Instance
from strongroom.dicomweb.segments import Segment, Stretch, cut, pieces, total

INSTANCE = Instance("1.2", "1.3", "1.4", "1.5", "1.2.840.10008.1.2.1", 100, 0)


class Shown:
    """A disclosure of one instance that takes its time over *slow*, the first byte of a stretch."""

    def __init__(self, slow: int = -1) -> None:
        self.slow = slow
        self.goes_on = asyncio.Event()
        self.open_now = 0
        self.done: list[Instance] = []

    async def open(self, instance: Instance, first: int, last: int) -> AsyncGenerator[memoryview, None]:
        """Bytes that tell their place."""
        self.open_now += 1
        try:
            if first == self.slow:
                await self.goes_on.wait()
            yield memoryview(bytes(range(first, last)))
        finally:
            self.open_now -= 1

    def sent(self, instance: Instance) -> None:
        """What has gone out."""
        self.done.append(instance)


def row() -> list[Segment]:
    """Ours, theirs, ours, theirs."""
    return [b"ab", Stretch(INSTANCE, 10, 13, done=False), b"c", Stretch(INSTANCE, 20, 22)]


@pytest.mark.parametrize(("first", "last"), [(0, 8), (1, 7), (2, 5), (3, 4), (5, 8), (4, 4)])
@aio
async def test_a_range_is_the_same_bytes_of_the_whole(first: int, last: int) -> None:
    """Wherever it begins and ends, and its length is known before."""
    shown: Any = Shown()
    whole = b"".join([bytes(piece) async for piece in pieces(shown, row())])
    part = cut(row(), first, last)

    assert b"ab\x0a\x0b\x0cc\x14\x15" == whole
    assert whole[first:last] == b"".join([bytes(piece) async for piece in pieces(shown, part)])
    assert last - first == total(part)


@aio
async def test_a_body_that_is_not_wanted_any_more_ends_what_was_read_ahead() -> None:
    """Closed in the middle, nothing stays open."""
    shown: Any = Shown()
    body = pieces(shown, row())
    await anext(body)
    await anext(body)
    await body.aclose()

    assert (0, []) == (shown.open_now, shown.done)


@aio
async def test_a_cancellation_while_it_is_closed_is_not_lost() -> None:
    """Who waits for a read to end can be cancelled, and hears of it."""
    shown: Any = Shown(slow=20)
    body = pieces(shown, row())
    await anext(body)
    await anext(body)
    await anext(body)
    closing = asyncio.create_task(body.aclose())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    shown.goes_on.set()
