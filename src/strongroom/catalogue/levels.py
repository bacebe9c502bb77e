"""
The rows of patient, study and series that an instance belongs to: found, made, or added to.

Who is who (PS3.4 C.3, PS3.3 C.7.1.1): a patient is a Patient ID of an issuer; without a Patient ID each study has a
patient of its own. A study stays with the patient of its first instance, a series UID counts within its study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.catalogue.folding import fold
from strongroom.catalogue.name_terms import list_name
from strongroom.catalogue.rows import select
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import Identity

__all__ = ["Described", "Differs", "Placement", "json_text", "place"]

Attributes = Mapping[str, JsonElement]

_ISSUER: Final = "00100021"
_NAME: Final = "00100010"
_PATIENT_ID: Final = "00100020"
_STUDY_DATE: Final = "00080020"
_MODALITY: Final = "00080060"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@final
class Differs(IntFlag):
    """At which levels the attributes of an instance contradict those that are kept."""

    PATIENT = 1
    STUDY = 2
    SERIES = 4
    OTHER_PATIENT = 8
    """Not just an attribute: it names another Patient ID than its study has."""


@final
@dataclass(frozen=True, slots=True)
class Described:
    """What the header of one instance says of the levels above it."""

    patient: Attributes
    study: Attributes
    series: Attributes


@final
@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance belongs, and at which levels, in which attributes, it contradicts what is kept."""

    study: int
    series: int
    differs: Differs
    differences: tuple[str, ...]
    """Tags, as the keys of DICOM JSON."""
    new_patient: bool
    new_study: bool
    new_series: bool


@final
@dataclass(slots=True)
class _Merging:
    """What comparing one level has found so far."""

    differs: Differs = field(default_factory=lambda: Differs(0))
    differences: tuple[str, ...] = ()


def json_text(value: object) -> str:
    """Encode as the text that SQL's JSON functions read."""
    return _encode(value).decode()


def place(connection: apsw.Connection, identity: Identity, described: Described) -> Placement:
    """Find or make the rows *identity* names, and compare and complete them with what is *described*."""
    merging = _Merging()
    found = select(
        connection,
        "SELECT id, patient, patient_id, issuer_of_patient_id, attributes, study_date FROM study"
        " WHERE study_instance_uid = ?",
        (identity.study_instance_uid,),
    )
    if found:
        new_patient = False
        study = _complete_study(connection, found[0], identity, described, merging)
    else:
        patient, new_patient = _patient(connection, identity, described.patient, merging)
        study = _make_study(connection, patient, identity, described)
    series, new_series = _series(connection, study, identity, described.series, merging)
    return Placement(study, series, merging.differs, merging.differences, new_patient, not found, new_series)


def _patient(
    connection: apsw.Connection, identity: Identity, attributes: Attributes, merging: _Merging
) -> tuple[int, bool]:
    """The patient of a new study."""
    lone = "" if identity.patient_id else identity.study_instance_uid
    found = select(
        connection,
        "SELECT id, attributes FROM patient WHERE patient_id = ? AND issuer_of_patient_id = ? AND lone_study = ?",
        (identity.patient_id, identity.issuer, lone),
    )
    if not found:
        connection.execute(
            "INSERT INTO patient (patient_id, issuer_of_patient_id, lone_study, name_alphabetic, name_ideographic,"
            " name_phonetic, birth_date, attributes, folded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (identity.patient_id, identity.issuer, lone, *_patient_columns(attributes)),
        )
        return connection.last_insert_rowid(), True
    _complete_patient(connection, found[0][0], _decode(found[0][1]), attributes, merging)
    return int(found[0][0]), False


def _patient_columns(attributes: Attributes) -> tuple[str, ...]:
    folded = fold(attributes)
    birth_date = (folded.get("00100030") or ("",))[0]
    return (*_name_columns(folded), birth_date, json_text(attributes), json_text(folded))


def _name_columns(folded: Mapping[str, list[Any]]) -> tuple[str, str, str]:
    alphabetic, ideographic, phonetic = (folded.get(_NAME) or (("", "", ""),))[0]
    return alphabetic, ideographic, phonetic


def _complete_patient(
    connection: apsw.Connection, patient: int, kept: Attributes, stated: Attributes, merging: _Merging
) -> None:
    added = _compare(kept, stated, Differs.PATIENT, merging)
    if added:
        connection.execute(
            "UPDATE patient SET name_alphabetic = ?, name_ideographic = ?, name_phonetic = ?, birth_date = ?,"
            " attributes = ?, folded = ? WHERE id = ?",
            (*_patient_columns({**kept, **added}), patient),
        )


def _make_study(connection: apsw.Connection, patient: int, identity: Identity, described: Described) -> int:
    columns = _study_columns({**described.patient, **described.study})
    connection.execute(
        "INSERT INTO study (patient, study_instance_uid, patient_id, issuer_of_patient_id, name_alphabetic,"
        " name_ideographic, name_phonetic, study_date, accession_number, study_id, attributes, folded)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            patient,
            identity.study_instance_uid,
            identity.patient_id,
            identity.issuer,
            *columns,
        ),
    )
    study = connection.last_insert_rowid()
    list_name(connection, study, columns[:3])
    return study


