"""
Instances that were deleted and can be taken back: who deleted them, when and why, and where their sealed bytes lie.

They are in no answer and in no index. Whatever is needed to index one again stands here or in its own data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import apsw
import msgspec

from strongroom.register.kept import COLUMNS, KeptBlob, kept_blob
from strongroom.register.rows import select

__all__ = [
    "Deleted",
    "Deletion",
    "add",
    "count",
    "every",
    "find",
    "listed",
    "matching",
    "of_blob",
    "of_decisions",
    "remove",
]

_MARKS: Final = ", ".join("?" * (COLUMNS.count(",") + 1))


@final
@dataclass(frozen=True, slots=True)
class Deletion:
    """One act of deleting, as far as it was not taken back."""

    id: int
    at: float
    actor: str
    reason: str
    study_instance_uids: tuple[str, ...]
    instances: int


@final
@dataclass(frozen=True, slots=True)
class Deleted:
    """One deleted instance."""

    id: int
    kept: KeptBlob


def add(
    connection: apsw.Connection,
    instances: Sequence[KeptBlob],
    *,
    at: float,
    actor: str,
    reason: str,
    decision: int | None = None,
) -> int:
    """List *instances* as deleted by one act, or as what lost a *decision* about conflicts; return its number."""
    connection.execute("INSERT INTO deletion (at, actor, reason) VALUES (?, ?, ?)", (at, actor, reason))
    deletion = connection.last_insert_rowid()
    connection.executemany(
        f"INSERT INTO deleted_instance (deletion, decision, {COLUMNS}) VALUES (?, ?, {_MARKS})",  # noqa: S608 -- our text
        [
            (
                deletion,
                decision,
                one.sop_instance_uid,
                one.sop_class_uid,
                one.series_instance_uid,
                one.study_instance_uid,
                one.transfer_syntax_uid,
                one.device,
                one.received_at,
                one.digest,
                one.blob_id,
                one.key_id,
                one.pack,
                one.offset,
                one.length,
                one.plain_length,
            )
            for one in instances
        ],
    )
    return deletion


def find(connection: apsw.Connection, sop_instance_uid: str) -> Deleted | None:
    """Return the deleted instance of that UID, None when there is none; what lost a decision does not count."""
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM deleted_instance WHERE sop_instance_uid = ? AND decision IS NULL",  # noqa: S608 -- our text
        (sop_instance_uid,),
    )
    return Deleted(rows[0][0], kept_blob(rows[0][1:])) if rows else None


def matching(
    connection: apsw.Connection,
    *,
    study_instance_uids: Sequence[str] = (),
    series_instance_uids: Sequence[str] = (),
    sop_instance_uids: Sequence[str] = (),
) -> tuple[Deleted, ...]:
    """
    Return the deleted instances whose UIDs are among those given; a level without any is not asked for.

    What lost a decision about conflicts is not among them: another decision brings it back.
    """
    wanted = [
        ("study_instance_uid", study_instance_uids),
        ("series_instance_uid", series_instance_uids),
        ("sop_instance_uid", sop_instance_uids),
    ]
    given = [(column, uids) for column, uids in wanted if uids]
    if not given:
        return ()
    where = " AND ".join(f"{column} IN (SELECT value FROM json_each(?))" for column, _ in given)  # noqa: S608 -- our text
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM deleted_instance WHERE decision IS NULL AND {where} ORDER BY id",  # noqa: S608 -- our text
        tuple(msgspec.json.encode(list(uids)).decode() for _, uids in given),
    )
    return tuple(Deleted(row[0], kept_blob(row[1:])) for row in rows)


def of_decisions(connection: apsw.Connection, decisions: Sequence[int]) -> tuple[Deleted, ...]:
    """Return what lost these decisions, in the order in which it did."""
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM deleted_instance WHERE decision IN (SELECT value FROM json_each(?)) ORDER BY id",  # noqa: S608 -- our text
        (msgspec.json.encode(list(decisions)).decode(),),
    )
    return tuple(Deleted(row[0], kept_blob(row[1:])) for row in rows)


def of_blob(connection: apsw.Connection, blob_id: bytes) -> Deleted | None:
    """Return the deleted instance that lies in that blob."""
    rows = select(connection, f"SELECT id, {COLUMNS} FROM deleted_instance WHERE blob_id = ?", (blob_id,))  # noqa: S608 -- our text
    return Deleted(rows[0][0], kept_blob(rows[0][1:])) if rows else None


def remove(connection: apsw.Connection, number: int) -> bool:
    """Take an instance off the list, and the act with its last one; False when it was not on it."""
    found = select(connection, "SELECT deletion FROM deleted_instance WHERE id = ?", (number,))
    if not found:
        return False
    connection.execute("DELETE FROM deleted_instance WHERE id = ?", (number,))
    connection.execute(
        "DELETE FROM deletion WHERE id = ?"
        " AND NOT EXISTS (SELECT 1 FROM deleted_instance WHERE deletion = deletion.id)",
        (found[0][0],),
    )
    return True


def listed(connection: apsw.Connection, *, after: int = 0, limit: int = 1_000) -> tuple[Deleted, ...]:
    """Return at most *limit* deleted instances with a number above *after*, in their order."""
    rows = select(
        connection,
        f"SELECT id, {COLUMNS} FROM deleted_instance WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 -- our text
        (after, limit),
    )
    return tuple(Deleted(row[0], kept_blob(row[1:])) for row in rows)


def every(connection: apsw.Connection, *, limit: int = 1_000) -> tuple[Deletion, ...]:
    """Return the acts, the newest first, at most *limit* of them."""
    rows = select(
        connection,
        "SELECT id, at, actor, reason, (SELECT json_group_array(DISTINCT study_instance_uid) FROM deleted_instance"
        " WHERE deletion = deletion.id), (SELECT count(*) FROM deleted_instance WHERE deletion = deletion.id)"
        " FROM deletion ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return tuple(
        Deletion(number, at, actor, reason, tuple(sorted(msgspec.json.decode(studies))), instances)
        for number, at, actor, reason, studies, instances in rows
    )


def count(connection: apsw.Connection) -> int:
    """How many instances are deleted and kept."""
    return int(select(connection, "SELECT count(*) FROM deleted_instance")[0][0])
