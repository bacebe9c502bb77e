"""Real DICOM files that PyPI packages ship (pydicom, pydicom-data), as data sets ready to be sent by a client."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import data_store
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid

ROOTS = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent)
TRUNCATED = {"MR_truncated.dcm", "rtplan_truncated.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"}
"""Files that are cut short on purpose: the archive must refuse them, so they are not part of what it must return."""
MIXED_VR = {"SC_rgb_jpeg.dcm"}
"""Explicit VR with an element in implicit VR: pydicom reads it, DCMTK cannot, so DCMTK cannot send it."""
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN}
_UID = re.compile(r"[0-9.]{1,64}")
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class Sample:
    """One file and what identifies it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    character_set: str


def data_set_bytes(path: Path) -> bytes:
    """The data set of a Part 10 file as it stands: what follows the File Meta Information (PS3.10 7.1)."""
    raw = path.read_bytes()
    length_at = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    return raw[length_at + 4 + int.from_bytes(raw[length_at : length_at + 4], "little") :]


@cache
def originals() -> tuple[Sample, ...]:
    """Every shipped file that can be stored as it is, one for each SOP Instance UID."""
    found: dict[str, Sample] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for root in ROOTS:
            for path in sorted(root.rglob("*.dcm")):
                sample = described(path)
                if sample is not None and sample.sop_instance_uid not in found:
                    found[sample.sop_instance_uid] = sample
    return tuple(found.values())


def described(path: Path) -> Sample | None:
    """What a file says of itself; None for one that a client could not send or that is not whole."""
    if path.name in TRUNCATED or path.name in MIXED_VR:
        return None
    try:
        data_set = pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    meta = (data_set.file_meta.get("MediaStorageSOPClassUID"), data_set.file_meta.get("MediaStorageSOPInstanceUID"))
    if meta != (data_set.get("SOPClassUID"), data_set.get("SOPInstanceUID")) or not _UID.fullmatch(str(meta[1])):
        return None  # a client names what the File Meta Information says, and would be refused with A900 or 0117
    syntax = data_set.file_meta.get("TransferSyntaxUID")
    if not syntax or not all(data_set.get(name) for name in NEEDED):
        return None
    if "FileMetaInformationGroupLength" not in data_set.file_meta:
        return None
    return Sample(
        path,
        *(str(data_set[name].value) for name in NEEDED),
        str(syntax),
        str(data_set.get("Modality") or ""),
        str(data_set.get("SpecificCharacterSet") or ""),
    )


@cache
def twins() -> tuple[Path, ...]:
    """Shipped files whose SOP Instance UID an earlier file has already: the same image in another syntax, mostly."""
    taken = {sample.path for sample in originals()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(
            path
            for root in ROOTS
            for path in sorted(root.rglob("*.dcm"))
            if path not in taken and described(path) is not None
        )


def renamed(path: Path, folder: Path, *, name: str = "") -> Sample:
    """A copy of *path* under a new SOP Instance UID of the same length, everything else untouched."""
    data_set = pydicom.dcmread(path, stop_before_pixels=True)
    old = str(data_set.SOPInstanceUID).encode()
    new = generate_uid().encode()[: len(old)].rstrip(b".")
    new += b"1" * (len(old) - len(new))
    copy = folder / (name or path.name)
    copy.write_bytes(path.read_bytes().replace(old, new))
    sample = described(copy)
    assert sample is not None
    assert sample.sop_instance_uid == new.decode()
    return sample


def everything(folder: Path) -> dict[str, Sample]:
    """All that the archive is given: each shipped file, and its twins copied to *folder* under UIDs of their own."""
    samples = [*originals(), *(renamed(path, folder) for path in twins())]
    return {sample.sop_instance_uid: sample for sample in samples}


def shipped(name: str) -> Path:
    """The file of that name."""
    return next(path for root in ROOTS for path in root.rglob(name))
