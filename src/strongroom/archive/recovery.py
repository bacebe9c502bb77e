"""
Start-up after whatever happened: chain and register are brought together (DESIGN section 4, decision 0003).

1. What the register knows as flushed must be in the chain, or the trail was cut: IntegrityError, nothing is opened.
2. Records in the outbox behind the chain's end are appended now: their groups were committed, a crash came before the
   chain was flushed.
3. After a restore (*restored*: when the backup was made) the chain may hold more than any group knows: that is said,
   and the register takes over from there.
4. What else opening found is put into words for the trail: torn ends of packs and chain, which lie behind everything
   that was promised; a keyring that was healed; records that no group knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.audit.codes import EventType
from strongroom.audit.trail import MAIN
from strongroom.register import heads

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage


def reconcile(parts: Parts, *, restored: str = "") -> list[AuditMessage]:
    """Append what the outbox holds, make it durable, and return what has to be recorded about opening."""
    messages: list[AuditMessage] = []
    torn = parts.trail.torn
    if torn is not None:
        messages.append(
            _alert(parts, EventType.TORN_TRAIL, "trail", f"{torn.length} bytes of an unfinished record were cut")
        )
    messages.extend(_pack(parts, one.pack, one.length, by_crash=one.by_crash) for one in parts.vault.torn)
    messages.extend(_alert(parts, EventType.INTEGRITY, "keyring", notice) for notice in parts.keyring.notices)
    with parts.database.reader() as connection:
        saved = heads.find(connection, MAIN)
        waiting = heads.outbox(connection, MAIN, after=parts.trail.head.sequence)
        known = (
            0 if saved is None else saved.head.sequence + len(heads.outbox(connection, MAIN, after=saved.head.sequence))
        )
    extra = max(0, parts.trail.head.sequence - known)
    if restored:
        messages.append(_restored(parts, restored, extra))
    elif extra:
        messages.append(
            _alert(parts, EventType.INTEGRITY, "trail", f"the chain ends with {extra} records that no group knows")
        )
    if waiting:
        parts.trail.append_encoded(waiting)
        text = f"{len(waiting)} records were appended that a crash had kept from the chain"
        messages.append(_alert(parts, EventType.TORN_TRAIL, "trail", text))
    parts.trail.flush()
    with parts.database.transaction() as connection:
        heads.save(connection, parts.trail.head, parts.trail.head)
    return messages


def integrity(parts: Parts, subject: str, notice: str) -> AuditMessage:
    """What opening had to mend."""
    return _alert(parts, EventType.INTEGRITY, subject, notice)


def _restored(parts: Parts, when: str, extra: int) -> AuditMessage:
    """The trail goes on behind a backup: it was copied after the database's state was held, so it may know more."""
    text = f"restored from a backup of {when}; {extra} records of the trail are newer than its database"
    return parts.reporter.alert(parts.clock(), EventType.RESTORED, "urn:strongroom:backup", text)


def _pack(parts: Parts, pack: int, length: int, *, by_crash: bool) -> AuditMessage:
    what = f"{length} bytes of an unfinished record stay behind a crash" if by_crash else f"{length} bytes are damaged"
    return _alert(parts, EventType.INTEGRITY, f"pack:{pack}", what)


def _alert(parts: Parts, kind: EventType, subject: str, description: str) -> AuditMessage:
    return parts.reporter.alert(parts.clock(), kind, f"urn:strongroom:{subject}", description)
