"""
Data sets in another transfer syntax than the one they are kept in (PS3.18 §8.7.3.5): which can be had, and the bytes.

What only has to be written differently is done here while it streams; what needs its pixels decoded or encoded goes
frame by frame through the workers of `imaging`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import final

from strongroom.archive import Disclosure, Instance
from strongroom.dicom import convert
from strongroom.dicom.frames import FrameIndex
from strongroom.dicom.json import loads_trusted
from strongroom.dicom.uid import transfer_syntax
from strongroom.dicomweb.answers import Pieces
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.media import default_syntax
from strongroom.dicomweb.negotiation import ANY_SYNTAX, Range
from strongroom.dicomweb.problems import HttpProblem
from strongroom.errors import DataSetError, NotFound
from strongroom.imaging import instance as imaging
from strongroom.imaging import syntaxes
from strongroom.imaging.errors import NoPixelDataError
from strongroom.imaging.pixels import PixelDescription

__all__ = ["can_give", "converted", "fits", "stored_faults", "syntax_for"]


def can_give(stored: str, wanted: str) -> bool:
    """Whether a data set in *stored* can go out in *wanted*."""
    return stored == wanted or convert.can_convert(stored, wanted) or syntaxes.can_convert(stored, wanted)


def syntax_for(stored: str, wishes: Sequence[Range], *, default: str | None = None) -> str | None:
    """
    Choose the syntax for an instance that is kept in *stored*; None when no wish can be met.

    Of wishes of one quality the one for what is kept wins: nothing is converted that need not be. *default* is meant by
    a wish that names none (explicit VR little endian, as a rule).
    """
    for quality in dict.fromkeys(wish.quality for wish in wishes):
        named = [
            wish.transfer_syntax or default or default_syntax(stored) for wish in wishes if wish.quality == quality
        ]
        if ANY_SYNTAX in named or stored in named:
            return stored
        found = next((uid for uid in named if can_give(stored, uid)), None)
        if found is not None:
            return found
    return None


@contextlib.contextmanager
def stored_faults() -> Iterator[None]:
    """
    Turn what is wrong with a data set that is kept into a problem of its own: the request was right.

    Raises HttpProblem: 404 where there are no pixels at all, 422 where they cannot be read or written so.
    """
    try:
        yield
    except NoPixelDataError as error:
        raise NotFound("no pixel data") from error
    except DataSetError as error:
        raise HttpProblem(
            422, "What is kept of this instance cannot be given in this form; as it is kept it can."
        ) from error


async def converted(call: Call, disclosure: Disclosure, instance: Instance, wanted: str) -> Pieces:
    """Yield the data set of *instance* in *wanted*; raises HttpProblem (422) when its content stands against it."""
    with stored_faults():
        if convert.can_convert(instance.transfer_syntax_uid, wanted):
            source = _rewritten(disclosure, instance, wanted)
        else:
            source = _transcoded(call, disclosure, instance, wanted)
        async with contextlib.aclosing(source):
            async for piece in source:
                yield piece


async def _rewritten(disclosure: Disclosure, instance: Instance, wanted: str) -> Pieces:
    converter = convert.SyntaxConverter(instance.transfer_syntax_uid, wanted)
    source = disclosure.open(instance)
    async with contextlib.aclosing(source):
        async for piece in source:
            if rewritten := converter.feed(piece):
                yield rewritten
            await asyncio.sleep(0)
    if rewritten := converter.finish():
        yield rewritten


async def fits(disclosure: Disclosure, instance: Instance, wanted: str) -> bool:
    """Whether the pixels of *instance* can go into *wanted*, seen from what its metadata says of them."""
    stored = instance.transfer_syntax_uid
    known = transfer_syntax(wanted)
    if stored == wanted or known is None or not known.encapsulated:
        return True
    try:
        elements = loads_trusted(await disclosure.metadata(instance))
        return syntaxes.can_convert(stored, wanted, PixelDescription.from_json(elements, stored))
    except DataSetError:
        return False


async def _transcoded(call: Call, disclosure: Disclosure, instance: Instance, wanted: str) -> Pieces:
    source = _Source(disclosure, instance, await disclosure.frames(instance))
    made = imaging.convert(call.pool, source, wanted)
    async with contextlib.aclosing(made):
        async for piece in made:
            yield piece


@final
class _Source:
    """An instance of a disclosure as `imaging` reads it."""

    def __init__(self, disclosure: Disclosure, instance: Instance, frames: FrameIndex) -> None:
        self._disclosure = disclosure
        self._instance = instance
        self.frames = frames
        self.transfer_syntax_uid = instance.transfer_syntax_uid

    def read(self, first: int, last: int | None) -> AsyncIterator[bytes | memoryview]:
        """Its bytes from *first* to before *last*."""
        return self._disclosure.open(self._instance, first, last)
