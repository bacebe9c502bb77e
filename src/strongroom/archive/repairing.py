"""
`repair`: what is wrong and can be made right without guessing; the rest is listed and left.

1. Packs: whatever is damaged in one is healed from the copies that were named (vault.heal). Without any, an index is
   made anew when every record stands.
2. Orphans: the label opens, the data set opens whole, its digest is the label's and its header can be read. Its UID is
   free: it is indexed. It is taken by another content: a conflict (I3). By the same: the copy is left. A label that
   says quarantine goes back there; what was erased, or has no key, is left.
3. Damage of the database is `rebuild`'s, damage of the keyring is mended when it is opened: both are only named.
Everything is looked at anew when it is done, not done as it was planned.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.archive import recording
from strongroom.archive.blobs import open_blob
from strongroom.archive.findings import Kind
from strongroom.archive.healing import heal_pack, plan
from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.instances import find_instance
from strongroom.catalogue.record import prepare
from strongroom.dicom.header import HeaderReader
from strongroom.errors import IntegrityError, NotFound, StrongroomError
from strongroom.ground.label import Label, open_label
from strongroom.ground.seal import SEGMENT
from strongroom.register import conflicts, deletions, lookups, quarantine, tombstones
from strongroom.vault.blob import Location

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import apsw

    from strongroom.access.policy import Actor
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Core, Parts
    from strongroom.archive.findings import Finding
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.record import Prepared
    from strongroom.dicom.header import Header
    from strongroom.vault.heal import Healing, PackSource

_OF_PACKS: Final = frozenset(
    {
        Kind.MISSING_PACK,
        Kind.DAMAGED_PACK,
        Kind.DAMAGED_INDEX,
        Kind.DAMAGED_RECORD,
        Kind.GAP,
        Kind.STRAY_BYTES,
        Kind.DAMAGED_BLOB,
    }
)
WINDOW: Final = 16 * SEGMENT
"""Sealed bytes of an orphan that are opened at a time."""


@final
@dataclass(frozen=True, slots=True)
class Orphan:
    """A record nothing knows, proven whole: its label, where it lies, and its header unless it is quarantine's."""

    label: Label
    stored: StoredBlob
    header: Header | None
    prepared: Prepared | None


@final
@dataclass(frozen=True, slots=True)
class _Row:
    blob_id: bytes
    key_id: bytes
    location: BlobLocation


def prove_orphan(parts: Parts, pack: int, offset: int) -> Orphan:
    """Open everything of an orphan (in a worker thread). Raises IntegrityError, NotFound, DataSetError: it is left."""
    record = parts.vault.record(Location(pack, offset, 0, 0))
    where = record.location
    key = parts.keyring.get(record.key_id)
    label = open_label(record.trailer, key.secret, record.blob_id, record.key_id)
    place = BlobLocation(where.pack, where.offset, where.length, where.plain_length)
    opener = open_blob(parts, _Row(record.blob_id, record.key_id, place))
    reader = None if label.quarantine else HeaderReader(label.transfer_syntax_uid, limits=parts.header_limits)
    digest = hashlib.sha256()
    for cover in opener.windows(window=WINDOW):
        piece = opener.open(parts.vault.read(where, cover.sealed_start, cover.sealed_stop), cover)
        digest.update(piece)
        if reader is not None:
            reader.feed(piece)
    if digest.digest() != label.digest:
        raise IntegrityError("its data set is not the one its label names")
    header = None if reader is None else reader.finish()
    prepared = None if header is None else prepare(header)
    if prepared is not None and prepared.identity.sop_instance_uid != label.sop_instance_uid:
        raise IntegrityError("its data set is another instance than its label names")
    stored = StoredBlob(
        location=place,
        blob_id=bytes(record.blob_id),
        key_id=record.key_id,
        digest=label.digest,
        transfer_syntax_uid=label.transfer_syntax_uid,
        received_at=label.received_at,
        device=label.device_id,
    )
    return Orphan(label, stored, header, prepared)


def outcome(connection: apsw.Connection, orphan: Orphan) -> str:
    """Say what becomes of a whole orphan: "index", "conflict", "quarantine", or why it is left."""
    label = orphan.label
    if lookups.has_blob(connection, orphan.stored.blob_id):
        return "left: it is known meanwhile"
    if label.quarantine:
        return "quarantine"
    if tombstones.of_study(connection, label.study_instance_uid):
        return "left: its study was erased"
    found = find_instance(connection, label.sop_instance_uid)
    deleted = deletions.find(connection, label.sop_instance_uid)
    if found is not None and found.blob_id == orphan.stored.blob_id:
        return "left: it is known meanwhile"
    taken = found.digest if found is not None else None if deleted is None else deleted.kept.digest
    if taken is None:
        return "index"
    if taken == label.digest or conflicts.find(connection, label.sop_instance_uid, label.digest) is not None:
        return "left: the same content is kept already"
    return "conflict"


