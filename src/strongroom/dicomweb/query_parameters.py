"""
From the query parameters of a search to a `Query` of the archive (PS3.18 §8.3.4).

1. A parameter that is neither one of the standard's nor an attribute this resource can be searched by is left out, and
   named in a Warning header (§8.3).
2. A value that is none of its kind is refused with 400; the problem names the parameter, never the value.
3. An attribute is a keyword, or eight hexadecimal digits in any case; a dot leads into a sequence.
4. Several values stand between backslashes, UIDs and code strings also between commas; one of them has to match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast, final

from strongroom.archive import Query, Root
from strongroom.dicom.dictionary import tag_of, vr_of
from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import COMPUTED_TAGS, TAGS, Level
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.query_values import values_of
from strongroom.dicomweb.search_result import LEVELS, RETRIEVE_URL, UNIQUE_KEYS, Shape, answered_keys, described_levels

__all__ = ["Search", "read"]

MAX_DEPTH: Final = 8
"""Attributes of one path; the catalogue's limit stands behind it."""
MAX_NAME: Final = 512
"""Characters of the name of a parameter: a path of eight keywords."""

_FLAGS: Final = {
    "fuzzymatching": "fuzzy",
    "emptyvaluematching": "empty_values",
    "multiplevaluematching": "",  # several values always mean one of them
}
_COUNTS: Final = frozenset({"limit", "offset"})
_READ_ELSEWHERE: Final = frozenset({"accept", "charset"})
_INCLUDED: Final = "includefield"
_ALL: Final = "all"
_TIMEZONE: Final = "00080201"
_CHARACTER_SET: Final = "00080005"
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_COUNT: Final = re.compile(r"[0-9]{1,10}")
_SHOWABLE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_PATH_NAMES: Final = {Level.STUDY: "study", Level.SERIES: "series"}

Path = tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class Search:
    """What a request asks for, how its answers look, and which parameters were left out."""

    query: Query
    shape: Shape
    ignored: tuple[str, ...]


@final
@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    level: Level
    keys: dict[str, JsonElement]
    flags: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seen: set[str | Path] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)
    every_attribute: bool = False


def read(
    parameters: Iterable[tuple[str, str]],
    level: Level,
    parents: Mapping[str, str],
    *,
    base_url: str,
    max_results: int,
) -> Search:
    """
    Read the *parameters* of a search for *level* below *parents* (parts of the path: `study`, `series`).

    At most *max_results* are asked for, whatever `limit` says. Raises HttpProblem (400).
    """
    above = {one: parents[name] for one, name in _PATH_NAMES.items() if name in parents}
    levels = described_levels(level, frozenset(above))
    reading = _Reading(level, answered_keys(levels))
    for one, uid in above.items():
        reading.seen.add((UNIQUE_KEYS[one],))
        reading.keys[UNIQUE_KEYS[one]] = {"vr": "UI", "Value": [uid]}
    for name, value in parameters:
        _parameter(reading, name, value)
    query = Query(
        Root.STUDY,
        level,
        reading.keys,
        limit=min(reading.counts.get("limit", max_results), max_results),
        offset=reading.counts.get("offset", 0),
        relational=True,
        combined_datetime=True,
        every_attribute=reading.every_attribute,
        fuzzy=reading.flags.get("fuzzymatching", False),
        empty_values=reading.flags.get("emptyvaluematching", False),
    )
    shape = Shape(level, base_url, frozenset(reading.asked), levels)
    return Search(query, shape, tuple(dict.fromkeys(reading.ignored)))


