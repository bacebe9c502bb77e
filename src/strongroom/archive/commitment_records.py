"""What the trail says of storage commitment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from strongroom.archive import recording
from strongroom.archive.examination import HELD
from strongroom.audit.codes import EventType, Outcome
from strongroom.audit.parties import Party

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from strongroom.access.policy import Actor
    from strongroom.archive.core import Parts
    from strongroom.archive.examination import Examination
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.register.commitments import Commitment

NOT_MENTIONED: Final = 0x0110
"""What an instance gets that the result of a device does not mention (PS3.3 C.14.1.1, processing failure)."""


def examined(parts: Parts, actor: Actor | None, device: str, examination: Examination) -> list[AuditMessage]:
    """One record per patient of what we answer for; an alert for what we do not, and one for what is damaged."""
    party = Party("device", device) if actor is None else recording.party(actor)
    messages = asked(parts, party, examination.kept)
    if any(examination.reasons):
        messages.append(_not_kept(parts, party, Counter(examination.reasons), "we do not answer for"))
    if examination.damaged:
        messages.append(recording.integrity_alert(parts, examination.damaged))
    return messages


def asked(parts: Parts, party: Party, rows: Iterable[InstanceRow]) -> list[AuditMessage]:
    """One record per patient of the instances that a commitment is about."""
    return [
        parts.reporter.accessed(parts.clock(), party, patient, studies, kind=EventType.COMMITMENT)
        for patient, studies in recording.by_patient(rows)
    ]


def answered(parts: Parts, actor: Actor | None, asked: Commitment, reasons: Mapping[int, int]) -> AuditMessage:
    """A device answered for what we asked it, or did not."""
    party = Party("device", asked.device) if actor is None else recording.party(actor)
    if set(reasons) - {HELD}:
        return _not_kept(parts, party, reasons, f"in commitment {asked.id} the device does not answer for")
    return parts.reporter.changed(
        parts.clock(),
        party,
        EventType.COMMITMENT,
        f"urn:strongroom:commitment:{asked.id}",
        f"the device answers for all {asked.items} instances",
    )


def _not_kept(parts: Parts, party: Party, reasons: Mapping[int, int], what: str) -> AuditMessage:
    failed = {reason: number for reason, number in reasons.items() if reason != HELD}
    return parts.reporter.alert(
        parts.clock(),
        EventType.COMMITMENT,
        f"urn:strongroom:device:{party.name}",
        f"{what} {sum(failed.values())} of {sum(reasons.values())} instances",
        ("Failure Reasons", ", ".join(f"{reason:04X}: {number}" for reason, number in sorted(failed.items()))),
        severity=Outcome.MINOR_FAILURE,
        caused_by=party,
    )
