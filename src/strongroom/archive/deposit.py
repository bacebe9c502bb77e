"""
Bytes coming in: one data set on its way from a front door to a durable, indexed, recorded instance.

Each fragment is given to three readers at once and kept by none: the structure walk, the digest, and the sealer. What
can go wrong with the data set shows at `finish`; until then everything that arrives is sealed all the same, so that a
data set which turns out not to be whole is kept aside in quarantine instead of being lost (I4, SECURITY C30).
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, final

from strongroom.archive import recording
from strongroom.archive.acts import Arrival, DepositAct, Note, QuarantineAct
from strongroom.catalogue.record import prepare
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.model import INDEXED_TAGS
from strongroom.errors import DataSetError, ErasedError, MismatchError, StrongroomError, UnsupportedClassError
from strongroom.ground.keyring import DataKey
from strongroom.ground.label import Label, seal_label
from strongroom.ground.seal import KEY, Sealer, Slot, associated_data

if TYPE_CHECKING:
    from collections.abc import Container

    from strongroom.access.policy import Actor
    from strongroom.archive.core import Core
    from strongroom.catalogue.record import Prepared
    from strongroom.dicom.header import Header
    from strongroom.dicom.model import Identity
    from strongroom.vault.pack import Lease

MAX_HELD = 256 * 1024
"""
Bytes held while the study is not known yet (DESIGN section 6, Packs); after that a key of its own is used and
assigned later.
"""
MAX_SEALED_HELD = 4 * 1024 * 1024
"""Sealed bytes held per association before a pack is leased and written to directly."""
LEASED_WRITE = 1024 * 1024
"""Once a pack is leased, sealed bytes go out in writes of about this size."""


class Outcome(Enum):
    """What became of a deposit that is answered with success or, for what is kept aside, by the device's entry."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OTHER_PATIENT = recording.OTHER_PATIENT


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """Given only when the outcome is durable in pack, catalogue and trail (I1)."""

    outcome: Outcome
    sop_instance_uid: str
    study_instance_uid: str
    length: int
    series_instance_uid: str = ""
    sop_class_uid: str = ""


