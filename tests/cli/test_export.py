"""`strongroom export` on a home without a server: folder and archive, refusals, and nothing left of what failed."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet

from cli.commands import strongroom
from strongroom.cli.exits import Exit

REASON = "second opinion asked for"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two images of one study."""
    path = tmp_path_factory.mktemp("export") / "home"
    assert 0 == strongroom("init", "--home", str(path)).returncode
    for name in ("JPEG2000.dcm", "JPEG-lossy.dcm"):
        assert 0 == strongroom("import", "--home", str(path), str(get_testdata_file(name))).returncode
    return path


@pytest.fixture(scope="module")
def study() -> pydicom.Dataset:
    """What was imported."""
    return pydicom.dcmread(get_testdata_file("JPEG2000.dcm"))


def test_a_study_to_a_folder(home: Path, study: pydicom.Dataset, tmp_path: Path) -> None:
    """Files and directory, readable by their owner alone; pydicom's FileSet finds every instance."""
    out = tmp_path / "out"
    ran = strongroom(
        "export", "study", study.StudyInstanceUID, "--home", str(home), "--out", str(out), "--reason", REASON, "--json"
    )
    assert 0 == ran.returncode, ran.stdout
    files = [path for path in out.rglob("*") if path.is_file()]

    assert {"instances": 2, "out": str(out)} == {
        name: value for name, value in json.loads(ran.stdout).items() if name != "bytes"
    }
    assert {"DICOMDIR", "IM000001", "IM000002"} == {path.name for path in files}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in files}
    assert 0o700 == stat.S_IMODE(out.stat().st_mode)
    assert 2 == len(list(FileSet(out / "DICOMDIR")))
    original = {
        str(pydicom.dcmread(get_testdata_file(name)).SOPInstanceUID) for name in ("JPEG2000.dcm", "JPEG-lossy.dcm")
    }
    assert original == {str(pydicom.dcmread(path).SOPInstanceUID) for path in files if path.name != "DICOMDIR"}


def test_a_series_to_an_archive(home: Path, study: pydicom.Dataset, tmp_path: Path) -> None:
    """One ZIP file with the same in it."""
    out = tmp_path / "series.zip"
    ran = strongroom(
        "export", "series", study.SeriesInstanceUID, "--home", str(home), "--out", str(out), "--reason", REASON
    )
    assert 0 == ran.returncode, ran.stdout

    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert "DICOMDIR" in archive.namelist()
    assert 0o600 == stat.S_IMODE(out.stat().st_mode)
    assert "instances" in ran.stdout


def test_without_a_reason_it_is_refused(home: Path, study: pydicom.Dataset, tmp_path: Path) -> None:
    """The host sees patient data with a written reason only; nothing is made, and the trail has it."""
    out = tmp_path / "out"
    for more in ((), ("--reason", "x")):
        ran = strongroom("export", "study", study.StudyInstanceUID, "--home", str(home), "--out", str(out), *more)
        assert Exit.REFUSED == ran.returncode
        assert "with a written reason only: --reason" in ran.stdout
    assert not out.exists()
    assert "written-reason-missing" in strongroom("trail", "show", "--home", str(home), "--refused", "--json").stdout


def test_nothing_is_written_over(home: Path, study: pydicom.Dataset, tmp_path: Path) -> None:
    """A file, a folder with something in it, a link: refused, and still what they were."""
    (tmp_path / "file.zip").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "link.zip").symlink_to(tmp_path / "elsewhere.zip")
    for name in ("file.zip", "folder", "link.zip"):
        ran = strongroom(
            "export",
            "study",
            study.StudyInstanceUID,
            "--home",
            str(home),
            "--out",
            str(tmp_path / name),
            "--reason",
            REASON,
        )
        assert Exit.REFUSED == ran.returncode, name

    assert "mine" == (tmp_path / "file.zip").read_text() == (tmp_path / "folder" / "mine").read_text()
    assert not (tmp_path / "elsewhere.zip").exists()


def test_what_is_not_there(home: Path, study: pydicom.Dataset, tmp_path: Path) -> None:
    """No such study, no such folder: 4, and nothing is left."""
    ran = strongroom(
        "export", "study", "1.2.3.4.5", "--home", str(home), "--out", str(tmp_path / "a"), "--reason", REASON
    )
    assert Exit.NOT_FOUND == ran.returncode
    ran = strongroom(
        "export",
        "study",
        study.StudyInstanceUID,
        "--home",
        str(home),
        "--out",
        str(tmp_path / "no" / "such.zip"),
        "--reason",
        REASON,
    )
    assert Exit.NOT_FOUND == ran.returncode

    assert [] == list(tmp_path.iterdir())
