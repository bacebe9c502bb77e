"""
An instance on its way out in another transfer syntax than it is kept in (PS3.4 C.4.2, C.4.3; PS3.5 §10).

Headers are rewritten while the bytes stream (`dicom.convert`); pixels are decoded and encoded in workers (`imaging`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Generic, final

from strongroom.dicom.convert import SyntaxConverter
from strongroom.imaging.instance import Frames, convert
from strongroom.imaging.pool import Pool
from strongroom.scp.ports import Disclosure, Instance, InstanceT

__all__ = ["close", "rewritten", "transcoded"]


async def rewritten(
    disclosure: Disclosure[InstanceT], instance: InstanceT, to_uid: str | None
) -> AsyncGenerator[bytes | memoryview, None]:
    """The data set of *instance* as it is kept, or, for a *to_uid*, with other headers."""
    stored = disclosure.open(instance)
    try:
        if to_uid is None:
            async for piece in stored:
                yield piece
            return
        converter = SyntaxConverter(instance.transfer_syntax_uid, to_uid)
        async for piece in stored:
            if converted := converter.feed(piece):
                yield converted
        if converted := converter.finish():
            yield converted
    finally:
        await close(stored)


async def transcoded(
    pool: Pool, disclosure: Disclosure[InstanceT], instance: InstanceT, to_uid: str
) -> AsyncGenerator[bytes | memoryview, None]:
    """The data set of *instance* with its pixels in *to_uid*; nothing is yielded before the first frame is there."""
    kept = _Kept(disclosure, instance, await disclosure.frames(instance))
    async with contextlib.aclosing(convert(pool, kept, to_uid)) as made:
        async for piece in made:
            yield piece


@final
@dataclass(frozen=True, slots=True)
class _Kept(Generic[InstanceT]):
    """An instance of a disclosure as `imaging.instance` reads it."""

    disclosure: Disclosure[InstanceT]
    instance: InstanceT
    frames: Frames

    @property
    def transfer_syntax_uid(self) -> str:
        known: Instance = self.instance
        return known.transfer_syntax_uid

    async def read(self, first: int, last: int | None, /) -> AsyncIterator[bytes | memoryview]:
        stored = self.disclosure.open(self.instance, first, last)
        try:
            async for piece in stored:
                yield piece
        finally:
            await close(stored)


async def close(iterator: object) -> None:
    """Close an asynchronous iterator now, where it can be: not when it is collected, because it may hold a reader."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()
