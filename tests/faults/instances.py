"""Instances that a test can make again from their UIDs alone: four kinds, each an encoded template whose UIDs are replaced in place."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian

from interop.corpus import shipped

_ROOT = "1.2.826.0.1.3680043.10.4"
_LENGTH = 60
KINDS = ("ct", "mr", "implicit", "long")
"""A CT image (39 KB), an MR image (10 KB), the same in implicit VR, and one above 4 MiB, which the archive writes while it comes."""
LONG_SIDE = 1_600  # 16 bits a pixel: 4.9 MiB
_SOURCES = {"ct": "CT_small.dcm", "mr": "MR_small.dcm", "implicit": "MR_small_implicit.dcm", "long": "CT_small.dcm"}


def uid(source: random.Random) -> str:
    """A UID of exactly 60 characters."""
    return f"{_ROOT}.{''.join(source.choice('123456789') for _ in range(_LENGTH - len(_ROOT) - 1))}"


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance is made of; equal ones have equal bytes."""

    kind: str
    study: str
    series: str
    sop: str

    @property
    def file(self) -> bytes:
        """The Part 10 file."""
        made, (study, series, sop), _ = _template(self.kind)
        for mark, value in ((study, self.study), (series, self.series), (sop, self.sop)):
            made = made.replace(mark, value.encode())
        return made

    @property
    def data_set(self) -> bytes:
        """What a peer receives: the bytes behind the File Meta Information."""
        return self.file[_template(self.kind)[2] :]

    @property
    def digest(self) -> str:
        """SHA-256 of the data set."""
        return hashlib.sha256(self.data_set).hexdigest()


def some(source: random.Random, kinds: tuple[str, ...], count: int) -> list[Instance]:
    """*count* new instances of one study and series."""
    study, series = uid(source), uid(source)
    return [Instance(source.choice(kinds), study, series, uid(source)) for _ in range(count)]


@cache
def _template(kind: str) -> tuple[bytes, tuple[bytes, bytes, bytes], int]:
    """File, marks in the place of its UIDs, and where its data set begins."""
    data_set = pydicom.dcmread(shipped(_SOURCES[kind]))
    data_set.pop("DataSetTrailingPadding", None)  # storescu encodes anew what it reads, and leaves that away
    if kind == "long":
        data_set.Rows = data_set.Columns = LONG_SIDE
        data_set.PixelData = random.Random(4).randbytes(2 * LONG_SIDE * LONG_SIDE)
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return _marked(data_set)


def _marked(data_set: FileDataset) -> tuple[bytes, tuple[bytes, bytes, bytes], int]:
    data_set.PatientID = "FAULTS"  # one patient's: the instances of one study are of several kinds
    data_set.pop("IssuerOfPatientID", None)
    marks = [uid(random.Random(f"mark {number}")) for number in range(3)]
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = marks
    data_set.file_meta.MediaStorageSOPInstanceUID = marks[2]
    written = BytesIO()
    data_set.save_as(written, enforce_file_format=True)
    made = written.getvalue()
    study, series, sop = (mark.encode() for mark in marks)
    return made, (study, series, sop), begin(made)


def begin(file: bytes | memoryview) -> int:
    """Where the data set of a Part 10 file begins (PS3.10 7.1)."""
    head = bytes(file[:1024])
    at = head.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    return at + 4 + int.from_bytes(head[at : at + 4], "little")
