"""Instances as the archive handles them: where their bytes are, which lie in a target, what is still to be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import apsw

from strongroom.catalogue.blob import BlobLocation
from strongroom.catalogue.condition import FALSE, Condition, every
from strongroom.catalogue.matching import uid_matches
from strongroom.catalogue.query import Target
from strongroom.catalogue.rows import Row, select
from strongroom.catalogue.scope import EVERYTHING, Scope

__all__ = [
    "Counts",
    "Fragment",
    "InstanceRow",
    "all_instances",
    "checked",
    "counts",
    "find_instance",
    "fragments",
    "instances",
    "least_recently_checked",
    "oldest_check",
    "put_fragment",
    "set_content_digest",
    "without_fragment",
]

PAGE: Final = 512
UIDS_AT_ONCE: Final = 500

_COLUMNS: Final = (
    "instance.id, study.patient_id, study.study_instance_uid, series.series_instance_uid, instance.sop_instance_uid,"
    " instance.sop_class_uid, instance.transfer_syntax_uid, instance.device, instance.received_at, instance.blob_id,"
    " instance.key_id, instance.digest, instance.content_digest, instance.pack, instance.pack_offset,"
    " instance.sealed_length, instance.plain_length"
)
_FROM_INSTANCE: Final = (
    "instance CROSS JOIN series ON series.id = instance.series CROSS JOIN study ON study.id = series.study"
)
_FROM_SERIES: Final = (
    "series CROSS JOIN study ON study.id = series.study CROSS JOIN instance ON instance.series = series.id"
)
_FROM_STUDY: Final = (
    "study CROSS JOIN series ON series.study = study.id CROSS JOIN instance ON instance.series = series.id"
)


@final
@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance: its place in the hierarchy, how it is encoded, where its sealed bytes are."""

    id: int
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    device: str
    received_at: float
    blob_id: bytes
    key_id: bytes
    digest: bytes
    content_digest: bytes | None
    location: BlobLocation

    @property
    def plain_length(self) -> int:
        """Bytes of the data set."""
        return self.location.plain_length


