"""
The keepers' tools for quarantine: list, show, release, discard. Each asks the policy first; deciding wants a written
reason, and takes nothing away: the bytes stay sealed, and the entry listed with its decision.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Change
from strongroom.archive.batch import from_thread
from strongroom.archive.deletion import row_of
from strongroom.archive.deposit import Deposit
from strongroom.archive.record import Record
from strongroom.archive.told import MAX_LISTED, decision_of, kept_of, require_reason
from strongroom.audit.codes import EventType
from strongroom.dicom.part10 import Part10Reader
from strongroom.errors import ConflictError, DataSetError, NotFound
from strongroom.ground.seal import WINDOW
from strongroom.register import decisions, quarantine
from strongroom.register.decisions import Verdict

if TYPE_CHECKING:
    from collections.abc import Generator

    import apsw

    from strongroom.archive.core import Core
    from strongroom.archive.deposit import Receipt
    from strongroom.archive.session import Session
    from strongroom.register.quarantine import Quarantined

__all__ = ["Quarantine"]

_FILES: Final = frozenset({recording.DISGUISED, "DisguisedFileError"})
"""Faults under which a whole file is kept, not a data set; the second is what 0.1 called it."""


@final
class Quarantine:
    """What was refused, and kept, behind a session."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def listed(self, *, decided: bool) -> list[dict[str, Any]]:
        """What nobody has decided about, or with *decided* everything; no patient value."""
        await self._session.require(Action.CUSTODY)

        def read() -> list[dict[str, Any]]:
            with self._core.parts.database.reader() as connection:
                found = quarantine.waiting(connection, decided=decided, limit=MAX_LISTED)
                return [_told(connection, one) for one in found]

        return await asyncio.to_thread(read)

    async def shown(self, number: int) -> dict[str, Any]:
        """One entry; raises NotFound."""
        await self._session.require(Action.CUSTODY)

        def read() -> dict[str, Any]:
            with self._core.parts.database.reader() as connection:
                return _told(connection, _get(connection, number))

        return await asyncio.to_thread(read)

    async def release(self, number: int) -> dict[str, Any]:
        """
        Deposit an entry again, as what it is: a fault of the request or of a policy is passed over, one of the data set
        is not.

        Raises NotFound, ConflictError when the data set is not whole, IntegrityError when its blob is damaged,
        AccessDenied without a written reason.
        """
        await self._session.require(Action.CUSTODY)
        await self._session.require(Action.DEPOSIT)
        require_reason(self._session.actor)
        entry = await asyncio.to_thread(self._entry, number)
        try:
            receipt = await self._deposit(entry)
        except DataSetError as error:
            raise ConflictError(f"it cannot be released: {error}; have it sent again, and discard this one") from error
        await self._decide(entry, Verdict.RELEASED)
        return {
            "id": number,
            "outcome": receipt.outcome.value,
            "sop_instance_uid": receipt.sop_instance_uid,
            "study_instance_uid": receipt.study_instance_uid,
        }

    async def discard(self, number: int) -> dict[str, Any]:
        """Take an entry off the list; it stays sealed, and can be released all the same. Raises as `release`."""
        await self._session.require(Action.CUSTODY)
        require_reason(self._session.actor)
        entry = await asyncio.to_thread(self._entry, number)
        await self._decide(entry, Verdict.DISCARDED)
        return {"id": number, "outcome": Verdict.DISCARDED.value}

    def _entry(self, number: int) -> Quarantined:
        with self._core.parts.database.reader() as connection:
            return _get(connection, number)

    async def _deposit(self, entry: Quarantined) -> Receipt:
        """Through the same checks as everything that comes in; the device that sent it stays its sender."""
        reader = Part10Reader() if entry.fault in _FILES else None
        deposit: Deposit | None = None
        try:
            async for piece in from_thread(self._pieces(entry)):
                fragments = (piece,) if reader is None else tuple(reader.feed(piece))
                for fragment in fragments:
                    deposit = deposit or self._begin(entry, reader)
                    deposit.feed(fragment)
                    await deposit.ready()
            if reader is not None:
                for fragment in reader.finish():
                    deposit = deposit or self._begin(entry, reader)
                    deposit.feed(fragment)
            return await (deposit or self._begin(entry, reader)).finish()
        finally:
            if deposit is not None:
                await deposit.abandon("interrupted")

    def _begin(self, entry: Quarantined, reader: Part10Reader | None) -> Deposit:
        syntax = entry.kept.transfer_syntax_uid
        if reader is not None and reader.meta is not None:
            syntax = reader.meta.transfer_syntax_uid
        return Deposit(
            self._core,
            self._session.actor,
            sop_class_uid="",
            sop_instance_uid="",
            transfer_syntax_uid=syntax,
            sent_by=entry.kept.device,
        )

    def _pieces(self, entry: Quarantined) -> Generator[memoryview]:
        record = Record(self._core.parts, row_of(entry.kept))
        for cover in record.windows(0, None, window=WINDOW):
            yield record.open(cover)

    async def _decide(self, entry: Quarantined, verdict: Verdict) -> None:
        actor, parts = self._session.actor, self._core.parts

        def change(connection: apsw.Connection) -> None:
            number = decisions.add(
                connection,
                at=parts.clock().timestamp(),
                actor=f"{actor.kind.value}:{actor.name}",
                reason=actor.written_reason,
                verdict=verdict,
            )
            quarantine.decide(connection, entry.id, number)

        message = recording.decided(
            parts,
            actor,
            EventType.QUARANTINE_DECIDED,
            f"quarantine:{entry.id}",
            verdict.value,
            actor.written_reason,
        )
        await self._core.committer.submit(Change(change, (message,)))


def _get(connection: apsw.Connection, number: int) -> Quarantined:
    found = quarantine.get(connection, number)
    if found is None:
        raise NotFound(
            f"nothing in quarantine has the number {number}; `strongroom quarantine list` shows what is there"
        )
    return found


def _told(connection: apsw.Connection, entry: Quarantined) -> dict[str, Any]:
    head = {"id": entry.id, "fault": entry.fault, "whole_file": entry.fault in _FILES}
    return head | kept_of(entry.kept) | decision_of(connection, entry.decision)
