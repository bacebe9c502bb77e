"""
What the trail says of each act of the archive: from rows, labels and actors to audit messages (PS3.15 A.5).

One record per act, not per byte; one patient per transfer (A.5.2). Refusals are always recorded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from strongroom.audit.codes import EventType, code
from strongroom.audit.message import EVENT_NAMES
from strongroom.audit.parties import Party, Patient, Study, count, listed
from strongroom.dicom import json as dicom_json

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from datetime import datetime

    from strongroom.access.identity import Rejection
    from strongroom.access.policy import Actor
    from strongroom.archive.acts import Arrival, DepositAct
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Parts
    from strongroom.archive.credentials import DeviceCredential, Recipient, TokenCredential, WebCertificateCredential
    from strongroom.audit.message import AuditMessage
    from strongroom.audit.trail import Entry
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.catalogue.query import Query
    from strongroom.dicom.model import Identity

OTHER_PATIENT = "other-patient"
"""The outcome of a deposit whose study is another patient's, and the reason of its record."""
DISGUISED = "preamble-executable"
"""The fault under which a file that begins as something else is kept, whole, beside its data set."""
FIND_SOP_CLASS = {"patient": "1.2.840.10008.5.1.4.1.2.1.1", "study": "1.2.840.10008.5.1.4.1.2.2.1"}


def party(actor: Actor) -> Party:
    """An actor as a participant."""
    return Party(actor.kind.value, actor.name, actor.ae_title, actor.address, actor.written_reason)


def deposited(group: Group, act: DepositAct) -> list[AuditMessage]:
    """
    The record of a deposit; further deposits of the same actor, study and outcome in one group share the first one's.

    A conflict gets its own Security Alert beside it; of another patient's instances one speaks for all.
    """
    outcome = act.result
    acts = group.stored.setdefault(act.shared, [])
    messages = []
    if not acts:  # the first one looks for its companions, which all have been indexed by now
        acts.extend(group.companions(act))
        messages.append(_stored(group.parts, acts, outcome))
        if outcome == OTHER_PATIENT:
            messages.append(_other_patient(group.parts, act, len(acts)))
    if outcome == "conflict":
        messages.append(_conflict(group.parts, act))
    if act.is_news:
        messages.append(_sent_again(group.parts, act))
    return messages


def _stored(parts: Parts, acts: Sequence[DepositAct], outcome: str) -> AuditMessage:
    first = acts[0]
    sender = party(first.arrival.actor)
    labels = [act.arrival.label for act in acts]
    study = Study(
        labels[0].study_instance_uid,
        listed((label.sop_class_uid, label.sop_instance_uid, label.digest) for label in labels),
    )
    patient = Patient(first.prepared.identity.patient_id, first.prepared.identity.issuer)
    if outcome in ("conflict", "erased", OTHER_PATIENT):
        return parts.reporter.deposit_failed(parts.clock(), sender, study, outcome, patient=patient)
    foreign = sum(act.foreign_preamble for act in acts)
    details = (("Preamble", f"foreign bytes in front of {foreign} of these files, not kept"),) if foreign else ()
    return parts.reporter.deposited(parts.clock(), sender, patient, study, held=outcome == "duplicate", details=details)


def _other_patient(parts: Parts, act: DepositAct, instances: int) -> AuditMessage:
    return parts.reporter.alert(
        parts.clock(),
        EventType.OTHER_PATIENT,
        f"urn:strongroom:study:{act.arrival.label.study_instance_uid}",
        "instances of a study that is another patient's; the study stays as it is, these are kept aside",
        ("Instances", str(instances)),
        caused_by=party(act.arrival.actor),
        patient=Patient(act.prepared.identity.patient_id, act.prepared.identity.issuer),
    )


def _sent_again(parts: Parts, act: DepositAct) -> AuditMessage:
    return parts.reporter.alert(
        parts.clock(),
        EventType.ERASED_SENT_AGAIN,
        f"urn:strongroom:study:{act.arrival.label.study_instance_uid}",
        "a study that was erased is being sent again; nothing of it is kept until somebody releases its tombstone",
        caused_by=party(act.arrival.actor),
    )


def _conflict(parts: Parts, act: DepositAct) -> AuditMessage:
    label = act.arrival.label
    return parts.reporter.alert(
        parts.clock(),
        EventType.CONFLICT_VERSION,
        f"urn:strongroom:instance:{label.sop_instance_uid}",
        "an instance that was deleted was sent again; it stays deleted until somebody restores it"
        if act.was_deleted
        else "another content under a SOP Instance UID that is kept already; the first stays, this one is kept aside",
        caused_by=party(act.arrival.actor),
        patient=Patient(act.prepared.identity.patient_id, act.prepared.identity.issuer),
    )


