"""
What a decision about conflicts changes, in the transaction that writes it down: which contents are in the catalogue,
and which are listed as deleted because they lost. Nothing is dropped, and another decision turns it round.

What is decided together (`register.conflicts.together`) are *the second ones*; what the catalogue had when they came
are *the first*.
1. first   second ones that are in the catalogue leave it, those that were displaced by them come back
2. second  what stands in their way leaves the catalogue (of one UID the other content; of another patient's study
           everything), they come in
3. both    of another patient: they come into the study as it is; what they name stays in their data sets
A study belongs to one patient (catalogue.levels): that is why an instance cannot be filed under its own within it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from strongroom.archive import recording
from strongroom.archive.deletion import header_of, kept_of, stored_of
from strongroom.audit.codes import EventType
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue import patients
from strongroom.catalogue.query import Target
from strongroom.catalogue.record import prepare
from strongroom.catalogue.removal import take_out
from strongroom.catalogue.scope import EVERYTHING
from strongroom.dicom.model import Level
from strongroom.errors import ConflictError
from strongroom.register import conflicts, decisions, deletions, holds
from strongroom.register.conflicts import Kind
from strongroom.register.decisions import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from strongroom.access.policy import Actor
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.catalogue.record import Prepared
    from strongroom.dicom.header import Header
    from strongroom.register.conflicts import Conflict
    from strongroom.register.kept import KeptBlob

__all__ = ["AT_ONCE", "Coming", "Plan", "ResolveAct", "plan", "read"]

AT_ONCE: Final = 32
"""Instances that come in with one transaction: deposits wait for these only. What leaves, leaves with the first."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What a decision moves."""

    lead: Conflict
    together: tuple[Conflict, ...]
    going: tuple[InstanceRow, ...]
    coming: tuple[KeptBlob, ...]
    begun: int
    """The number of the decision that an interruption has left half carried out, else 0."""


@final
@dataclass(frozen=True, slots=True)
class Coming:
    """A kept data set on its way into the catalogue, with its header read again."""

    kept: KeptBlob
    header: Header
    prepared: Prepared


def read(parts: Parts, kept: KeptBlob) -> Coming:
    """Read what comes in, in a worker thread; raises IntegrityError when its blob is damaged."""
    header = header_of(parts, kept)
    return Coming(kept, header, prepare(header))


def plan(connection: apsw.Connection, lead: Conflict, verdict: Verdict) -> Plan:
    """Work out what *verdict* moves; raises ConflictError when it cannot be done so, or is done already."""
    together = conflicts.together(connection, lead)
    blobs = {one.kept.blob_id for one in together}
    made = [] if verdict is not Verdict.FIRST else _displaced(connection, together, blobs)
    if verdict is Verdict.FIRST:
        going = tuple(row for one in together if (row := _live(connection, one)) and row.blob_id == one.kept.blob_id)
        _check_first(connection, lead, going, made)
        coming = tuple(made)
    else:
        going, coming = _second(connection, lead, together, both=verdict is Verdict.BOTH)
    begun = _begun(connection, together, verdict)
    if begun and not going and not coming:
        raise ConflictError(f"this was decided so already ({verdict.value}); nothing has to be changed")
    return Plan(lead, together, going, coming, 0 if going or verdict is Verdict.FIRST else begun)


def _begun(connection: apsw.Connection, together: Sequence[Conflict], verdict: Verdict) -> int:
    """The number of the decision all of them hang on, if it is the same verdict; else 0."""
    numbers = {one.decision for one in together}
    number = numbers.pop()
    found = None if numbers or number is None else decisions.find(connection, number)
    return found.id if found is not None and found.verdict is verdict else 0


def _live(connection: apsw.Connection, conflict: Conflict) -> InstanceRow | None:
    return catalogue.find_instance(connection, conflict.kept.sop_instance_uid)


def _displaced(connection: apsw.Connection, together: Sequence[Conflict], blobs: set[bytes]) -> list[KeptBlob]:
    """The first ones, where an earlier decision took them out of the catalogue."""
    numbers = sorted({one.decision for one in together if one.decision is not None})
    return [one.kept for one in deletions.of_decisions(connection, numbers) if one.kept.blob_id not in blobs]


def _check_first(
    connection: apsw.Connection, lead: Conflict, going: Sequence[InstanceRow], displaced: Sequence[KeptBlob]
) -> None:
    """A third content may have taken the place since: what comes back would meet it."""
    if lead.kind is Kind.CONTENT and displaced and not going and _live(connection, lead) is not None:
        raise ConflictError("another content has come into the place of this one since; decide on that conflict first")


