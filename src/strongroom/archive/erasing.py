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
from typing import TYPE_CHECKING, Final, final

from strongroom.access.policy import Actor
from strongroom.archive import places, recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.compaction import ROOM_SECONDS, UPKEEP_LOOK_SECONDS, Compaction
from strongroom.archive.holding import checked_studies, must_be_here
from strongroom.audit.codes import EventType
from strongroom.audit.parties import Party
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.catalogue.removal import take_out
from strongroom.catalogue.scope import EVERYTHING
from strongroom.dicom.model import Level
from strongroom.errors import ConflictError, IntegrityError, OutOfResources
from strongroom.ground.database_files import overwrite
from strongroom.register import erasures, holds, jobs, retired, tombstones
from strongroom.register.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from strongroom.archive.committer import Group
    from strongroom.archive.compaction import Report
    from strongroom.archive.core import Core, Parts
    from strongroom.archive.jobs import Task
    from strongroom.audit.message import AuditMessage
    from strongroom.register.erasures import Erasure

LOG_TRIES: Final = 50
"""Times the database's log is tried to be cut, LOG_SECONDS apart, while somebody reads an old state."""
LOG_SECONDS: Final = 0.2
RESUME_SECONDS: Final = 60.0
"""Whoever confirms carries it out at once; a job that is due so much later goes on with what was cut short."""
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
            self._messages = [decided(parts, who, found, "cancelled: a study was put on legal hold meanwhile")]
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
    at = parts.clock().timestamp()
    retired.put_due(connection, packs, at=at)
    jobs.enqueue(connection, "compaction", {}, at=at, not_before=at + RESUME_SECONDS, key="due")
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
class Erasures:
    """Carries out what was confirmed."""

    def __init__(self, core: Core, report: Report | None = None) -> None:
        self._core = core
        self._report = report

    async def resume(self) -> int:
        """Go on with whatever was cut short; return how many requests that were."""
        with self._core.parts.database.reader() as connection:
            numbers = erasures.unfinished(connection)
        for number in numbers:
            await self.carry_out(number)
        await Compaction(self._core, report=self._report).due()
        return len(numbers)

    async def carry_out(self, number: int) -> None:
        """Do every step that is not done yet; harmless when all are. Raises what a step raises, and can go on then."""
        core, parts = self._core, self._core.parts
        while self._report is not None and core.erasing.locked():
            await self._report(0, _STEPS)
            await asyncio.sleep(UPKEEP_LOOK_SECONDS)
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
            await Compaction(core, report=self._report).due()
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


def bind(core: Core) -> None:
    """Let jobs go on with erasing and compaction; before they start."""

    async def erase(task: Task) -> None:
        await Erasures(core, task.progress).carry_out(int(task.payload["erasure"]))

    async def compact(task: Task) -> None:
        compaction = Compaction(core, report=task.progress)
        await compaction.due()
        await compaction.worthwhile()

    core.jobs.handle("erase", erase)
    core.jobs.handle("compaction", compact)
    core.jobs.every("compaction", ROOM_SECONDS)


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


def decided(parts: Parts, who: Party, found: Erasure, what: str) -> AuditMessage:
    """Somebody decided about a request."""
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