def refused_deposit(parts: Parts, arrival: Arrival, fault: str) -> list[AuditMessage]:
    """A data set that was refused and kept; of a file in disguise, which was neutralised, a Security Alert (C30)."""
    label = arrival.label
    sender = party(arrival.actor)
    if fault == DISGUISED:
        return [
            parts.reporter.alert(
                parts.clock(),
                EventType.QUARANTINED,
                f"urn:strongroom:file:{label.digest.hex()}",
                "a file that begins as a program or another document: its data set was taken without the beginning,"
                " the file as it came is kept in quarantine",
                *((("SOP Instance UID", label.sop_instance_uid),) if label.sop_instance_uid else ()),
                caused_by=sender,
            )
        ]
    study = Study(label.study_instance_uid, listed([(label.sop_class_uid, label.sop_instance_uid, label.digest)]))
    return [parts.reporter.deposit_failed(parts.clock(), sender, study, fault, quarantined=True)]


def interrupted_deposit(
    parts: Parts, actor: Actor, study_instance_uid: str, sop_class_uid: str, sop_instance_uid: str, reason: str
) -> AuditMessage:
    """A deposit that its sender broke off; nothing of it is kept."""
    study = Study(study_instance_uid, listed([(sop_class_uid, sop_instance_uid, b"")]))
    return parts.reporter.deposit_failed(parts.clock(), party(actor), study, reason)


def begin_transfer(
    parts: Parts, actor: Actor, recipient: Recipient, rows: Iterable[InstanceRow], act: str
) -> list[AuditMessage]:
    """One record per patient, durable before the first byte leaves (I5)."""
    return [
        parts.reporter.begin_transfer(
            parts.clock(), party(actor), _recipient(actor, recipient), patient, studies, act=act
        )
        for patient, studies in by_patient(rows)
    ]


def transferred(
    parts: Parts, actor: Actor, recipient: Recipient, rows: Iterable[InstanceRow], act: str, *, reason: str = ""
) -> list[AuditMessage]:
    """One record per patient of what was sent, or, with a reason, of what was not."""
    return [
        parts.reporter.transferred(
            parts.clock(), party(actor), _recipient(actor, recipient), patient, studies, act=act, reason=reason
        )
        for patient, studies in by_patient(rows)
    ]


def accessed(parts: Parts, actor: Actor, rows: Iterable[InstanceRow]) -> list[AuditMessage]:
    """One record per patient of what somebody looks at, durable before the first byte leaves (I5)."""
    return [
        parts.reporter.accessed(parts.clock(), party(actor), patient, studies) for patient, studies in by_patient(rows)
    ]


def deleted(
    parts: Parts, actor: Actor, rows: Iterable[InstanceRow], whole: Container[str], reason: str
) -> list[AuditMessage]:
    """
    One record per study that was deleted whole, and one per patient for studies that lost a part.

    Without a *reason* where another record of the same act has it.
    """
    who = replace(party(actor), written_reason=reason)
    messages = []
    for patient, studies in by_patient(rows):
        messages += [
            parts.reporter.study_deleted(parts.clock(), who, patient, study)
            for study in studies
            if study.study_instance_uid in whole
        ]
        partly = [study for study in studies if study.study_instance_uid not in whole]
        if partly:
            messages.append(parts.reporter.accessed(parts.clock(), who, patient, partly, action="D"))
    return messages


def restored(parts: Parts, actor: Actor, instances: Iterable[tuple[Identity, str]]) -> list[AuditMessage]:
    """One record per patient of what was deleted and is back; given identity and SOP class of each."""
    patients: dict[tuple[str, str], dict[str, list[str]]] = {}
    for identity, sop_class_uid in instances:
        studies = patients.setdefault((identity.patient_id, identity.issuer), {})
        studies.setdefault(identity.study_instance_uid, []).append(sop_class_uid)
    return [
        parts.reporter.accessed(
            parts.clock(),
            party(actor),
            Patient(*patient),
            [Study(uid, count(classes)) for uid, classes in studies.items()],
            action="U",
        )
        for patient, studies in patients.items()
    ]


def decided(parts: Parts, actor: Actor, kind: EventType, subject: str, verdict: str, reason: str) -> AuditMessage:
    """A person decided about what was kept aside; the reason is in the record."""
    who = replace(party(actor), written_reason="")  # deciding shows nobody patient data
    return parts.reporter.changed(
        parts.clock(),
        who,
        kind,
        f"urn:strongroom:{subject}",
        "a decision about what was kept aside",
        ("Decision", verdict),
        ("Written reason", reason),
    )