@final
@dataclass(frozen=True, slots=True)
class Counts:
    """What the catalogue holds; *bytes* are those of the data sets before sealing."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int


@final
@dataclass(frozen=True, slots=True)
class Fragment:
    """The sealed metadata of one instance, with what is needed to open it."""

    instance_id: int
    sop_instance_uid: str
    blob_id: bytes
    key_id: bytes
    sealed: bytes


def _row(row: Row) -> InstanceRow:
    fields: Row = (*row[:13], BlobLocation(*row[13:]))
    return InstanceRow(*fields)


def find_instance(connection: apsw.Connection, sop_instance_uid: str) -> InstanceRow | None:
    """
    Look an instance up by its UID, whatever its study: for the check on a second deposit (I3).

    Nearly always there is none, which one look into the index tells in a tenth of the time.
    """
    if not select(connection, "SELECT 1 FROM instance WHERE sop_instance_uid = ?", (sop_instance_uid,)):
        return None
    statement = f"SELECT {_COLUMNS} FROM {_FROM_INSTANCE} WHERE instance.sop_instance_uid = ?"  # noqa: S608 -- our text
    found = select(connection, statement, (sop_instance_uid,))
    return _row(found[0]) if found else None


def instances(reader: apsw.Connection, target: Target, scope: Scope) -> list[InstanceRow]:
    """
    Return the instances *target* names inside *scope*, in the order of studies, series and arrival.

    A target that names nothing at all, neither a patient nor a UID, holds nothing.
    """
    if scope.nothing or not _names_something(target):
        return []
    wanted = scope.instance("study", "instance")
    if target.patient_id is not None:
        wanted &= Condition("study.patient_id = ?", (target.patient_id,))
    rows: list[InstanceRow] = []
    for start, condition in _walks(target):
        where = every((condition, wanted))
        if where == FALSE:
            continue
        statement = f"SELECT {_COLUMNS} FROM {start} WHERE {where.sql}"  # noqa: S608 -- our text
        rows.extend(_row(row) for row in reader.execute(statement, where.values))
    rows.sort(key=lambda row: (row.study_instance_uid, row.series_instance_uid, row.id))
    return rows


def _names_something(target: Target) -> bool:
    return bool(
        target.patient_id or target.study_instance_uids or target.series_instance_uids or target.sop_instance_uids
    )


def _walks(target: Target) -> Iterator[tuple[str, Condition]]:
    """The lowest UIDs lead to the instances, in lists of bounded length; those above them are compared on the way."""
    levels: list[tuple[str, str, Sequence[str]]] = [
        (_FROM_INSTANCE, "instance.sop_instance_uid", target.sop_instance_uids),
        (_FROM_SERIES, "series.series_instance_uid", target.series_instance_uids),
        (_FROM_STUDY, "study.study_instance_uid", target.study_instance_uids),
    ]
    given = [level for level in levels if level[2]]
    if not given:
        yield _FROM_STUDY, Condition("TRUE")
        return
    start, column, uids = given[0]
    above = every(uid_matches(upper, listed) for _, upper, listed in given[1:])
    unique = sorted(set(uids))
    for at in range(0, len(unique), UIDS_AT_ONCE):
        yield start, uid_matches(column, unique[at : at + UIDS_AT_ONCE]) & above


def all_instances(reader: apsw.Connection) -> Iterator[InstanceRow]:
    """Every instance in the order of its id, a page at a time: for `check` and copies."""
    after = 0
    while True:
        statement = f"SELECT {_COLUMNS} FROM {_FROM_INSTANCE} WHERE instance.id > ? ORDER BY instance.id LIMIT ?"  # noqa: S608 -- our text
        rows = select(reader, statement, (after, PAGE))
        yield from map(_row, rows)
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def counts(reader: apsw.Connection) -> Counts:
    """How much there is; one row is read."""
    row = select(reader, "SELECT patients, studies, series, instances, bytes FROM totals")[0]
    return Counts(*row)


def put_fragment(connection: apsw.Connection, instance_id: int, sealed: bytes) -> bool:
    """Keep the sealed metadata of an instance, in place of an older one; False when there is no such instance."""
    connection.execute(
        "INSERT OR IGNORE INTO merge_due (series) SELECT series FROM instance WHERE id = ?", (instance_id,)
    )
    if not select(connection, "SELECT 1 FROM instance WHERE id = ?", (instance_id,)):
        return False
    connection.execute(
        "INSERT INTO fragment (instance, sealed) VALUES (?, ?)"
        " ON CONFLICT (instance) DO UPDATE SET sealed = excluded.sealed",
        (instance_id, sealed),
    )
    connection.execute("DELETE FROM fragment_due WHERE instance = ?", (instance_id,))
    return True


def without_fragment(reader: apsw.Connection, limit: int) -> list[InstanceRow]:
    """The first *limit* instances whose metadata is still to be made, the oldest first."""
    statement = (
        f"SELECT {_COLUMNS} FROM fragment_due CROSS JOIN instance ON instance.id = fragment_due.instance"  # noqa: S608 -- our text
        " CROSS JOIN series ON series.id = instance.series CROSS JOIN study ON study.id = series.study"
        " ORDER BY fragment_due.instance LIMIT ?"
    )
    return [_row(row) for row in reader.execute(statement, (limit,))]


def fragments(
    reader: apsw.Connection, study_instance_uid: str, series_instance_uid: str, scope: Scope = EVERYTHING
) -> Iterator[Fragment]:
    """The sealed metadata of a series inside *scope*, in the order of arrival, a page at a time."""
    visible = scope.instance("study", "instance")
    statement = (
        "SELECT instance.id, instance.sop_instance_uid, instance.blob_id, instance.key_id, fragment.sealed"  # noqa: S608 -- our text
        f" FROM {_FROM_STUDY} CROSS JOIN fragment ON fragment.instance = instance.id"
        " WHERE study.study_instance_uid = ? AND series.series_instance_uid = ? AND instance.id > ?"
        f" AND {visible.sql} ORDER BY instance.id LIMIT ?"
    )
    after = 0
    while True:
        bound = (study_instance_uid, series_instance_uid, after, *visible.values, PAGE)
        rows = select(reader, statement, bound)
        yield from (Fragment(*row) for row in rows)
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def least_recently_checked(reader: apsw.Connection, limit: int) -> list[InstanceRow]:
    """The *limit* instances whose blobs were opened longest ago, those never opened first."""
    statement = f"SELECT {_COLUMNS} FROM {_FROM_INSTANCE} ORDER BY instance.checked_at, instance.id LIMIT ?"  # noqa: S608 -- our text
    return [_row(row) for row in reader.execute(statement, (limit,))]


def oldest_check(reader: apsw.Connection) -> float | None:
    """
    When the blob that waits longest was last found whole, or came in if it was never opened since; None when there is
    none.
    """
    found = select(reader, "SELECT coalesce(checked_at, received_at) FROM instance ORDER BY checked_at, id LIMIT 1")
    return found[0][0] if found else None


def checked(connection: apsw.Connection, instance_ids: Sequence[int], at: float) -> None:
    """Remember that the blobs of these instances were opened and found whole."""
    connection.executemany("UPDATE instance SET checked_at = ? WHERE id = ?", [(at, number) for number in instance_ids])


def set_content_digest(connection: apsw.Connection, instance_id: int, digest: bytes) -> None:
    """Remember the syntax-independent digest of an instance, so that it is computed once (I3)."""
    connection.execute("UPDATE instance SET content_digest = ? WHERE id = ?", (digest, instance_id))
