"""
Deleting in two steps. The first is here: what is deleted is out of the catalogue and of every answer at once, stays
sealed in its packs, is listed in the register with who, when and why, and can be taken back. The second, shredding its
key, needs a second person (`archive.erasing`). What is on legal hold stays.

A SOP Instance UID that was deleted stays taken (I3): the instance sent again is not silently back. Its sender hears
what it hears of a conflict, and a Security Alert asks a person to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.archive import recording
from strongroom.archive.record import Record
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.instances import InstanceRow
from strongroom.catalogue.record import prepare
from strongroom.catalogue.removal import take_out
from strongroom.dicom.header import HeaderReader
from strongroom.errors import ConflictError, NotFound
from strongroom.register import deletions, holds
from strongroom.register.kept import KeptBlob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.access.policy import Actor
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.query import Target
    from strongroom.catalogue.record import Prepared
    from strongroom.catalogue.scope import Scope
    from strongroom.dicom.header import Header
    from strongroom.register.deletions import Deleted

RESTORED_AT_ONCE: Final = 32
"""Instances indexed again in one transaction: their headers are read first, and deposits wait for these only."""


@final
class DeleteAct:
    """Take what a target holds inside a scope out of the catalogue; raises NotFound when that is nothing."""

    __slots__ = ("_actor", "_reason", "_removed", "_rows", "_scope", "_target", "result")
    size = 0

    def __init__(self, actor: Actor, target: Target, scope: Scope, reason: str) -> None:
        self._actor = actor
        self._target = target
        self._scope = scope
        self._reason = reason
        self._rows: list[InstanceRow] = []
        self._removed: frozenset[str] = frozenset()
        self.result = 0
        """Instances that were deleted."""

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Look, list and remove in one transaction: what comes in later is not deleted."""
        self._rows = catalogue.instances(group.connection, self._target, self._scope)
        if not self._rows:
            raise NotFound("nothing to delete")
        parts = group.parts
        studies = {row.study_instance_uid for row in self._rows}
        if holds.active(group.connection, studies, at=parts.clock().timestamp()):
            raise ConflictError("a study among these is on legal hold")
        deletions.add(
            group.connection,
            [kept_of(row) for row in self._rows],
            at=parts.clock().timestamp(),
            actor=f"{self._actor.kind.value}:{self._actor.name}",
            reason=self._reason,
        )
        self._removed = take_out(group.connection, self._rows).study_instance_uids
        parts.recorder.forget()
        self.result = len(self._rows)

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """A study that is gone whole, or one that lost something."""
        return recording.deleted(group.parts, self._actor, self._rows, self._removed, self._reason)


@final
@dataclass(frozen=True, slots=True)
class Returning:
    """A deleted instance with its header, read from its pack again."""

    deleted: Deleted
    header: Header
    prepared: Prepared


def read_again(parts: Parts, deleted: Deleted) -> Returning:
    """Read the header of a deleted instance (in a worker thread); raises IntegrityError when its blob is damaged."""
    header = header_of(parts, deleted.kept)
    return Returning(deleted, header, prepare(header))


def header_of(parts: Parts, kept: KeptBlob) -> Header:
    """Read the header of a kept data set (in a worker thread); raises IntegrityError, and DataSetError."""
    reader = HeaderReader(kept.transfer_syntax_uid, limits=parts.header_limits)
    Record(parts, row_of(kept)).walk(reader)
    return reader.finish()


def row_of(kept: KeptBlob) -> InstanceRow:
    """A kept data set as whatever reads instances wants it; it has no row of the catalogue."""
    return InstanceRow(
        id=0,
        patient_id="",
        study_instance_uid=kept.study_instance_uid,
        series_instance_uid=kept.series_instance_uid,
        sop_instance_uid=kept.sop_instance_uid,
        sop_class_uid=kept.sop_class_uid,
        transfer_syntax_uid=kept.transfer_syntax_uid,
        device=kept.device,
        received_at=kept.received_at,
        blob_id=kept.blob_id,
        key_id=kept.key_id,
        digest=kept.digest,
        content_digest=None,
        location=BlobLocation(kept.pack, kept.offset, kept.length, kept.plain_length),
    )


@final
class RestoreAct:
    """Index deleted instances again, as they were received."""

    __slots__ = ("_actor", "_returned", "_returning", "result")
    size = 0

    def __init__(self, actor: Actor, returning: Sequence[Returning]) -> None:
        self._actor = actor
        self._returning = returning
        self._returned: list[Returning] = []
        self.result = 0
        """Instances that are back."""

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """
        Take each off the list and into the catalogue; passed over is one that somebody else took back meanwhile, and
        one whose UID a decision about a conflict has given to another content.
        """
        for one in self._returning:
            if catalogue.find_instance(group.connection, one.deleted.kept.sop_instance_uid) is not None:
                continue
            now = deletions.find(group.connection, one.deleted.kept.sop_instance_uid)  # its pack may be another by now
            if now is None or now.id != one.deleted.id or not deletions.remove(group.connection, now.id):
                continue
            group.parts.recorder.record(group.connection, one.header, stored_of(now.kept), prepared=one.prepared)
            self._returned.append(one)
        self.result = len(self._returned)

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """Studies that were changed, per patient."""
        return recording.restored(
            group.parts,
            self._actor,
            [(one.prepared.identity, one.deleted.kept.sop_class_uid) for one in self._returned],
        )


def kept_of(row: InstanceRow) -> KeptBlob:
    """An instance of the catalogue as the register keeps it."""
    place = row.location
    return KeptBlob(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=row.study_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        device=row.device,
        received_at=row.received_at,
        digest=row.digest,
        blob_id=row.blob_id,
        key_id=row.key_id,
        pack=place.pack,
        offset=place.offset,
        length=place.length,
        plain_length=place.plain_length,
    )


def stored_of(kept: KeptBlob) -> StoredBlob:
    """A kept data set as the catalogue records it."""
    return StoredBlob(
        location=BlobLocation(kept.pack, kept.offset, kept.length, kept.plain_length),
        blob_id=kept.blob_id,
        key_id=kept.key_id,
        digest=kept.digest,
        transfer_syntax_uid=kept.transfer_syntax_uid,
        received_at=kept.received_at,
        device=kept.device,
    )
