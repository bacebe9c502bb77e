"""
The real DICOM files that the pydicom package ships, read by our own reader and sorted by what becomes of them.

pydicom itself is not imported: only its folder of data is looked up.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from strongroom.dicom.header import HeaderReader
from strongroom.dicom.part10 import Part10Reader
from strongroom.dicom.uid import STORAGE_SOP_CLASSES, name_of
from strongroom.errors import DataSetError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from strongroom.dicom.part10 import FileMeta

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_STUDY_DATE: Final = 0x00080020
_MODALITY: Final = 0x00080060
_PATIENT_NAME: Final = 0x00100010
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_UID = re.compile(r"[0-9.]{1,64}")
_SHORTER: Final = (
    (" Image Compression", ""),
    ("Explicit VR", "explicit"),
    ("Implicit VR", "implicit"),
    ("Little Endian", "LE"),
    ("Big Endian", "BE"),
    (" (Lossless Only)", " lossless"),
)


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """One file, ready to be sent as it is."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes = field(repr=False)
    """The data set, byte for byte."""
    study_instance_uid: str = ""
    modality: str = ""
    study_date: str = ""
    patient_name: str = field(default="", repr=False)
    character_sets: tuple[str, ...] = ()

    @property
    def pair(self) -> tuple[str, str]:
        """What its presentation context proposes: SOP class and transfer syntax."""
        return self.sop_class_uid, self.transfer_syntax_uid


@final
@dataclass(frozen=True, slots=True)
class Shelf:
    """All that was found."""

    originals: tuple[Sample, ...]
    """One for each SOP Instance UID, by modality."""
    again: tuple[Sample, ...]
    """Files whose SOP Instance UID an original has already: the same image in another syntax, mostly."""
    broken: tuple[Sample, ...]
    """Structurally incomplete, most of them on purpose: an archive must not answer them with success (I4)."""
    without_uids: int
    """DICOM, but without the UIDs that an archive knows an instance by: nothing that could be sent."""
    not_dicom: int


def shipped() -> Shelf:
    """Find and read the files of the installed pydicom package."""
    specification = importlib.util.find_spec("pydicom")
    if specification is None or not specification.submodule_search_locations:
        raise NotFound("the package pydicom, whose images the demo sends, is not installed")
    return read_folder(Path(specification.submodule_search_locations[0], "data"))


def read_folder(root: Path) -> Shelf:
    """Read every file below *root*."""
    whole: list[Sample] = []
    broken: list[Sample] = []
    without_uids = not_dicom = 0
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        read = _read(path)
        if read is None:
            not_dicom += 1
        elif isinstance(read, Sample):
            (whole if read.study_instance_uid else broken).append(read)
        else:
            without_uids += 1
    originals, again = _one_each(whole)
    return Shelf(originals, again, tuple(broken), without_uids, not_dicom)


def _read(path: Path) -> Sample | FileMeta | None:
    """A sample (without a study it is broken); what a file without UIDs says of itself; None when it is not DICOM."""
    reader = Part10Reader()
    try:
        data = b"".join(_pieces(reader, path.read_bytes()))
    except DataSetError:
        return None
    meta = reader.meta
    assert meta is not None
    try:
        parser = HeaderReader(meta.transfer_syntax_uid)
        parser.feed(data)
        header = parser.finish()
    except DataSetError:
        sop_class, instance = meta.media_storage_sop_class_uid, meta.media_storage_sop_instance_uid
        known = sop_class in STORAGE_SOP_CLASSES and _UID.fullmatch(instance)
        return Sample(path, sop_class, instance, meta.transfer_syntax_uid, data) if known else meta
    sop_class, instance, study, series = (header.uid(tag) for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES))
    if sop_class not in STORAGE_SOP_CLASSES or not all(_UID.fullmatch(uid) for uid in (instance, study, series)):
        return meta
    return Sample(
        path,
        sop_class,
        instance,
        meta.transfer_syntax_uid,
        data,
        study,
        header.text(_MODALITY),
        header.text(_STUDY_DATE),
        header.text(_PATIENT_NAME),
        header.character_set,
    )


def _pieces(reader: Part10Reader, content: bytes) -> Iterator[memoryview]:
    yield from reader.feed(content)
    yield from reader.finish()


def _one_each(samples: Iterable[Sample]) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Choose one file for each SOP Instance UID: of several, the one in the rarest transfer syntax."""
    samples = list(samples)
    common = Counter(sample.transfer_syntax_uid for sample in samples)
    chosen: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda one: (common[one.transfer_syntax_uid], one.path)):
        chosen.setdefault(sample.sop_instance_uid, sample)
    again = tuple(sample for sample in samples if chosen[sample.sop_instance_uid] is not sample)
    return tuple(sorted(chosen.values(), key=lambda one: (one.modality, one.path))), again


def short_syntax(uid: str) -> str:
    """A transfer syntax's name, short enough for a table."""
    name = name_of(uid) or uid
    for long, short in _SHORTER:
        name = name.replace(long, short)
    return name.partition(",")[0].partition(" (")[0]