def _study_columns(attributes: Attributes) -> tuple[str, ...]:
    folded = fold(attributes)
    return (
        *_name_columns(folded),
        (folded.get(_STUDY_DATE) or ("",))[0],
        _first_text(attributes, "00080050"),
        _first_text(attributes, "00200010"),
        json_text(attributes),
        json_text(folded),
    )


def _complete_study(
    connection: apsw.Connection,
    row: tuple[Any, ...],
    identity: Identity,
    described: Described,
    merging: _Merging,
) -> int:
    """Compare an instance with its study and take over what it adds; another patient's data are only compared."""
    study, patient, patient_id, issuer, text, date = row
    kept = _decode(text)
    added: dict[str, JsonElement] = {}
    if identity.patient_id != patient_id or (identity.issuer and issuer and identity.issuer != issuer):
        merging.differs |= Differs.OTHER_PATIENT
        merging.differences += (_PATIENT_ID,)
        _compare(kept, described.patient, Differs.PATIENT, merging)
    else:
        added |= _compare(kept, described.patient, Differs.PATIENT, merging)
        if added:
            before = select(connection, "SELECT attributes FROM patient WHERE id = ?", (patient,))
            _complete_patient(connection, patient, _decode(before[0][0]), added, merging)
    added |= _compare(kept, described.study, Differs.STUDY, merging)
    if added:
        columns = _study_columns({**kept, **added})
        connection.execute(
            "UPDATE study SET name_alphabetic = ?, name_ideographic = ?, name_phonetic = ?, study_date = ?,"
            " accession_number = ?, study_id = ?, attributes = ?, folded = ? WHERE id = ?",
            (*columns, study),
        )
        if _NAME in added:
            list_name(connection, study, columns[:3])
        if columns[3] != date:
            connection.execute(
                "UPDATE study_modality SET study_date = ? WHERE study_date = ? AND study = ?"
                " AND modality IN (SELECT modality FROM series WHERE study = ?)",
                (columns[3], date, study, study),
            )
    return int(study)


def _series(
    connection: apsw.Connection, study: int, identity: Identity, attributes: Attributes, merging: _Merging
) -> tuple[int, bool]:
    found = select(
        connection,
        "SELECT id, attributes, modality FROM series WHERE study = ? AND series_instance_uid = ?",
        (study, identity.series_instance_uid),
    )
    if not found:
        modality = _first_text(attributes, _MODALITY)
        connection.execute(
            "INSERT INTO series (study, series_instance_uid, modality, attributes, folded) VALUES (?, ?, ?, ?, ?)",
            (study, identity.series_instance_uid, modality, json_text(attributes), json_text(fold(attributes))),
        )
        series = connection.last_insert_rowid()
        _list_modality(connection, study, modality)
        return series, True
    series, text, modality = found[0]
    kept = _decode(text)
    added = _compare(kept, attributes, Differs.SERIES, merging)
    if added:
        whole = {**kept, **added}
        now = _first_text(whole, _MODALITY)
        connection.execute(
            "UPDATE series SET modality = ?, attributes = ?, folded = ? WHERE id = ?",
            (now, json_text(whole), json_text(fold(whole)), series),
        )
        if now != modality:
            _list_modality(connection, study, now)
    return int(series), False


def _list_modality(connection: apsw.Connection, study: int, modality: str) -> None:
    if modality:
        connection.execute(
            "INSERT OR IGNORE INTO study_modality (modality, study_date, study)"
            " SELECT ?, study_date, id FROM study WHERE id = ?",
            (modality, study),
        )


def _compare(kept: Attributes, stated: Attributes, level: Differs, merging: _Merging) -> dict[str, JsonElement]:
    """
    Note what of *stated* contradicts *kept*; return what it adds, which is nothing when anything contradicts.

    A missing value contradicts nothing. The issuer of a Patient ID is part of who the patient is and never added later.
    """
    contradicting: list[str] = []
    added: dict[str, JsonElement] = {}
    for tag, element in stated.items():
        if not element.get("Value"):
            continue
        present = kept.get(tag)
        if present is None or not present.get("Value"):
            if tag != _ISSUER:
                added[tag] = element
        elif present != element and not _same(tag, present, element):
            contradicting.append(tag)
    if not contradicting:
        return added
    merging.differs |= level
    merging.differences += tuple(tag for tag in contradicting if tag not in merging.differences)
    return {}


def _same(tag: str, one: JsonElement, other: JsonElement) -> bool:
    """Equal apart from how a name, date or time is written."""
    folded = fold({tag: one})
    return bool(folded) and one["vr"] != "SQ" and folded == fold({tag: other})


def _first_text(attributes: Attributes, tag: str) -> str:
    element = attributes.get(tag)
    values = element.get("Value") if element is not None else None
    first = values[0] if values else None
    return "" if first is None else str(first).strip(" ")
