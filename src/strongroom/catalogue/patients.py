"""
Whose study is it? A study belongs to the patient its first instance names (levels.py); whoever adds an instance that
names another one is told so here, before anything is written.

Two patients are told apart by Patient ID, and with the same one by its issuer (PS3.3 C.7.1.1); names are written in too
many ways to tell. A missing ID or issuer contradicts nothing.
"""

from __future__ import annotations

import apsw

from strongroom.catalogue.rows import select
from strongroom.dicom.model import Identity

__all__ = ["are_two", "names_another", "patient_of"]


def are_two(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two (Patient ID, issuer) are two patients."""
    if not one[0] or not other[0]:
        return False
    return one[0] != other[0] or bool(one[1] and other[1] and one[1] != other[1])


def patient_of(connection: apsw.Connection, study_instance_uid: str) -> tuple[str, str] | None:
    """Return (Patient ID, issuer) of a study, None when there is no such study."""
    rows = select(
        connection,
        "SELECT patient_id, issuer_of_patient_id FROM study WHERE study_instance_uid = ?",
        (study_instance_uid,),
    )
    return (rows[0][0], rows[0][1]) if rows else None


def names_another(connection: apsw.Connection, identity: Identity) -> bool:
    """Whether the study that *identity* names is in the catalogue and another patient's."""
    known = patient_of(connection, identity.study_instance_uid)
    return known is not None and are_two(known, (identity.patient_id, identity.issuer))
