"""
Start-up after whatever happened: the last group is reconciled (DESIGN section 4, decision 0003).

1. The register's head is where the trail ends: all is well.
2. The trail ends before it: the crash came between commit and flush. The rows of that group have no record; they get "recovered" ones.
3. The trail goes on behind it: records were flushed whose transaction was not committed. They are named in an alert.
A torn tail, in packs or trail, lies behind everything that was promised; it is cut and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.audit.codes import EventType
from strongroom.audit.parties import Party, Patient, Study, listed
from strongroom.catalogue.lookups import with_ids

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage
    from strongroom.ground.chain import Head
    from strongroom.register.heads import SavedHead


def reconcile(parts: Parts, saved: SavedHead | None) -> list[AuditMessage]:
    """Return the records that start-up owes the trail; the caller appends them with a new head."""
    messages: list[AuditMessage] = []
    head = parts.trail.head
    if parts.trail.torn is not None:
        messages.append(_alert(parts, EventType.TORN_TRAIL, "trail", f"{parts.trail.torn.length} bytes of an unfinished record were cut"))
    messages.extend(
        _alert(parts, EventType.INTEGRITY, f"pack:{torn.pack}", f"{torn.length} bytes of an unfinished record were cut")
        for torn in parts.vault.torn
    )
    messages.extend(_alert(parts, EventType.INTEGRITY, "keyring", notice) for notice in parts.keyring.notices)
    if saved is not None and head.sequence < saved.head.sequence:
        messages.extend(_recovered(parts, saved, head))
    elif saved is not None and head.sequence > saved.head.sequence:
        lost = head.sequence - saved.head.sequence
        messages.append(
            _alert(parts, EventType.TRANSFER_UNFINISHED, "trail", f"the last {lost} records before this one were not completed: nobody was answered")
        )
    return messages


def _recovered(parts: Parts, saved: SavedHead, head: Head) -> list[AuditMessage]:
    """Records for rows whose own were lost in a crash; who sent them stands in the rows."""
    missing = saved.head.sequence - head.sequence
    messages = [_alert(parts, EventType.TORN_TRAIL, "trail", f"a crash lost {missing} records of the last group")]
    with parts.database.reader() as connection:
        rows = with_ids(connection, saved.instance_ids)
    for row in rows:
        study = Study(row.study_instance_uid, listed([(row.sop_class_uid, row.sop_instance_uid, row.digest)]))
        messages.append(
            parts.reporter.deposited(parts.clock(), Party("device", row.device), Patient(row.patient_id), study, recovered=True)
        )
    return messages


def _alert(parts: Parts, kind: EventType, subject: str, description: str) -> AuditMessage:
    return parts.reporter.alert(parts.clock(), kind, f"urn:strongroom:{subject}", description)
