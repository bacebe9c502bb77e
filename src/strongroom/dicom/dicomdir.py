"""
The directory of a set of files, DICOMDIR (PS3.3 Annex F, PS3.10 §8.6): patients, studies, series and their instances.

It is made of DICOM JSON as the files are named, and encoded once all of them are known: only the encoded records are
kept, not what they were made of. What an object lacks stays empty; nothing is invented to please a type 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, final

from strongroom.dicom.json import JsonElement, encode_dataset
from strongroom.dicom.part10 import encode_header
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN
from strongroom.errors import DataSetError

__all__ = ["DIRECTORY_STORAGE", "Directory", "file_name", "record_type"]

DIRECTORY_STORAGE: Final = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage."""
MAX_FILES: Final = 999_999
"""Files of one set: their names have six digits. A directory of so many has 300 MB, which other limits prevent."""

_LINKS: Final = Struct("<HH2sHIHH2sHHHH2sHI")
"""Next record, in use, lower-level record: the first three elements of every record, of fixed length."""
_ITEM: Final = Struct("<HHI")
_NUMBER: Final = Struct("<HH2sHI")
_FLAG: Final = Struct("<HH2sHH")
_SEQUENCE: Final = Struct("<HH2sHI")
_SET_ID: Final = Struct("<HH2sH")

_PATIENT: Final = ("00100010", "00100020")
_STUDY: Final = ("00080020", "00080030", "00080050", "00081030", "0020000D", "00200010")
_SERIES: Final = ("00080060", "0020000E", "00200011")
_NUMBERED: Final = ("00200013",)
_DATED: Final = ("00080023", "00080033", "00200013")
_LABELLED: Final = (*_DATED, "00700080", "00700081", "00700084")
_REPORT: Final = (*_DATED, "0040A043", "0040A491", "0040A493", "0040A030")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "IMAGE": ("00080008", *_NUMBERED),
    "RT DOSE": (*_NUMBERED, "3004000A"),
    "RT STRUCTURE SET": (*_NUMBERED, "30060002", "30060008", "30060009"),
    "RT PLAN": (*_NUMBERED, "300A0002", "300A0006", "300A0007"),
    "RT TREAT RECORD": (*_NUMBERED, "30080250", "30080251"),
    "PRESENTATION": (*_NUMBERED, "00700080", "00700081", "00700082", "00700083", "00700084", "00081115"),
    "SR DOCUMENT": _REPORT,
    "KEY OBJECT DOC": _REPORT,
    "SPECTROSCOPY": ("00080008", *_DATED),
    "REGISTRATION": _LABELLED,
    "FIDUCIAL": _LABELLED,
    "VALUE MAP": _LABELLED,
    "ENCAP DOC": (*_DATED, "00420010", "0040E001", "0040A043", "00420012"),
    "RADIOTHERAPY": (*_NUMBERED, "30100077", "30100078", "30100081", "30100085"),
}
_BY_CLASS: Final = {
    "4.2": "SPECTROSCOPY",
    "66": "RAW DATA",
    "66.1": "REGISTRATION",
    "66.2": "FIDUCIAL",
    "66.3": "REGISTRATION",
    "66.5": "SURFACE",
    "66.6": "TRACT",
    "67": "VALUE MAP",
    "68.1": "SURFACE SCAN",
    "68.2": "SURFACE SCAN",
    "77.1.5.3": "STEREOMETRIC",
    "88.59": "KEY OBJECT DOC",
    "90.1": "ASSESSMENT",
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "481.4": "RT TREAT RECORD",
    "481.5": "RT PLAN",
    "481.6": "RT TREAT RECORD",
    "481.7": "RT TREAT RECORD",
    "481.8": "RT PLAN",
    "481.9": "RT TREAT RECORD",
} | {f"481.{number}": "RADIOTHERAPY" for number in (*range(10, 22), 24, 25)}
_BY_FAMILY: Final = {
    "9": "WAVEFORM",
    "11": "PRESENTATION",
    "34": "PLAN",
    "78": "MEASUREMENT",
    "79": "MEASUREMENT",
    "80": "MEASUREMENT",
    "88": "SR DOCUMENT",
    "104": "ENCAP DOC",
}
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."


def record_type(sop_class_uid: str) -> str:
    """Return the type of the record of an instance (PS3.3 Table F.4-1); what is nothing else is an image."""
    if not sop_class_uid.startswith(_STORAGE):
        return "IMAGE"
    leaf = sop_class_uid[len(_STORAGE) :]
    return _BY_CLASS.get(leaf) or _BY_FAMILY.get(leaf.partition(".")[0], "IMAGE")


def file_name(number: int) -> tuple[str, str]:
    """Return the components of the name of a file, counted from 1: nothing of a data set stands in it (PS3.10 §8.2)."""
    if not 0 < number <= MAX_FILES:
        raise DataSetError(f"a set of files holds at most {MAX_FILES}")
    return "DICOM", f"IM{number:06d}"


