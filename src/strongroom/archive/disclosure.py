"""
Bytes going out: nothing leaves before a durable record says who gets what (I5, I10).

Use: `async with disclosure:` writes one "begin transferring" record per patient and only then lets `open` read; on the
way out one "transferred" record per patient says what was sent and what failed. Only the segments that cover the
wanted range are opened.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.archive.blobs import open_blob, place
from strongroom.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from strongroom.access.policy import Actor
    from strongroom.archive.core import Core
    from strongroom.archive.credentials import Recipient
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.ground.seal import Cover, Opener

READ_AHEAD = 1024 * 1024
"""Sealed bytes read and opened at a time; one more such piece is prepared while the last is being sent."""


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

    def __init__(self, core: Core, actor: Actor, recipient: Recipient, rows: Sequence[InstanceRow]) -> None:
        self._core = core
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
        if self._rows:
            messages = recording.begin_transfer(self._core.parts, self._actor, self._recipient, self._rows, self._act)
            await self._core.committer.submit(Note(messages))
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if not self._rows:
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

    async def open(self, instance: Instance, first: int = 0, last: int | None = None) -> AsyncIterator[memoryview]:
        """
        Yield the data-set bytes first..last (exclusive; the whole when not given) of *instance*, opened and
        authenticated.

        Raises IntegrityError when what the medium returns is not what was sealed: nothing of a changed segment is
        yielded.
        """
        if not self._open:
            raise LocalProtocolError("a disclosure is read inside `async with` only: the record comes first")
        row = self._rows[instance.number]
        opener = await asyncio.to_thread(open_blob, self._core.parts, row)
        covers = opener.windows(first, last, window=READ_AHEAD)
        upcoming: asyncio.Task[memoryview] | None = self._piece(row, opener, next(covers))
        try:
            while upcoming is not None:
                piece = await upcoming
                cover = next(covers, None)
                upcoming = None if cover is None else self._piece(row, opener, cover)
                yield piece
        finally:
            if upcoming is not None:
                await asyncio.wait({upcoming})
                upcoming.exception()

    def _piece(self, row: InstanceRow, opener: Opener, cover: Cover) -> asyncio.Task[memoryview]:
        """Begin to read and open one window in a worker thread (pread, AES and nothing else)."""
        vault = self._core.parts.vault
        return asyncio.create_task(
            asyncio.to_thread(lambda: opener.open(vault.read(place(row), cover.sealed_start, cover.sealed_stop), cover))
        )
