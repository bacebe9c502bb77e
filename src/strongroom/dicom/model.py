"""
The information model (PS3.3 §A.1.2; PS3.4 §C.6): patient, study, series and image, and what is indexed of each.

The tags are the required, unique and usual optional keys of PS3.4 §C.6.1.1 and of PS3.18 Tables 10.6.3-3 to 10.6.3-5,
each with its VR by the dictionary. That VR is used whatever a data set writes: an index of one attribute has one type.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from strongroom.dicom import charset
from strongroom.dicom.header import Header
from strongroom.dicom.json import JsonElement, element_to_json
from strongroom.dicom.values import decode_values
from strongroom.errors import DataSetError

__all__ = [
    "COMPUTED_TAGS",
    "INDEXED_TAGS",
    "INSTANCE_TAGS",
    "PATIENT_TAGS",
    "SERIES_TAGS",
    "STUDY_TAGS",
    "TAGS",
    "UNIQUE_TAGS",
    "Fingerprint",
    "Identity",
    "Level",
    "describe",
    "fingerprint",
    "identify",
]


class Level(Enum):
    """The levels of query and retrieve; the value is that of Query/Retrieve Level (0008,0052) (PS3.4 §C.6)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


PATIENT_TAGS: Final = {
    0x00081120: "SQ",  # Referenced Patient Sequence
    0x00100010: "PN",  # Patient's Name
    0x00100020: "LO",  # Patient ID
    0x00100021: "LO",  # Issuer of Patient ID
    0x00100022: "CS",  # Type of Patient ID
    0x00100024: "SQ",  # Issuer of Patient ID Qualifiers Sequence
    0x00100030: "DA",  # Patient's Birth Date
    0x00100032: "TM",  # Patient's Birth Time
    0x00100040: "CS",  # Patient's Sex
    0x00101000: "LO",  # Other Patient IDs
    0x00101001: "PN",  # Other Patient Names
    0x00101002: "SQ",  # Other Patient IDs Sequence
    0x00102160: "SH",  # Ethnic Group
    0x00102201: "LO",  # Patient Species Description
    0x00102292: "LO",  # Patient Breed Description
    0x00102297: "PN",  # Responsible Person
    0x00104000: "LT",  # Patient Comments
}
STUDY_TAGS: Final = {
    0x00080020: "DA",  # Study Date
    0x00080030: "TM",  # Study Time
    0x00080050: "SH",  # Accession Number
    0x00080051: "SQ",  # Issuer of Accession Number Sequence
    0x00080090: "PN",  # Referring Physician's Name
    0x0008009C: "PN",  # Consulting Physician's Name
    0x00080201: "SH",  # Timezone Offset From UTC
    0x00081030: "LO",  # Study Description
    0x00081032: "SQ",  # Procedure Code Sequence
    0x00081048: "PN",  # Physician(s) of Record
    0x00081060: "PN",  # Name of Physician(s) Reading Study
    0x00081080: "LO",  # Admitting Diagnoses Description
    0x00081110: "SQ",  # Referenced Study Sequence
    0x00101010: "AS",  # Patient's Age
    0x00101020: "DS",  # Patient's Size
    0x00101030: "DS",  # Patient's Weight
    0x00102180: "SH",  # Occupation
    0x001021B0: "LT",  # Additional Patient History
    0x0020000D: "UI",  # Study Instance UID
    0x00200010: "SH",  # Study ID
    0x00321032: "PN",  # Requesting Physician
    0x00321060: "LO",  # Requested Procedure Description
    0x00380010: "LO",  # Admission ID
}
SERIES_TAGS: Final = {
    0x00080021: "DA",  # Series Date
    0x00080031: "TM",  # Series Time
    0x00080060: "CS",  # Modality
    0x00080068: "CS",  # Presentation Intent Type
    0x00080070: "LO",  # Manufacturer
    0x00080080: "LO",  # Institution Name
    0x00080201: "SH",  # Timezone Offset From UTC
    0x00081010: "SH",  # Station Name
    0x0008103E: "LO",  # Series Description
    0x0008103F: "SQ",  # Series Description Code Sequence
    0x00081040: "LO",  # Institutional Department Name
    0x00081050: "PN",  # Performing Physician's Name
    0x00081070: "PN",  # Operators' Name
    0x00081090: "LO",  # Manufacturer's Model Name
    0x00081111: "SQ",  # Referenced Performed Procedure Step Sequence
    0x00180015: "CS",  # Body Part Examined
    0x00181000: "LO",  # Device Serial Number
    0x00181030: "LO",  # Protocol Name
    0x00185100: "CS",  # Patient Position
    0x0020000E: "UI",  # Series Instance UID
    0x00200011: "IS",  # Series Number
    0x00200052: "UI",  # Frame of Reference UID
    0x00200060: "CS",  # Laterality
    0x00400244: "DA",  # Performed Procedure Step Start Date
    0x00400245: "TM",  # Performed Procedure Step Start Time
    0x00400253: "SH",  # Performed Procedure Step ID
    0x00400254: "LO",  # Performed Procedure Step Description
    0x00400275: "SQ",  # Request Attributes Sequence
}
INSTANCE_TAGS: Final = {
    0x00080008: "CS",  # Image Type
    0x00080012: "DA",  # Instance Creation Date
    0x00080013: "TM",  # Instance Creation Time
    0x00080016: "UI",  # SOP Class UID
    0x00080018: "UI",  # SOP Instance UID
    0x00080022: "DA",  # Acquisition Date
    0x00080023: "DA",  # Content Date
    0x0008002A: "DT",  # Acquisition DateTime
    0x00080032: "TM",  # Acquisition Time
    0x00080033: "TM",  # Content Time
    0x00080201: "SH",  # Timezone Offset From UTC
    0x00200012: "IS",  # Acquisition Number
    0x00200013: "IS",  # Instance Number
    0x00204000: "LT",  # Image Comments
    0x00280002: "US",  # Samples per Pixel
    0x00280004: "CS",  # Photometric Interpretation
    0x00280008: "IS",  # Number of Frames
    0x00280010: "US",  # Rows
    0x00280011: "US",  # Columns
    0x00280100: "US",  # Bits Allocated
    0x00282110: "CS",  # Lossy Image Compression
    0x0040A032: "DT",  # Observation DateTime
    0x0040A043: "SQ",  # Concept Name Code Sequence
    0x0040A491: "CS",  # Completion Flag
    0x0040A493: "CS",  # Verification Flag
    0x00400512: "LO",  # Container Identifier
    0x00420010: "ST",  # Document Title
    0x00420012: "LO",  # MIME Type of Encapsulated Document
    0x00700080: "CS",  # Content Label
    0x00700081: "LO",  # Content Description
    0x00700082: "DA",  # Presentation Creation Date
    0x00700083: "TM",  # Presentation Creation Time
    0x00700084: "PN",  # Content Creator's Name
    0x30060002: "SH",  # Structure Set Label
    0x300A0002: "SH",  # RT Plan Label
}
TAGS: Final = {
    Level.PATIENT: PATIENT_TAGS,
    Level.STUDY: STUDY_TAGS,
    Level.SERIES: SERIES_TAGS,
    Level.IMAGE: INSTANCE_TAGS,
}
UNIQUE_TAGS: Final = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.IMAGE: 0x00080018,
}
"""The unique key of each level (PS3.4 §C.2.2.1.1)."""
COMPUTED_TAGS: Final = {
    Level.PATIENT: {
        0x00201200: "IS",  # Number of Patient Related Studies
        0x00201202: "IS",  # Number of Patient Related Series
        0x00201204: "IS",  # Number of Patient Related Instances
    },
    Level.STUDY: {
        0x00080056: "CS",  # Instance Availability
        0x00080061: "CS",  # Modalities in Study
        0x00080062: "UI",  # SOP Classes in Study
        0x00201206: "IS",  # Number of Study Related Series
        0x00201208: "IS",  # Number of Study Related Instances
    },
    Level.SERIES: {
        0x00080056: "CS",  # Instance Availability
        0x00201209: "IS",  # Number of Series Related Instances
    },
    Level.IMAGE: {
        0x00080056: "CS",  # Instance Availability
        0x00083002: "UI",  # Available Transfer Syntax UID
    },
}
"""Keys of a level that stand in no data set: the catalogue works them out."""

