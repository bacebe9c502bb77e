"""What a worker thread makes for the event loop: in order, one ahead, and ended when nobody wants it any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator

import pytest

from archive.world import aio
from strongroom.archive.batch import from_thread
from strongroom.errors import IntegrityError


class Source:
    """A generator for a thread that waits in the middle, and says when it was closed."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self.closed = False

    def made(self) -> Generator[int, None, None]:
        """One at once, another when it may."""
        try:
            yield 1
            self.waits.set()
            assert self.goes_on.wait(10)
            yield 2
        finally:
            self.closed = True


@aio
async def test_everything_comes_in_order_and_the_source_is_closed() -> None:
    """One after the other, with the next being made meanwhile."""
    source = Source()
    source.goes_on.set()

    assert [1, 2] == [one async for one in from_thread(source.made())]
    assert source.closed


@aio
async def test_who_is_cancelled_hears_of_nothing_else_and_leaves_nothing_open() -> None:
    """A cancellation while the thread is at work waits for it, closes the source, and stays a cancellation."""
    source = Source()

    async def read() -> None:
        async with contextlib.aclosing(from_thread(source.made())) as coming:
            async for _ in coming:
                pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(source.waits.wait, 10)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    source.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert source.closed


@aio
async def test_what_goes_wrong_in_the_thread_is_raised_here() -> None:
    """An error of the source is the reader's."""

    def broken() -> Generator[int, None, None]:
        yield 1
        raise IntegrityError("damaged")

    coming = from_thread(broken())
    assert 1 == await anext(coming)
    with pytest.raises(IntegrityError):
        await anext(coming)
