"""
Many data sets in a row, read and opened by a worker thread in batches: small instances cost a share of one hand-over
between threads instead of several hand-overs each.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from strongroom.archive.record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow

__all__ = ["BATCH_BYTES", "Piece", "batches", "from_thread"]

T = TypeVar("T")

BATCH_BYTES: Final = 1024 * 1024
"""Opened bytes that are handed over at a time, with the next such batch being read meanwhile."""


class Piece(NamedTuple):
    """The next bytes of an instance."""

    number: int
    """Place of the instance in the disclosure."""
    data: memoryview
    last: bool
    """Whether nothing of this instance follows."""


async def batches(parts: Parts, rows: Sequence[tuple[int, InstanceRow]]) -> AsyncGenerator[list[Piece], None]:
    """Yield the data sets of *rows*, each with its place, in their order; raises IntegrityError."""
    async with contextlib.aclosing(from_thread(_opened(parts, rows))) as coming:
        async for batch in coming:
            yield batch


async def from_thread(coming: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """
    Yield what *coming* makes in a worker thread, the next thing while the last is looked at.

    A thread cannot be cancelled: whoever is, waits until it is done, and only then *coming* is closed.
    """
    loop = asyncio.get_running_loop()
    upcoming = loop.run_in_executor(None, next, coming, None)
    try:
        while (one := await asyncio.shield(upcoming)) is not None:
            upcoming = loop.run_in_executor(None, next, coming, None)
            yield one
    finally:
        await asyncio.wait({upcoming})
        upcoming.exception()
        coming.close()


def _opened(parts: Parts, rows: Sequence[tuple[int, InstanceRow]]) -> Generator[list[Piece], None, None]:
    """The same, for a worker thread (pread, AES and nothing else)."""
    batch: list[Piece] = []
    length = 0
    for number, row in rows:
        record = Record(parts, row)
        covers = list(record.windows(0, None, window=BATCH_BYTES))
        for at, cover in enumerate(covers, 1):
            data = record.open(cover)
            batch.append(Piece(number, data, at == len(covers)))
            length += len(data)
            if length >= BATCH_BYTES:
                yield batch
                batch, length = [], 0
    if batch:
        yield batch
