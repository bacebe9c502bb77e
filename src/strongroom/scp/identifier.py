"""
Identifiers of find, get and move: received, read, and checked against their information model (PS3.4 C.4.1.2,
C.4.2.1.4, C.6).

1. Query/Retrieve Level is one the information model has.
2. The unique key of every level above it has one single value: no list, no wildcard (hierarchical searches only).
3. For retrieval the unique key of the level itself has one value or more (a Patient ID: one), so nothing is ever
   "everything".
What breaks a rule raises IdentifierError, which names the tag and never a value.
"""

from __future__ import annotations

from typing import Final

from strongroom.dicom.json import decode_dataset
from strongroom.dicom.model import Level
from strongroom.errors import DataSetError
from strongroom.scp.errors import IdentifierError
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import Identifier, Query, Root, Target

QUERY_RETRIEVE_LEVEL: Final = "00080052"
RETRIEVE_AE_TITLE: Final = "00080054"
SPECIFIC_CHARACTER_SET: Final = "00080005"
FAILED_SOP_INSTANCE_UID_LIST: Final = "00080058"

MAX_IDENTIFIER_LENGTH: Final = 1024 * 1024
"""Bytes of one identifier: a list of about sixteen thousand UIDs. More is no question that anybody asks (D11)."""

#: The unique key of each level, from the top (PS3.4 C.6.1.1, C.6.2.1).
_UNIQUE_KEYS: Final = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.IMAGE: "00080018",
}
_LEVELS: Final = {
    Root.PATIENT: (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE),
    Root.STUDY: (Level.STUDY, Level.SERIES, Level.IMAGE),
}
_WILDCARDS: Final = frozenset("*?")


async def receive(exchange: Exchange) -> Identifier:
    """
    Take in the identifier that follows a request and decode it.

    Raises DataSetError when there is none, when it is longer than MAX_IDENTIFIER_LENGTH, or not a data set. It has
    been received to its end then, so the association stays usable.
    """
    if not exchange.unread:
        raise DataSetError("a request without its identifier")
    gathered = bytearray()
    length = 0
    async for fragment in exchange.data_set(limit=exchange.limits.max_drained):
        length += len(fragment)
        if length <= MAX_IDENTIFIER_LENGTH:
            gathered += fragment
    if length > MAX_IDENTIFIER_LENGTH:
        raise DataSetError(f"an identifier of {length} bytes, the limit is {MAX_IDENTIFIER_LENGTH}")
    return decode_dataset(bytes(gathered), exchange.context.transfer_syntax)


def parse_query(identifier: Identifier, root: Root, *, combined_datetime: bool = False) -> Query:
    """Make a query out of a C-FIND identifier (rules 1 and 2); *combined_datetime* as it was negotiated."""
    level = _level(identifier, root)
    for above in _above(level, root):
        _single(identifier, _UNIQUE_KEYS[above], wildcards=False)
    keys = {tag: element for tag, element in identifier.items() if not _is_about_the_request(tag)}
    return Query(root, level, keys, combined_datetime=combined_datetime)


def parse_target(identifier: Identifier, root: Root) -> Target:
    """Make a target out of a C-GET or C-MOVE identifier (rules 1 to 3); a Patient ID is taken literally."""
    level = _level(identifier, root)
    values: dict[Level, tuple[str, ...]] = {
        above: (_single(identifier, _UNIQUE_KEYS[above], wildcards=True),) for above in _above(level, root)
    }
    key = _UNIQUE_KEYS[level]
    if level is Level.PATIENT:
        values[level] = (_single(identifier, key, wildcards=True),)
    else:
        values[level] = _texts(identifier, key)
        if not values[level]:
            raise IdentifierError("the unique key of the level is missing", int(key, 16))
    patient = values.get(Level.PATIENT)
    return Target(
        level=level,
        patient_id=None if patient is None else patient[0],
        study_instance_uids=values.get(Level.STUDY, ()),
        series_instance_uids=values.get(Level.SERIES, ()),
        sop_instance_uids=values.get(Level.IMAGE, ()),
    )


def _level(identifier: Identifier, root: Root) -> Level:
    """Rule 1."""
    texts = _texts(identifier, QUERY_RETRIEVE_LEVEL)
    for level in _LEVELS[root]:
        if texts == (level.name,):
            return level
    raise IdentifierError("Query/Retrieve Level is missing or not one of this information model", 0x00080052)


def _above(level: Level, root: Root) -> tuple[Level, ...]:
    levels = _LEVELS[root]
    return levels[: levels.index(level)]


def _single(identifier: Identifier, key: str, *, wildcards: bool) -> str:
    """Rule 2: the one value of a unique key; *wildcards* True takes their characters for themselves."""
    texts = _texts(identifier, key)
    if len(texts) != 1:
        raise IdentifierError(f"a unique key has {len(texts)} values instead of one", int(key, 16))
    if not wildcards and _WILDCARDS.intersection(texts[0]):
        raise IdentifierError("a unique key above the level has a wildcard", int(key, 16))
    return texts[0]


def _texts(identifier: Identifier, key: str) -> tuple[str, ...]:
    """The values of a text element that are not empty."""
    element = identifier.get(key)
    values = element.get("Value") if element is not None else None
    return tuple(value for value in values or () if isinstance(value, str) and value)


def _is_about_the_request(tag: str) -> bool:
    """Whether an element says how to read the identifier, not what is asked (PS3.4 C.4.1.1.3.1)."""
    return tag in (QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET) or tag.endswith("0000")
