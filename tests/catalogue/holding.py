"""A catalogue in memory, filled through the real header reader, and short ways to ask it."""

from __future__ import annotations

import hashlib

import apsw

from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.query import Query, Root
from strongroom.catalogue.record import RecordedInstance, Recorder
from strongroom.catalogue.scope import EVERYTHING, Scope
from strongroom.catalogue.search import search
from strongroom.dicom.dictionary import tag_of, vr_of
from strongroom.dicom.header import Header, HeaderReader
from strongroom.dicom.json import encode_dataset
from strongroom.dicom.model import Level
from strongroom.ground.database import migrate, migrations_in

EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


def tag(keyword: str) -> str:
    """The key in DICOM JSON of an attribute."""
    number = tag_of(keyword)
    assert number is not None, keyword
    return f"{number:08X}"


def element(keyword: str, value: object):
    """One element: a text is a value, a list several, None no value, a dict one item of a sequence."""
    vr = vr_of(int(tag(keyword), 16))
    if value is None:
        return {"vr": vr}
    values = value if isinstance(value, list) else [value]
    if vr == "PN":
        return {"vr": vr, "Value": [name(one) for one in values]}
    if vr == "SQ":
        return {"vr": vr, "Value": [elements(**item) for item in values]}
    return {"vr": vr, "Value": values}


def name(text: object):
    """A PN value out of text with "=" between the groups."""
    if isinstance(text, dict):
        return text
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(text).split("="), strict=False)
    return {group: part for group, part in groups if part}


def elements(**values: object):
    """A data set or identifier as DICOM JSON, by keyword."""
    return {tag(keyword): element(keyword, value) for keyword, value in values.items()}


def header(**values: object) -> Header:
    """The header of a data set with these elements, written and read again."""
    reader = HeaderReader(EXPLICIT)
    reader.feed(encode_dataset(dict(sorted(elements(**values).items())), EXPLICIT))
    return reader.finish()


def blob(number: int, *, device: str = "CT1", length: int = 1000) -> StoredBlob:
    """A blob that could lie in a vault."""
    identifier = hashlib.sha256(str(number).encode()).digest()
    return StoredBlob(
        BlobLocation(1, number * 4096, length + 100, length),
        identifier[:16],
        identifier[16:],
        identifier,
        EXPLICIT,
        1_700_000_000.0 + number,
        device,
    )


class Holding:
    """A catalogue in memory with its recorder."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        self.connection.execute("PRAGMA foreign_keys = on")
        migrate(self.connection, "catalogue", migrations_in("strongroom.catalogue.migrations"))
        self.recorder = Recorder()
        self.number = 0

    def record(self, *, device: str = "CT1", length: int = 1000, **values: object) -> RecordedInstance:
        """Record one instance with these attributes; UIDs that are not given are made up."""
        self.number += 1
        wanted = {
            "SOPClassUID": CT,
            "SOPInstanceUID": f"1.9.{self.number}",
            "StudyInstanceUID": "1.1",
            "SeriesInstanceUID": "1.1.1",
            "PatientID": "P1",
            "Modality": "CT",
        } | values
        return self.recorder.record(self.connection, header(**wanted), blob(self.number, device=device, length=length))

    def ask(self, level: Level, scope: Scope = EVERYTHING, *, root: Root = Root.STUDY, **options: object):
        """Search relationally: options that are no fields of Query are keys."""
        fields = {field: options.pop(field) for field in list(options) if field in Query.__dataclass_fields__}
        query = Query(root, level, elements(**options), **{"relational": True, **fields})
        return list(search(self.connection, query, scope))

    def uids(self, level: Level, scope: Scope = EVERYTHING, **options: object) -> list[str]:
        """The unique keys of what `ask` finds, in order."""
        keyword = {
            Level.PATIENT: "PatientID",
            Level.STUDY: "StudyInstanceUID",
            Level.SERIES: "SeriesInstanceUID",
            Level.IMAGE: "SOPInstanceUID",
        }[level]
        root = Root.PATIENT if level is Level.PATIENT else options.pop("root", Root.STUDY)
        found = self.ask(level, scope, root=root, **options)
        return sorted(match[tag(keyword)].get("Value", [""])[0] for match in found)