@final
@dataclass(slots=True)
class _Record:
    """One encoded record, without its links, and those below it."""

    content: bytes
    below: dict[str, _Record] = field(default_factory=dict)
    offset: int = 0

    @property
    def length(self) -> int:
        """Bytes of its item, header included."""
        return _ITEM.size + _LINKS.size + len(self.content)


@final
class Directory:
    """Collects the records of a set of files: `add` each, then `encode`."""

    __slots__ = ("_count", "_patients")

    def __init__(self) -> None:
        self._patients: dict[str, _Record] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        elements: Mapping[str, JsonElement],
        name: tuple[str, ...],
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
    ) -> None:
        """Add the instance with these *elements* under the file *name*; raises DataSetError beyond MAX_FILES."""
        if self._count >= MAX_FILES:
            raise DataSetError(f"a set of files holds at most {MAX_FILES}")
        self._count += 1
        patient = _entry(self._patients, _text(elements, "00100020"), "PATIENT", elements, _PATIENT)
        study = _entry(patient.below, _text(elements, "0020000D"), "STUDY", elements, _STUDY)
        series = _entry(study.below, _text(elements, "0020000E"), "SERIES", elements, _SERIES)
        kind = record_type(sop_class_uid)
        file: dict[str, JsonElement] = {
            "00041500": {"vr": "CS", "Value": list(name)},
            "00041510": {"vr": "UI", "Value": [sop_class_uid]},
            "00041511": {"vr": "UI", "Value": [sop_instance_uid]},
            "00041512": {"vr": "UI", "Value": [transfer_syntax_uid]},
        }
        series.below[str(self._count)] = _Record(_content(kind, elements, _KEYS.get(kind, _DATED), file))

    def encode(self, *, sop_instance_uid: str, source_ae_title: str | None = None) -> bytes:
        """Encode the file; offsets are those of the items from its first byte (PS3.3 §F.3.2.2)."""
        header = encode_header(
            DIRECTORY_STORAGE, sop_instance_uid, EXPLICIT_VR_LITTLE_ENDIAN, source_ae_title=source_ae_title
        )
        lead = _SET_ID.size + 2 * _NUMBER.size + _FLAG.size
        first = len(header) + lead + _SEQUENCE.size
        end = _place(self._patients, first)
        roots = list(self._patients.values())
        parts = [
            header,
            _SET_ID.pack(0x0004, 0x1130, b"CS", 0),
            _NUMBER.pack(0x0004, 0x1200, b"UL", 4, roots[0].offset if roots else 0),
            _NUMBER.pack(0x0004, 0x1202, b"UL", 4, roots[-1].offset if roots else 0),
            _FLAG.pack(0x0004, 0x1212, b"US", 2, 0),
            _SEQUENCE.pack(0x0004, 0x1220, b"SQ", 0, end - first),
        ]
        _write(self._patients, parts)
        return b"".join(parts)


def _entry(
    level: dict[str, _Record], key: str, kind: str, elements: Mapping[str, JsonElement], tags: tuple[str, ...]
) -> _Record:
    found = level.get(key)
    if found is None:
        found = level[key] = _Record(_content(kind, elements, tags, {}))
    return found


def _content(
    kind: str, elements: Mapping[str, JsonElement], tags: tuple[str, ...], file: dict[str, JsonElement]
) -> bytes:
    """Encode a record behind its links. Keys that are bulk data or cannot be encoded are left empty."""
    record: dict[str, JsonElement] = {"00041430": {"vr": "CS", "Value": [kind]}, **file}
    for tag in tags:
        element = elements.get(tag)
        if element is None or "BulkDataURI" in element:
            continue
        try:
            encode_dataset({tag: element}, EXPLICIT_VR_LITTLE_ENDIAN)
        except DataSetError:
            element = {"vr": element["vr"]}
        record[tag] = element
    return encode_dataset(record, EXPLICIT_VR_LITTLE_ENDIAN)


def _text(elements: Mapping[str, JsonElement], tag: str) -> str:
    values = (elements.get(tag) or {"vr": "LO"}).get("Value") or [""]
    return str(values[0])


def _place(level: dict[str, _Record], at: int) -> int:
    """Give every record its offset, those below a record right behind it; return where the next one goes."""
    for record in level.values():
        record.offset = at
        at = _place(record.below, at + record.length)
    return at


def _write(level: dict[str, _Record], parts: list[bytes]) -> None:
    records = list(level.values())
    for number, record in enumerate(records):
        following = records[number + 1].offset if number + 1 < len(records) else 0
        lower = next(iter(record.below.values())).offset if record.below else 0
        parts.append(_ITEM.pack(0xFFFE, 0xE000, record.length - _ITEM.size))
        parts.append(
            _LINKS.pack(
                *(0x0004, 0x1400, b"UL", 4, following),
                *(0x0004, 0x1410, b"US", 2, 0xFFFF),
                *(0x0004, 0x1420, b"UL", 4, lower),
            )
        )
        parts.append(record.content)
        _write(record.below, parts)
