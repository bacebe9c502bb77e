"""DCMTK as modality, viewer and workstation: everything goes in, is found, and comes back bit for bit."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest
from clients import require
from interop import corpus, harness
from interop.conftest import Site

pytestmark = pytest.mark.xdist_group("dcmtk")


@pytest.fixture(scope="module")
def stored(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, corpus.Sample]:
    """Every shipped file, and its twins under new UIDs, sent by dcmsend behind a TLS front."""
    require("dcmsend")
    folder = tmp_path_factory.mktemp("files")
    samples = [*corpus.originals(), *(corpus.renamed(path, folder) for path in corpus.twins())]
    with harness.tls_front(site.modality, site.archive.port, folder) as port:
        for group in _by_syntax(samples):
            listing = [str(sample.path) for sample in group]
            harness.run("dcmsend", "-aet", "CT1", "-aec", "STRONGROOM", "--no-halt", "-nip", "localhost", str(port), *listing)
    return {sample.sop_instance_uid: sample for sample in samples}


def _by_syntax(samples: list[corpus.Sample]) -> list[list[corpus.Sample]]:
    groups: dict[str, list[corpus.Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.transfer_syntax_uid, []).append(sample)
    return list(groups.values())


def _find(site: Site, *keys: str, root: str = "-S") -> list[dict[str, str]]:
    """findscu over its own TLS; the answers as tag -> value."""
    arguments = [part for key in keys for part in ("-k", key)]
    done = harness.run(
        "findscu", *site.reader.tls, "-v", root, "-aet", "READER", "-aec", "STRONGROOM", *arguments, "localhost", str(site.archive.port)
    )
    answers: list[dict[str, str]] = []
    for line in (done.stdout + done.stderr).splitlines():
        if "Find Response:" in line:
            answers.append({})
        match = re.match(r"I: \(([0-9a-f]{4}),([0-9a-f]{4})\) \w\w (?:\[(.*?)\]|\(no value available\)|(\S+))", line)
        if match and answers:
            answers[-1][match[1] + match[2]] = (match[3] or match[4] or "").strip(" \0")
    return answers


def test_a_modality_is_answered(site: Site) -> None:
    """C-ECHO over DCMTK's own TLS succeeds for an enrolled device."""
    harness.run("echoscu", *site.modality.tls, "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(site.archive.port))


def test_every_file_is_taken(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """At least sixty files of different modality, syntax and character set are stored, each one once."""
    assert len(stored) >= 60
    assert len({sample.transfer_syntax_uid for sample in stored.values()}) >= 8
    assert len({sample.modality for sample in stored.values()}) >= 8
    assert len({sample.character_set for sample in stored.values()}) >= 8

    status = site.archive.json("status")

    assert isinstance(status, dict)
    assert len(stored) == status["instances"]
    assert {"conflicts": 0, "quarantine": 0} == {key: status[key] for key in ("conflicts", "quarantine")}


def test_getscu_returns_every_data_set_bit_for_bit(site: Site, stored: dict[str, corpus.Sample], tmp_path: Path) -> None:
    """C-GET by study in each stored syntax: the data set on disk equals the one that was sent, byte for byte."""
    pytest.importorskip("pydicom")
    returned: dict[str, bytes] = {}
    options = {
        "1.2.840.10008.1.2": "+xi", "1.2.840.10008.1.2.1": "+xe", "1.2.840.10008.1.2.2": "+xb", "1.2.840.10008.1.2.1.99": "+xd",
        "1.2.840.10008.1.2.5": "+xr", "1.2.840.10008.1.2.4.50": "+xy", "1.2.840.10008.1.2.4.51": "+xx", "1.2.840.10008.1.2.4.57": "+xs",
        "1.2.840.10008.1.2.4.70": "+xs", "1.2.840.10008.1.2.4.80": "+xt", "1.2.840.10008.1.2.4.81": "+xu",
        "1.2.840.10008.1.2.4.90": "+xv", "1.2.840.10008.1.2.4.91": "+xw",
    }  # fmt: skip
    with harness.tls_front(site.reader, site.archive.port, tmp_path) as port:
        for number, sample in enumerate(stored.values()):
            out = tmp_path / f"got-{number}"
            out.mkdir()
            harness.run(
                "getscu", "-S", "-aet", "READER", "-aec", "STRONGROOM", "-od", str(out), "+B", options[sample.transfer_syntax_uid],
                "-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={sample.study_instance_uid}",
                "-k", f"SeriesInstanceUID={sample.series_instance_uid}", "-k", f"SOPInstanceUID={sample.sop_instance_uid}",
                "localhost", str(port),
            )  # fmt: skip
            for path in out.iterdir():
                returned[sample.sop_instance_uid] = corpus.data_set_bytes(path)
    missing = {sample.path.name for uid, sample in stored.items() if uid not in returned}
    different = {stored[uid].path.name for uid, found in returned.items() if found != corpus.data_set_bytes(stored[uid].path)}

    assert (set(), set()) == (missing, different)


def test_movescu_sends_a_study_to_an_enrolled_destination(site: Site, stored: dict[str, corpus.Sample], tmp_path: Path) -> None:
    """C-MOVE of a CT study reaches the workstation over TLS, bit for bit."""
    sample = next(one for one in stored.values() if one.path.name == "CT_small.dcm")
    with (
        harness.receiver(site.workstation, site.workstation_port, tmp_path) as out,
        harness.tls_front(site.workstation, site.archive.port, tmp_path) as port,
    ):
        harness.run(
            "movescu", "-S", "-aet", "WORK1", "-aec", "STRONGROOM", "-aem", "WORK1", "-k", "QueryRetrieveLevel=STUDY",
            "-k", f"StudyInstanceUID={sample.study_instance_uid}", "localhost", str(port),
        )  # fmt: skip
        wanted = {
            corpus.data_set_bytes(one.path) for one in stored.values() if one.study_instance_uid == sample.study_instance_uid
        }

        assert wanted == {corpus.data_set_bytes(path) for path in out.iterdir()}


def test_a_move_to_a_stranger_is_refused(site: Site, stored: dict[str, corpus.Sample], tmp_path: Path) -> None:
    """A destination that is not in the register gets A801 and nothing is sent."""
    sample = next(iter(stored.values()))
    with harness.tls_front(site.reader, site.archive.port, tmp_path) as port:
        done = harness.run(
            "movescu", "-v", "-S", "-aet", "READER", "-aec", "STRONGROOM", "-aem", "NOBODY", "-k", "QueryRetrieveLevel=STUDY",
            "-k", f"StudyInstanceUID={sample.study_instance_uid}", "localhost", str(port), status=None,
        )  # fmt: skip

    assert "Destination" in done.stdout + done.stderr


def test_find_by_each_level(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """Patient, study, series and image level answer with what was sent, under both roots."""
    studies = {sample.study_instance_uid for sample in stored.values()}
    found = {row["0020000d"] for row in _find(site, "QueryRetrieveLevel=STUDY", "StudyInstanceUID")}

    assert studies == found

    one = next(sample for sample in stored.values() if sample.path.name == "CT_small.dcm")
    series = _find(site, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={one.study_instance_uid}", "SeriesInstanceUID", "Modality")
    images = _find(
        site, "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={one.study_instance_uid}", f"SeriesInstanceUID={one.series_instance_uid}",
        "SOPInstanceUID", "SOPClassUID", "InstanceNumber",
    )  # fmt: skip
    patients = _find(site, "QueryRetrieveLevel=PATIENT", "PatientID=1CT1", "PatientName", root="-P")

    assert [("CT", one.series_instance_uid)] == [(row["00080060"], row["0020000e"]) for row in series]
    assert one.sop_instance_uid in {row["00080018"] for row in images}
    assert ["CompressedSamples^CT1"] == [row["00100010"] for row in patients]


@pytest.mark.parametrize(
    "key",
    [
        "PatientID=1CT1",
        "PatientName=CompressedSamples^CT1",
        "PatientName=compressedsamples^ct1",
        "PatientName=Compressed*CT1",
        "PatientName=CompressedSamples^CT?",
        "StudyDate=20040119",
        "StudyDate=20040101-20040131",
        "StudyDate=-20040119",
        "ModalitiesInStudy=CT",
        "AccessionNumber",
    ],
)
def test_find_by_each_matching_kind(site: Site, stored: dict[str, corpus.Sample], key: str) -> None:
    """Single value, wildcard, range, universal and computed keys each find the CT study."""
    one = next(sample for sample in stored.values() if sample.path.name == "CT_small.dcm")
    found = _find(site, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", key)

    assert one.study_instance_uid in {row["0020000d"] for row in found}


def test_find_by_a_list_of_uids(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """A list of UIDs finds exactly those."""
    wanted = sorted({sample.study_instance_uid for sample in stored.values()})[:5]
    found = _find(site, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=" + "\\".join(wanted))

    assert wanted == sorted(row["0020000d"] for row in found)


def test_find_of_nothing(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """A value nobody has, also one that looks like SQL or a pattern of another language, finds nothing."""
    assert stored
    for value in ("NOBODY", "' OR 1=1--", "%", "_CT1", "1CT1.*"):
        assert [] == _find(site, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", f"PatientID={value}")


def test_storescu_with_its_own_tls(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """Sending the same file again by storescu is a success and stores nothing twice."""
    sample = next(one for one in stored.values() if one.path.name == "CT_small.dcm")
    before = site.archive.json("status")
    harness.run(
        "storescu", *site.modality.tls, "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(site.archive.port), str(sample.path)
    )

    assert before == site.archive.json("status")


def test_check_and_trail_after_all_that(site: Site, stored: dict[str, corpus.Sample]) -> None:
    """Every byte opens and compares; the trail verifies."""
    assert stored
    checked = site.archive.json("check", "--read")
    trail = site.archive.json("trail", "verify")

    assert isinstance(checked, dict)
    assert isinstance(trail, dict)
    assert ([], len(stored), []) == (checked["findings"], checked["checked"], trail["findings"])


def test_a_returned_file_is_readable(site: Site, stored: dict[str, corpus.Sample], tmp_path: Path) -> None:
    """Where the peer takes only implicit little endian, an explicit object is converted on the way and reads the same."""
    sample = next(one for one in stored.values() if one.path.name == "CT_small.dcm")
    with harness.tls_front(site.reader, site.archive.port, tmp_path) as port:
        out = tmp_path / "implicit"
        out.mkdir()
        harness.run(
            "getscu", "-S", "-aet", "READER", "-aec", "STRONGROOM", "-od", str(out), "+xi", "-k", "QueryRetrieveLevel=IMAGE",
            "-k", f"StudyInstanceUID={sample.study_instance_uid}", "-k", f"SeriesInstanceUID={sample.series_instance_uid}",
            "-k", f"SOPInstanceUID={sample.sop_instance_uid}", "localhost", str(port),
        )  # fmt: skip
    (path,) = out.iterdir()
    returned, sent = pydicom.dcmread(path), pydicom.dcmread(sample.path)

    assert "1.2.840.10008.1.2" == returned.file_meta.TransferSyntaxUID
    assert sent.PixelData == returned.PixelData
    assert str(sent.PatientName) == str(returned.PatientName)
