"""What custody of the packs means: check, repair, and the record of a rebuild. Each asks the policy first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.archive.inspection import Inspection
from strongroom.archive.proving import BATCH, Proving, look_at, remember
from strongroom.archive.repairing import Repair
from strongroom.audit.codes import EventType
from strongroom.catalogue import instances as catalogue
from strongroom.register import places as kept

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from strongroom.archive.blobs import Blob
    from strongroom.archive.core import Core
    from strongroom.archive.session import Session
    from strongroom.audit.message import AuditMessage
    from strongroom.vault.heal import PackSource

STEP: Final = 100
"""Blobs between two signs of progress."""


@final
class Upkeep:
    """The keepers' tools for the packs, behind a session like everything else."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def check(self, *, read: bool, max_seconds: float | None = None) -> AsyncGenerator[dict[str, Any]]:
        """
        Compare catalogue and packs, with *read* every byte, for *max_seconds* at most; yields progress and the result.
        """
        await self._session.require(Action.CUSTODY)
        parts = self._core.parts
        began = parts.clock().timestamp()
        inspection = Inspection(parts)
        steps = inspection.run()
        while (done := await asyncio.to_thread(next, steps, None)) is not None:
            yield {"progress": {"phase": "packs", "done": done, "total": inspection.packs}}
        await self._core.committer.submit(Note(()))  # whatever was on its way is in the catalogue behind this
        await asyncio.to_thread(inspection.settle)
        proven, total = 0, 0
        if read:
            with parts.database.reader() as connection:
                total = catalogue.counts(connection).instances
            async for proven in self._prove(inspection, began, max_seconds):
                yield {"progress": {"phase": "blobs", "done": proven, "total": max(total, proven)}}
        if inspection.findings:
            await self._core.committer.submit(Note((recording.integrity_alert(parts, len(inspection.findings)),)))
        yield {
            "result": {
                "findings": [finding.shown() for finding in inspection.findings],
                "checked": inspection.rows,
                "read": read,
                "opened": proven,
                "oldest_unchecked_blob": await asyncio.to_thread(self._oldest),
            }
        }

    async def _prove(self, inspection: Inspection, began: float, max_seconds: float | None) -> AsyncGenerator[int]:
        core, loop = self._core, asyncio.get_running_loop()
        stop = None if max_seconds is None else loop.time() + max_seconds
        coming, good, done = Proving(core.parts, before=began).blobs(), [], 0
        named = {(one.pack, one.offset) for one in inspection.findings}
        while (blob := await asyncio.to_thread(next, coming, None)) is not None:
            finding = await asyncio.to_thread(look_at, core.parts, blob)
            done += 1
            if finding is None:
                good.append(blob)
            elif (finding.pack, finding.offset) not in named:
                inspection.found(finding)
            if len(good) >= BATCH:
                good = await self._remembered(good)
            if done % STEP == 0:
                yield done
            if stop is not None and loop.time() >= stop:
                break
        await self._remembered(good)
        yield done

    async def _remembered(self, good: list[Blob]) -> list[Blob]:
        await remember(self._core, good)
        return []

    def _oldest(self) -> str | None:
        with self._core.parts.database.reader() as connection:
            times = [
                one for one in (catalogue.oldest_check(connection), kept.oldest_check(connection)) if one is not None
            ]
        return datetime.fromtimestamp(min(times), UTC).isoformat(timespec="seconds") if times else None

    async def repair(self, *, apply: bool, read: bool, sources: Sequence[PackSource]) -> AsyncGenerator[dict[str, Any]]:
        """
        Say what can be made right, and with *apply* do it; *read* looks for damage in every byte first.

        *sources* are copies of packs to heal from, the second vault's besides. Yields progress and the result.
        """
        await self._session.require(Action.CUSTODY)
        core, parts = self._core, self._core.parts
        inspection = Inspection(parts)
        steps = inspection.run()
        while (done := await asyncio.to_thread(next, steps, None)) is not None:
            yield {"progress": {"phase": "packs", "done": done, "total": inspection.packs}}
        await core.committer.submit(Note(()))
        await asyncio.to_thread(inspection.settle)
        if read:
            async for proven in self._prove(inspection, parts.clock().timestamp(), None):
                yield {"progress": {"phase": "blobs", "done": proven, "total": max(proven, inspection.rows)}}
        every = [*sources, *([parts.second] if parts.second is not None else [])]
        work = Repair(core, self._session.actor, every, apply=apply)
        async for done in work.run(inspection.findings):
            yield {"progress": {"phase": "findings", "done": done, "total": len(inspection.findings)}}
        if apply and (work.done or work.left):
            await core.committer.submit(Note((self._repaired(work),)))
            core.fragments.look_again()
        yield {"result": {"applied": apply, "done": work.done, "left": work.left}}

    def _repaired(self, work: Repair) -> AuditMessage:
        parts = self._core.parts
        return parts.reporter.alert(
            parts.clock(),
            EventType.INTEGRITY,
            "urn:strongroom:repair",
            f"a repair made {len(work.done)} things right and left {len(work.left)}",
            caused_by=recording.party(self._session.actor),
        )

    async def rebuilt(self, result: dict[str, Any]) -> None:
        """Record that the catalogue was made anew."""
        await self._session.require(Action.CUSTODY)
        parts = self._core.parts
        text = f"the catalogue was made anew from the packs: {result['instances']} instances"
        if result["register"] == "lost":
            text += "; the register was lost: devices, tokens, holds and deletions are to be made again"
        message = parts.reporter.alert(
            parts.clock(),
            EventType.INTEGRITY,
            "urn:strongroom:catalogue",
            text,
            ("Findings", str(len(result["findings"]))),
            caused_by=recording.party(self._session.actor),
        )
        await self._core.committer.submit(Note((message,)))