def query(parts: Parts, actor: Actor, asked: Query, matches: int, *, exact: bool) -> AuditMessage:
    """A search with its keys and the number of answers."""
    identifier = dicom_json.dumps(dict(asked.keys))
    sop_class = FIND_SOP_CLASS[asked.root.value]
    return parts.reporter.query(parts.clock(), party(actor), sop_class, identifier, matches=matches, exact=exact)


def refusal(parts: Parts, actor: Actor, action: str, reason: str) -> AuditMessage:
    """A known actor asked for what it may not have."""
    return parts.reporter.refused(parts.clock(), party(actor), action, reason)


def not_admitted(
    parts: Parts, credential: DeviceCredential | WebCertificateCredential, rejection: Rejection, ae_title: str
) -> AuditMessage:
    """A caller was turned away after its association request, or a certificate on the web door after a look at it."""
    return parts.reporter.not_admitted(
        parts.clock(),
        Party("caller", ae_title, ae_title, f"{credential.address}:{credential.port}"),
        credential.door,
        rejection.reason.value,
        fingerprint=rejection.fingerprint,
        device=rejection.device,
    )


def not_signed_in(parts: Parts, credential: TokenCredential, rejection: Rejection) -> AuditMessage:
    """A token was not good; the service is named when it is one that was made."""
    kind = "service" if rejection.device else "caller"
    caller = Party(kind, rejection.device, address=f"{credential.address}:{credential.port}")
    return parts.reporter.authenticated(parts.clock(), caller, reason=rejection.reason.value)


def turned_away(parts: Parts, door: str, address: str, reason: str) -> AuditMessage:
    """A connection that never came to an association request: TLS refused it, a deadline passed, a quota was full."""
    return parts.reporter.not_admitted(parts.clock(), Party("caller", "", "", address), door, reason)


def turned_away_again(parts: Parts, kind: tuple[str, ...], times: int, since: datetime) -> AuditMessage:
    """The same refusal, counted; *kind* is (address, door, reason), or empty for a mixture."""
    address, door, reason = kind if len(kind) == 3 else ("many", "", "several")
    return parts.reporter.repeated(
        parts.clock(), Party("caller", "", "", address), door, reason, times=times, since=since
    )


def _recipient(actor: Actor, recipient: Recipient) -> Party:
    return Party(
        "device" if recipient.name != actor.name else actor.kind.value,
        recipient.name,
        recipient.ae_title,
        recipient.address,
    )


def by_patient(rows: Iterable[InstanceRow]) -> list[tuple[Patient, list[Study]]]:
    """Group rows as the messages want them: studies with counts by SOP class, per patient."""
    patients: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        studies = patients.setdefault(row.patient_id, {})
        studies.setdefault(row.study_instance_uid, []).append(row.sop_class_uid)
    return [
        (Patient(patient_id), [Study(uid, count(classes)) for uid, classes in studies.items()])
        for patient_id, studies in patients.items()
    ]


def integrity_alert(parts: Parts, findings: int) -> AuditMessage:
    """A check found something wrong."""
    return parts.reporter.alert(
        parts.clock(),
        EventType.INTEGRITY,
        "urn:strongroom:check",
        f"a check ended with {findings} findings; run `strongroom check`",
    )


def shown(entry: Entry) -> dict[str, Any]:
    """A record as `trail show` prints it."""
    message = entry.message
    # an act that nobody asked for (a refused caller, an alert) names us first and whoever caused it last
    actor = next((one for one in message.participants if one.requestor), message.participants[-1])
    about = [f"study {uid}" for uid in message.study_instance_uids() if uid] + [
        f"patient {one}" for one in message.patient_ids() if one
    ]
    details = [f"{key}: {value}" for one in message.objects for key, value in one.details if key != "Written reason"]
    return {
        "sequence": entry.sequence,
        "chain": entry.chain,
        "time": message.time.isoformat(timespec="milliseconds"),
        "event": _event_name(message),
        "action": message.action,
        "outcome": "success" if not message.failed else (message.reason or "failed"),
        "actor": actor.user_id,
        "source": actor.address,
        "about": "; ".join(about + details),
    }


def _event_name(message: AuditMessage) -> str:
    """The most telling word: what exactly happened where the record says so, else what kind of act it was."""
    if message.types:
        own = next((kind for kind in message.types if not kind.isdigit()), message.types[0])
        return code(own).meaning.lower().replace("-", " ")
    return EVENT_NAMES.get(message.event, message.event)
