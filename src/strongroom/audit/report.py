"""
Makes the messages of the trail, so that each holds to its table of PS3.15 A.5.3 (participants, roles, objects, action).

Every method takes the time of the act first. One patient per transfer or access, one outcome per message (A.5.2):
where some instances went well and some did not, the caller asks for two messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from strongroom.audit.codes import Event, EventType, IdType, Outcome, Role
from strongroom.audit.message import AuditMessage, Participant, ParticipantObject
from strongroom.audit.parties import (
    MAX_REASON,
    NOBODY,
    REPORT,
    SECURITY_RESOURCE,
    SYSTEM_OBJECT,
    Party,
    Patient,
    Study,
    medium_of,
    participant,
    patient_object,
    short,
    study_object,
    subject_object,
    types_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MAX_QUERY: Final = 64 * 1024
"""Bytes of a query that are kept; no honest one comes near, and the caller chooses how long his is."""


@final
class Reporter:
    """The archive *source* (its name) with *ae_title*, reporting its acts."""

    __slots__ = ("_own", "_own_destination", "_own_source", "_source")

    def __init__(self, source: str, ae_title: str) -> None:
        self._source = source
        self._own = Party("application", source, ae_title)
        self._own_source = participant(self._own, Role.SOURCE)
        self._own_destination = participant(self._own, Role.DESTINATION)

    # ------------------------------------------------------------------ instances

    def deposited(
        self,
        time: datetime,
        sender: Party,
        patient: Patient,
        study: Study,
        *,
        held: bool = False,
        recovered: bool = False,
        rule: str = "",
        details: tuple[tuple[str, str], ...] = (),
    ) -> AuditMessage:
        """
        Instances of one study came in from one sender and are kept (A.5.3.7); one message per group and study.

        *held*: we held them already, and nothing changed (action R instead of C). *details* are ours, about the study.
        """
        return AuditMessage(
            time,
            Event.INSTANCES_TRANSFERRED,
            "R" if held else "C",
            Outcome.SUCCESS,
            (participant(sender, Role.SOURCE, requestor=True), self._own_destination),
            self._source,
            (study_object(study, sender, *details), patient_object(patient)),
            types_of(sender, EventType.RECOVERED if recovered else None),
            rule=rule,
        )

    def deposit_failed(
        self,
        time: datetime,
        sender: Party,
        study: Study,
        reason: str,
        *,
        patient: Patient = NOBODY,
        quarantined: bool = False,
    ) -> AuditMessage:
        """Instances were sent and are not kept as good: refused, broken off or set aside (A.5.3.7, failure)."""
        return AuditMessage(
            time,
            Event.INSTANCES_TRANSFERRED,
            "C",
            Outcome.SERIOUS_FAILURE,
            (participant(sender, Role.SOURCE, requestor=True), self._own_destination),
            self._source,
            (study_object(study, sender), patient_object(patient)),
            types_of(sender, EventType.QUARANTINED if quarantined else None),
            short(reason),
        )

    def begin_transfer(
        self,
        time: datetime,
        requester: Party,
        recipient: Party,
        patient: Patient,
        studies: Sequence[Study],
        *,
        act: str = "",
        rule: str = "",
    ) -> AuditMessage:
        """We are about to send studies of one patient to *recipient* (A.5.3.3); *act* joins it with its end."""
        return AuditMessage(
            time,
            Event.BEGIN_TRANSFERRING,
            "E",
            Outcome.SUCCESS,
            self._transfer_participants(requester, recipient),
            self._source,
            (*(study_object(study, requester) for study in studies), patient_object(patient)),
            types_of(requester),
            act=act,
            rule=rule,
        )

    def transferred(
        self,
        time: datetime,
        requester: Party,
        recipient: Party,
        patient: Patient,
        studies: Sequence[Study],
        *,
        act: str = "",
        reason: str = "",
    ) -> AuditMessage:
        """Studies of one patient were sent, or with a *reason*, were not (A.5.3.7): the end of `begin_transfer`."""
        return AuditMessage(
            time,
            Event.INSTANCES_TRANSFERRED,
            "R",
            Outcome.SERIOUS_FAILURE if reason else Outcome.SUCCESS,
            self._transfer_participants(requester, recipient),
            self._source,
            (*(study_object(study, requester) for study in studies), patient_object(patient)),
            types_of(requester),
            short(reason),
            act=act,
        )

    def accessed(
        self,
        time: datetime,
        actor: Party,
        patient: Patient,
        studies: Sequence[Study],
        *,
        action: str = "R",
        kind: EventType | None = None,
        rule: str = "",
    ) -> AuditMessage:
        """Studies of one patient were viewed, changed or partly deleted inside the archive (A.5.3.6)."""
        return AuditMessage(
            time,
            Event.INSTANCES_ACCESSED,
            action,
            Outcome.SUCCESS,
            (participant(actor, requestor=True),),
            self._source,
            (*(study_object(study, actor) for study in studies), patient_object(patient)),
            types_of(actor, kind),
            rule=rule,
        )

    def study_deleted(
        self, time: datetime, actor: Party, patient: Patient, study: Study, *, reason: str = "", rule: str = ""
    ) -> AuditMessage:
        """A whole study was deleted (A.5.3.8), or with a *reason*, could not be."""
        return AuditMessage(
            time,
            Event.STUDY_DELETED,
            "D",
            Outcome.SERIOUS_FAILURE if reason else Outcome.SUCCESS,
            (participant(actor, requestor=True),),
            self._source,
            (study_object(study, actor), patient_object(patient)),
            types_of(actor),
            short(reason),
            rule=rule,
        )

    def erased(self, time: datetime, actor: Party, study: str, *details: tuple[str, str]) -> AuditMessage:
        """A study is gone for good, keys and all (A.5.3.8); *details* prove what it was, no patient is named."""
        return AuditMessage(
            time,
            Event.STUDY_DELETED,
            "D",
            Outcome.SUCCESS,
            (participant(actor, requestor=True),),
            self._source,
            (subject_object(study, IdType.STUDY, "erased for good", *details),),
            (EventType.ERASED,),
        )

    def imported(
        self, time: datetime, actor: Party, medium: str, patient: Patient, studies: Sequence[Study]
    ) -> AuditMessage:
        """Studies of one patient were read in from *medium*, a URI (A.5.3.5)."""
        return AuditMessage(
            time,
            Event.IMPORT,
            "C",
            Outcome.SUCCESS,
            (participant(actor, Role.DESTINATION, requestor=True), medium_of(medium, Role.SOURCE_MEDIA)),
            self._source,
            (*(study_object(study, actor) for study in studies), patient_object(patient)),
            types_of(actor),
        )

    def exported(
        self, time: datetime, actor: Party, medium: str, patient: Patient, studies: Sequence[Study], *, act: str = ""
    ) -> AuditMessage:
        """Studies of one patient were written out to *medium*, a URI (A.5.3.4)."""
        return AuditMessage(
            time,
            Event.EXPORT,
            "R",
            Outcome.SUCCESS,
            (participant(actor, Role.SOURCE, requestor=True), medium_of(medium, Role.DESTINATION_MEDIA)),
            self._source,
            (*(study_object(study, actor) for study in studies), patient_object(patient)),
            types_of(actor),
            act=act,
        )

    def query(
        self,
        time: datetime,
        actor: Party,
        sop_class_uid: str,
        identifier: bytes,
        *,
        transfer_syntax_uid: str = "",
        matches: int | None = None,
        exact: bool = True,
        rule: str = "",
    ) -> AuditMessage:
        """
        A search was answered (A.5.3.10): what was asked and how many matches, never what they were.

        *identifier* is the query as it came; with *exact* false, *matches* is a number so far.
        """
        details = [("TransferSyntax", transfer_syntax_uid)] if transfer_syntax_uid else []
        if matches is not None:
            details.append(("Matches" if exact else "Matches so far", str(matches)))
        if len(identifier) > MAX_QUERY:
            details.append(("Query length", str(len(identifier))))
        if actor.written_reason:
            details.append(("Written reason", actor.written_reason[:MAX_REASON]))
        asked = ParticipantObject(
            sop_class_uid,
            IdType.SOP_CLASS,
            SYSTEM_OBJECT,
            REPORT,
            query=identifier[:MAX_QUERY],
            details=tuple(details),
        )
        return AuditMessage(
            time,
            Event.QUERY,
            "E",
            Outcome.SUCCESS,
            (participant(actor, Role.SOURCE, requestor=True), self._own_destination),
            self._source,
            (asked,),
            types_of(actor),
            rule=rule,
        )

    # ------------------------------------------------------------------ the archive itself

    def started(self, time: datetime, launcher: Party | None = None) -> AuditMessage:
        """The archive takes up its work (A.5.3.1)."""
        return self._activity(time, EventType.APPLICATION_START, launcher)

    def stopped(self, time: datetime, launcher: Party | None = None) -> AuditMessage:
        """The archive ends its work."""
        return self._activity(time, EventType.APPLICATION_STOP, launcher)

    def trail_read(self, time: datetime, actor: Party, what: str = "") -> AuditMessage:
        """Somebody read the trail (A.5.3.2); *what* says which part."""
        details = (("Filter", what[:MAX_REASON]),) if what else ()
        uri = f"urn:strongroom:trail:{self._source}"
        log = ParticipantObject(uri, IdType.URI, SYSTEM_OBJECT, SECURITY_RESOURCE, "Security Audit Log", None, details)
        return AuditMessage(
            time,
            Event.AUDIT_LOG_USED,
            "R",
            Outcome.SUCCESS,
            (participant(actor, requestor=True),),
            self._source,
            (log,),
        )

    # ------------------------------------------------------------------ who may, and who may not

    def authenticated(self, time: datetime, actor: Party, *, reason: str = "", logout: bool = False) -> AuditMessage:
        """A person or device signed on or off (A.5.3.12), or with a *reason*, was not let in."""
        return AuditMessage(
            time,
            Event.USER_AUTHENTICATION,
            "E",
            Outcome.MINOR_FAILURE if reason else Outcome.SUCCESS,
            (participant(actor, requestor=True), participant(self._own)),
            self._source,
            types=(EventType.LOGOUT if logout else EventType.LOGIN,),
            reason=short(reason),
        )

    def refused(
        self, time: datetime, actor: Party, action: str, reason: str, *, study: str = "", patient: Patient | None = None
    ) -> AuditMessage:
        """Somebody who is known asked for what he may not have (A.5.3.11, Authorization Decision)."""
        subject = subject_object(
            study or f"urn:strongroom:action:{action}", IdType.STUDY if study else IdType.URI, f"{action} refused"
        )
        return AuditMessage(
            time,
            Event.SECURITY_ALERT,
            "E",
            Outcome.MINOR_FAILURE,
            (participant(self._own), participant(actor)),
            self._source,
            (subject, patient_object(patient)) if patient is not None else (subject,),
            (EventType.AUTHORIZATION_DECISION, *types_of(actor)),
            short(reason),
        )

    def not_admitted(
        self, time: datetime, caller: Party, door: str, reason: str, *, fingerprint: str = "", device: str = ""
    ) -> AuditMessage:
        """
        A caller was turned away at a door (A.5.3.11, Node Authentication).

        *device* names the enrolled device whose certificate or AE title was shown, if there is one.
        """
        details = (("Door", door), ("Certificate SHA-256", fingerprint), ("Device shown", device))
        known = (pair for pair in details if pair[1])
        node = subject_object(caller.address, IdType.NODE, "caller not admitted", *known)
        return AuditMessage(
            time,
            Event.SECURITY_ALERT,
            "E",
            Outcome.MINOR_FAILURE,
            (participant(self._own), participant(caller)),
            self._source,
            (node,),
            (EventType.NODE_AUTHENTICATION,),
            short(reason),
        )

    def repeated(
        self, time: datetime, caller: Party, door: str, reason: str, *, times: int, since: datetime
    ) -> AuditMessage:
        """*times* more of the same `not_admitted` since *since*, counted instead of recorded each (H02)."""
        details = (("Door", door), ("Times", str(times)), ("Since", since.isoformat()))
        node = subject_object(caller.address, IdType.NODE, "caller not admitted, again and again", *details)
        return AuditMessage(
            time,
            Event.SECURITY_ALERT,
            "E",
            Outcome.MINOR_FAILURE,
            (participant(self._own), participant(caller)),
            self._source,
            (node,),
            (EventType.NODE_AUTHENTICATION, EventType.REPEATED),
            short(reason),
        )

    def changed(
        self, time: datetime, actor: Party, kind: EventType, subject: str, description: str, *details: tuple[str, str]
    ) -> AuditMessage:
        """
        Somebody changed who may do what, or how the archive runs (A.5.3.11, success): enrolment, revocation, roles,
        holds.

        *kind* is one of CID 403, *subject* a URI such as urn:strongroom:device:CT1.
        """
        return AuditMessage(
            time,
            Event.SECURITY_ALERT,
            "E",
            Outcome.SUCCESS,
            (participant(actor, requestor=True), participant(self._own)),
            self._source,
            (subject_object(subject, IdType.URI, description, *details),),
            (kind, *types_of(actor)),
        )

    def alert(
        self,
        time: datetime,
        kind: EventType,
        subject: str,
        description: str,
        *details: tuple[str, str],
        severity: Outcome = Outcome.SERIOUS_FAILURE,
        caused_by: Party | None = None,
        patient: Patient | None = None,
        act: str = "",
    ) -> AuditMessage:
        """
        Something that wants a person's eye (A.5.3.11): conflict version, door shut, torn trail, unfinished transfer.

        Severity as the standard has it: minor or serious, it was held off; major, it may not have been. *act* names
        the transfer it is about, if it is about one.
        """
        own = subject_object(subject, IdType.URI, description, *details)
        others = () if caused_by is None else (participant(caused_by),)
        return AuditMessage(
            time,
            Event.SECURITY_ALERT,
            "E",
            severity,
            (participant(self._own), *others),
            self._source,
            (own,) if patient is None else (own, patient_object(patient)),
            (EventType.RESTRICTED_FUNCTION, kind) if not kind.isdigit() else (kind,),
            act=act,
        )

    def _activity(self, time: datetime, kind: EventType, launcher: Party | None) -> AuditMessage:
        participants = [participant(self._own, Role.APPLICATION)]
        if launcher is not None:
            participants.append(participant(launcher, Role.LAUNCHER, requestor=True))
        return AuditMessage(
            time, Event.APPLICATION_ACTIVITY, "E", Outcome.SUCCESS, tuple(participants), self._source, types=(kind,)
        )

    def _transfer_participants(self, requester: Party, recipient: Party) -> tuple[Participant, ...]:
        own = (requester.kind, requester.name) == (recipient.kind, recipient.name)
        destination = participant(recipient, Role.DESTINATION, requestor=own)
        if own:
            return self._own_source, destination
        return self._own_source, destination, participant(requester, requestor=True)
