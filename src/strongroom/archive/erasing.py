"""
Erasing for good (SECURITY C47, C27; docs/decisions/0011): asked for by one, confirmed by another, carried out in steps
of which each is durable before the next begins.

1. removed: a tombstone in the sealed file, flushed; then in one transaction the tombstone in the register, every row
   of the study in the catalogue and of what was kept aside gone, its packs listed, and the record with the proof. From
   here on nothing of the study is taken in, found or served.
2. shredded: its data keys are gone from both copies of the keyring; what lies under them opens for nobody.
3. the database's log is cut to nothing, copies of the database from before a migration are overwritten and removed.
4. done: the packs that held it are compacted away.
Cut short anywhere it goes on where it was: at the server's next start, or when `erase confirm` is typed again.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.policy import Actor, Refusal, Requested, decide_erasure
from strongroom.access.policy import Target as PolicyTarget
from strongroom.access.roles import Action, ActorKind
from strongroom.archive import places, recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.compaction import Compaction
from strongroom.archive.holding import checked_reason, checked_studies, must_be_here, when
from strongroom.audit.codes import EventType
from strongroom.audit.parties import Party
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.catalogue.removal import take_out
from strongroom.catalogue.scope import EVERYTHING
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, ConflictError, IntegrityError, NotFound, OutOfResources
from strongroom.ground.database import overwrite
from strongroom.register import erasures, holds, retired, tombstones
from strongroom.register.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    import apsw

    from strongroom.archive.committer import Group
    from strongroom.archive.core import Core, Parts
    from strongroom.archive.session import Session
    from strongroom.audit.message import AuditMessage
    from strongroom.register.erasures import Erasure

LOG_TRIES: Final = 50
"""Times the database's log is tried to be cut, LOG_SECONDS apart, while somebody reads an old state."""
LOG_SECONDS: Final = 0.2
_PROOF: Final = b"strongroom erasure 1\0"
_STEPS: Final = 4


async def request(core: Core, actor: Actor, studies: Sequence[str], reason: str) -> int:
    """
    Write down that *actor* wants studies erased for good; return the number of the request.

    The caller has asked the policy. Raises ConfigurationError, NotFound, and ConflictError for what is on hold or
    asked for already.
    """
    uids = checked_studies(studies, reason)
    parts = core.parts
    now = parts.clock()
    who = recording.party(actor)

    def change(connection: apsw.Connection) -> int:
        must_be_here(connection, uids)
        if holds.active(connection, uids, at=now.timestamp()):
            raise ConflictError("a study among these is on legal hold; `strongroom hold list` shows it")
        for uid in uids:
            if (number := erasures.of_study(connection, uid)) is not None:
                raise ConflictError(f"request {number} asks for one of these studies already")
        return erasures.add(connection, uids, at=now.timestamp(), actor=f"{who.kind}:{who.name}", reason=reason)

    messages = [
        parts.reporter.changed(
            now,
            who,
            EventType.ERASURE,
            f"urn:strongroom:study:{uid}",
            "erasing for good was asked for",
            ("Erase reason", reason),
        )
        for uid in uids
    ]
    try:
        return int(await core.committer.submit(Change(change, messages)))
    except ConflictError:
        await core.committer.submit(Note((recording.refusal(parts, actor, "erase", "on-hold"),)))
        raise


