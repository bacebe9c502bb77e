"""
Metadata fragments: the DICOM JSON of each instance without its bulk data, sealed under the study's key (DESIGN section
6, Metadata).

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
from strongroom.archive.blobs import open_blob, place
from strongroom.catalogue import instances as catalogue
from strongroom.dicom import json as dicom_json
from strongroom.dicom.header import HeaderReader
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
    encoding_uid: str
    head: bytes


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
        if header.head is None or self._bytes + len(header.head) > MAX_REMEMBERED_BYTES:
            self._overflow = True
        else:
            self._waiting.append(_Waiting(instance_id, arrival.blob_id, arrival.key, header.encoding_uid, header.head))
            self._bytes += len(header.head)
        self._wake.set()

    async def settle(self) -> None:
        """Make everything that is missing now, quiet or not (tests, and a command that ends)."""
        while self._waiting or self._overflow:
            await self._batch()

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
            else:
                self._wake.clear()

    async def _batch(self) -> None:
        if self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(len(one.head) for one in batch)
        else:
            batch = await asyncio.to_thread(self._from_packs)
            self._overflow = bool(batch)
        if batch:
            sealed = [(one.instance_id, self._make(one)) for one in batch]
            await self._core.committer.submit(Change(lambda connection: _put(connection, sealed), ()))

    def _make(self, one: _Waiting) -> bytes:
        """
        The fragment, sealed; a header that cannot be shown as JSON gets an empty object rather than no end of tries.
        """
        try:
            text = dicom_json.dumps(dicom_json.to_json(one.head, one.encoding_uid))
        except StrongroomError:
            text = b"{}"
        ad = associated_data(one.blob_id, one.key.key_id, Slot.FRAGMENT)
        return seal_small(one.key.secret, text, ad, randomness=self._core.parts.entropy)

    def _from_packs(self) -> list[_Waiting]:
        """Headers of rows without a fragment, read from the packs (in a worker thread)."""
        parts = self._core.parts
        with parts.database.reader() as connection:
            rows = catalogue.without_fragment(connection, BATCH)
        found = []
        for row in rows:
            head, encoding = b"", row.transfer_syntax_uid
            with contextlib.suppress(StrongroomError):  # a damaged blob is the check's to report
                opener = open_blob(parts, row)
                reader = HeaderReader(row.transfer_syntax_uid, limits=parts.header_limits)
                for cover in opener.windows():
                    reader.feed(opener.open(parts.vault.read(place(row), cover.sealed_start, cover.sealed_stop), cover))
                header = reader.finish()
                head, encoding = header.head or b"", header.encoding_uid
            found.append(_Waiting(row.id, row.blob_id, parts.keyring.get(row.key_id), encoding, head))
        return found


def _put(connection: apsw.Connection, sealed: list[tuple[int, bytes]]) -> Any:
    for instance_id, fragment in sealed:
        catalogue.put_fragment(connection, instance_id, fragment)
