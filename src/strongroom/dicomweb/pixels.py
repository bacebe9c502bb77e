"""
The pixel data of one instance on its way out: frames as they are stored, decoded or encoded anew, as parts or alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from strongroom.archive import Disclosure, Instance
from strongroom.dicom.frames import FrameIndex
from strongroom.dicom.json import loads_trusted
from strongroom.dicom.uid import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from strongroom.dicomweb.answers import Pieces
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import stored_faults
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.segments import Segment, Stretch, pieces, total
from strongroom.imaging import syntaxes
from strongroom.imaging.pixels import PixelDescription

__all__ = ["AS_NATIVE", "Choice", "Frames"]

AS_NATIVE: Final = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN})
"""Frames are the same bytes in both."""


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """What each frame goes out as."""

    media_type: str
    syntax: str
    multipart: bool

    @property
    def content_type(self) -> str:
        """The Content-Type of a frame that is a body of its own."""
        return f"{self.media_type}; transfer-syntax={self.syntax}"


@final
class Frames:
    """Made inside the disclosure; frames are counted from 1."""

    __slots__ = ("_call", "_disclosure", "_instance", "_pixels", "choice", "index")

    def __init__(
        self, call: Call, disclosure: Disclosure, instance: Instance, index: FrameIndex, choice: Choice
    ) -> None:
        self._call = call
        self._disclosure = disclosure
        self._instance = instance
        self._pixels: PixelDescription | None = None
        self.index = index
        self.choice = choice

    @property
    def as_stored(self) -> bool:
        """Whether the bytes of the pack are what goes out."""
        stored = self._instance.transfer_syntax_uid
        if stored in syntaxes.NATIVE:
            return self.choice.syntax in AS_NATIVE and stored != EXPLICIT_VR_BIG_ENDIAN and not self.index.bit_packed
        return self.choice.syntax == stored

    def stretches(self, number: int, *, last: bool = True) -> Iterator[Stretch]:
        """The ranges of one frame as it is stored; *last* when nothing of the instance follows."""
        ranges = self.index.range_of(number)
        for at, (first, behind) in enumerate(ranges):
            yield Stretch(self._instance, first, behind, done=last and at == len(ranges) - 1)

    def stream(self) -> list[Segment]:
        """All fragments of a video."""
        whole = self.index.whole
        return [
            Stretch(self._instance, first, behind, done=at == len(whole) - 1)
            for at, (first, behind) in enumerate(whole)
        ]

    async def stored(self, number: int) -> bytes:
        """One frame as it is stored, its fragments joined; packed bits begin at bit 0."""
        source = pieces(self._disclosure, self.stretches(number, last=False))
        return self.index.aligned(number, b"".join([bytes(piece) async for piece in source]))

    async def made(self, number: int) -> bytes:
        """One frame as it goes out, decoded or encoded by a worker; raises HttpProblem (422)."""
        with stored_faults():
            if self._pixels is None:
                elements = loads_trusted(await self._disclosure.metadata(self._instance))
                self._pixels = PixelDescription.from_json(elements, self._instance.transfer_syntax_uid)
            if not syntaxes.can_convert(self._pixels.transfer_syntax_uid, self.choice.syntax, self._pixels):
                raise HttpProblem(406, "Pixels of this kind are not written in that transfer syntax.")
            stored = await self.stored(number)
            if self.choice.syntax in AS_NATIVE:
                made, _ = await self._call.pool.decode(self._pixels, stored)
            else:
                made, _ = await self._call.pool.transcode(self._pixels, stored, self.choice.syntax)
            return made

    def stored_parts(self, parts: Multipart, wanted: Iterable[int], fields: Mapping[str, str]) -> Iterator[Segment]:
        """A part for each frame as it is stored; of a video one for all of it."""
        if self.index.stream:
            row = self.stream()
            yield parts.begin(self.choice.media_type, self.choice.syntax, headers=fields, length=total(row))
            yield from row
            return
        for number in wanted:
            length = self.index.length_of(number)
            yield parts.begin(self.choice.media_type, self.choice.syntax, headers=fields, length=length)
            yield from self.stretches(number)

    async def made_parts(self, parts: Multipart, wanted: Iterable[int], fields: Mapping[str, str]) -> Pieces:
        """A part for each frame as a worker makes it."""
        for number in wanted:
            made = await self.made(number)
            yield parts.begin(self.choice.media_type, self.choice.syntax, headers=fields, length=len(made))
            yield made
        self._disclosure.sent(self._instance)

    async def row(self, head: bytes = b"") -> Pieces:
        """Every frame decoded, one behind the other; *head* in front of them."""
        for number in range(1, self.index.number_of_frames + 1):
            made = await self.made(number)
            yield head + made if head else made
            head = b""
        self._disclosure.sent(self._instance)
