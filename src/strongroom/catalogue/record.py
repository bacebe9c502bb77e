"""
Write instances into the catalogue: one call for each, inside the transaction of a group commit (DESIGN section 4).

What the first instance of a patient, study or series says stays; what a later one leaves out changes nothing, what it
adds is taken over, and what contradicts is kept only in the flag *differs* of that instance (PS3.4 C.3: one entity,
one set of attributes). A level at which an instance contradicts takes nothing over from it at all, so that two
persons are never mixed.

A further instance of a known series costs a few statements: what it says of the levels above is known by its
fingerprints. That memory is checked against a counter inside the transaction, so a rollback, of a savepoint too,
clears it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

import apsw

from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.folding import fold
from strongroom.catalogue.instances import InstanceRow, find_instance
from strongroom.catalogue.levels import Described, Differs, Placement, json_text, place
from strongroom.catalogue.rows import select
from strongroom.dicom.header import Header
from strongroom.dicom.model import Identity, Level, describe, fingerprint, identify
from strongroom.errors import ConflictError, DataSetError

__all__ = [
    "BlobLocation",
    "InstanceRow",
    "Prepared",
    "RecordedInstance",
    "Recorder",
    "StoredBlob",
    "described",
    "find_instance",
    "prepare",
]

MAX_KNOWN_SERIES: Final = 2_048
"""Series remembered: more than are being sent at one moment."""
MAX_KNOWN_PRINTS: Final = 32
"""Different upper-level attributes remembered for one series; one is the rule."""

_INSERT: Final = (
    "INSERT INTO instance (id, series, sop_instance_uid, sop_class_uid, transfer_syntax_uid, device, received_at,"
    " differs, blob_id, key_id, pack, pack_offset, sealed_length, plain_length, digest, content_digest,"
    " attributes, folded)"
    # never a number that a removed row had: what is still being made for that one must not land on this one
    " VALUES ((SELECT records + 1 FROM totals), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT_SOURCE: Final = (
    "INSERT INTO series_source (series, device, sop_class_uid, other_patient, instances, bytes)"
    " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET instances = instances + 1, bytes = bytes + excluded.bytes"
)
_COUNT: Final = (
    "UPDATE totals SET records = records + 1, patients = patients + ?, studies = studies + ?, series = series + ?,"
    " instances = instances + 1, bytes = bytes + ? WHERE only = 1"
)

_Prints = tuple[object, object, object]


@final
@dataclass(frozen=True, slots=True)
class RecordedInstance:
    """What `record` found out about an instance."""

    instance_id: int
    new_patient: bool
    new_study: bool
    new_series: bool
    patient_mismatch: bool
    """It names another Patient ID than the study it belongs to; it stays with that study."""
    differs: Differs
    differences: tuple[str, ...]
    """Tags of upper-level attributes that contradict those kept; never their values."""


@final
@dataclass(slots=True)
class _KnownSeries:
    """What is remembered of a series: the placement of each set of fingerprints met, and who sent something into it."""

    placements: dict[_Prints, Placement] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """
    What an instance's row is made of, worked out of its header without touching the database.

    A sender waits for what happens after its last byte; this can be done while the bytes of Pixel Data still come.
    """

    identity: Identity
    prints: _Prints
    attributes: str
    folded: str


def prepare(header: Header) -> Prepared:
    """Work out everything that needs no database; pure."""
    attributes = describe(header, Level.IMAGE)
    prints = (
        fingerprint(header, Level.PATIENT),
        fingerprint(header, Level.STUDY),
        fingerprint(header, Level.SERIES),
    )
    return Prepared(identify(header), prints, json_text(attributes), json_text(fold(attributes)))


@final
class Recorder:
    """Writes instances; one for the archive's one writer, used by one thread at a time."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _KnownSeries] = OrderedDict()
        self._records = -1

    def forget(self) -> None:
        """Drop what is remembered; after rows were changed or deleted by anyone else."""
        self._known.clear()
        self._records = -1

    def agrees(self, prepared: Prepared) -> bool:
        """
        Whether an instance that said the same of patient, study and series was recorded, and named its study's patient.

        Answered from memory, for every deposit: False means that the database has to be asked.
        """
        identity = prepared.identity
        known = self._known.get((identity.study_instance_uid, identity.series_instance_uid))
        placement = None if known is None else known.placements.get(prepared.prints)
        return placement is not None and not placement.differs & Differs.OTHER_PATIENT

    def record(
        self,
        connection: apsw.Connection,
        header: Header,
        stored: StoredBlob,
        *,
        prepared: Prepared | None = None,
        fragment: bytes | None = None,
    ) -> RecordedInstance:
        """
        Add one instance inside the caller's transaction; *prepared* is `prepare(header)` when that was done already,
        *fragment* its sealed metadata when it is made already.

        Raises ConflictError, having changed nothing, when its SOP Instance UID is known; DataSetError when a UID is
        missing.
        """
        if prepared is None:
            prepared = prepare(header)
        identity = prepared.identity
        if not (identity.sop_instance_uid and identity.series_instance_uid and identity.study_instance_uid):
            raise DataSetError("the data set lacks a SOP Instance, Study or Series Instance UID")
        records = int(select(connection, "SELECT records FROM totals WHERE only = 1")[0][0])
        if records != self._records:
            self.forget()
        try:
            recorded = self._record(connection, prepared, lambda: described(header), stored, fragment)
        except BaseException:
            self.forget()
            raise
        self._records = records + 1
        return recorded

    def record_in_bulk(
        self, connection: apsw.Connection, prepared: Prepared, upper: Callable[[], Described], stored: StoredBlob
    ) -> RecordedInstance:
        """
        Add one instance while nobody else writes and nothing is rolled back: for a catalogue that is made anew.

        *upper* is asked for what `described` says of its header, when that is not known by its fingerprints.
        """
        return self._record(connection, prepared, upper, stored, None)

    def _record(
        self,
        connection: apsw.Connection,
        prepared: Prepared,
        upper: Callable[[], Described],
        stored: StoredBlob,
        fragment: bytes | None,
    ) -> RecordedInstance:
        identity, prints = prepared.identity, prepared.prints
        series = self._series(identity)
        placement = series.placements.get(prints)
        known = placement is not None
        if placement is None:
            placement = _placed(connection, identity, upper)
            if len(series.placements) < MAX_KNOWN_PRINTS:
                series.placements[prints] = placement
        instance_id = _insert(connection, prepared, stored, placement)
        _count(connection, identity, stored, placement, series, known=known)
        _fragment(connection, instance_id, fragment)
        return RecordedInstance(
            instance_id,
            placement.new_patient and not known,
            placement.new_study and not known,
            placement.new_series and not known,
            bool(placement.differs & Differs.OTHER_PATIENT),
            placement.differs,
            placement.differences,
        )

    def _series(self, identity: Identity) -> _KnownSeries:
        key = (identity.study_instance_uid, identity.series_instance_uid)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _KnownSeries()
            if len(self._known) > MAX_KNOWN_SERIES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def described(header: Header) -> Described:
    """What a header says of the levels above its instance."""
    return Described(describe(header, Level.PATIENT), describe(header, Level.STUDY), describe(header, Level.SERIES))


