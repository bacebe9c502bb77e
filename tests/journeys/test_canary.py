"""A patient whose every value is a canary: none of them may be found on the disk, in the log or in an error (I7, SECURITY C25)."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from clients import require
from interop import harness
from journeys import sender

pytestmark = pytest.mark.xdist_group("canary")

CANARY = "Kanarienvogel"
VALUES = {
    "PatientName": f"{CANARY}Surname^{CANARY}Given",
    "PatientID": f"{CANARY}ID77",
    "PatientAddress": f"{CANARY} Street 12",
    "PatientBirthDate": "19530917",
    "AccessionNumber": f"{CANARY}ACC",
    "StudyDescription": f"{CANARY} study",
    "SeriesDescription": f"{CANARY} series",
    "InstitutionName": f"{CANARY} hospital",
    "ReferringPhysicianName": f"{CANARY}Doctor",
    "PatientComments": f"{CANARY} comment",
    "StudyID": f"{CANARY}SID",
}


def test_no_value_of_the_canary_patient_is_found_in_any_file(tmp_path: Path) -> None:
    """Deposit, duplicate, query, retrieve, a refused and a broken deposit: afterwards no file under the home holds a value."""
    for program in ("storescu", "findscu", "getscu"):
        require(program)
    work = tmp_path / "clients"
    work.mkdir()
    site = tmp_path / "site"
    site.mkdir()
    whole, broken = _files(work)
    uids = [pydicom.dcmread(whole)[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    with harness.archive(site) as archive:
        device, only_reads = archive.enrol("CT1"), archive.enrol("READER", "query")
        end = ["-aec", "STRONGROOM", "localhost", str(archive.port)]
        for _ in range(2):
            harness.run("storescu", *device.tls, "-aet", "CT1", *end, str(whole))
        harness.run("storescu", *only_reads.tls, "-aet", "READER", *end, str(whole), status=None)
        assert 0x0000 not in sender.send(archive, device, [broken])
        found = harness.run(
            "findscu", *device.tls, "-S", "-aet", "CT1", "-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientName={CANARY}*",
            "-k", "PatientID", "-v", *end,
        )  # fmt: skip
        assert CANARY in found.stdout + found.stderr
        with harness.tls_front(device, archive.port, work) as port:
            (work / "got").mkdir()
            harness.run(
                "getscu", "-S", "-aet", "CT1", "-aec", "STRONGROOM", "-od", str(work / "got"), "-k", "QueryRetrieveLevel=STUDY",
                "-k", f"StudyInstanceUID={uids[0]}", "localhost", str(port),
            )  # fmt: skip
        assert list((work / "got").iterdir())
        archive.command("trail", "show", status=0)
        running = _holding(site, archive)
        archive.stop()
        stopped = _holding(site, archive)

    assert [] == running
    assert [] == stopped


def _files(folder: Path) -> tuple[Path, Path]:
    """The canary patient's image, and the same under another UID with its end cut off."""
    data_set = pydicom.dcmread(str(pydicom.data.get_testdata_file("CT_small.dcm")))
    for name, value in VALUES.items():
        setattr(data_set, name, value)
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    whole = folder / "whole.dcm"
    data_set.save_as(whole)
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    broken = folder / "broken.dcm"
    data_set.save_as(broken)
    broken.write_bytes(broken.read_bytes()[:-7000])
    return whole, broken


def _holding(folder: Path, archive: harness.Archive) -> list[str]:
    """Names of files under the home, and of the log, that hold a value: as UTF-8, as UTF-16, or in a name."""
    needles = [
        part.encode(code) for value in VALUES.values() for part in value.split("^") for code in ("utf-8", "utf-16-le")
    ]
    guilty = []
    for path in folder.rglob("*"):
        if not path.is_file() or "bundle-" in str(path):
            continue
        content = path.read_bytes()
        guilty += [
            f"{path.name}: {needle!r}" for needle in needles if needle in content or needle in path.name.encode()
        ]
    assert archive.log.exists()
    return guilty
