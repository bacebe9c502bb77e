"""
What may be asked (PS3.4 C.4.1.2, C.6): a query for a level of an information model, and the target of a retrieval.

A hierarchical search names one entity at each level above its own by its unique key; a relational one (PS3.18 QIDO-
RS) need not. `check` refuses what an information model does not have, before any SQL is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, cast, final

from strongroom.catalogue.matching import MAX_DEPTH, is_tag
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import Level
from strongroom.errors import DataSetError, MismatchError

__all__ = ["UNIQUE_KEYS", "Query", "Root", "Target", "check", "levels_down_to"]

MAX_KEYS: Final = 512
"""Keys of a query, those inside sequences included."""

MAX_OFFSET: Final = 1_000_000
"""Matches left out at the front: they are walked past, two microseconds each."""

UNIQUE_KEYS: Final[Mapping[Level, str]] = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.IMAGE: "00080018",
}
_ORDER: Final = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
_NOT_KEYS: Final = frozenset({"00080005", "00080052"})
"""Specific Character Set and Query/Retrieve Level say how to read a query: neither matched nor answered here."""
_TIMEZONE: Final = "00080201"
"""Timezone Offset From UTC is answered but never matched: in a query it is about the query (PS3.4 C.4.1.1.3.1)."""


@final
class Root(Enum):
    """The two information models (PS3.4 C.6)."""

    PATIENT = "patient"
    STUDY = "study"


@final
@dataclass(frozen=True, slots=True)
class Query:
    """
    A search at *level*; *keys* is the identifier as DICOM JSON, keys without a value are only answered.

    *relational* lets keys of upper levels take any form. *combined_datetime* joins the ranges of a date and its time
    to one (extended negotiation of PS3.4 C.5.1.1). *every_attribute* answers all that is kept, not only what *keys*
    name. *fuzzy* matches person names by their words and what they sound like (`names`). With *empty_values* a key of
    two quotation marks matches what has no value (PS3.4 C.2.2.2.7). The first *offset* matches are left out; equal
    questions have their matches in equal order.
    """

    root: Root
    level: Level
    keys: Mapping[str, JsonElement]
    limit: int | None = None
    relational: bool = False
    combined_datetime: bool = False
    every_attribute: bool = False
    fuzzy: bool = False
    empty_values: bool = False
    offset: int = 0


@final
@dataclass(frozen=True, slots=True)
class Target:
    """
    What a retrieval names: single values above *level*, one or more at it; an empty tuple names nothing in
    particular.
    """

    level: Level
    patient_id: str | None = None
    study_instance_uids: tuple[str, ...] = field(default=())
    series_instance_uids: tuple[str, ...] = field(default=())
    sop_instance_uids: tuple[str, ...] = field(default=())


def levels_down_to(level: Level, *, root: Root = Root.PATIENT) -> tuple[Level, ...]:
    """The levels from the top of *root* to *level*, both included."""
    first = 0 if root is Root.PATIENT else 1
    return _ORDER[first : _ORDER.index(level) + 1]


def check(query: Query) -> dict[str, JsonElement]:
    """
    Return the keys of *query* that say what is asked.

    Raises MismatchError when the level is not one of the information model or an upper unique key is not a single value
    (PS3.4 C.4.1.3.1.1), DataSetError when a limit is exceeded. Neither names a value.
    """
    levels = levels_down_to(query.level, root=query.root)
    if not levels:
        raise MismatchError(f"the {query.root.value} root has no level {query.level.name}")
    keys: dict[str, JsonElement] = {
        tag: {"vr": "SH"} if tag == _TIMEZONE else element
        for tag, element in query.keys.items()
        if tag not in _NOT_KEYS and is_tag(tag)
    }
    if not 0 <= query.offset <= MAX_OFFSET:
        raise DataSetError(f"a search that begins behind {query.offset} matches, the limit is {MAX_OFFSET}")
    if _count(keys, 0) > MAX_KEYS:
        raise DataSetError(f"a query of more than {MAX_KEYS} keys")
    if not query.relational:
        for level in levels[:-1]:
            key = keys.get(UNIQUE_KEYS[level])
            values = [value for value in (key.get("Value") if key is not None else None) or () if value]
            if len(values) != 1:
                raise MismatchError(
                    f"the unique key of level {level.name} has {len(values)} values, a search below it needs one"
                )
    return keys


def _count(keys: Mapping[str, JsonElement], depth: int) -> int:
    if depth > MAX_DEPTH:
        raise DataSetError(f"a key with more than {MAX_DEPTH} sequences inside each other")
    count = len(keys)
    for element in keys.values():
        if element["vr"] == "SQ":
            for item in element.get("Value") or ():
                if isinstance(item, dict):
                    count += _count(cast("Mapping[str, JsonElement]", item), depth + 1)
    return count