def _placed(connection: apsw.Connection, identity: Identity, upper: Callable[[], Described]) -> Placement:
    """The slow way; looks for the instance first, so that a known one leaves no new rows of the levels above."""
    found = select(connection, "SELECT 1 FROM instance WHERE sop_instance_uid = ?", (identity.sop_instance_uid,))
    if found:
        raise ConflictError("this SOP Instance UID is in the catalogue already")
    return place(connection, identity, upper())


def _insert(connection: apsw.Connection, prepared: Prepared, stored: StoredBlob, placement: Placement) -> int:
    identity = prepared.identity
    location = stored.location
    try:
        connection.execute(
            _INSERT,
            (
                placement.series,
                identity.sop_instance_uid,
                identity.sop_class_uid,
                stored.transfer_syntax_uid,
                stored.device,
                stored.received_at,
                int(placement.differs),
                stored.blob_id,
                stored.key_id,
                location.pack,
                location.offset,
                location.length,
                location.plain_length,
                stored.digest,
                stored.content_digest,
                prepared.attributes,
                prepared.folded,
            ),
        )
    except apsw.ConstraintError as error:
        raise ConflictError("this SOP Instance UID is in the catalogue already") from error
    return connection.last_insert_rowid()


def _count(
    connection: apsw.Connection,
    identity: Identity,
    stored: StoredBlob,
    placement: Placement,
    series: _KnownSeries,
    *,
    known: bool,
) -> None:
    other_patient = bool(placement.differs & Differs.OTHER_PATIENT)
    length = stored.location.plain_length
    connection.execute(_COUNT_SOURCE, (placement.series, stored.device, identity.sop_class_uid, other_patient, length))
    if not other_patient and stored.device not in series.senders:
        connection.execute(
            "INSERT OR IGNORE INTO study_source (device, study) VALUES (?, ?)", (stored.device, placement.study)
        )
        series.senders.add(stored.device)
    if known:
        new: tuple[bool, bool, bool] = (False, False, False)
    else:
        new = (placement.new_patient, placement.new_study, placement.new_series)
    connection.execute(_COUNT, (*new, length))


def _fragment(connection: apsw.Connection, instance_id: int, sealed: bytes | None) -> None:
    if sealed is None:
        connection.execute("INSERT INTO fragment_due (instance) VALUES (?)", (instance_id,))
    else:
        connection.execute("INSERT INTO fragment (instance, sealed) VALUES (?, ?)", (instance_id, sealed))
