"""
Bytes going out: nothing leaves before a durable record says who gets what (I5, I10).

Use: `async with disclosure:` writes one "begin transferring" record per patient and only then lets anything be read; on
the way out one "transferred" record per patient says what was sent and what failed. A view (`Session.view`) is
recorded by one "accessed" record per patient in front of it, and has no end. Only the segments that cover the wanted
range are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self, final

from strongroom.archive import batch, recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.extract import frames_of_record
from strongroom.archive.metadata import pages, texts
from strongroom.archive.record import Record
from strongroom.catalogue import extracts
from strongroom.dicom.frames import FrameIndex
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.locate import Locator
from strongroom.dicom.uid import transfer_syntax
from strongroom.errors import LocalProtocolError
from strongroom.ground.seal import Slot, associated_data, open_small, seal_small

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from types import TracebackType

    from strongroom.access.policy import Actor
    from strongroom.archive.batch import Piece
    from strongroom.archive.core import Core
    from strongroom.archive.credentials import Recipient
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.ground.seal import Cover

READ_AHEAD = 1024 * 1024
"""Sealed bytes read and opened at a time; one more such piece is prepared while the last is being sent."""
METADATA_FORM = b"metadata 1"
"""Counted up when the text of metadata changes for what is stored already: entity tags change with it."""


@final
@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a disclosure, as the front door may know it."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    length: int
    number: int
    """Its place in the disclosure."""


@final
class Disclosure:
    """What one session may take out by one request; closed until entered."""

    def __init__(
        self,
        core: Core,
        actor: Actor,
        recipient: Recipient,
        rows: Sequence[InstanceRow],
        *,
        is_view: bool = False,
    ) -> None:
        self._core = core
        self._is_view = is_view
        self._actor = actor
        self._recipient = recipient
        self._rows = rows
        self._act = core.parts.entropy(8).hex()  # joins the records of this act
        self._open = False
        self._sent: set[int] = set()
        self._failed: dict[int, str] = {}
        self.instances = tuple(
            Instance(
                row.sop_class_uid,
                row.sop_instance_uid,
                row.study_instance_uid,
                row.series_instance_uid,
                row.transfer_syntax_uid,
                row.plain_length,
                number,
            )
            for number, row in enumerate(rows)
        )

    async def __aenter__(self) -> Self:
        if self._is_view:
            await self.unchanged()
        elif self._rows:
            messages = recording.begin_transfer(self._core.parts, self._actor, self._recipient, self._rows, self._act)
            await self._core.committer.submit(Note(messages))
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._is_view or not self._rows:
            return
        parts, unsent = self._core.parts, [row for number, row in enumerate(self._rows) if number not in self._sent]
        messages = recording.transferred(
            parts, self._actor, self._recipient, (self._rows[number] for number in sorted(self._sent)), self._act
        )
        reason = next(iter(self._failed.values()), "interrupted" if error is not None else "not-sent")
        messages += recording.transferred(parts, self._actor, self._recipient, unsent, self._act, reason=reason)
        # shielded: the record of what already left is written even when the request was cancelled
        await asyncio.shield(self._core.committer.submit(Note(messages)))

    def sent(self, instance: Instance) -> None:
        """The recipient has taken *instance* whole."""
        self._sent.add(instance.number)

    def failed(self, instance: Instance, reason: str) -> None:
        """*instance* did not arrive; *reason* is a short code of ours."""
        self._failed[instance.number] = reason

    @cached_property
    def etag(self) -> str:
        """
        A strong entity tag (RFC 9110 §8.8.3), quoted: other content, or other instances inside the scope, have another.

        It tells nothing about the content: ids of blobs are random.
        """
        digest = hashlib.sha256(METADATA_FORM)
        for row in self._rows:
            digest.update(row.blob_id)
            digest.update(row.digest)
        return f'"{digest.hexdigest()[:40]}"'

    async def unchanged(self) -> None:
        """Record that the caller was told it has what there is (304): an access like any other."""
        if self._rows:
            messages = recording.accessed(self._core.parts, self._actor, self._rows)
            await self._core.committer.submit(Note(messages))

    async def metadata(self, instance: Instance) -> bytes:
        """
        Return the DICOM JSON object of *instance* as text; a `BulkDataURI` in it is a path that `bulk` takes.

        Raises IntegrityError.
        """
        self._must_be_open()
        return await asyncio.to_thread(lambda: next(texts(self._core.parts, (self._row(instance),))))

    async def all_metadata(self) -> AsyncGenerator[bytes, None]:
        """Yield the object of each instance, in the order of `instances`; raises IntegrityError."""
        self._must_be_open()
        async with contextlib.aclosing(batch.from_thread(pages(self._core.parts, self._rows))) as coming:
            async for page in coming:
                for text in page:
                    yield text

    async def frames(self, instance: Instance) -> FrameIndex:
        """
        Return where the frames of *instance* lie, for `open` with a range.

        Raises NotFound when it has no Pixel Data, DataSetError when its frames cannot be told apart.
        """
        self._must_be_open()
        row = self._row(instance)
        index, encoded = await asyncio.to_thread(self._find_frames, row)
        if encoded is not None:
            parts = self._core.parts
            ad = associated_data(row.blob_id, row.key_id, Slot.FRAMES)
            sealed = seal_small(parts.keyring.get(row.key_id).secret, encoded, ad, randomness=parts.entropy)
            await self._core.committer.submit(
                Change(lambda connection: extracts.put_frames(connection, row.id, sealed), ())
            )
        return index

    def _find_frames(self, row: InstanceRow) -> tuple[FrameIndex, bytes | None]:
        """The index that is kept, or a new one, and its bytes if they are to be kept."""
        parts = self._core.parts
        with parts.database.reader() as connection:
            sealed = extracts.find_frames(connection, row.id)
        if sealed is None:
            return frames_of_record(parts, row)
        ad = associated_data(row.blob_id, row.key_id, Slot.FRAMES)
        return FrameIndex.decode(open_small(parts.keyring.get(row.key_id).secret, sealed, ad)), None

    async def bulk(self, instance: Instance, path: str) -> tuple[int, int, str]:
        """
        Return first byte, the byte behind the last, and VR of the value that a `BulkDataURI` names, for `open`.

        Of encapsulated Pixel Data it is all of it, headers of the items included. Raises NotFound when there is none.
        """
        self._must_be_open()
        row = self._row(instance)

        def find() -> tuple[int, int, str]:
            locator = Locator(row.transfer_syntax_uid, path, limits=self._core.parts.header_limits)
            Record(self._core.parts, row).walk(locator, until="found")
            found = locator.found
            if found is None:
                locator.finish()
            return found.offset, found.offset + found.length, found.vr

        return await asyncio.to_thread(find)

    def _row(self, instance: Instance) -> InstanceRow:
        return self._rows[instance.number]

    def _must_be_open(self) -> None:
        if not self._open:
            raise LocalProtocolError("a disclosure is read inside `async with` only: the record comes first")

    async def open(
        self, instance: Instance, first: int = 0, last: int | None = None
    ) -> AsyncGenerator[memoryview, None]:
        """
        Yield the data-set bytes first..last (exclusive; the whole when not given) of *instance*, opened and
        authenticated.

        The whole is as it was received; a range is one of the inflated data set where that one is deflated. Raises
        IntegrityError when what the medium returns is not what was sealed: nothing of a changed segment is yielded.
        """
        self._must_be_open()
        row = self._row(instance)
        if last is not None or first:
            syntax = transfer_syntax(row.transfer_syntax_uid)
            if syntax is not None and syntax.deflated:
                async with contextlib.aclosing(self._inflated(instance, first, last)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
        record, covers, piece = await asyncio.to_thread(self._begin, row, first, last)
        upcoming = _ahead(record, covers)
        try:
            yield piece
            while upcoming is not None:
                piece = await upcoming
                upcoming = _ahead(record, covers)
                yield piece
        finally:
            if upcoming is not None:
                await asyncio.wait({upcoming})
                upcoming.exception()

    async def batches(self, instances: Sequence[Instance]) -> AsyncGenerator[list[Piece], None]:
        """Yield whole data sets in the order of *instances*, as `open` does but many small ones at a time."""
        self._must_be_open()
        coming = batch.batches(self._core.parts, [(one.number, self._row(one)) for one in instances])
        async with contextlib.aclosing(coming):
            async for pieces in coming:
                yield pieces

    def _begin(self, row: InstanceRow, first: int, last: int | None) -> tuple[Record, Iterator[Cover], memoryview]:
        """Open a record and its first window, in one hand-over to a thread: most frames have no other."""
        record = Record(self._core.parts, row)
        covers = record.windows(first, last, window=READ_AHEAD)
        return record, covers, record.open(next(covers))

    async def _inflated(self, instance: Instance, first: int, last: int | None) -> AsyncGenerator[memoryview, None]:
        """Yield a range of a deflated data set as it is inflated, from its beginning to where the range ends."""
        inflater = Inflater(self._core.parts.header_limits)
        at = 0
        async with contextlib.aclosing(self.open(instance)) as pieces:
            async for sealed in pieces:
                for inflated in inflater.feed(sealed):
                    start, stop = max(first - at, 0), len(inflated) if last is None else min(last - at, len(inflated))
                    at += len(inflated)
                    if start < stop:
                        yield memoryview(inflated)[start:stop]
                    if last is not None and at >= last:
                        return


def _ahead(record: Record, covers: Iterator[Cover]) -> asyncio.Task[memoryview] | None:
    """Begin to read and open the next window in a worker thread (pread, AES and nothing else)."""
    cover = next(covers, None)
    return None if cover is None else asyncio.create_task(asyncio.to_thread(record.open, cover))
