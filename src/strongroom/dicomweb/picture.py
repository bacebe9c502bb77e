"""One instance that is shown: its frames, the tables its display needs, and a worker that makes the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

from strongroom.archive import Disclosure, Instance
from strongroom.dicom.frames import FrameIndex
from strongroom.dicom.json import JsonElement, loads_trusted
from strongroom.dicomweb import annotation
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import stored_faults
from strongroom.dicomweb.pixels import Choice, Frames
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.render_query import Wish
from strongroom.dicomweb.segments import Stretch, pieces
from strongroom.errors import NotFound
from strongroom.imaging.options import GIF, RenderOptions
from strongroom.imaging.pixels import PixelDescription
from strongroom.imaging.pool import MAX_FRAMES_AT_ONCE
from strongroom.imaging.presentation import bulk_paths

__all__ = ["Picture"]

MAX_TABLE_BYTES: Final = 1 << 20
"""One lookup table or colour profile that is fetched for a picture; real ones have 128 KiB at most."""
MAX_ANIMATED_BYTES: Final = 64 << 20
"""Stored frames of one animation."""


@final
class Picture:
    """Made inside the disclosure."""

    def __init__(self, call: Call, disclosure: Disclosure, instance: Instance, index: FrameIndex, wish: Wish) -> None:
        self._call = call
        self._disclosure = disclosure
        self._instance = instance
        self._wish = wish
        self._elements: Mapping[str, JsonElement] | None = None
        self.index = index

    async def of(self, number: int, media_type: str) -> bytes:
        """The picture of one frame; raises HttpProblem (400, 422) and PoolBusyError."""
        return await self._rendered([number], media_type)

    async def animated(self, numbers: Sequence[int]) -> bytes:
        """Several frames as an animated GIF, as fast as they were taken."""
        if len(numbers) > MAX_FRAMES_AT_ONCE:
            raise HttpProblem(400, f"An animation has at most {MAX_FRAMES_AT_ONCE} frames; ask for some of them.")
        if not self.index.stream and sum(map(self.index.length_of, numbers)) > MAX_ANIMATED_BYTES:
            raise HttpProblem(400, "These frames are too large for one animation; ask for fewer of them.")
        return await self._rendered(numbers, GIF)

    async def representative(self, *, middle: bool = False) -> int:
        """The frame that stands for all: the one the data set names, else the first, or the one in the middle."""
        elements = await self._metadata()
        named = (elements.get("00286010") or {"vr": "US"}).get("Value") or [0]
        if isinstance(named[0], int) and 1 <= named[0] <= self.index.number_of_frames:
            return named[0]
        return (self.index.number_of_frames + 1) // 2 if middle else 1

    async def _metadata(self) -> Mapping[str, JsonElement]:
        if self._elements is None:
            self._elements = loads_trusted(await self._disclosure.metadata(self._instance))
        return self._elements

    async def _rendered(self, numbers: Sequence[int], media_type: str) -> bytes:
        elements = await self._metadata()
        with stored_faults():
            pixels = await self._described(elements, numbers[0])
        options = self._options(elements, media_type, pixels)
        with stored_faults():
            source = Frames(self._call, self._disclosure, self._instance, self.index, Choice("", "", multipart=False))
            stored = [await source.stored(number) for number in numbers]
            return await self._call.pool.render(pixels, stored, options)

    def _options(self, elements: Mapping[str, JsonElement], media_type: str, pixels: PixelDescription) -> RenderOptions:
        return self._wish.of_size(pixels.columns, pixels.rows).options(
            media_type,
            patient=annotation.patient(elements),
            technique=annotation.technique(elements),
            frame_milliseconds=_frame_time(elements),
        )

    async def _described(self, elements: Mapping[str, JsonElement], number: int) -> PixelDescription:
        """The pixels with the tables that are kept as bulk data."""
        tables: dict[str, bytes] = {}
        for path in bulk_paths(elements, frame=number):
            try:
                first, last, _ = await self._disclosure.bulk(self._instance, path)
            except NotFound:
                continue
            if last - first <= MAX_TABLE_BYTES:
                row = (Stretch(self._instance, first, last, done=False),)
                tables[path] = b"".join([bytes(piece) async for piece in pieces(self._disclosure, row)])
        return PixelDescription.from_json(elements, self._instance.transfer_syntax_uid, frame=number, bulk=tables)


def _frame_time(elements: Mapping[str, JsonElement]) -> float:
    """Milliseconds a frame stands: Frame Time, or by a rate; a tenth of a second where nothing sensible is said."""
    time = _positive(elements, "00181063")
    if time is None:
        rate = _positive(elements, "00082144") or _positive(elements, "00180040")
        time = None if rate is None else 1000 / rate
    return 100.0 if time is None else min(max(time, 20.0), 60_000.0)


def _positive(elements: Mapping[str, JsonElement], tag: str) -> float | None:
    value = ((elements.get(tag) or {"vr": "DS"}).get("Value") or [None])[0]
    return float(value) if isinstance(value, int | float) and 0 < value < 1e9 else None
