"""The files of the demo, compared with what pydicom itself reads in them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest

from strongroom.cli.demonstration.files import Sample, read_folder, shipped, short_syntax
from strongroom.dicom.part10 import encode_header

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def _read(sample: Sample) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(sample.path, stop_before_pixels=True, force=True)


def test_originals_are_what_pydicom_reads_in_them() -> None:
    """UIDs, modality and date of every original are those that another implementation finds."""
    shelf = shipped()

    assert len(shelf.originals) >= 100
    for sample in shelf.originals:
        data_set = _read(sample)
        found = [
            str(data_set.get(name, "") or "")
            for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")
        ]
        assert found == [sample.sop_class_uid, sample.sop_instance_uid, sample.study_instance_uid, sample.modality], (
            sample.path
        )
        assert sample.path.read_bytes().endswith(sample.data)


def test_there_is_one_original_for_each_uid_and_the_rest_comes_again() -> None:
    """No UID stands twice among the originals, and every other file shares one with them."""
    shelf = shipped()
    uids = [sample.sop_instance_uid for sample in shelf.originals]

    assert len(uids) == len(set(uids))
    assert {sample.sop_instance_uid for sample in shelf.again} <= set(uids)
    assert not {sample.path for sample in shelf.again} & {sample.path for sample in shelf.originals}


def test_of_several_files_the_rarest_syntax_is_chosen() -> None:
    """MR_small comes in seven forms; the one that no other file shows is the original."""
    (chosen,) = (sample for sample in shipped().originals if sample.path.name.startswith("MR_small"))

    assert chosen.path.name == "MR_small_jpeg_ls_lossless.dcm"


def test_files_cut_short_are_broken_and_named_by_their_meta_information() -> None:
    """The truncated files are told apart, with the UIDs that a sender would name."""
    broken = {sample.path.name: sample for sample in shipped().broken}

    assert set(broken) >= {"MR_truncated.dcm", "rtplan_truncated.dcm"}
    for sample in broken.values():
        meta = pydicom.filereader.read_file_meta_info(sample.path)
        assert sample.sop_instance_uid == meta.MediaStorageSOPInstanceUID
        assert sample.sop_class_uid == meta.MediaStorageSOPClassUID


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.txt", b"nothing of the kind"),
        ("empty.dcm", b""),
        ("meta-only.dcm", encode_header("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")),
    ],
)
def test_what_is_not_dicom_is_counted_and_left(tmp_path: Path, name: str, content: bytes) -> None:
    """Text, nothing, and a file without a data set give no sample."""
    (tmp_path / name).write_bytes(content)
    shelf = read_folder(tmp_path)

    assert (shelf.originals, shelf.again, shelf.broken) == ((), (), ())
    assert (shelf.not_dicom, shelf.without_uids) == (1, 0)


def test_files_without_uids_are_counted_and_left(tmp_path: Path) -> None:
    """A media directory and a fragment of a data set are DICOM, but nothing that could be stored."""
    for path in (TEST_FILES / "dicomdirtests" / "DICOMDIR", TEST_FILES / "UN_sequence.dcm"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shelf = read_folder(tmp_path)

    assert (shelf.originals, shelf.not_dicom, shelf.without_uids) == ((), 0, 2)


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2", "implicit LE"),
        ("1.2.840.10008.1.2.1.99", "Deflated explicit LE"),
        ("1.2.840.10008.1.2.2", "explicit BE"),
        ("1.2.840.10008.1.2.4.70", "JPEG Lossless"),
        ("1.2.840.10008.1.2.4.90", "JPEG 2000 lossless"),
        ("1.2.840.10008.1.2.4.91", "JPEG 2000"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_transfer_syntaxes_have_short_names(uid: str, name: str) -> None:
    """Short enough for a table, and still told apart."""
    assert short_syntax(uid) == name
