"""
An instance put together from its metadata and its bulk data (PS3.5 §7.1, §8, §A.4), always in Explicit VR Little Endian
or a syntax that is written so; text is UTF-8, as the metadata was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from strongroom.dicom import json as dicom_json
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN
from strongroom.dicom.values import BINARY_VRS
from strongroom.dicomweb.bulk import Content, Place, element_header, encapsulated, inside
from strongroom.dicomweb.pictures import describe_document, describe_pixels, is_compressed
from strongroom.dicomweb.store_results import Failed, reason_of
from strongroom.errors import DataSetError, MismatchError, StrongroomError
from strongroom.imaging.reading import integer, text

if TYPE_CHECKING:
    from strongroom.archive import Deposit
    from strongroom.dicom.json import JsonElement
    from strongroom.dicomweb.incoming import Window
    from strongroom.dicomweb.new_uids import Uids
    from strongroom.imaging.pool import Pool

__all__ = ["Draft", "Passing", "feed", "pass_through", "written"]

MAX_BULK_VALUES: Final = 1 << 20
"""Bytes of bulk data that become single values, numbers, names or items: each takes up to fifty bytes in memory."""
MAX_BULK_TEXT: Final = 16 << 20
"""Bytes of bulk data that are one text: as long as the metadata of a request may be."""

_SLICE: Final = 1 << 20
_TEXTS: Final = frozenset({"LT", "ST", "UR", "UT"})
_PIXEL_DATA: Final = "7FE00010"
_DOCUMENT: Final = "00420011"
_LONG: Final = ((_PIXEL_DATA,), (_DOCUMENT,))
"""What is written around, at the top level only."""


@final
@dataclass(slots=True)
class Draft:
    """An instance that waits for its bulk data."""

    raw: bytes
    """Its JSON text: read again when all is there, so that only one model is in memory."""
    named: tuple[str, str]
    places: dict[str, Place]
    frames: int
    slot: int = -1
    """Its place in the order of the results."""
    allowed: bool = True
    """Whether what it refers to are names that parts may have."""
    missing: dict[str, int] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)


@final
class Passing:
    """An instance on its way while its pixel data comes."""

    def __init__(self, window: Window, draft: Draft, length: int, behind: bytes) -> None:
        self._window = window
        self.draft = draft
        self._length = length
        self._behind = (b"\0" if length & 1 else b"") + behind
        self._came = 0
        self._deposit = window.deposit(EXPLICIT_VR_LITTLE_ENDIAN)
        self._error: StrongroomError | None = None

    async def begin(self, head: bytes) -> None:
        """What stands in front of the pixel data."""
        await self._pass_on(memoryview(head))

    async def take(self, view: memoryview) -> None:
        """Pixel data; an error is this instance's alone."""
        self._came += len(view)
        if self._came > self._length:
            self._error = self._error or MismatchError("more pixel data came than its description says")
        else:
            await self._pass_on(view)

    async def end(self) -> None:
        """All of it has come, or less than should."""
        if self._came < self._length:
            self._error = self._error or MismatchError("less pixel data came than its description says")
        await self._pass_on(memoryview(self._behind))
        if self._error is None:
            await self._window.settle(self._deposit, stated=self.draft.named, slot=self.draft.slot)
        else:
            await self.abandon(type(self._error).__name__)

    async def abandon(self, reason: str) -> None:
        """Nothing is kept of it."""
        error = self._error or MismatchError("pixel data did not come to its end")
        self._window.add(Failed(reason_of(error), *self.draft.named), self.draft.slot)
        await self._deposit.abandon(reason)

    async def _pass_on(self, view: memoryview) -> None:
        if self._error is None:
            try:
                await feed(self._deposit, view)
            except StrongroomError as error:
                self._error = error


async def written(draft: Draft, pool: Pool, uids: Uids) -> tuple[str, tuple[str, str], Iterable[bytes | bytearray]]:
    """
    Return how an instance is written, the SOP class and instance it has now, and its bytes.

    Its one long value, pixel data or a document, is not copied; the rest of the bulk data is written as any other
    value. Raises what `describe_pixels` raises.
    """
    long = {name: content for name, content in draft.contents.items() if draft.places[name] in _LONG}
    elements = await asyncio.to_thread(
        _model, draft, {name: content for name, content in draft.contents.items() if name not in long}
    )
    syntax = EXPLICIT_VR_LITTLE_ENDIAN
    pieces: Iterable[bytes | bytearray] | None = None
    for name, content in long.items():
        if draft.places[name] == (_DOCUMENT,):
            describe_document(elements, content, uids)
            pieces = _value(elements, _DOCUMENT, "OB", content.parts[:1])
        elif is_compressed(content.media_type):
            pixels = await describe_pixels(elements, content, pool, uids)
            syntax = pixels.transfer_syntax_uid
            if syntax == EXPLICIT_VR_LITTLE_ENDIAN:
                elements[_PIXEL_DATA] = {"vr": pixels.vr}
                pieces = _native(elements, pixels.frames)
            else:
                before, behind = dicom_json.encode_around(elements, int(_PIXEL_DATA, 16))
                header = element_header(int(_PIXEL_DATA, 16), pixels.vr, None)
                pieces = (before, header, *encapsulated(pixels.frames), behind)
        else:
            pieces = _native(elements, content.parts[:1])
    if pieces is None:
        pieces = (await asyncio.to_thread(dicom_json.encode_dataset, elements, syntax),)
    return syntax, (text(elements, "00080016"), text(elements, "00080018")), pieces


