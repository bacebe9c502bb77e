"""
The acts the committer makes durable: a deposit, a quarantined data set, a change of the register, a bare note in the
trail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from strongroom.archive import recording
from strongroom.archive.sameness import same_content
from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.instances import find_instance
from strongroom.register import conflicts, deletions, quarantine
from strongroom.vault.blob import SealedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from strongroom.access.policy import Actor
    from strongroom.archive.committer import Group
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.record import Prepared
    from strongroom.dicom.header import Header
    from strongroom.ground.keyring import DataKey
    from strongroom.ground.label import Label
    from strongroom.vault.blob import Location
    from strongroom.vault.pack import Lease


@final
class Arrival:
    """A data set sealed and labelled, on its way into the vault: held in memory, or already in a leased pack."""

    __slots__ = ("actor", "blob_id", "key", "label", "lease", "sealed", "size", "trailer")

    def __init__(
        self,
        *,
        actor: Actor,
        label: Label,
        blob_id: bytes,
        key: DataKey,
        sealed: list[bytearray],
        size: int,
        lease: Lease | None,
        trailer: bytes,
    ) -> None:
        self.actor = actor
        self.label = label
        self.blob_id = blob_id
        self.key = key
        self.sealed = sealed
        self.size = size
        """Sealed bytes still to be written."""
        self.lease = lease
        self.trailer = trailer

    def write(self, group: Group) -> Location:
        """Put the record into the vault (not flushed yet)."""
        group.appended = True
        if self.lease is not None:
            return self.lease.finish(self.trailer)
        record = SealedRecord(self.blob_id, self.key.key_id, self.sealed, self.trailer)
        return group.parts.vault.append((record,))[0]

    def stored_blob(self, location: Location) -> StoredBlob:
        """What the catalogue keeps of it."""
        return StoredBlob(
            location=BlobLocation(location.pack, location.offset, location.length, location.plain_length),
            blob_id=self.blob_id,
            key_id=self.key.key_id,
            digest=self.label.digest,
            transfer_syntax_uid=self.label.transfer_syntax_uid,
            received_at=self.label.received_at,
            device=self.actor.name,
        )


@final
class DepositAct:
    """
    One whole instance (I1, I2, I3):
    1. known with the same content: success, nothing written
    2. known with other content: kept aside as a conflict, once; a Security Alert; the first stays
    3. deleted before: a conflict as well, kept aside only when its content is another one; what is deleted stays so
    4. new: written, indexed, recorded
    """

    __slots__ = ("_earlier", "_location", "arrival", "header", "instance_id", "prepared", "result", "was_deleted")

    def __init__(self, arrival: Arrival, header: Header, prepared: Prepared) -> None:
        self.arrival = arrival
        self.header = header
        self.prepared = prepared
        self.result = "stored"
        self.instance_id = 0
        self.was_deleted = False
        self._location: Location | None = None
        self._earlier: Any = None

    @property
    def size(self) -> int:
        """Sealed bytes to be written."""
        return self.arrival.size

    def write(self, group: Group) -> None:
        """Look whether it is known, and append it unless it is known and the same."""
        label = self.arrival.label
        self._earlier = group.pending.get(label.sop_instance_uid) or find_instance(
            group.parts.database.writer, label.sop_instance_uid
        )
        if self._earlier is None:
            deleted = deletions.find(group.parts.database.writer, label.sop_instance_uid)
            if deleted is None:
                self._location = self.arrival.write(group)
                group.pending[label.sop_instance_uid] = self
                return
            self.was_deleted = True
            same = deleted.kept.digest == label.digest
        else:
            same = same_content(group.parts, self._earlier, self.arrival)
        self.result = "duplicate" if same and not self.was_deleted else "conflict"
        if same or self._is_kept_aside(group):
            if self.arrival.lease is not None:
                self.arrival.lease.abandon()
            return
        self._location = self.arrival.write(group)

    def _is_kept_aside(self, group: Group) -> bool:
        """Whether just this conflict is kept already: a sender that tries again and again fills no disk."""
        label = self.arrival.label
        conflict = (label.sop_instance_uid, label.digest)
        known = conflict in group.conflicts or conflicts.find(group.parts.database.writer, *conflict) is not None
        group.conflicts.add(conflict)
        return known

    def index(self, group: Group) -> None:
        """Add the row, or the conflict."""
        group.deposits.append(self)
        if self._location is None:
            return
        stored = self.arrival.stored_blob(self._location)
        if self.result == "conflict":
            conflicts.add(group.connection, self.arrival.label, stored)
            return
        recorded = group.parts.recorder.record(group.connection, self.header, stored, prepared=self.prepared)
        self.instance_id = recorded.instance_id

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """One record per actor, study and group: the first deposit of it speaks for all."""
        return recording.deposited(group, self)


@final
class QuarantineAct:
    """A data set that was refused: its bytes are kept sealed, listed, and never served."""

    __slots__ = ("_location", "arrival", "fault", "result")

    def __init__(self, arrival: Arrival, fault: str) -> None:
        self.arrival = arrival
        self.fault = fault
        self.result = None
        self._location: Location | None = None

    @property
    def size(self) -> int:
        """Sealed bytes to be written."""
        return self.arrival.size

    def write(self, group: Group) -> None:
        """Append the sealed bytes."""
        self._location = self.arrival.write(group)

    def index(self, group: Group) -> None:
        """List it."""
        assert self._location is not None
        quarantine.add(group.connection, self.arrival.label, self.arrival.stored_blob(self._location), self.fault)

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """A failed transfer, with our word for why."""
        return recording.refused_deposit(group.parts, self.arrival, self.fault)


@final
class Note:
    """Records for the trail, nothing else."""

    __slots__ = ("_messages", "result")
    size = 0

    def __init__(self, messages: Sequence[AuditMessage]) -> None:
        self._messages = messages
        self.result = None

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Nothing for the database."""

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """What was given."""
        return self._messages


@final
class Change:
    """
    A change of the register with its records, in one transaction; *record* makes one more of what the change returned.
    """

    __slots__ = ("_change", "_messages", "_record", "result")
    size = 0

    def __init__(
        self,
        change: Callable[[apsw.Connection], Any],
        messages: Sequence[AuditMessage],
        record: Callable[[Any], AuditMessage] | None = None,
    ) -> None:
        self._change = change
        self._messages = messages
        self._record = record
        self.result: Any = None

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Make the change."""
        self.result = self._change(group.connection)

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """What was given, and what is said of the result."""
        return self._messages if self._record is None else (*self._messages, self._record(self.result))