@final
class Deposit:
    """
    One data set coming in. Use: feed (often), `await ready()` after each feed, then `await finish()` or `await
    abandon(reason)`.

    The UIDs of the request are compared with those of the data set; an empty one (a file, where nobody asked) is taken
    from it. feed never raises for what the bytes say; finish raises DataSetError or MismatchError (the bytes are then
    in quarantine), or OutOfResources (nothing is kept).
    """

    def __init__(
        self,
        core: Core,
        actor: Actor,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        study_instance_uid: str = "",
        sop_classes: Container[str] | None = None,
        sent_by: str = "",
    ) -> None:
        self._core = core
        self._actor = actor
        self._sent_by = sent_by or actor.name
        self._sop_class_uid = sop_class_uid
        self._sop_instance_uid = sop_instance_uid
        self._transfer_syntax_uid = transfer_syntax_uid
        self._study_instance_uid = study_instance_uid
        self._sop_classes = sop_classes
        self.foreign_preamble = False
        """Set for a file with a preamble that means nothing, for the record."""
        self.identity: Identity | None = None
        """What the data set says it is, once `finish` has read it, whatever became of it."""
        self._reader: HeaderReader | None = HeaderReader(
            transfer_syntax_uid, limits=core.parts.header_limits, likenesses=core.likenesses
        )
        self._fault: DataSetError | None = None
        self._ahead: Prepared | None = None
        self._digest = hashlib.sha256()
        self._length = 0
        self._held: bytearray | None = bytearray()
        self._key: DataKey | None = None
        self._key_study: str | None = None
        self._sealer: Sealer | None = None
        self._blob_id = core.parts.entropy(16)
        self._sealed: list[bytearray] = []
        self._sealed_bytes = 0
        self._lease: Lease | None = None
        self._is_erased = False
        self._writing: asyncio.Future[None] | None = None
        self._done = False
        core.committer.busy_senders += 1

    def feed(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set; the view may be reused by the caller afterwards."""
        if self._reader is not None:
            try:
                self._reader.feed(fragment)
                if self._ahead is None and self._reader.at_pixel_data:
                    # worked out now, while the sender is busy: after its last byte it waits for us
                    self._ahead = prepare(self._reader.so_far())
            except DataSetError as error:
                self._fault, self._reader = error, None
        self._digest.update(fragment)
        self._length += len(fragment)
        sealer = self._sealer
        if sealer is not None:
            sealer.update(fragment)
            return
        held = self._held
        assert held is not None
        held += fragment
        study = None if self._reader is None else self._reader.study_instance_uid
        if study is not None:
            key = self._core.parts.keyring.find(study)
            if key is not None:
                self._begin(key, study)

    def take_unread(self) -> None:
        """Take whatever comes as bytes and no data set; it ends with `keep` or `forget`."""
        self._reader = None

    @property
    def wants_time(self) -> bool:
        """Whether `ready` has something to wait for; while it has not, more may be fed at once."""
        if self._sealer is None:
            known = self._reader is not None and self._reader.study_instance_uid
            return bool(known) or len(self._held or b"") >= MAX_HELD
        self._collect()
        return self._sealed_bytes >= (LEASED_WRITE if self._lease is not None else MAX_SEALED_HELD + 1)

    async def ready(self) -> None:
        """
        Wait until more may be fed: fetches the study's key and writes out what a leased pack should take
        (back-pressure).
        """
        if not self.wants_time:
            return
        if self._sealer is None:
            await self._fetch_key()
            return
        if self._lease is None:
            assert self._key is not None
            self._lease = await self._core.lease(self._blob_id, self._key.key_id)
        await self._write_out()

    async def finish(self) -> Receipt:
        """Close the data set, check it, and make it durable; see the class for what it raises."""
        self._done = True
        try:
            return await self._finish()
        finally:
            self._core.committer.busy_senders -= 1

    async def _finish(self) -> Receipt:
        whole: tuple[Header, Prepared] | None = None
        fault: StrongroomError | None = self._fault
        if self._reader is not None:
            try:
                header = self._reader.finish()
                ahead = self._ahead
                prepared = ahead if ahead is not None and self._reader.unchanged(INDEXED_TAGS) else prepare(header)
                self.identity = prepared.identity
                self._check(prepared.identity)
                whole = header, prepared
            except (DataSetError, MismatchError) as error:
                fault = error
        try:
            if self._sealer is None:
                await self._fetch_key()
            if fault is None:
                assert whole is not None
                return await self._commit(*whole)
            await self._quarantine(fault)
        except BaseException:
            await self._drop_lease()
            raise
        raise fault

    async def keep(self, identity: Identity | None, fault: str) -> None:
        """
        Put what was taken unread into quarantine under *fault*, as belonging to the instance *identity* if it is known.

        Its key becomes one of that instance's study: what is erased with the study is this as well.
        """
        self._done = True
        try:
            if self._sealer is None:
                await self._fetch_key()
            study = series = ""
            if identity is not None:
                self._sop_instance_uid, self._sop_class_uid = identity.sop_instance_uid, identity.sop_class_uid
                study, series = identity.study_instance_uid, identity.series_instance_uid
            if study:
                assert self._key is not None
                await asyncio.to_thread(self._core.parts.keyring.assign, self._key.key_id, study)
            arrival = await self._seal_up(self._label(study, series, quarantine=fault))
            await self._submit(QuarantineAct(arrival, fault))
        finally:
            await self._drop_lease()
            self._core.committer.busy_senders -= 1

    async def forget(self) -> None:
        """Drop what was taken unread; nothing happens when it was kept."""
        if not self._done:
            self._done = True
            self._core.committer.busy_senders -= 1
            await self._drop_lease()

    async def abandon(self, reason: str) -> None:
        """The sender went away or broke the protocol: nothing is kept, and the trail says that a transfer failed."""
        if self._done:
            return
        self._done = True
        self._core.committer.busy_senders -= 1
        await self._drop_lease()
        message = recording.interrupted_deposit(
            self._core.parts, self._actor, self._key_study or "", self._sop_class_uid, self._sop_instance_uid, reason
        )
        await self._core.committer.submit(Note((message,)))

    def _check(self, identity: Identity) -> None:
        """
        Compare the data set with the request (PS3.4 B.2.3): the same SOP class and instance, and a study and series
        to file it under.
        """
        if not identity.sop_instance_uid or not identity.study_instance_uid or not identity.series_instance_uid:
            raise DataSetError("the data set lacks a SOP Instance, Study or Series Instance UID")
        for asked, found in (
            (self._sop_instance_uid, identity.sop_instance_uid),
            (self._sop_class_uid, identity.sop_class_uid),
            (self._study_instance_uid, identity.study_instance_uid),
        ):
            if asked and asked != found:
                raise MismatchError("SOP class, instance or study UID of the data set differ from those of the request")
        if self._sop_classes is not None and identity.sop_class_uid not in self._sop_classes:
            raise UnsupportedClassError("the SOP class of the data set is none that this caller may store")
        self._sop_instance_uid, self._sop_class_uid = identity.sop_instance_uid, identity.sop_class_uid

    def _begin(self, key: DataKey, study: str | None) -> None:
        self._key, self._key_study = key, study
        data = associated_data(self._blob_id, key.key_id, Slot.DATA_SET)
        self._sealer = Sealer(key.secret, data, randomness=self._core.parts.entropy)
        held, self._held = self._held, None
        if held:
            self._sealer.update(held)

    async def _fetch_key(self) -> None:
        """
        The study's key, created durably before first use; a key of no study yet when the study is not known (in
        time).
        """
        study = None if self._reader is None else self._reader.study_instance_uid
        parts = self._core.parts
        if study in parts.erased:
            # nothing of it will be kept: whatever reaches a pack opens for nobody
            self._is_erased = True
            self._begin(DataKey(parts.entropy(16), parts.entropy(KEY)), study)
            return
        keyring = parts.keyring
        key = keyring.find(study) if study else None
        if key is None:
            key = (
                await asyncio.to_thread(keyring.for_study, study)
                if study
                else await asyncio.to_thread(keyring.unassigned)
            )
        self._begin(key, study)

    def _collect(self) -> None:
        """Take over the segments that are sealed by now."""
        assert self._sealer is not None
        for segment in self._sealer.take():
            self._sealed.append(segment)
            self._sealed_bytes += len(segment)

    async def _write_out(self) -> None:
        assert self._lease is not None
        segments, self._sealed, self._sealed_bytes = self._sealed, [], 0
        # a thread cannot be cancelled: whoever ends the lease waits for it (_end)
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._lease.write, segments))
        await asyncio.shield(self._writing)

    async def _drop_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await asyncio.shield(self._end(lease))

    async def _end(self, lease: Lease) -> None:
        """Give the lease back once nobody writes through it any more."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._core.end_lease(lease)

    async def _submit(self, act: DepositAct | QuarantineAct) -> Any:
        """Make *act* durable; a lease is the committer's from here on, and ends with the act whether we wait or not."""
        lease, self._lease = self._lease, None
        if lease is None:
            return await self._core.committer.submit(act)
        return await asyncio.shield(self._submit_leased(act, lease))

    async def _submit_leased(self, act: DepositAct | QuarantineAct, lease: Lease) -> Any:
        try:
            return await self._core.committer.submit(act)
        finally:
            await self._core.end_lease(lease)

    async def _seal_up(self, label: Label) -> Arrival:
        """Finish sealing and put the sealed label behind; what comes back is ready for the committer."""
        assert self._sealer is not None
        assert self._key is not None
        self._sealer.finish()
        self._collect()
        trailer = seal_label(
            label, self._key.secret, self._blob_id, self._key.key_id, randomness=self._core.parts.entropy
        )
        if self._lease is not None:
            await self._write_out()
        return Arrival(
            label=label,
            blob_id=self._blob_id,
            key=self._key,
            sealed=self._sealed,
            size=self._sealed_bytes,
            lease=self._lease,
            trailer=trailer,
            actor=self._actor,
        )

    def _label(self, study: str, series: str, *, quarantine: str = "") -> Label:
        return Label(
            sop_instance_uid=self._sop_instance_uid,
            sop_class_uid=self._sop_class_uid,
            study_instance_uid=study,
            series_instance_uid=series,
            transfer_syntax_uid=self._transfer_syntax_uid,
            digest=self._digest.digest(),
            plain_length=self._length,
            received_at=self._core.parts.clock().timestamp(),
            device_id=self._sent_by,
            quarantine=quarantine,
        )

    async def _commit(self, header: Header, prepared: Prepared) -> Receipt:
        identity = prepared.identity
        is_erased = identity.study_instance_uid in self._core.parts.erased
        if self._key_study != identity.study_instance_uid and not is_erased:
            assert self._key is not None
            await asyncio.to_thread(self._core.parts.keyring.assign, self._key.key_id, identity.study_instance_uid)
        arrival = await self._seal_up(self._label(identity.study_instance_uid, identity.series_instance_uid))
        act = DepositAct(arrival, header, prepared, foreign_preamble=self.foreign_preamble)
        outcome = await self._submit(act)
        if outcome == "erased":
            raise ErasedError
        if act.instance_id:
            self._core.fragments.remember(act.instance_id, arrival, header)
        return Receipt(
            Outcome(outcome),
            identity.sop_instance_uid,
            identity.study_instance_uid,
            self._length,
            identity.series_instance_uid,
            identity.sop_class_uid,
        )

    async def _quarantine(self, fault: StrongroomError) -> None:
        """Keep the refused bytes sealed, under a key of their own study or of none; not those of an erased study."""
        if self._is_erased:
            await self._drop_lease()
            raise ErasedError
        arrival = await self._seal_up(self._label(self._key_study or "", "", quarantine=type(fault).__name__))
        await self._submit(QuarantineAct(arrival, type(fault).__name__))
