"""
The acts the committer makes durable: a deposit, a quarantined data set, a change of the register, a bare note in the
trail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from strongroom.archive import recording
from strongroom.archive.sameness import same_content
from strongroom.catalogue import patients
from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.instances import find_instance
from strongroom.errors import ErasedError
from strongroom.register import conflicts, deletions, quarantine, tombstones
from strongroom.vault.blob import SealedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from strongroom.access.policy import Actor
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Parts
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

    def drop(self) -> None:
        """Leave it out of the vault; what a lease has written of it already becomes dead bytes."""
        if self.lease is not None:
            self.lease.abandon()

    def stored_blob(self, location: Location) -> StoredBlob:
        """What the catalogue keeps of it."""
        return StoredBlob(
            location=BlobLocation(location.pack, location.offset, location.length, location.plain_length),
            blob_id=self.blob_id,
            key_id=self.key.key_id,
            digest=self.label.digest,
            transfer_syntax_uid=self.label.transfer_syntax_uid,
            received_at=self.label.received_at,
            device=self.label.device_id,
        )


@final
class DepositAct:
    """
    One whole instance (I1, I2, I3):
    1. known with the same content: success, nothing written
    2. known with other content: kept aside as a conflict, once; a Security Alert; the first stays
    3. deleted before: a conflict as well, kept aside only when its content is another one; what is deleted stays so
    4. of an erased study: nothing is kept, the first one sets off a Security Alert
    5. of a study that is another patient's: kept aside, once; a Security Alert; the study stays as it is
    6. new: written, indexed, recorded
    """

    __slots__ = (
        "_earlier",
        "_location",
        "arrival",
        "foreign_preamble",
        "header",
        "instance_id",
        "is_news",
        "prepared",
        "result",
        "was_deleted",
    )

    def __init__(self, arrival: Arrival, header: Header, prepared: Prepared, *, foreign_preamble: bool = False) -> None:
        self.arrival = arrival
        self.header = header
        self.prepared = prepared
        self.foreign_preamble = foreign_preamble
        """Whether it came as a file with a preamble that means nothing, and that is not kept (C30)."""
        self.result = "stored"
        self.instance_id = 0
        self.was_deleted = False
        self.is_news = False
        """Whether it is the first of an erased study that is sent again."""
        self._location: Location | None = None
        self._earlier: Any = None

    @property
    def size(self) -> int:
        """Sealed bytes to be written."""
        return self.arrival.size

    @property
    def shared(self) -> tuple[str, ...]:
        """Deposits for which this is the same share one record of their group: one actor, study, patient, outcome."""
        actor, identity = self.arrival.actor, self.prepared.identity
        return (
            *(actor.kind.value, actor.name, actor.address),
            *(self.arrival.label.study_instance_uid, self.result, identity.patient_id, identity.issuer),
        )

    def write(self, group: Group) -> None:
        """Look whether it is known, and append it unless it is known and the same."""
        label = self.arrival.label
        if label.study_instance_uid in group.parts.erased:
            self.result = "erased"
            if self.arrival.lease is not None:
                self.arrival.lease.abandon()
            return
        self._earlier = group.pending.get(label.sop_instance_uid) or find_instance(
            group.parts.database.writer, label.sop_instance_uid
        )
        if self._earlier is None:
            deleted = deletions.find(group.parts.database.writer, label.sop_instance_uid)
            if deleted is None and not self._names_another_patient(group.parts, group.parts.database.writer):
                self._location = self.arrival.write(group)
                group.pending[label.sop_instance_uid] = self
                return
            if deleted is None:
                self.result = recording.OTHER_PATIENT
                self._keep_aside(group)
                return
            self.was_deleted = True
            same = deleted.kept.digest == label.digest
        else:
            same = same_content(group.parts, self._earlier, self.arrival)
        self.result = "duplicate" if same and not self.was_deleted else "conflict"
        if same:
            self.arrival.drop()
        else:
            self._keep_aside(group)

    def _names_another_patient(self, parts: Parts, connection: apsw.Connection) -> bool:
        """Whether its study is another patient's; what came before it in its series has answered that as a rule."""
        return not parts.recorder.agrees(self.prepared) and patients.names_another(connection, self.prepared.identity)

    def _keep_aside(self, group: Group) -> None:
        """Write it unless just this content is kept aside already: a sender that tries again fills no disk."""
        label = self.arrival.label
        conflict = (label.sop_instance_uid, label.digest)
        known = conflict in group.conflicts or conflicts.find(group.parts.database.writer, *conflict) is not None
        group.conflicts.add(conflict)
        if known:
            self.arrival.drop()
        else:
            self._location = self.arrival.write(group)

    def index(self, group: Group) -> None:
        """Add the row, or the conflict."""
        group.deposits.append(self)
        if self.result == "erased":
            self.is_news = tombstones.sent_again(group.connection, self.arrival.label.study_instance_uid)
        if getattr(self._earlier, "result", None) == recording.OTHER_PATIENT:
            self.result = recording.OTHER_PATIENT  # what it repeats came with this group, and was found out only now
        if self._location is None:
            return
        stored = self.arrival.stored_blob(self._location)
        # asked again: what this group has brought so far counts
        other = self._names_another_patient(group.parts, group.connection)
        if other and self.result == "stored":
            self.result = recording.OTHER_PATIENT
        if self.result != "stored":
            identity = self.prepared.identity
            stated = (identity.patient_id, identity.issuer) if other else None
            conflicts.add(group.connection, self.arrival.label, stored, other_patient=stated)
            return
        recorded = group.parts.recorder.record(group.connection, self.header, stored, prepared=self.prepared)
        self.instance_id = recorded.instance_id

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """One record per actor, study and group: the first deposit of it speaks for all."""
        return recording.deposited(group, self)


@final
class QuarantineAct:
    """Bytes that were refused, or neutralised: kept sealed, listed, never served; the same are kept once."""

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
        """Append the sealed bytes, unless just these are kept for the same fault already."""
        label = self.arrival.label
        if label.study_instance_uid in group.parts.erased:
            raise ErasedError
        entry = (label.sop_instance_uid, label.digest, self.fault)
        if entry in group.quarantined or quarantine.find(group.parts.database.writer, *entry) is not None:
            self.arrival.drop()
            return
        group.quarantined.add(entry)
        self._location = self.arrival.write(group)

    def index(self, group: Group) -> None:
        """List it."""
        if self._location is None:
            return
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
