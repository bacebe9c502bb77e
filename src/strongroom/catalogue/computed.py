"""
Attributes that no data set holds: counted or gathered from what lies below an entity (PS3.4 C.3.4, Table C.6-1 ff.).

Each is an expression of the statement that finds the entity, inside the same scope: a caller who sees half a study
counts half a study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from strongroom.catalogue.condition import FALSE, TRUE, Condition, either, some_row
from strongroom.catalogue.matching import number_matches, text_matches, uid_matches, values_of
from strongroom.catalogue.scope import Scope
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import Level

__all__ = ["Computed", "computed_at", "expression", "has_none", "matches"]

_OF_PATIENT: Final = (
    "FROM study AS theirs CROSS JOIN series AS member ON member.study = theirs.id"
    " CROSS JOIN series_source AS source ON source.series = member.id WHERE theirs.patient = "
)
_OF_STUDY: Final = (
    "FROM series AS member CROSS JOIN series_source AS source ON source.series = member.id"
    " WHERE member.study = study.id"
)
_OF_SERIES: Final = "FROM series_source AS source WHERE source.series = series.id"


@final
@dataclass(frozen=True, slots=True)
class Computed:
    """One computed attribute: its VR, the level it is about, and what is selected or compared."""

    vr: str
    about: Level
    selected: str
    compared: str = ""
    """For lists: the expression whose values are the attribute's; a key matches when it matches one of them."""
    plain: bool = False
    """*selected* is an expression of the entity itself, with nothing below it to look at."""


_COMPUTED: Final[Mapping[str, Computed]] = {
    "00080061": Computed("CS", Level.STUDY, "json_group_array(DISTINCT member.modality)", "member.modality"),
    "00080062": Computed("UI", Level.STUDY, "json_group_array(DISTINCT source.sop_class_uid)", "source.sop_class_uid"),
    "00201200": Computed("IS", Level.PATIENT, "count(DISTINCT theirs.id)"),
    "00201202": Computed("IS", Level.PATIENT, "count(DISTINCT member.id)"),
    "00201204": Computed("IS", Level.PATIENT, "coalesce(sum(source.instances), 0)"),
    "00201206": Computed("IS", Level.STUDY, "count(DISTINCT member.id)"),
    "00201208": Computed("IS", Level.STUDY, "coalesce(sum(source.instances), 0)"),
    "00080056": Computed("CS", Level.STUDY, "'ONLINE'", plain=True),
    "00083002": Computed("UI", Level.IMAGE, "instance.transfer_syntax_uid", plain=True),
    "00201209": Computed("IS", Level.SERIES, "coalesce(sum(source.instances), 0)"),
}
_MODALITIES_IN_STUDY: Final = "00080061"
_DEPTHS: Final = {Level.PATIENT: 0, Level.STUDY: 1, Level.SERIES: 2, Level.IMAGE: 3}


def computed_at(level: Level, tag: str) -> Computed | None:
    """The computed attribute *tag*, if entities of *level* have it: their own or one of a level above."""
    found = _COMPUTED.get(tag)
    return found if found is not None and _DEPTHS[found.about] <= _DEPTHS[level] else None


def computed_tags(level: Level) -> tuple[str, ...]:
    """The computed attributes about *level* itself."""
    return tuple(tag for tag, computed in _COMPUTED.items() if computed.about is level)


def expression(computed: Computed, level: Level, scope: Scope) -> Condition:
    """The value, as an expression of a statement about *level*; a list is a JSON array in no order."""
    if computed.plain:
        return Condition(computed.selected)
    start, values = _from(computed, level, scope)
    empty = f" AND {computed.compared} <> ''" if computed.compared else ""
    return Condition(f"(SELECT {computed.selected} {start}{empty})", values)


def matches(tag: str, computed: Computed, element: JsonElement, level: Level, scope: Scope) -> Condition:
    """Return the condition that the attribute matches the key *element*; TRUE when universal."""
    values = values_of(tag, computed.vr, element)
    if not values:
        return TRUE
    if computed.plain:
        return either(text_matches(computed.selected, str(value), wild=computed.vr == "CS") for value in values)
    if not computed.compared:
        counted = expression(computed, level, scope)
        matched = number_matches(counted.sql, values)
        return Condition(matched.sql, tuple(bound for value in matched.values for bound in (*counted.values, value)))
    if computed.vr == "UI":
        inner = uid_matches(computed.compared, values)
    else:
        inner = either(text_matches(computed.compared, str(value), wild=True) for value in values)
    listed = _listed(values) if tag == _MODALITIES_IN_STUDY else TRUE
    if listed != TRUE and scope.everything:
        return listed
    start, bound = _from(computed, level, scope)
    return listed & some_row(f"{start} AND {inner.sql}", (*bound, *inner.values))


def has_none(_tag: str, computed: Computed, _element: JsonElement, level: Level, scope: Scope) -> Condition:
    """Return the condition that the attribute has no value: a list without an entry, while a count always has one."""
    if not computed.compared:
        return FALSE
    start, bound = _from(computed, level, scope)
    return ~some_row(f"{start} AND {computed.compared} <> ''", bound)


def _listed(values: Sequence[object]) -> Condition:
    """
    Modalities without wild cards are looked up in their own index, which a walk along names or dates can do without
    reading the study.
    """
    if any(character in str(value) for value in values for character in "*?"):
        return TRUE
    return either(
        some_row(
            "FROM study_modality AS other WHERE other.modality = ?"
            " AND other.study_date = study.study_date AND other.study = study.id",
            (str(value).strip(" "),),
        )
        for value in values
    )


def _from(computed: Computed, level: Level, scope: Scope) -> tuple[str, tuple[str | int | float | bytes | None, ...]]:
    """Where the rows are that the attribute is made of: those in scope, below the entity of the statement."""
    study = "study"
    if computed.about is Level.PATIENT:
        study = "theirs"
        start = _OF_PATIENT + ("patient.id" if level is Level.PATIENT else "study.patient")
    else:
        start = _OF_STUDY if computed.about is Level.STUDY else _OF_SERIES
    visible = scope.source(study, "source")
    return (start, ()) if visible == TRUE else (f"{start} AND {visible.sql}", visible.values)


def asked_modalities(element: JsonElement) -> tuple[str, ...]:
    """The values of a key Modalities in Study; none when it is universal."""
    return tuple(str(value) for value in values_of(_MODALITIES_IN_STUDY, "CS", element))
