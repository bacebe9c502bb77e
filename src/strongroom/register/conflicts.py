"""
Instances that were sent and not taken into the catalogue, because the first to come stays there until a person decides
(I3): another content under a SOP Instance UID that is taken, or an instance that names another patient than its study.

Nothing is ever replaced by itself, and a decision leaves its conflict listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.ground.label import Label
from strongroom.register.kept import COLUMNS, KeptBlob, Stored, columns_of, kept_blob
from strongroom.register.rows import select

__all__ = ["Conflict", "Kind", "Waiting", "add", "count", "decide", "find", "get", "listed", "together", "waiting"]

_ALL: Final = f"id, kind, patient_id, issuer_of_patient_id, decision, {COLUMNS}"


@final
class Kind(StrEnum):
    """What is in conflict."""

    CONTENT = "content"
    PATIENT = "patient"


@final
@dataclass(frozen=True, slots=True)
class Conflict:
    """One instance kept aside; of kind `patient` with the Patient ID and issuer it states."""

    id: int
    kind: Kind
    patient_id: str
    issuer: str
    decision: int | None
    kept: KeptBlob


@final
@dataclass(frozen=True, slots=True)
class Waiting:
    """What one decision is about: the first conflict of it, and how many instances it covers."""

    conflict: Conflict
    instances: int


def add(
    connection: apsw.Connection, label: Label, stored: Stored, *, other_patient: tuple[str, str] | None = None
) -> int:
    """List a blob as a conflict, with (Patient ID, issuer) when it names another patient; return its number."""
    kind = Kind.CONTENT if other_patient is None else Kind.PATIENT
    marks = ", ".join("?" * (COLUMNS.count(",") + 1))
    connection.execute(
        f"INSERT INTO conflict (kind, patient_id, issuer_of_patient_id, {COLUMNS}) VALUES (?, ?, ?, {marks})",  # noqa: S608 -- our text
        (kind.value, *(other_patient or ("", "")), *columns_of(label, stored)),
    )
    return connection.last_insert_rowid()


def find(connection: apsw.Connection, sop_instance_uid: str, digest: bytes) -> Conflict | None:
    """Return the conflict that holds just this content already: a sender that tries again adds nothing."""
    rows = select(
        connection,
        f"SELECT {_ALL} FROM conflict WHERE sop_instance_uid = ? AND digest = ? LIMIT 1",  # noqa: S608 -- our text
        (sop_instance_uid, digest),
    )
    return _conflict(rows[0]) if rows else None


def get(connection: apsw.Connection, number: int) -> Conflict | None:
    """Return the conflict of that number."""
    rows = select(connection, f"SELECT {_ALL} FROM conflict WHERE id = ?", (number,))  # noqa: S608 -- our text
    return _conflict(rows[0]) if rows else None


def together(connection: apsw.Connection, conflict: Conflict) -> tuple[Conflict, ...]:
    """Return what is decided together with *conflict*: of another patient, everything of that study that names him."""
    if conflict.kind is Kind.CONTENT:
        return (conflict,)
    rows = select(
        connection,
        f"SELECT {_ALL} FROM conflict WHERE kind = 'patient' AND study_instance_uid = ? AND patient_id = ?"  # noqa: S608 -- our text
        " AND issuer_of_patient_id = ? ORDER BY id",
        (conflict.kept.study_instance_uid, conflict.patient_id, conflict.issuer),
    )
    return tuple(_conflict(row) for row in rows)


def decide(connection: apsw.Connection, numbers: Sequence[int], decision: int) -> None:
    """Note that *decision* was taken about the conflicts of these numbers."""
    connection.execute(
        "UPDATE conflict SET decision = ? WHERE id IN (SELECT value FROM json_each(?))",
        (decision, msgspec.json.encode(list(numbers)).decode()),
    )


def listed(connection: apsw.Connection, *, after: int = 0, limit: int = 1_000) -> tuple[Conflict, ...]:
    """Return at most *limit* conflicts with a number above *after*, decided ones too, in their order."""
    rows = select(
        connection,
        f"SELECT {_ALL} FROM conflict WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 -- our text
        (after, limit),
    )
    return tuple(_conflict(row) for row in rows)


def waiting(
    connection: apsw.Connection, *, decided: bool = False, after: int = 0, limit: int = 1_000
) -> tuple[Waiting, ...]:
    """Return what waits for a decision, or with *decided* what was decided too, one entry for what belongs together."""
    rows = select(
        connection,
        # with min(), SQLite takes the other columns from the row that has it
        f"SELECT count(*), min(id), {_ALL.partition(', ')[2]} FROM conflict WHERE decision IS NULL OR ?"  # noqa: S608 -- our text
        " GROUP BY CASE kind WHEN 'patient' THEN 0 ELSE id END, study_instance_uid, patient_id, issuer_of_patient_id,"
        " decision HAVING min(id) > ? ORDER BY 2 LIMIT ?",
        (decided, after, limit),
    )
    return tuple(Waiting(_conflict(row[1:]), row[0]) for row in rows)


def count(connection: apsw.Connection) -> int:
    """How many instances wait for a decision."""
    return int(select(connection, "SELECT count(*) FROM conflict WHERE decision IS NULL")[0][0])


def _conflict(row: tuple[Any, ...]) -> Conflict:
    return Conflict(row[0], Kind(row[1]), row[2], row[3], row[4], kept_blob(row[5:]))
