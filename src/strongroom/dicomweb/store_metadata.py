"""
Instances that come apart: metadata in one part, their bulk data in others (PS3.18 §8.6.1.2, §10.5.1.4).

1. The metadata part stands in front; all of it is read and judged before anything is stored (SECURITY W07, W08).
2. Bulk data is held in memory, within one budget for the request and one for all of them, and never in a file; an
   instance is written and let go of as soon as its last part has come.
3. Native pixel data that is the last thing an instance waits for, and whose length its description tells, is not held:
   it goes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

import msgspec

from strongroom.dicom import json as dicom_json
from strongroom.dicom.xml_reader import from_xml
from strongroom.dicomweb.assembly import Draft, Passing, feed, pass_through, written
from strongroom.dicomweb.bulk import Content, names_of, references
from strongroom.dicomweb.media_type import MediaType, parse
from strongroom.dicomweb.new_uids import Uids
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.store_results import CANNOT_UNDERSTAND, Failed, reason_of
from strongroom.errors import DataSetError, MismatchError, StrongroomError
from strongroom.imaging.reading import integer, text

if TYPE_CHECKING:
    from strongroom.archive import Deposit
    from strongroom.dicomweb.call import Call
    from strongroom.dicomweb.incoming import Window

MAX_METADATA_LENGTH: Final = 16 << 20
"""The JSON or XML text of all instances of a request: 2,000 enhanced ones of 8 KiB."""
MAX_BULK_HELD: Final = 128 << 20
"""Bulk data of a request that waits in memory: a film of some minutes, or a stack of photographs."""
MAX_DESCRIBED: Final = 10_000
"""Instances in one metadata part, as a request may have parts."""

_JSON: Final = "application/dicom+json"
_XML: Final = "application/dicom+xml"
_BULK: Final = MediaType("application/octet-stream")


@final
class Described:
    """Takes a metadata part and the bulk data it refers to."""

    def __init__(self, window: Window, call: Call) -> None:
        self._window = window
        self._base_url = call.settings.base_url
        self._pool = call.pool
        self._uids = Uids(call.entropy)
        self._text: bytearray | None = None
        self._text_length = 0
        self._kind = ""
        self._bulk_begun = False
        self._wanted: dict[str, Draft] = {}
        self._held = 0
        self._all = call.held
        self._taken = 0
        """Of what all requests hold, the part of this one."""
        self._part: bytearray | None = None
        self._of: tuple[Draft, str] | None = None
        self._passing: Passing | None = None

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Metadata first, then bulk data (rule 1)."""
        media_type = parse(headers["content-type"]) if headers.get("content-type") else _BULK
        if media_type.essence in (_JSON, _XML):
            if self._bulk_begun or (self._kind and (self._kind, media_type.essence) != (_XML, _XML)):
                raise HttpProblem(400, "Metadata stands in front of all bulk data, and in one part if it is JSON.")
            self._kind, self._text = media_type.essence, bytearray()
            return
        if not self._kind:
            raise HttpProblem(400, f"The first part has to be metadata, {_JSON} or {_XML}.")
        self._bulk_begun = True
        name = next((one for one in names_of(headers) if one in self._wanted), None)
        if name is None:
            self._window.add(Failed(CANNOT_UNDERSTAND))
            return
        draft = self._wanted[name]
        content = draft.contents.setdefault(name, Content(media_type))
        if not content.parts:
            draft.missing[name] = draft.frames if media_type.essence.startswith("image/") else 1
        self._of = draft, name
        self._passing = await pass_through(self._window, draft, name)
        if self._passing is None:
            self._part = bytearray()
        else:
            self._let_go(sum(content.length for content in draft.contents.values()))

    async def take(self, view: memoryview) -> None:
        """Hold it, or pass it on (rules 2 and 3)."""
        if self._text is not None:
            self._text_length += len(view)
            if self._text_length > MAX_METADATA_LENGTH:
                raise HttpProblem(413, f"The metadata is longer than {MAX_METADATA_LENGTH} bytes.")
            self._take(len(view))
            self._text += view
        elif self._passing is not None:
            await self._passing.take(view)
        elif self._part is not None:
            self._held += len(view)
            if self._held > MAX_BULK_HELD:
                raise HttpProblem(413, f"More than {MAX_BULK_HELD} bytes of bulk data wait for their instance.")
            self._take(len(view))
            self._part += view

    def _take(self, length: int) -> None:
        self._all.take(length)
        self._taken += length

    def _let_go(self, length: int) -> None:
        """Bulk data of an instance that is on its way is held no longer."""
        self._held -= length
        self._taken -= length
        self._all.give(length)

    async def end(self) -> None:
        """A part is complete; perhaps an instance is."""
        if self._text is not None:
            whole, self._text = bytes(self._text), None
            for draft in await asyncio.to_thread(self._read, whole):
                await self._complete(draft)
            return
        part, self._part = self._part, None
        passing, self._passing = self._passing, None
        of, self._of = self._of, None
        if of is None:
            return
        draft, name = of
        if part is not None:
            draft.contents[name].parts.append(part)
        draft.missing[name] -= 1
        if draft.missing[name] == 0:
            del draft.missing[name], self._wanted[name]
        if passing is not None:
            await passing.end()
        elif not draft.missing:
            await self._complete(draft)

    async def close(self, reason: str) -> None:
        """What still waits for bulk data will not get it."""
        self._all.give(self._taken)
        self._taken = 0
        if self._passing is not None:
            await self._passing.abandon(reason)
            for name in self._passing.draft.places:
                self._wanted.pop(name, None)
        for draft in {id(one): one for one in self._wanted.values()}.values():
            self._fail(draft, MismatchError("bulk data did not come"))
        self._wanted.clear()

    def _read(self, whole: bytes) -> list[Draft]:
        """Read the metadata; return the instances that need nothing else. One that is no data set fails all of them."""
        try:
            if self._kind == _XML:
                found = [msgspec.Raw(dicom_json.dumps(from_xml(whole)))]
            elif whole.lstrip()[:1] == b"[":
                found = msgspec.json.decode(whole, type=list[msgspec.Raw])
            else:  # one instance, and a client that left out the list
                found = [msgspec.json.decode(whole, type=msgspec.Raw)]
        except (msgspec.MsgspecError, RecursionError, DataSetError) as error:
            raise HttpProblem(400, f"{len(whole)} bytes of metadata are no list of data sets.") from error
        if len(found) > MAX_DESCRIBED:
            raise HttpProblem(413, f"More than {MAX_DESCRIBED} instances are described.")
        try:
            drafts = [self._draft(raw) for raw in map(bytes, found)]
        except DataSetError as error:
            raise HttpProblem(400, "The metadata is no DICOM JSON model of data sets.") from error
        return [draft for draft in drafts if self._is_expected(draft) and not draft.missing]

    def _draft(self, raw: bytes) -> Draft:
        """Read one data set: what it is called, and what it refers to."""
        elements = dicom_json.loads(raw)
        named = text(elements, "00080016"), text(elements, "00080018")
        frames = max(1, integer(elements, "00280008", 1))
        try:
            return Draft(raw, named, references(elements, self._base_url), frames)
        except MismatchError:
            return Draft(raw, named, {}, frames, allowed=False)

    def _is_expected(self, draft: Draft) -> bool:
        """Note what *draft* waits for, in its place of the order; False when it waits for what it may not."""
        draft.slot = self._window.slot()
        if not draft.allowed or not draft.places.keys().isdisjoint(self._wanted):
            self._fail(draft, MismatchError("bulk data is referred to that is not this instance's alone"))
            return False
        draft.missing = dict.fromkeys(draft.places, 1)
        self._wanted.update(dict.fromkeys(draft.places, draft))
        return True

    def _fail(self, draft: Draft, error: StrongroomError) -> None:
        draft.contents.clear()
        self._window.add(Failed(reason_of(error), *draft.named), draft.slot)

    async def _complete(self, draft: Draft) -> None:
        """Write an instance whose bulk data is there, and let go of it."""
        held = sum(content.length for content in draft.contents.values())
        deposit: Deposit | None = None
        try:
            syntax, named, pieces = await written(draft, self._pool, self._uids)
            deposit = self._window.deposit(syntax)
            for piece in pieces:
                await feed(deposit, piece)
            whole, deposit = deposit, None
            await self._window.settle(whole, stated=named, slot=draft.slot)
        except StrongroomError as error:
            self._fail(draft, error)
        finally:
            if deposit is not None:
                await deposit.abandon("interrupted")
            draft.contents.clear()
            self._let_go(held)
