"""The parts of an audit message, as callers know them: parties, patients and studies (PS3.15 A.5.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.audit.codes import MEDIA_URI, EventType, IdType, Role
from strongroom.audit.message import Instance, Participant, ParticipantObject, SopClass

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REASON: Final = 1024
"""Characters of a reason or description that are kept."""

PERSON, SYSTEM_OBJECT = "1", "2"
PATIENT, REPORT, SECURITY_RESOURCE = "1", "3", "13"


@final
@dataclass(frozen=True, slots=True)
class Party:
    """A participant as the caller knows it: kind and name of an actor, and where it calls from."""

    kind: str
    name: str
    ae_title: str = ""
    address: str = ""
    written_reason: str = ""
    """Why it was done, in the actor's words; that of the host to see patient data makes a message of its own type."""


@final
@dataclass(frozen=True, slots=True)
class Patient:
    """Who a transfer or access is about; the name is left out, the identifier is enough to find every record."""

    patient_id: str
    issuer: str = ""


@final
@dataclass(frozen=True, slots=True)
class Study:
    """One study and how much of it was touched; *sop_classes* as `count` or `listed` makes them."""

    study_instance_uid: str
    sop_classes: tuple[SopClass, ...] = ()
    accession_number: str = ""


NOBODY: Final = Patient("")


def count(sop_class_uids: Iterable[str]) -> tuple[SopClass, ...]:
    """Count instances by SOP class, given the SOP class of each: for disclosures, which may hold any number."""
    return tuple(SopClass(uid, number) for uid, number in Counter(sop_class_uids).items())


def listed(instances: Iterable[tuple[str, str, bytes]]) -> tuple[SopClass, ...]:
    """List instances by SOP class, given (SOP class, SOP instance, digest) of each: for deposits, a group at a time."""
    found: dict[str, list[Instance]] = {}
    for sop_class_uid, sop_instance_uid, digest in instances:
        found.setdefault(sop_class_uid, []).append(Instance(sop_instance_uid, digest))
    return tuple(SopClass(uid, len(each), tuple(each)) for uid, each in found.items())


def participant(party: Party, *roles: Role, requestor: bool = False) -> Participant:
    """The party as an active participant."""
    return Participant(
        f"{party.kind}:{party.name}", party.name, party.ae_title, party.address, requestor=requestor, roles=roles
    )


def medium_of(uri: str, role: Role) -> Participant:
    """A folder, file or disc as an active participant (A.5.2.7)."""
    return Participant(uri, roles=(role,), media=MEDIA_URI)


def study_object(study: Study, actor: Party, *details: tuple[str, str]) -> ParticipantObject:
    """A study that was touched, with the reason that was written down."""
    if actor.written_reason:
        details = (*details, ("Written reason", actor.written_reason[:MAX_REASON]))
    return ParticipantObject(
        study.study_instance_uid,
        IdType.STUDY,
        SYSTEM_OBJECT,
        REPORT,
        details=details,
        sop_classes=study.sop_classes,
        accession_number=study.accession_number,
    )


def patient_object(patient: Patient) -> ParticipantObject:
    """The patient whose studies they are."""
    details = (("Issuer of Patient ID", patient.issuer),) if patient.issuer else ()
    return ParticipantObject(patient.patient_id, IdType.PATIENT, PERSON, PATIENT, details=details)


def subject_object(identifier: str, id_type: IdType, description: str, *details: tuple[str, str]) -> ParticipantObject:
    """What an alert is about, with the description A.5.3.11 demands."""
    about = (("Alert Description", short(description)), *details)
    return ParticipantObject(identifier, id_type, SYSTEM_OBJECT, SECURITY_RESOURCE, details=about)


def types_of(actor: Party, kind: EventType | None = None) -> tuple[str, ...]:
    """Event types: *kind*, and that of its own when the host sees patient data."""
    seen = (EventType.HOST_ACCESS,) if actor.written_reason and actor.kind == "host" else ()
    return seen if kind is None else (kind, *seen)


def short(text: str) -> str:
    """Bound a text that somebody else may have chosen."""
    return text[:MAX_REASON]