@final
class RemoveAct:
    """Step 1, for all studies of a request, in one transaction."""

    __slots__ = ("_erasure", "_messages", "result")
    size = 0

    def __init__(self, erasure: int) -> None:
        self._erasure = erasure
        self._messages: list[AuditMessage] = []
        self.result = False
        """Whether it was done; not when a study was put on hold meanwhile, then the request is cancelled."""

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Look, bury, remove."""
        parts, connection = group.parts, group.connection
        now = parts.clock()
        found = erasures.find(connection, self._erasure)
        if found is None or found.state != "confirmed":
            self.result = found is not None and found.state in ("removed", "shredded", "done")
            return
        who = _party(found.decided_by or found.actor)
        if holds.active(connection, found.study_instance_uids, at=now.timestamp()):
            erasures.set_state(connection, found.id, "cancelled", at=now.timestamp())
            self._messages = [_decided(parts, who, found, "cancelled: a study was put on legal hold meanwhile")]
            return
        graves = [_tombstone(parts, connection, uid, now.timestamp()) for uid in found.study_instance_uids]
        parts.tombstones.append(graves)
        for grave in graves:
            remove(parts, connection, grave)
            erasures.bury(connection, found.id, grave.study_instance_uid, grave.tombstone_id)
            parts.erased.add(grave.study_instance_uid)
        erasures.set_state(connection, found.id, "removed", at=now.timestamp())
        self._messages = [_erased(parts, who, grave, found) for grave in graves]
        self.result = True

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """One for each study, with the proof."""
        return self._messages


def remove(parts: Parts, connection: apsw.Connection, grave: Tombstone) -> None:
    """Take out everything that lies under the keys of a tombstone, and keep the tombstone; inside a transaction."""
    uid, keys = grave.study_instance_uid, set(grave.key_ids)
    rows = [row for row in _rows(connection, uid) if row.key_id in keys]
    kept = places.kept_of_study(connection, uid, grave.key_ids)
    packs = {row.location.pack for row in rows} | {one.pack for one in kept}
    if rows:
        take_out(connection, rows)
    places.remove_kept(connection, uid, grave.key_ids)
    parts.recorder.forget()
    retired.put_due(connection, packs, at=parts.clock().timestamp())
    tombstones.put(connection, grave)


def reapply(parts: Parts, graves: Iterable[Tombstone]) -> int:
    """
    Erase again what an older copy brought back: rows and keys; return how many tombstones there were something left of.

    For whoever owns the home and does nothing else with it (a start, a restore). Packs that hold erased bytes are
    listed, and compacted once the archive runs. Raises OutOfResources.
    """
    every = list(graves)
    left = 0
    for grave in every:
        with parts.database.transaction() as connection:
            rows = [row for row in _rows(connection, grave.study_instance_uid) if row.key_id in grave.key_ids]
            there = rows or places.kept_of_study(connection, grave.study_instance_uid, grave.key_ids)
            remove(parts, connection, grave)
            left += bool(there)
    if every:
        parts.keyring.shred({one for grave in every for one in grave.key_ids})
        _forget_copies(parts)
        parts.database.truncate_log()
    return left


def bring_together(parts: Parts) -> list[str]:
    """
    At start: the sealed file and the register know the same tombstones afterwards, and what only the file knew is
    erased again (an older state of the database came back). Returns what the trail has to say.
    """
    with parts.database.reader() as connection:
        known = {one.tombstone_id: one for one in tombstones.every(connection)}
    notices: list[str] = []
    try:
        filed = parts.tombstones.read()
    except IntegrityError as damaged:
        filed = dict(known)
        parts.tombstones.renew(known.values())
        notices.append(f"the tombstones were damaged and were written anew out of the register ({damaged})")
    newer = [one for key, one in filed.items() if key not in known or (one.released_at and not known[key].released_at)]
    if newer:
        left = reapply(parts, newer)
        notices.append(f"an older state came back: {left} of {len(newer)} erased studies were erased again")
    parts.tombstones.append(
        [one for key, one in known.items() if key not in filed or (one.released_at and not filed[key].released_at)]
    )
    with parts.database.reader() as connection:
        parts.erased.clear()
        parts.erased.update(tombstones.in_force(connection))
    return notices


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

        await self._core.committer.submit(Change(change, (_decided(parts, who, found, "cancelled"),)))
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

        await self._core.committer.submit(Change(change, (_decided(parts, who, found, "confirmed"),)))

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


_STATES: Final = ("requested", "confirmed", "removed", "shredded", "done", "cancelled")


@final
class Erasures:
    """Carries out what was confirmed."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def resume(self) -> int:
        """Go on with whatever was cut short; return how many requests that were."""
        with self._core.parts.database.reader() as connection:
            numbers = erasures.unfinished(connection)
        for number in numbers:
            await self.carry_out(number)
        await Compaction(self._core).due()
        return len(numbers)

    async def carry_out(self, number: int) -> None:
        """Do every step that is not done yet; harmless when all are. Raises what a step raises, and can go on then."""
        core, parts = self._core, self._core.parts
        async with core.erasing:
            try:
                removed = await core.committer.submit(RemoveAct(number))
            except BaseException:
                with parts.database.reader() as connection:
                    parts.erased.clear()
                    parts.erased.update(tombstones.in_force(connection))
                raise
            if not removed:
                return
            with parts.database.reader() as connection:
                found = erasures.find(connection, number)
                graves = [
                    one for one in tombstones.every(connection) if found and one.tombstone_id in found.tombstone_ids
                ]
            if found is None or found.state == "done":
                return
            await asyncio.to_thread(parts.keyring.shred, {one for grave in graves for one in grave.key_ids})
            await self._reached(number, "shredded", ())
            await self._cut_log()
            await Compaction(core).due()
            await self._cut_log()
            await self._reached(number, "done", [_gone(parts, _party(found.decided_by or ""), one) for one in graves])

    async def _reached(self, number: int, state: str, messages: Sequence[AuditMessage]) -> None:
        at = self._core.parts.clock().timestamp()
        await self._core.committer.submit(
            Change(lambda connection: erasures.set_state(connection, number, state, at=at), messages)
        )

    async def _cut_log(self) -> None:
        parts = self._core.parts
        await asyncio.to_thread(_forget_copies, parts)
        for last in range(LOG_TRIES, 0, -1):
            try:
                await asyncio.to_thread(parts.database.truncate_log)
            except OutOfResources:
                if last == 1:
                    raise
                await asyncio.sleep(LOG_SECONDS)
            else:
                return