_CHARACTER_SET: Final = 0x00080005
INDEXED_TAGS: Final = frozenset(tag for level in TAGS.values() for tag in level) | {_CHARACTER_SET}
"""Everything that `identify`, `describe` and `fingerprint` look at."""
# Numbers that some writers give another width: read as written, or they would be other numbers.
_NUMERIC: Final = (0x00280002, 0x00280010, 0x00280011, 0x00280100)


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance belongs to. Texts are whole, without padding; "" where the data set has none."""

    patient_id: str
    issuer: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str


def identify(header: Header) -> Identity:
    r"""
    Read what the instance is and belongs to; UIDs as they stand, their form is for the caller to judge (PS3.5 §9.1).

    A Patient ID with several values stays one text with `\` in it: taking the first would merge patients.
    """
    character_sets = header.character_set
    value = header.elements.value
    return Identity(
        patient_id=charset.decode(value(0x00100020) or b"", "LO", character_sets).strip(" "),
        issuer=charset.decode(value(0x00100021) or b"", "LO", character_sets).strip(" "),
        study_instance_uid=header.uid(0x0020000D),
        series_instance_uid=header.uid(0x0020000E),
        sop_instance_uid=header.uid(0x00080018),
        sop_class_uid=header.uid(0x00080016),
        modality=charset.decode(value(0x00080060) or b"", "CS", character_sets).strip(" "),
    )


def describe(header: Header, level: Level) -> dict[str, JsonElement]:
    """
    Return what is indexed of one level, in DICOM JSON; elements the data set has without a value have none here.

    Never fails on a header that was read: a sequence that cannot be taken apart comes without its items. Values that
    were too long to be captured are left out.
    """
    character_sets = header.character_set
    little_endian = header.little_endian
    described: dict[str, JsonElement] = {}
    tags = TAGS[level]
    for raw, (tag, vr) in zip(header.elements.raw_values(tags), tags.items(), strict=True):
        if raw is None:
            continue
        if vr == "SQ":
            described[f"{tag:08X}"] = _sequence(header, tag, raw, character_sets)
            continue
        actual = _written_vr(header, tag, vr) if vr == "US" else vr
        values = decode_values(raw, actual, character_sets, little_endian=little_endian)
        described[f"{tag:08X}"] = {"vr": actual, "Value": values} if values else {"vr": actual}
    return described


def _sequence(header: Header, tag: int, raw: bytes, character_sets: tuple[str, ...]) -> JsonElement:
    try:
        return element_to_json(
            tag, "SQ", raw, character_sets, explicit=header.explicit, little_endian=header.little_endian
        )
    except DataSetError:
        return {"vr": "SQ"}


def _written_vr(header: Header, tag: int, vr: str) -> str:
    """Return the VR a data set gives a number, the dictionary's where it gives none of a number."""
    element = header.elements.get(tag)
    return element.vr if element is not None and element.vr in ("UL", "SS", "SL", "UV", "SV") else vr


Fingerprint = tuple[bytes | str | bool | None, ...]


def fingerprint(header: Header, level: Level) -> Fingerprint:
    """
    Return the raw values behind `describe`, unread: two headers with equal fingerprints are described equally.

    Costs some microseconds, so a catalogue asks it for every instance and describes only what changed. It holds patient
    data: for comparing and as a key in memory, not for storing or showing.
    """
    raws = header.elements.raw_values((_CHARACTER_SET, *TAGS[level]))
    if level is not Level.IMAGE:
        return (header.explicit, header.little_endian, *raws)
    written = (_written_vr(header, tag, "US") for tag in _NUMERIC)
    return (header.explicit, header.little_endian, *raws, *written)
