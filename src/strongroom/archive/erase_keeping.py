"""What keepers ask about erasing: request, confirm, cancel, release, list; `erasing` carries it out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.policy import Refusal, Requested, decide_erasure
from strongroom.access.policy import Target as PolicyTarget
from strongroom.access.roles import Action, ActorKind
from strongroom.archive import recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.erasing import RESUME_SECONDS, Erasures, decided, request
from strongroom.archive.holding import checked_reason, when
from strongroom.audit.codes import EventType
from strongroom.errors import AccessDenied, ConflictError, NotFound
from strongroom.register import erasures, holds, jobs, tombstones

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import apsw

    from strongroom.archive.core import Core
    from strongroom.archive.session import Session
    from strongroom.register.erasures import Erasure

__all__ = ["Erasing"]

_STEPS: Final = 4
_STATES: Final = ("requested", "confirmed", "removed", "shredded", "done", "cancelled")


@final
class Erasing:
    """The keepers' tools for erasing, behind a session."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def request(self, studies: Sequence[str], *, reason: str) -> dict[str, Any]:
        """Ask for studies to be erased; raises as `request`."""
        await self._session.require(Action.CUSTODY)
        number = await request(self._core, self._session.actor, studies, reason)
        return self._shown(await self._find(number))

    async def cancel(self, number: int) -> dict[str, Any]:
        """Take a request back; raises NotFound, and ConflictError once it was confirmed."""
        await self._session.require(Action.CUSTODY)
        found = await self._find(number)
        parts = self._core.parts
        who = recording.party(self._session.actor)

        def change(connection: apsw.Connection) -> None:
            now = erasures.find(connection, number)
            if now is None or now.state != "requested":
                raise ConflictError(
                    f"request {number} is {now.state if now else 'gone'}; only one that waits is taken back"
                )
            at = parts.clock().timestamp()
            erasures.set_state(connection, number, "cancelled", at=at, decided_by=f"{who.kind}:{who.name}")

        await self._core.committer.submit(Change(change, (decided(parts, who, found, "cancelled"),)))
        return self._shown(await self._find(number))

    async def confirm(self, number: int) -> AsyncGenerator[dict[str, Any]]:
        """
        Confirm a request and carry it out; yields progress and the result. Asked again it goes on.

        Raises AccessDenied without a second person, ConflictError for what is on hold or cancelled, NotFound.
        """
        await self._session.require(Action.CUSTODY)
        found = await self._find(number)
        if found.state == "cancelled":
            raise ConflictError(f"request {number} was cancelled; ask again with `strongroom erase request`")
        if found.state == "requested":
            await self._confirm(found)
        work = asyncio.ensure_future(Erasures(self._core).carry_out(number))
        seen = ""
        while not work.done():
            await asyncio.wait({work}, timeout=0.2)
            state = (await self._find(number)).state
            if state != seen:
                seen = state
                yield {"progress": {"done": _STATES.index(state), "total": _STEPS, "state": state}}
        await work
        ended = await self._find(number)
        if ended.state == "cancelled":
            raise ConflictError("a study was put on legal hold meanwhile; the request is cancelled")
        yield {"result": self._shown(ended)}

    async def _confirm(self, found: Erasure) -> None:
        parts = self._core.parts
        actor = self._session.actor
        now = parts.clock()
        kind, _, name = found.actor.partition(":")
        asked = Requested(ActorKind(kind), name, found.at)
        with parts.database.reader() as connection:
            held = holds.active(connection, found.study_instance_uids, at=now.timestamp())
        decision = decide_erasure(actor, asked, now.timestamp(), PolicyTarget(on_hold=bool(held)))
        if isinstance(decision, Refusal):
            message = recording.refusal(parts, actor, "erase", decision.reason.value)
            await self._core.committer.submit(Note((message,)))
            if held:
                raise ConflictError("a study of this request is on legal hold; `strongroom hold list` shows it")
            raise AccessDenied(decision.reason.value)
        who = recording.party(actor)

        def change(connection: apsw.Connection) -> None:
            now_there = erasures.find(connection, found.id)
            if now_there is None or now_there.state != "requested":
                raise ConflictError(f"request {found.id} was decided meanwhile")
            at = now.timestamp()
            erasures.set_state(connection, found.id, "confirmed", at=at, decided_by=f"{who.kind}:{who.name}")
            payload = {"erasure": found.id}
            jobs.enqueue(connection, "erase", payload, at=at, not_before=at + RESUME_SECONDS, key=str(found.id))

        await self._core.committer.submit(Change(change, (decided(parts, who, found, "confirmed"),)))

    async def release(self, study: str, *, reason: str) -> dict[str, Any]:
        """Let an erased study be sent again, as a new one; raises NotFound."""
        await self._session.require(Action.CUSTODY)
        checked_reason(reason)
        parts = self._core.parts
        now = parts.clock()

        def change(connection: apsw.Connection) -> int:
            released = tombstones.release(connection, study, at=now.timestamp())
            if not released:
                raise NotFound("no tombstone in force stands for that study; `strongroom erase list` shows them")
            parts.tombstones.append(released)
            parts.erased.discard(study)
            return len(released)

        message = parts.reporter.changed(
            now,
            recording.party(self._session.actor),
            EventType.ERASURE,
            f"urn:strongroom:study:{study}",
            "an erased study may be sent again, as a new one",
            ("Erase reason", reason),
        )
        return {"study": study, "tombstones": await self._core.committer.submit(Change(change, (message,)))}

    async def listed(self) -> dict[str, Any]:
        """Requests and tombstones."""
        await self._session.require(Action.REVIEW)

        def read() -> dict[str, Any]:
            with self._core.parts.database.reader() as connection:
                graves = [
                    {
                        "study": one.study_instance_uid,
                        "instances": one.instances,
                        "when": when(one.at),
                        "keys": len(one.key_ids),
                        "proof": one.proof.hex(),
                        "released": when(one.released_at),
                    }
                    for one in tombstones.every(connection)
                ]
                return {"requests": [self._shown(one) for one in erasures.every(connection)], "tombstones": graves}

        return await asyncio.to_thread(read)

    async def _find(self, number: int) -> Erasure:
        with self._core.parts.database.reader() as connection:
            found = erasures.find(connection, number)
        if found is None:
            raise NotFound(f"no request {number}; `strongroom erase list` shows them")
        return found

    def _shown(self, one: Erasure) -> dict[str, Any]:
        return {
            "id": one.id,
            "state": one.state,
            "studies": list(one.study_instance_uids),
            "when": when(one.at),
            "who": one.actor,
            "reason": one.reason,
            "decided": when(one.decided_at),
            "decided_by": one.decided_by,
            "ended": when(one.ended_at),
        }