@final
class ReindexAct:
    """Take an orphan into the catalogue, or list it where it belongs."""

    __slots__ = ("_actor", "_orphan", "result")
    size = 0

    def __init__(self, actor: Actor, orphan: Orphan) -> None:
        self._actor = actor
        self._orphan = orphan
        self.result = ""

    def write(self, group: Group) -> None:
        """Nothing for the vault."""

    def index(self, group: Group) -> None:
        """Decide again, inside the transaction."""
        orphan, connection = self._orphan, group.connection
        self.result = outcome(connection, orphan)
        if self.result == "index":
            assert orphan.header is not None
            group.parts.recorder.record(connection, orphan.header, orphan.stored, prepared=orphan.prepared)
        elif self.result == "conflict":
            conflicts.add(connection, orphan.label, orphan.stored)
        elif self.result == "quarantine":
            quarantine.add(connection, orphan.label, orphan.stored, orphan.label.quarantine)

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """A study that was changed; what goes elsewhere is counted in the record of the repair."""
        if self.result != "index" or self._orphan.prepared is None:
            return ()
        return recording.restored(
            group.parts, self._actor, [(self._orphan.prepared.identity, self._orphan.label.sop_class_uid)]
        )


@final
class Repair:
    """One run over the findings of a check; iterate `run`, then look at what was done and left."""

    def __init__(self, core: Core, actor: Actor, sources: Sequence[PackSource], *, apply: bool) -> None:
        self._core = core
        self._actor = actor
        self._sources = sources
        self._apply = apply
        self.done: list[dict[str, Any]] = []
        self.left: list[dict[str, Any]] = []

    async def run(self, findings: Sequence[Finding]) -> AsyncGenerator[int]:
        """Packs first, since an orphan may be whole only then; yields how many findings are dealt with."""
        count = 0
        packs = sorted({one.pack for one in findings if one.kind in _OF_PACKS and one.pack is not None})
        for pack in packs:
            await self._pack(pack, [one for one in findings if one.pack == pack and one.kind in _OF_PACKS])
            count += sum(one.pack == pack and one.kind in _OF_PACKS for one in findings)
            yield count
        for one in findings:
            if one.kind in _OF_PACKS:
                continue
            if one.kind is Kind.ORPHAN and one.pack is not None and one.offset is not None:
                await self._orphan(one, one.pack, one.offset)
            else:
                self._leave(one, _ADVICE.get(one.kind, "nothing can be done without guessing"))
            count += 1
            yield count

    async def _pack(self, pack: int, findings: Sequence[Finding]) -> None:
        do = heal_pack if self._apply else plan
        healing = await do(self._core, pack, self._sources)
        for text in _made(healing):
            self.done.append({"action": "heal", "where": f"pack {pack}", "detail": text})
        for one in findings:
            if healing.refused:
                self._leave(one, healing.refused)
            elif one.offset in healing.lost or (one.kind is Kind.GAP and healing.index_lost):
                self._leave(
                    one, "no copy holds it whole" if self._sources else "there is no copy; name one with --from"
                )
            elif not healing.changes:
                self._leave(one, "its bytes stand as they were written")

    async def _orphan(self, finding: Finding, pack: int, offset: int) -> None:
        parts = self._core.parts
        try:
            orphan = await asyncio.to_thread(prove_orphan, parts, pack, offset)
        except NotFound:
            self._leave(finding, "its key is not in the keyring: it was erased, or the key is lost")
            return
        except StrongroomError as error:
            self._leave(finding, str(error))
            return
        if self._apply:
            what = await self._core.committer.submit(ReindexAct(self._actor, orphan))
        else:
            with parts.database.reader() as connection:
                what = outcome(connection, orphan)
        if what in _WORDS:
            self.done.append({"action": what, "where": finding.where, "detail": _WORDS[what]})
        else:
            self._leave(finding, what.removeprefix("left: "))

    def _leave(self, finding: Finding, why: str) -> None:
        self.left.append(finding.shown() | {"why": why})


_ADVICE: Final = {
    Kind.DATABASE: "`strongroom rebuild` makes the catalogue anew",
    Kind.KEYRING: "the copy that is whole is used, and mends the other at the next start",
    Kind.TORN: "never promised to anybody; the next start closes the pack over it",
}
_WORDS: Final = {
    "index": "a whole instance that no row knows: indexed again",
    "conflict": "another content under a UID that is taken: kept aside as a conflict",
    "quarantine": "a refused data set: listed in quarantine again",
}


def _made(healing: Healing) -> list[str]:
    if healing.refused:
        return []
    made = [f"the record at {offset} is taken from a copy, or cleaned" for offset in healing.records]
    made += ["its header is written again"] if healing.header else []
    made += ["its index is taken from a copy, or made anew from its records"] if healing.index else []
    return made