async def pass_through(window: Window, draft: Draft, name: str) -> Passing | None:
    """
    Begin an instance that waits for nothing but native pixel data, if its description tells how long that is.

    None: it does not, or something is wrong with it, which `written` will tell.
    """
    if draft.places[name] != (_PIXEL_DATA,) or len(draft.missing) > 1 or is_compressed(draft.contents[name].media_type):
        return None
    others = {one: content for one, content in draft.contents.items() if one != name}
    if any(draft.places[one] in _LONG for one in others):
        return None
    try:
        elements = await asyncio.to_thread(_model, draft, others)
        length = _pixel_length(elements)
        if length is None:
            return None
        before, behind = dicom_json.encode_around(elements, int(_PIXEL_DATA, 16))
        header = element_header(int(_PIXEL_DATA, 16), _pixel_vr(elements), length)
        passing = Passing(window, draft, length, behind)
    except StrongroomError:
        return None
    await passing.begin(before + header)
    return passing


async def feed(deposit: Deposit, piece: bytes | bytearray | memoryview) -> None:
    """Pass *piece* on in slices."""
    view = memoryview(piece)
    for start in range(0, len(view), _SLICE):
        deposit.feed(view[start : start + _SLICE])
        await deposit.ready()


def _model(draft: Draft, contents: Mapping[str, Content]) -> dict[str, JsonElement]:
    """The model of an instance, with *contents* in place of the references to them; without file meta information."""
    elements = dicom_json.loads(draft.raw)
    for name, content in contents.items():
        place = draft.places[name]
        scope, tag = inside(elements, place), str(place[-1])
        _check_length(scope[tag]["vr"], content.length)
        raw = bytes(content.parts[0])
        scope[tag] = dicom_json.element_to_json(int(tag, 16), scope[tag]["vr"], raw, ("ISO_IR 192",))
    return {tag: element for tag, element in elements.items() if not tag.startswith(("0000", "0002"))}


def _check_length(vr: str, length: int) -> None:
    """Refuse what would take many times its length in memory and the time of everybody else; raises DataSetError."""
    if vr in BINARY_VRS:
        return
    most = MAX_BULK_TEXT if vr in _TEXTS else MAX_BULK_VALUES
    if length > most:
        raise DataSetError(f"{length} bytes of bulk data for an element of VR {vr}, {most} are the most")


def _pixel_length(elements: Mapping[str, JsonElement]) -> int | None:
    """Bytes of native Pixel Data by its description (PS3.5 §8.1.1), None when it does not say or has no room."""
    rows, columns = integer(elements, "00280010", 0), integer(elements, "00280011", 0)
    samples, frames = integer(elements, "00280002", 1), integer(elements, "00280008", 1)
    bits = integer(elements, "00280100", 0)
    if text(elements, "00280004") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2
    length = -(-rows * columns * samples * frames * bits // 8)
    return length if min(rows, columns, samples, frames, bits) > 0 and length < 0xFFFFFFFE else None


def _pixel_vr(elements: Mapping[str, JsonElement]) -> str:
    """OB or OW, as the metadata says where it may choose (PS3.5 §A.2)."""
    stated = elements.get(_PIXEL_DATA, {"vr": "OW"})["vr"]
    return "OB" if stated == "OB" and integer(elements, "00280100", 16) <= 8 else "OW"


def _native(elements: dict[str, JsonElement], frames: Sequence[bytes | bytearray]) -> Iterable[bytes | bytearray]:
    length = _pixel_length(elements)
    if length is not None and length != sum(map(len, frames)):
        raise MismatchError("the length of pixel data is not what its description says")
    return _value(elements, _PIXEL_DATA, _pixel_vr(elements), frames)


def _value(
    elements: dict[str, JsonElement], key: str, vr: str, parts: Sequence[bytes | bytearray]
) -> Iterable[bytes | bytearray]:
    """A data set around one long value, which is not joined."""
    before, behind = dicom_json.encode_around(elements, int(key, 16))
    length = sum(map(len, parts))
    return before, element_header(int(key, 16), vr, length), *parts, b"\0" * (length & 1), behind
