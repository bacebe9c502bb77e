"""Directories of a set of files, as pydicom's FileSet and DCMTK's dcmdump read them."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet

from strongroom.dicom.dicomdir import DIRECTORY_STORAGE, Directory, file_name, record_type
from strongroom.errors import DataSetError

NAMES = ("CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "rtplan.dcm", "test-SR.dcm", "JPEG2000.dcm", "liver_1frame.dcm")
UID = "1.2.3.4"


def directory(names: tuple[str, ...] = NAMES, folder: Path | None = None) -> bytes:
    """A directory of files that pydicom brings along, written to *folder* with them."""
    made = Directory()
    for number, name in enumerate(names, 1):
        path = str(get_testdata_file(name))
        read = pydicom.dcmread(path, stop_before_pixels=True)
        made.add(
            read.to_json_dict(),
            file_name(number),
            sop_class_uid=read.SOPClassUID,
            sop_instance_uid=read.SOPInstanceUID,
            transfer_syntax_uid=read.file_meta.TransferSyntaxUID,
        )
        if folder is not None:
            target = folder.joinpath(*file_name(number))
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
    encoded = made.encode(sop_instance_uid=UID, source_ae_title="STRONGROOM")
    if folder is not None:
        (folder / "DICOMDIR").write_bytes(encoded)
    return encoded


def test_pydicom_finds_every_file(tmp_path: Path) -> None:
    """FileSet follows the offsets from record to record, and loads each instance by its file ID."""
    directory(folder=tmp_path)
    read = FileSet(tmp_path / "DICOMDIR")

    assert UID == read.UID
    assert {str(pydicom.dcmread(get_testdata_file(name)).SOPInstanceUID) for name in NAMES} == {
        str(instance.load().SOPInstanceUID) for instance in read
    }


def test_records_hold_what_a_reader_lists() -> None:
    """Patient, study, series and image with their keys; text in UTF-8 where it needs it."""
    read = pydicom.dcmread(io.BytesIO(directory()))
    records = {record.DirectoryRecordType: record for record in reversed(read.DirectoryRecordSequence)}
    ct = pydicom.dcmread(get_testdata_file("CT_small.dcm"))

    assert DIRECTORY_STORAGE == read.file_meta.MediaStorageSOPClassUID
    assert (ct.PatientName, ct.PatientID) == (records["PATIENT"].PatientName, records["PATIENT"].PatientID)
    assert (ct.StudyInstanceUID, ct.StudyDate) == (records["STUDY"].StudyInstanceUID, records["STUDY"].StudyDate)
    assert (ct.Modality, ct.SeriesNumber) == (records["SERIES"].Modality, records["SERIES"].SeriesNumber)
    assert ["DICOM", "IM000001"] == list(records["IMAGE"].ReferencedFileID)
    assert {"IMAGE", "RT DOSE", "RT PLAN", "SR DOCUMENT"} <= set(records)


@pytest.mark.skipif(shutil.which("dcmmkdir") is None, reason="DCMTK is not installed")
def test_dcmtk_follows_the_offsets(tmp_path: Path) -> None:
    """DCMTK appends a file to our directory: it has read all of it, and written it out again with all records."""
    names = ("CT_small.dcm", "MR_small.dcm")
    directory(names, folder=tmp_path)
    shutil.copyfile(get_testdata_file("JPEG2000.dcm"), tmp_path / "DICOM" / "IM000003")
    command = ["dcmmkdir", "+A", "-W", "-Nxc", "+I", "DICOM/IM000003"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    kinds = [record.DirectoryRecordType for record in pydicom.dcmread(tmp_path / "DICOMDIR").DirectoryRecordSequence]

    assert 0 == result.returncode, result.stderr
    assert {"PATIENT": 3, "STUDY": 3, "SERIES": 3, "IMAGE": 3} == {kind: kinds.count(kind) for kind in kinds}


def test_files_of_one_series_share_its_records() -> None:
    """Two images of one series: one patient, one study, one series, two images linked to each other."""
    made = Directory()
    elements = pydicom.dcmread(get_testdata_file("CT_small.dcm"), stop_before_pixels=True).to_json_dict()
    for number in (1, 2):
        made.add(
            elements,
            file_name(number),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            sop_instance_uid=f"1.2.{number}",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )
    records = pydicom.dcmread(io.BytesIO(made.encode(sop_instance_uid=UID))).DirectoryRecordSequence

    assert ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE"] == [record.DirectoryRecordType for record in records]
    assert records[4].seq_item_tell == records[3].OffsetOfTheNextDirectoryRecord
    assert 0 == records[4].OffsetOfTheNextDirectoryRecord


def test_what_an_object_lacks_stays_empty() -> None:
    """No patient, no study, values that cannot be written: still a directory."""
    made = Directory()
    made.add(
        {"00100010": {"vr": "PN", "BulkDataURI": "x"}, "00200013": {"vr": "IS", "Value": [{"a": "b"}]}},
        file_name(1),
        sop_class_uid="1.2",
        sop_instance_uid="1.3",
        transfer_syntax_uid="1.2.840.10008.1.2",
    )
    records = pydicom.dcmread(io.BytesIO(made.encode(sop_instance_uid=UID))).DirectoryRecordSequence

    assert "PatientName" not in records[0]
    assert records[3].InstanceNumber is None


def test_no_file_at_all() -> None:
    """An empty set is a set."""
    read = pydicom.dcmread(io.BytesIO(Directory().encode(sop_instance_uid=UID)))

    assert 0 == read.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    assert 0 == len(read.DirectoryRecordSequence)


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KEY OBJECT DOC"),
        ("1.2.840.10008.5.1.4.1.1.88.67", "SR DOCUMENT"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "ENCAP DOC"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "WAVEFORM"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PRESENTATION"),
        ("1.2.3.4", "IMAGE"),
    ],
)
def test_types_of_records(sop_class: str, kind: str) -> None:
    """Each SOP class has its type of record (PS3.3 F.4)."""
    assert kind == record_type(sop_class)


@pytest.mark.parametrize("number", [0, 1_000_000])
def test_names_have_six_digits(number: int) -> None:
    """More files than that are not one set."""
    with pytest.raises(DataSetError):
        file_name(number)
