"""
Take instances out of the catalogue again (DESIGN section 6; soft deletion): counts, sources, modalities and rows that
nothing is left of go with them.

What the levels above took over from an instance stays as long as anything else of that level is there: recorded again,
it finds everything as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import apsw
import msgspec

from strongroom.catalogue.extracts import Merged, dissolve
from strongroom.catalogue.instances import InstanceRow
from strongroom.catalogue.rows import select

__all__ = ["Removed", "take_out"]

_OF_INSTANCES: Final = (
    "DELETE FROM fragment WHERE instance IN (SELECT value FROM json_each(?))",
    "DELETE FROM fragment_due WHERE instance IN (SELECT value FROM json_each(?))",
    "DELETE FROM frame_index WHERE instance IN (SELECT value FROM json_each(?))",
    "DELETE FROM instance WHERE id IN (SELECT value FROM json_each(?))",
)
_OF_SERIES: Final = (
    "DELETE FROM merge_due WHERE series IN (SELECT value FROM json_each(?))",
    "DELETE FROM merged WHERE series IN (SELECT value FROM json_each(?))",
    "DELETE FROM series_source WHERE series IN (SELECT value FROM json_each(?))",
    "DELETE FROM series WHERE id IN (SELECT value FROM json_each(?))",
)
_OF_STUDIES: Final = (
    "DELETE FROM study_modality WHERE study IN (SELECT value FROM json_each(?))",
    "DELETE FROM study_source WHERE study IN (SELECT value FROM json_each(?))",
    "DELETE FROM study_name WHERE study IN (SELECT value FROM json_each(?))",
    "DELETE FROM study WHERE id IN (SELECT value FROM json_each(?))",
)
_OF_PATIENTS: Final = ("DELETE FROM patient WHERE id IN (SELECT value FROM json_each(?))",)
_LOST: Final = (
    "UPDATE series_source SET instances = series_source.instances - lost.instances,"
    " bytes = series_source.bytes - lost.bytes FROM (SELECT series, device, sop_class_uid,"
    " (differs & 8) <> 0 AS other_patient, count(*) AS instances, sum(plain_length) AS bytes FROM instance"
    " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3, 4) AS lost"
    " WHERE series_source.series = lost.series"
    " AND series_source.device = lost.device AND series_source.sop_class_uid = lost.sop_class_uid"
    " AND series_source.other_patient = lost.other_patient"
)
_TOTALS: Final = (
    "UPDATE totals SET records = records + 1, patients = patients - ?, studies = studies - ?, series = series - ?,"
    " instances = instances - ?, bytes = bytes - ? WHERE only = 1"
)


@final
@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone besides the instances."""

    study_instance_uids: frozenset[str]
    """Studies of which nothing is left."""


def take_out(connection: apsw.Connection, rows: Sequence[InstanceRow]) -> Removed:
    """
    Remove the instances *rows* inside the caller's transaction; `Recorder.forget` has to follow.

    Metadata that was merged with theirs is made again for what stays. Their blobs are not touched.
    """
    gone = _listed(row.id for row in rows)
    series = _ids(connection, "SELECT DISTINCT series FROM instance WHERE id IN (SELECT value FROM json_each(?))", gone)
    studies = _ids(
        connection, "SELECT DISTINCT study FROM series WHERE id IN (SELECT value FROM json_each(?))", _listed(series)
    )
    patients = _ids(
        connection, "SELECT DISTINCT patient FROM study WHERE id IN (SELECT value FROM json_each(?))", _listed(studies)
    )
    _dissolve(connection, gone)
    connection.execute(_LOST, (gone,))
    connection.execute(
        "DELETE FROM series_source WHERE instances = 0 AND series IN (SELECT value FROM json_each(?))",
        (_listed(series),),
    )
    _run(connection, _OF_INSTANCES, gone)
    instances = connection.changes()
    empty = _take_out_series(connection, series, studies)
    whole = _take_out_studies(connection, studies)
    nobody = _take_out_patients(connection, patients)
    length = sum(row.plain_length for row in rows)
    connection.execute(_TOTALS, (nobody, len(whole), empty, instances, length))
    return Removed(frozenset(whole))


def _dissolve(connection: apsw.Connection, gone: str) -> None:
    """Let go of the merged metadata that has something of these instances in it."""
    found = select(
        connection,
        "SELECT DISTINCT merged.id, merged.first, merged.last FROM instance CROSS JOIN merged"
        " ON merged.series = instance.series AND instance.id BETWEEN merged.first AND merged.last"
        " WHERE instance.id IN (SELECT value FROM json_each(?))",
        (gone,),
    )
    for number, first, last in found:
        dissolve(connection, Merged(number, first, last, 0, b"", b"", b""))


def _take_out_series(connection: apsw.Connection, series: list[int], studies: list[int]) -> int:
    """Remove series without instances, and what was listed because of them; return how many there were."""
    empty = _ids(
        connection,
        "SELECT id FROM series WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.series = series.id)",
        _listed(series),
    )
    _run(connection, _OF_SERIES, _listed(empty))
    connection.execute(
        "DELETE FROM study_modality WHERE study IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM series"
        " WHERE series.study = study_modality.study AND series.modality = study_modality.modality)",
        (_listed(studies),),
    )
    connection.execute(
        "DELETE FROM study_source WHERE study IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM series CROSS JOIN series_source ON series_source.series = series.id"
        " WHERE series.study = study_source.study"
        " AND series_source.device = study_source.device AND series_source.other_patient = 0)",
        (_listed(studies),),
    )
    return len(empty)


def _take_out_studies(connection: apsw.Connection, studies: list[int]) -> list[str]:
    """Remove studies without series; return their UIDs."""
    found = select(
        connection,
        "SELECT id, study_instance_uid FROM study WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM series WHERE series.study = study.id)",
        (_listed(studies),),
    )
    _run(connection, _OF_STUDIES, _listed(row[0] for row in found))
    return [row[1] for row in found]


def _take_out_patients(connection: apsw.Connection, patients: list[int]) -> int:
    """Remove patients without studies; return how many there were."""
    empty = _ids(
        connection,
        "SELECT id FROM patient WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM study WHERE study.patient = patient.id)",
        _listed(patients),
    )
    _run(connection, _OF_PATIENTS, _listed(empty))
    return len(empty)


def _run(connection: apsw.Connection, statements: Sequence[str], listed: str) -> None:
    for statement in statements:
        connection.execute(statement, (listed,))


def _ids(connection: apsw.Connection, statement: str, listed: str) -> list[int]:
    return [row[0] for row in select(connection, statement, (listed,))]


def _listed(numbers: object) -> str:
    return msgspec.json.encode(list(numbers)).decode()  # type: ignore[call-overload]