def _parameter(reading: _Reading, name: str, value: str) -> None:
    if len(name) > MAX_NAME:
        raise HttpProblem(400, f"A parameter has a name of more than {MAX_NAME} characters.")
    if name == _INCLUDED:
        _include(reading, value)
    elif name in _FLAGS:
        _once(reading, name, name)
        if value not in ("true", "false"):
            raise HttpProblem(400, f"{name} is either true or false.")
        reading.flags[name] = value == "true"
    elif name in _COUNTS:
        _once(reading, name, name)
        if not _COUNT.fullmatch(value):
            raise HttpProblem(400, f"{name} is a whole number from 0.")
        reading.counts[name] = int(value)
    elif name not in _READ_ELSEWHERE:
        _match(reading, name, value)


def _once(reading: _Reading, key: str | Path, name: str) -> None:
    if key in reading.seen:
        raise HttpProblem(400, f"{name} stands twice; several values of an attribute are parted by a backslash.")
    reading.seen.add(key)


def _match(reading: _Reading, name: str, value: str) -> None:
    path = _path(name)
    if path is None or not _searchable(path, reading.level) or (path == (_TIMEZONE,) and value):
        reading.ignored.append(_shown(name))
        return
    _once(reading, path, _shown(name))
    vr = vr_of(int(path[-1], 16)) or "UN"
    values = values_of(_shown(name), vr, value)
    element = _reach(reading.keys, path, vr)
    if values:
        element["Value"] = values
    reading.asked.add(path[0])


def _include(reading: _Reading, value: str) -> None:
    for name in value.split(","):
        if name.strip() == _ALL:
            reading.every_attribute = True
            continue
        path = _path(name.strip())
        if path is None:
            raise HttpProblem(400, "includefield names what is no attribute: it takes keywords, tags and all.")
        if path[0] not in (_CHARACTER_SET, RETRIEVE_URL) and _searchable(path, reading.level):
            _reach(reading.keys, path, vr_of(int(path[-1], 16)) or "UN", whole=True)
            reading.asked.add(path[0])


def _path(name: str) -> Path | None:
    """The tags of a path; None when a part of it is no attribute."""
    parts = name.split(".")
    if len(parts) > MAX_DEPTH:
        return None
    tags = [part.upper() if _TAG.fullmatch(part) else _of_keyword(part) for part in parts]
    return None if None in tags else tuple(cast("list[str]", tags))


def _of_keyword(keyword: str) -> str | None:
    tag = tag_of(keyword) if keyword.isascii() and keyword.isalnum() else None
    return None if tag is None else f"{tag:08X}"


def _searchable(path: Path, level: Level) -> bool:
    """Whether the archive keeps what *path* leads to for entities of *level* or above it."""
    first = int(path[0], 16)
    levels = (Level.PATIENT, *LEVELS[: LEVELS.index(level) + 1])
    if not any(first in TAGS[one] or first in COMPUTED_TAGS[one] for one in levels):
        return False
    return all(vr_of(int(tag, 16)) == "SQ" for tag in path[:-1]) and vr_of(int(path[-1], 16)) is not None


def _reach(keys: dict[str, JsonElement], path: Path, vr: str, *, whole: bool = False) -> JsonElement:
    """
    The key that *path* leads to, made where it is missing.

    *whole*: a sequence that is answered with all its items hold, unless something in it is matched.
    """
    for tag in path[:-1]:
        sequence = keys.setdefault(tag, {"vr": "SQ"})
        if not sequence.get("Value"):
            sequence["Value"] = [{}]
        keys = cast("dict[str, JsonElement]", cast("list[object]", sequence["Value"])[0])
    element = keys.setdefault(path[-1], {"vr": vr})
    if whole and vr == "SQ" and not _matched(element):
        element.pop("Value", None)
    return element


def _matched(element: JsonElement) -> bool:
    """Whether a key has a value, or an attribute in its item has one."""
    values = element.get("Value") or []
    if element["vr"] != "SQ":
        return bool(values)
    return any(_matched(inner) for item in values for inner in cast("dict[str, JsonElement]", item).values())


def _shown(name: str) -> str:
    """The name of a parameter as it may be repeated to the client."""
    return name if _SHOWABLE.fullmatch(name) else "a parameter"
