"""
What part of the catalogue a caller reaches, compiled into the SQL of every read (SECURITY D19): what lies outside is
never fetched, so it cannot be told from what does not exist.

A scope by study or issuer of patient ID covers whole studies. A scope by sending device covers the instances that
device sent, unless they name another patient than their study does: whoever merely guesses a Study Instance UID and
sends something into that study gains no sight of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

import msgspec

from strongroom.catalogue.condition import FALSE, TRUE, Condition, either, every, some_row

__all__ = ["EVERYTHING", "NOTHING", "Reach", "Scope"]


@final
@dataclass(frozen=True, slots=True)
class Reach:
    """A union of parts: nothing unless said."""

    everything: bool = False
    studies: frozenset[str] = frozenset()
    sending_devices: frozenset[str] = frozenset()
    issuers_of_patient_id: frozenset[str] = frozenset()

    @property
    def nothing(self) -> bool:
        """Whether no instance at all can lie inside."""
        return not (self.everything or self.studies or self.sending_devices or self.issuers_of_patient_id)

    def _whole_study(self, study: str) -> Condition:
        return either(
            (
                _among(f"{study}.study_instance_uid", self.studies),
                _among(f"{study}.issuer_of_patient_id", self.issuers_of_patient_id),
            )
        )

    def study(self, study: str) -> Condition:
        """Something of the study called *study* in the statement lies inside."""
        if self.everything:
            return TRUE
        sent = _among("sent.device", self.sending_devices)
        if sent != FALSE:
            sent = some_row(f"FROM study_source AS sent WHERE {sent.sql} AND sent.study = {study}.id", sent.values)
        return self._whole_study(study) | sent

    def series(self, study: str, series: str) -> Condition:
        """Something of the series lies inside; *study* names its study in the statement."""
        if self.everything:
            return TRUE
        sent = _among("sent.device", self.sending_devices)
        if sent != FALSE:
            sent = some_row(
                f"FROM series_source AS sent WHERE sent.series = {series}.id AND {sent.sql} AND sent.other_patient = 0",
                sent.values,
            )
        return self._whole_study(study) | sent

    def instance(self, study: str, instance: str) -> Condition:
        """The instance lies inside."""
        if self.everything:
            return TRUE
        sent = _among(f"{instance}.device", self.sending_devices)
        return self._whole_study(study) | (sent & Condition(f"{instance}.differs & 8 = 0"))

    def source(self, study: str, source: str) -> Condition:
        """What a row of series_source counts lies inside."""
        if self.everything:
            return TRUE
        sent = _among(f"{source}.device", self.sending_devices)
        return self._whole_study(study) | (sent & Condition(f"{source}.other_patient = 0"))


@final
@dataclass(frozen=True, slots=True)
class Scope:
    """What lies inside every one of *reaches*, of which there is at least one."""

    reaches: tuple[Reach, ...]

    def __post_init__(self) -> None:
        if not self.reaches:
            raise ValueError("a scope names what it reaches; EVERYTHING and NOTHING say so")

    @staticmethod
    def of(
        *,
        studies: Iterable[str] = (),
        sending_devices: Iterable[str] = (),
        issuers_of_patient_id: Iterable[str] = (),
    ) -> Scope:
        """The union of the named parts; nothing when none is named."""
        reach = Reach(
            studies=frozenset(studies),
            sending_devices=frozenset(sending_devices),
            issuers_of_patient_id=frozenset(issuers_of_patient_id),
        )
        return Scope((reach,))

    def __and__(self, other: Scope) -> Scope:
        """What lies inside both: for a C-MOVE what requester and recipient may both have."""
        kept = tuple(reach for reach in (*self.reaches, *other.reaches) if not reach.everything)
        return Scope(kept) if kept else EVERYTHING

    @property
    def nothing(self) -> bool:
        """Whether no instance at all can lie inside: then no statement needs to run."""
        return any(reach.nothing for reach in self.reaches)

    @property
    def everything(self) -> bool:
        """Whether the whole catalogue lies inside."""
        return all(reach.everything for reach in self.reaches)

    @property
    def listed_studies(self) -> frozenset[str] | None:
        """The studies of which alone something can lie inside, when a reach is a plain list of them."""
        lists = [reach.studies for reach in self.reaches if _only_studies(reach)]
        return frozenset.intersection(*lists) if lists else None

    @property
    def listed_devices(self) -> frozenset[str]:
        """The devices of which alone something can lie inside, when a reach is a plain list of them; else none."""
        lists = [reach.sending_devices for reach in self.reaches if _only_devices(reach)]
        return min(lists, key=len, default=frozenset())

    def patient(self, patient: str) -> Condition:
        """
        One study of the patient has something inside.

        Reaches are met study by study, and inside a study instance by instance (`source`).
        """
        if self.everything:
            return TRUE
        visible = self.source("visible", "sent")
        return some_row(
            "FROM study AS visible CROSS JOIN series AS member ON member.study = visible.id"
            " CROSS JOIN series_source AS sent ON sent.series = member.id"
            f" WHERE visible.patient = {patient}.id AND {visible.sql}",
            visible.values,
        )

    def study(self, study: str) -> Condition:
        """Something of the study lies inside every reach."""
        if len(self.reaches) == 1:
            return self.reaches[0].study(study)
        visible = self.source(study, "sent")
        return some_row(
            "FROM series AS member CROSS JOIN series_source AS sent ON sent.series = member.id"
            f" WHERE member.study = {study}.id AND {visible.sql}",
            visible.values,
        )

    def series(self, study: str, series: str) -> Condition:
        """Something of the series lies inside every reach."""
        if len(self.reaches) == 1:
            return self.reaches[0].series(study, series)
        visible = self.source(study, "sent")
        return some_row(f"FROM series_source AS sent WHERE sent.series = {series}.id AND {visible.sql}", visible.values)

    def instance(self, study: str, instance: str) -> Condition:
        """The instance lies inside every reach."""
        return every(reach.instance(study, instance) for reach in self.reaches)

    def source(self, study: str, source: str) -> Condition:
        """What a row of series_source counts lies inside every reach."""
        return every(reach.source(study, source) for reach in self.reaches)


EVERYTHING: Final = Scope((Reach(everything=True),))
NOTHING: Final = Scope((Reach(),))


def _only_studies(reach: Reach) -> bool:
    return bool(reach.studies) and not (reach.everything or reach.sending_devices or reach.issuers_of_patient_id)


def _only_devices(reach: Reach) -> bool:
    return bool(reach.sending_devices) and not (reach.everything or reach.studies or reach.issuers_of_patient_id)


def _among(expression: str, names: frozenset[str]) -> Condition:
    """*names* are bound as one value, however many there are."""
    if not names:
        return FALSE
    if len(names) == 1:
        return Condition(f"{expression} = ?", tuple(names))
    return Condition(
        f"{expression} IN (SELECT value FROM json_each(?))",  # noqa: S608 -- our text
        (msgspec.json.encode(sorted(names)).decode(),),
    )