def _second(
    connection: apsw.Connection, lead: Conflict, together: Sequence[Conflict], *, both: bool
) -> tuple[tuple[InstanceRow, ...], tuple[KeptBlob, ...]]:
    """What goes and what comes when the second ones are taken."""
    study = lead.kept.study_instance_uid
    stated = (lead.patient_id, lead.issuer)
    owner = patients.patient_of(connection, study)
    another = lead.kind is Kind.PATIENT and owner is not None and patients.are_two(owner, stated)
    if both and not another:
        raise ConflictError(
            "of two contents under one SOP Instance UID one can be kept: first or second"
            if lead.kind is Kind.CONTENT
            else "the study is not another patient's now; keep first, then both"
        )
    going: list[InstanceRow] = []
    if another and not both:
        going = catalogue.instances(connection, Target(Level.STUDY, study_instance_uids=(study,)), EVERYTHING)
    taken = {row.blob_id for row in going}
    coming: list[KeptBlob] = []
    for one in together:
        row = _live(connection, one)
        if row is not None and row.blob_id not in taken:
            if row.blob_id == one.kept.blob_id:
                continue
            if both:
                raise ConflictError("its SOP Instance UID is taken by the first: one of the two can be kept")
            going.append(row)
            taken.add(row.blob_id)
        coming.append(one.kept)
    return tuple(going), tuple(coming)


@final
class ResolveAct:
    """
    Write a decision down and carry out the first *coming* of it; with *number* those that follow.

    Raises ConflictError when something changed since it was planned.
    """

    __slots__ = ("_actor", "_coming", "_going", "_last", "_number", "_plan", "_reason", "_verdict", "_whole", "result")
    size = 0

    def __init__(
        self,
        actor: Actor,
        reason: str,
        planned: Plan,
        verdict: Verdict,
        coming: Sequence[Coming],
        *,
        number: int = 0,
        last: bool = True,
    ) -> None:
        self._actor = actor
        self._reason = reason
        self._plan = planned
        self._verdict = verdict
        self._coming = coming
        self._number = number
        self._last = last
        self._going: Sequence[InstanceRow] = () if number else planned.going
        self._whole: frozenset[str] = frozenset()
        self.result = number
        """The number of the decision."""

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Decide, take out, take in, in one transaction."""
        connection, parts = group.connection, group.parts
        at, who = parts.clock().timestamp(), f"{self._actor.kind.value}:{self._actor.name}"
        if not self._number:
            self._check(connection, at)
            self.result = decisions.add(connection, at=at, actor=who, reason=self._reason, verdict=self._verdict)
            self._whole = take_out(connection, self._going).study_instance_uids if self._going else frozenset()
            parts.recorder.forget()
        losers = self._losers()
        if losers:
            deletions.add(connection, losers, at=at, actor=who, reason=self._reason, decision=self.result)
        for one in self._coming:
            self._take_in(connection, parts, one)
        if self._last and self._verdict is Verdict.FIRST:
            self._lose(connection, at, who)
        # noted so that an interruption between two parts can be taken up: what is still to come back hangs on the
        # earlier decision, what is still to come in on this one
        if self._last if self._verdict is Verdict.FIRST else not self._number:
            conflicts.decide(connection, [one.id for one in self._plan.together], self.result)

    def _check(self, connection: apsw.Connection, at: float) -> None:
        """Planned outside this transaction: nobody must have decided or sent anything meanwhile, or put it on hold."""
        if plan(connection, self._plan.lead, self._verdict) != self._plan:
            raise ConflictError("something of this conflict has changed meanwhile; look at it and decide again")
        if holds.active(connection, {row.study_instance_uid for row in self._going}, at=at):
            raise ConflictError("the study is on legal hold, and this would take something of it out: release the hold")

    def _losers(self) -> list[KeptBlob]:
        """What leaves the catalogue and does not come back at once."""
        back = {one.blob_id for one in self._plan.coming}
        return [kept_of(row) for row in self._going if row.blob_id not in back]

    def _take_in(self, connection: apsw.Connection, parts: Parts, one: Coming) -> None:
        listed = deletions.of_blob(connection, one.kept.blob_id)
        if listed is not None:
            deletions.remove(connection, listed.id)
        identity = one.prepared.identity
        if self._verdict is Verdict.SECOND and patients.names_another(connection, identity):
            raise ConflictError(
                "it names another patient than the rest of its study, and a study belongs to one patient:"
                " nothing was changed"
            )
        parts.recorder.record(connection, one.header, stored_of(one.kept), prepared=one.prepared)

    def _lose(self, connection: apsw.Connection, at: float, who: str) -> None:
        """Second ones that were never taken, and are not, are listed with what is deleted."""
        never = [one.kept for one in self._plan.together if deletions.of_blob(connection, one.kept.blob_id) is None]
        if never:
            deletions.add(connection, never, at=at, actor=who, reason=self._reason, decision=self.result)

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """The decision; what left the catalogue, and what came into it."""
        parts, messages = group.parts, []
        actor = replace(
            self._actor, written_reason=""
        )  # deciding shows nobody patient data; the decision has the reason
        if not self._number:
            subject = f"instance:{self._plan.lead.kept.sop_instance_uid}"
            messages.append(
                recording.decided(
                    parts, self._actor, EventType.CONFLICT_DECIDED, subject, self._verdict.value, self._reason
                )
            )
            messages += recording.deleted(parts, actor, self._going, self._whole, "")
        taken = [(one.prepared.identity, one.kept.sop_class_uid) for one in self._coming]
        return messages + recording.restored(parts, actor, taken)
