"""
Metadata fragments: the DICOM JSON of each instance without its bulk data, sealed under the study's key (DESIGN section
6, Metadata), and beside them where its frames lie.

Made from the header that the deposit read anyway, in quiet moments: nobody who sends waits for one. What is not made
yet is known by the catalogue (a row without a fragment), so a crash loses nothing; at start the rest is made from the
packs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from strongroom.archive.acts import Change
from strongroom.archive.extract import Extract, of_header, of_record
from strongroom.archive.merging import Merging
from strongroom.catalogue import extracts
from strongroom.catalogue import instances as catalogue
from strongroom.errors import StrongroomError
from strongroom.ground.seal import Slot, associated_data, seal_small

if TYPE_CHECKING:
    import apsw

    from strongroom.archive.acts import Arrival
    from strongroom.archive.core import Core
    from strongroom.dicom.header import Header
    from strongroom.ground.keyring import DataKey

QUIET_SECONDS = 0.05
"""After this long without a deposit the next batch is made."""
MERGE_SECONDS = 2.0
"""After this long the fragments of each series are merged."""
BATCH = 16
"""Fragments per transaction and per turn of the event loop: about 10 ms of work."""
MAX_REMEMBERED_BYTES = 32 * 1024 * 1024
"""Headers kept in memory; what does not fit is read from the packs again later."""


@final
@dataclass(frozen=True, slots=True)
class _Waiting:
    instance_id: int
    blob_id: bytes
    key: DataKey
    header: Header


@final
@dataclass(frozen=True, slots=True)
class _Made:
    instance_id: int
    blob_id: bytes
    key: DataKey
    extract: Extract


@final
class Fragments:
    """Makes what is missing, a batch at a time, when nothing else is going on."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._overflow = True  # rows of an earlier run may lack theirs
        self._last_deposit = 0.0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._merging = Merging(core, self.look_again)

    def start(self) -> None:
        """Begin to work in the background."""
        self._task = asyncio.create_task(self._work())
        self._wake.set()

    async def stop(self) -> None:
        """Stop; what is not made stays known as missing."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def remember(self, instance_id: int, arrival: Arrival, header: Header) -> None:
        """Keep the header of a deposit until its fragment is made."""
        self._last_deposit = asyncio.get_running_loop().time()
        size = _size(header)
        if header.head is None or self._bytes + size > MAX_REMEMBERED_BYTES:
            self._overflow = True
        else:
            self._waiting.append(_Waiting(instance_id, arrival.blob_id, arrival.key, header))
            self._bytes += size
        self._wake.set()

    def look_again(self) -> None:
        """Rows lack their fragments that were not deposited just now: look for them."""
        self._overflow = True
        self._wake.set()

    async def settle(self) -> None:
        """Make everything that is missing now, quiet or not (tests, and a command that ends)."""
        while self._waiting or self._overflow:
            await self._batch()

    async def merge(self) -> None:
        """Make everything that is missing, and merge all of it now."""
        await self.settle()
        while await self._merging.step():
            await self.settle()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            quiet = loop.time() - self._last_deposit
            if quiet < QUIET_SECONDS:
                await asyncio.sleep(QUIET_SECONDS - quiet)
                continue
            if self._waiting or self._overflow:
                await self._batch()
            elif quiet < MERGE_SECONDS:
                await asyncio.sleep(MERGE_SECONDS - quiet)
            elif not await self._merging.step():
                self._wake.clear()

    async def _batch(self) -> None:
        if self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(_size(one.header) for one in batch)
            made = self._from_headers(batch)
            if made:
                await self._keep(made)
            return
        made = await asyncio.to_thread(self._from_packs)
        self._overflow = bool(made)
        if made:
            await self._keep(made)

    async def _keep(self, made: list[_Made]) -> None:
        sealed = [(one.instance_id, self._seal(one, Slot.FRAGMENT), self._seal(one, Slot.FRAMES)) for one in made]
        await self._core.committer.submit(Change(lambda connection: _put(connection, sealed), ()))

    def _seal(self, one: _Made, slot: Slot) -> bytes | None:
        plain = one.extract.metadata if slot is Slot.FRAGMENT else one.extract.frames
        if plain is None:
            return None
        ad = associated_data(one.blob_id, one.key.key_id, slot)
        return seal_small(one.key.secret, plain, ad, randomness=self._core.parts.entropy)

    def _from_headers(self, batch: list[_Waiting]) -> list[_Made]:
        """What headers tell; an instance of which the record has to be looked at stays known as missing."""
        made = []
        for one in batch:
            extract = of_header(one.header)
            if extract is None:
                self._overflow = True
            else:
                made.append(_Made(one.instance_id, one.blob_id, one.key, extract))
        return made

    def _from_packs(self) -> list[_Made]:
        """Rows without a fragment, read from the packs (in a worker thread)."""
        parts = self._core.parts
        with parts.database.reader() as connection:
            rows = catalogue.without_fragment(connection, BATCH)
        made = []
        for row in rows:
            try:
                extract = of_record(parts, row)
            except StrongroomError:  # a damaged blob is the check's to report
                extract = Extract(b"{}", None)
            made.append(_Made(row.id, row.blob_id, parts.keyring.get(row.key_id), extract))
        return made


def _size(header: Header) -> int:
    """Bytes that a remembered header takes."""
    return header.elements.captured + header.fragments.itemsize * len(header.fragments)


def _put(connection: apsw.Connection, sealed: list[tuple[int, bytes | None, bytes | None]]) -> Any:
    for instance_id, fragment, frames in sealed:
        if fragment is not None and catalogue.put_fragment(connection, instance_id, fragment) and frames is not None:
            extracts.put_frames(connection, instance_id, frames)