def _rows(connection: apsw.Connection, uid: str) -> list[catalogue.InstanceRow]:
    return catalogue.instances(connection, Target(Level.STUDY, study_instance_uids=(uid,)), EVERYTHING)


def _tombstone(parts: Parts, connection: apsw.Connection, uid: str, at: float) -> Tombstone:
    keys = parts.keyring.of_study(uid)
    held = set(keys)
    gone = [(row.sop_instance_uid, bytes(row.digest)) for row in _rows(connection, uid) if row.key_id in held]
    gone += [(one.sop_instance_uid, bytes(one.digest)) for one in places.kept_of_study(connection, uid, keys)]
    proof = hashlib.sha256(_PROOF + uid.encode() + b"\0" + b"".join(keys))
    for sop_instance_uid, digest in sorted(gone):
        proof.update(sop_instance_uid.encode() + b"\0" + digest)
    return Tombstone(parts.entropy(16), uid, keys, len(gone), at, proof.digest())


def _forget_copies(parts: Parts) -> None:
    """Copies of the database from before a migration hold the rows as they were: nobody goes back behind an erasure."""
    path = parts.database.path
    for left in sorted(path.parent.glob(f"{path.name}.before-*")):
        overwrite(left)


def _party(text: str) -> Party:
    kind, _, name = text.partition(":")
    return Party(kind or "system", name or "erasing")


def _decided(parts: Parts, who: Party, found: Erasure, what: str) -> AuditMessage:
    return parts.reporter.changed(
        parts.clock(), who, EventType.ERASURE, f"urn:strongroom:erasure:{found.id}", f"a request to erase was {what}"
    )


def _erased(parts: Parts, who: Party, grave: Tombstone, found: Erasure) -> AuditMessage:
    return parts.reporter.erased(
        parts.clock(),
        who,
        grave.study_instance_uid,
        ("Step", "rows removed, keys are being shredded"),
        ("Instances", str(grave.instances)),
        ("Keys", ", ".join(one.hex() for one in grave.key_ids)),
        ("Proof", grave.proof.hex()),
        ("Request", str(found.id)),
    )


def _gone(parts: Parts, who: Party, grave: Tombstone) -> AuditMessage:
    return parts.reporter.erased(
        parts.clock(),
        who,
        grave.study_instance_uid,
        ("Step", "keys shredded, packs compacted"),
        ("Proof", grave.proof.hex()),
    )
