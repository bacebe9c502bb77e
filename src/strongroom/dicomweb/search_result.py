"""
What an answer of a search holds (PS3.18 §10.6.3.3, Tables 10.6.3-3 to 10.6.3-5).

1. Required attributes are always there, without a value where the archive knows none; conditional ones where it does.
2. What was asked for, as a match or by includefield, is there as far as the archive keeps it.
3. Without a parent in the path an answer also carries what describes its study and series.
4. Retrieve URL is made of the configured address alone (SECURITY C42).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import quote

from strongroom.dicom.json import JsonElement
from strongroom.dicom.model import Level

RETRIEVE_URL: Final = "00081190"
REQUEST_ATTRIBUTES: Final = "00400275"
UNIQUE_KEYS: Final = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
LEVELS: Final = (Level.STUDY, Level.SERIES, Level.IMAGE)
_SEGMENTS: Final = {Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}

REQUIRED: Final[Mapping[Level, Mapping[str, str]]] = {
    Level.STUDY: {
        "00080020": "DA",  # Study Date
        "00080030": "TM",  # Study Time
        "00080050": "SH",  # Accession Number
        "00080061": "CS",  # Modalities in Study
        "00080090": "PN",  # Referring Physician's Name
        "00100010": "PN",  # Patient's Name
        "00100020": "LO",  # Patient ID
        "00100030": "DA",  # Patient's Birth Date
        "00100040": "CS",  # Patient's Sex
        "0020000D": "UI",  # Study Instance UID
        "00200010": "SH",  # Study ID
        "00201206": "IS",  # Number of Study Related Series
        "00201208": "IS",  # Number of Study Related Instances
    },
    Level.SERIES: {
        "00080060": "CS",  # Modality
        "0020000E": "UI",  # Series Instance UID
        "00200011": "IS",  # Series Number
        "00201209": "IS",  # Number of Series Related Instances
    },
    Level.IMAGE: {
        "00080016": "UI",  # SOP Class UID
        "00080018": "UI",  # SOP Instance UID
        "00200013": "IS",  # Instance Number
    },
}
CONDITIONAL: Final[Mapping[Level, Mapping[str, str]]] = {
    Level.STUDY: {
        "00080056": "CS",  # Instance Availability
        "00080201": "SH",  # Timezone Offset From UTC
    },
    Level.SERIES: {
        "00080056": "CS",  # Instance Availability
        "00080201": "SH",  # Timezone Offset From UTC
        "0008103E": "LO",  # Series Description
        "00400244": "DA",  # Performed Procedure Step Start Date
        "00400245": "TM",  # Performed Procedure Step Start Time
        REQUEST_ATTRIBUTES: "SQ",
    },
    Level.IMAGE: {
        "00080056": "CS",  # Instance Availability
        "00080201": "SH",  # Timezone Offset From UTC
        "00280008": "IS",  # Number of Frames
        "00280010": "US",  # Rows
        "00280011": "US",  # Columns
        "00280100": "US",  # Bits Allocated
    },
}
OF_A_REQUEST: Final[Mapping[str, str]] = {"00400009": "SH", "00401001": "SH"}
"""Of Request Attributes Sequence: Scheduled Procedure Step ID and Requested Procedure ID."""


def described_levels(level: Level, above: frozenset[Level]) -> tuple[Level, ...]:
    """The levels whose attributes an answer carries: its own, and those above it that the path does not name."""
    upper = LEVELS[: LEVELS.index(level)]
    return (*(one for one in upper if one not in above), level)


def answered_keys(levels: tuple[Level, ...]) -> dict[str, JsonElement]:
    """The attributes the tables list for *levels*, as keys without a value."""
    keys: dict[str, JsonElement] = {}
    for level in levels:
        keys |= {tag: {"vr": vr} for tag, vr in (*REQUIRED[level].items(), *CONDITIONAL[level].items())}
    if REQUEST_ATTRIBUTES in keys:
        item: dict[str, JsonElement] = {tag: {"vr": vr} for tag, vr in OF_A_REQUEST.items()}
        keys[REQUEST_ATTRIBUTES] = {"vr": "SQ", "Value": [item]}
    return keys


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """How the matches of one search become answers; *asked* are tags that are answered even without a value."""

    level: Level
    base_url: str
    asked: frozenset[str]
    levels: tuple[Level, ...]

    def answer(self, match: Mapping[str, JsonElement]) -> dict[str, JsonElement]:
        """The attributes of one answer in the order of their tags (PS3.18 §F.2.2)."""
        optional = {tag for level in self.levels for tag in CONDITIONAL[level]} - self.asked
        kept: dict[str, JsonElement] = {}
        for tag, element in match.items():
            if element.get("Value"):
                kept[tag] = element
            elif tag not in optional:
                kept[tag] = {"vr": element["vr"]}
        kept[RETRIEVE_URL] = {"vr": "UR", "Value": [self.retrieve_url(match)]}
        return dict(sorted(kept.items()))

    def retrieve_url(self, match: Mapping[str, JsonElement]) -> str:
        """Where the entity can be retrieved."""
        url = self.base_url.rstrip("/")
        for level in LEVELS[: LEVELS.index(self.level) + 1]:
            (uid,) = match[UNIQUE_KEYS[level]].get("Value") or ("",)
            url += f"/{_SEGMENTS[level]}/{quote(str(uid), safe='')}"
        return url
