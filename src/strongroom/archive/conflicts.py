"""
The keepers' tools for conflicts: list, show, decide. Each asks the policy first; deciding wants a written reason.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.archive.decisions import AT_ONCE, ResolveAct, plan, read
from strongroom.archive.deletion import header_of, row_of
from strongroom.archive.deletion import kept_of as as_kept
from strongroom.archive.differences import between
from strongroom.archive.told import MAX_LISTED, decision_of, kept_of, require_reason
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.catalogue.scope import EVERYTHING
from strongroom.dicom.model import Level, identify
from strongroom.errors import NotFound
from strongroom.register import conflicts, deletions
from strongroom.register.conflicts import Kind
from strongroom.register.decisions import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import apsw

    from strongroom.archive.core import Core
    from strongroom.archive.decisions import Coming, Plan
    from strongroom.archive.session import Session
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.register.conflicts import Conflict
    from strongroom.register.kept import KeptBlob

__all__ = ["Conflicts"]


@final
class Conflicts:
    """What was kept aside because something else was there first, behind a session."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def listed(self, *, decided: bool) -> list[dict[str, Any]]:
        """What waits for a decision, or with *decided* what was decided too; no patient value."""
        await self._session.require(Action.CUSTODY)
        return await asyncio.to_thread(self._listed, decided=decided)

    def _listed(self, *, decided: bool) -> list[dict[str, Any]]:
        with self._core.parts.database.reader() as connection:
            return [
                _told(one.conflict, one.instances) | decision_of(connection, one.conflict.decision)
                for one in conflicts.waiting(connection, decided=decided, limit=MAX_LISTED)
            ]

    async def shown(self, number: int) -> dict[str, Any]:
        """
        One conflict with the attributes in which first and second differ, and their values if the session may view.

        What is shown is recorded as an access before it is. Raises NotFound, IntegrityError.
        """
        await self._session.require(Action.CUSTODY)
        with_values = bool(self._session.actor.written_reason)
        if with_values:
            await self._session.require(Action.VIEW)
        told, first, second, of_patient = await asyncio.to_thread(self._found, number)
        if first is None:
            return told | {"differences": None}
        if with_values:
            messages = recording.accessed(self._core.parts, self._session.actor, (first, second))
            await self._core.committer.submit(Note(messages))
        found = await asyncio.to_thread(between, self._core.parts, first, second, of_patient=of_patient)
        if not with_values:
            found = [{"tag": one["tag"], "keyword": one["keyword"]} for one in found]
        return told | {"differences": found}

    def _found(self, number: int) -> tuple[dict[str, Any], InstanceRow | None, InstanceRow, bool]:
        parts = self._core.parts
        with parts.database.reader() as connection:
            conflict = _get(connection, number)
            together = conflicts.together(connection, conflict)
            first = _first(connection, conflict, together)
            told = _told(conflict, len(together)) | decision_of(connection, conflict.decision)
        same_uid = first is not None and first.sop_instance_uid == conflict.kept.sop_instance_uid
        if first is not None:
            told["first"] = {
                "device": first.device,
                "sop_instance_uid": first.sop_instance_uid,
                "sha256": first.digest.hex(),
                "bytes": first.plain_length,
            }
            if not first.patient_id:
                first = replace(first, patient_id=identify(header_of(parts, as_kept(first))).patient_id)
        second = row_of(conflict.kept)
        second = replace(second, patient_id=identify(header_of(parts, conflict.kept)).patient_id)
        return told, first, second, not same_uid

    async def resolve(self, number: int, keep: str) -> AsyncGenerator[dict[str, Any]]:
        """
        Decide conflict *number* and what belongs to it; yields progress and the result.

        Raises NotFound, ConflictError when it cannot be done so or is done already, IntegrityError when what would come
        in is damaged, AccessDenied without a written reason.
        """
        await self._session.require(Action.CUSTODY)
        require_reason(self._session.actor)
        verdict = Verdict(keep)
        planned = await asyncio.to_thread(self._plan, number, verdict)
        decision, total = planned.begun, len(planned.coming)
        for start in range(0, max(total, 1), AT_ONCE):
            coming = await asyncio.to_thread(self._read, planned.coming[start : start + AT_ONCE])
            decision = await self._submit(planned, verdict, coming, decision, last=start + AT_ONCE >= total)
            yield {"progress": {"done": min(start + AT_ONCE, total), "total": total}}
        yield {
            "result": {
                "conflict": number,
                "kept": verdict.value,
                "decision": decision,
                "conflicts": len(planned.together),
                "came_in": total,
                "left": len(planned.going),
            }
        }

    async def _submit(self, planned: Plan, verdict: Verdict, coming: list[Coming], number: int, *, last: bool) -> int:
        actor = self._session.actor
        act = ResolveAct(actor, actor.written_reason, planned, verdict, coming, number=number, last=last)
        decision = await self._core.committer.submit(act)
        self._core.fragments.look_again()
        return int(decision)

    def _plan(self, number: int, verdict: Verdict) -> Plan:
        with self._core.parts.database.reader() as connection:
            return plan(connection, _get(connection, number), verdict)

    def _read(self, coming: tuple[KeptBlob, ...]) -> list[Coming]:
        return [read(self._core.parts, one) for one in coming]


def _get(connection: apsw.Connection, number: int) -> Conflict:
    found = conflicts.get(connection, number)
    if found is None:
        raise NotFound(f"there is no conflict {number}; `strongroom conflicts list` names those there are")
    return found


def _first(connection: apsw.Connection, conflict: Conflict, together: tuple[Conflict, ...]) -> InstanceRow | None:
    """What was there first: of the same UID, else of the same study; in the catalogue, or displaced by a decision."""
    seconds = {one.kept.blob_id for one in together}
    same = catalogue.find_instance(connection, conflict.kept.sop_instance_uid)
    if same is not None and same.blob_id not in seconds:
        return same
    numbers = sorted({one.decision for one in together if one.decision is not None})
    displaced = [one.kept for one in deletions.of_decisions(connection, numbers) if one.kept.blob_id not in seconds]
    uid = conflict.kept.sop_instance_uid
    if found := next((one for one in displaced if one.sop_instance_uid == uid), None):
        return row_of(found)
    if conflict.kind is Kind.CONTENT:
        return None
    target = Target(Level.STUDY, study_instance_uids=(conflict.kept.study_instance_uid,))
    live = (row for row in catalogue.instances(connection, target, EVERYTHING) if row.blob_id not in seconds)
    return next(live, None) or next((row_of(one) for one in displaced), None)


def _told(conflict: Conflict, instances: int) -> dict[str, Any]:
    return {"id": conflict.id, "kind": conflict.kind.value, "instances": instances} | kept_of(conflict.kept)
