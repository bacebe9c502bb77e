"""What must not become an instance: data sets that are cut short, do not fit their request, or contradict what is kept."""

from __future__ import annotations

import io
import ssl
import zipfile
from dataclasses import replace
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.filereader import read_file_meta_info
from pynetdicom import build_context

from interop import corpus, harness, peer
from interop.conftest import Site

pytestmark = pytest.mark.xdist_group("pynetdicom")

DEFLATED = "image_dfl.dcm"
WHOLE = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "JPEG-lossy.dcm",
    "rtdose_rle.dcm",
    DEFLATED,
    "test-SR.dcm",
    "693_J2KR.dcm",
)
"""One file of each way to encode a data set, cut below."""


def _store(site: Site, *paths: Path) -> list[int]:
    """Send files as they stand; the status of each."""
    contexts = [build_context(*pair) for pair in sorted({_described(path) for path in paths})]
    with peer.bytes_as_they_are(), peer.associated(site.modality, site.archive.port, contexts) as association:
        return [association.send_c_store(path).Status for path in paths]


def _described(path: Path) -> tuple[str, str]:
    """What the File Meta Information says of a file, whole or not."""
    meta = read_file_meta_info(path)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _counts(site: Site) -> tuple[int, int, int]:
    """Instances, conflicts and quarantined data sets."""
    status = site.archive.json("status")
    assert isinstance(status, dict)
    return status["instances"], status["conflicts"], status["quarantine"]


def _get(site: Site, sample: corpus.Sample) -> dict[str, bytes]:
    """C-GET of one image."""
    kept = peer.Kept()
    contexts = [*peer.services(), *peer.syntaxes_of([sample])]
    keys = {
        "StudyInstanceUID": sample.study_instance_uid,
        "SeriesInstanceUID": sample.series_instance_uid,
        "SOPInstanceUID": sample.sop_instance_uid,
    }
    with peer.associated(site.reader, site.archive.port, contexts, keep=kept) as association:
        *_, (final, _) = association.send_c_get(peer.identifier("IMAGE", keys), peer.GET["study"])
    assert final.Status == 0x0000
    return kept.data_sets


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm", "SC_rgb_jpeg.dcm"])
def test_a_shipped_file_that_is_not_whole_is_refused(site: Site, name: str) -> None:
    """Files that end too early, or are not what their transfer syntax says, get "cannot understand" and are kept aside."""
    instances, conflicts, quarantine = _counts(site)
    (status,) = _store(site, corpus.shipped(name))

    assert 0xC000 <= status <= 0xCFFF
    assert (instances, conflicts, quarantine + 1) == _counts(site)


@pytest.mark.parametrize("name", WHOLE)
def test_a_data_set_cut_short_is_refused_wherever_it_is_cut(site: Site, tmp_path: Path, name: str) -> None:
    """
    Cut anywhere but between two elements, a data set gets "cannot understand", is kept aside, and cannot be found.

    The cuts: inside the last value, in the middle, inside the first values, and inside an element's tag and length.
    """
    path = corpus.shipped(name)
    sample = corpus.described(path) if name == DEFLATED else corpus.renamed(path, tmp_path)
    assert sample is not None
    whole = sample.path.read_bytes()
    begin = len(whole) - len(corpus.data_set_bytes(sample.path))
    cuts = (
        len(whole) - 1,
        len(whole) - 3,
        begin + (len(whole) - begin) // 2 | 1,
        begin + 300 | 1,
        begin + 41,
        begin + 3,
    )
    before = _counts(site)
    paths = [tmp_path / f"cut-{cut}.dcm" for cut in cuts]
    for cut, path in zip(cuts, paths, strict=True):
        path.write_bytes(whole[:cut])
    statuses = _store(site, *paths)

    assert [status for status in statuses if not 0xC000 <= status <= 0xCFFF] == []
    assert (before[0], before[1], before[2] + len(cuts)) == _counts(site)
    assert _get(site, sample) == {}


def test_another_content_under_the_same_uid_is_kept_aside(site: Site, tmp_path: Path) -> None:
    """The second one gets 0111 and counts as a conflict; what was stored first is what comes back."""
    sample = corpus.renamed(corpus.shipped("CT_small.dcm"), tmp_path)
    other = tmp_path / "other.dcm"
    content = bytearray(sample.path.read_bytes())
    content[-1000] ^= 1
    other.write_bytes(content)
    instances, conflicts, quarantine = _counts(site)
    statuses = _store(site, sample.path, other, sample.path)

    assert [0x0000, 0x0111, 0x0000] == statuses
    assert (instances + 1, conflicts + 1, quarantine) == _counts(site)
    assert {sample.sop_instance_uid: corpus.data_set_bytes(sample.path)} == _get(site, sample)


def test_the_same_content_in_another_native_syntax_is_no_conflict(site: Site) -> None:
    """One image in implicit little endian and in big endian is one instance; compressed as RLE it is another content."""
    names = ("MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm")
    instances, conflicts, quarantine = _counts(site)
    statuses = _store(site, *map(corpus.shipped, names))

    assert [0x0000, 0x0000, 0x0111] == statuses
    assert (instances + 1, conflicts + 1, quarantine) == _counts(site)


def test_a_data_set_under_another_uid_than_its_request_is_refused(site: Site, tmp_path: Path) -> None:
    """A C-STORE whose UID is not that of its data set gets "does not match" and is kept aside (PS3.4 B.2.3)."""
    sample = corpus.renamed(corpus.shipped("CT_small.dcm"), tmp_path)
    liar = tmp_path / "liar.dcm"
    uid = sample.sop_instance_uid.encode()
    other = uid[:-1] + (b"2" if uid[-1:] == b"1" else b"1")
    liar.write_bytes(sample.path.read_bytes().replace(uid, other, 1))  # in the File Meta Information only
    instances, conflicts, quarantine = _counts(site)
    (status,) = _store(site, liar)

    assert 0xA900 <= status <= 0xA9FF
    assert (instances, conflicts, quarantine + 1) == _counts(site)
    assert _get(site, sample) == {}


def test_a_sender_that_goes_away_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """An A-ABORT in the middle of a data set is neither an instance nor kept aside; the archive goes on."""
    sample = corpus.renamed(corpus.shipped("RG1_UNCR.dcm"), tmp_path)
    before = _counts(site)
    contexts = peer.syntaxes_of([sample])
    with peer.bytes_as_they_are(), peer.associated(site.modality, site.archive.port, contexts) as association:
        peer.abort_in_the_middle(association, sample)

    assert before == _counts(site)
    assert _store(site, sample.path) == [0x0000]


def test_check_and_trail_after_all_that(site: Site) -> None:
    """Nothing of it is a finding of check or of the trail."""
    checked = site.archive.json("check", "--read")
    trail = site.archive.json("trail", "verify")

    assert isinstance(checked, dict)
    assert isinstance(trail, dict)
    assert ([], []) == (checked["findings"], trail["findings"])


def test_a_study_sent_by_storescu_under_another_patient_is_a_warning(site: Site, tmp_path: Path) -> None:
    """DCMTK is told B000 with a comment that names nobody; the study stays until the command line decides, both ways."""
    sample = corpus.renamed(corpus.shipped("CT_small.dcm"), tmp_path)
    stranger = pydicom.dcmread(sample.path)
    stranger.StudyInstanceUID = f"{sample.sop_instance_uid}.9"  # a study of this test alone
    stranger.save_as(sample.path)
    sample = replace(sample, study_instance_uid=stranger.StudyInstanceUID)
    stranger.PatientID, stranger.PatientName = "CANARY-7", "Canary^Bird"
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = f"{sample.sop_instance_uid}.1"
    other = tmp_path / "stranger.dcm"
    stranger.save_as(other)
    _, before, _ = _counts(site)
    done = harness.run(
        "storescu", "-d", *site.modality.tls, "-R", "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(site.archive.port),
        str(sample.path), str(other),
    )  # fmt: skip
    said = done.stdout + done.stderr

    assert "0xb000" in said.lower()
    assert "Kept aside: another patient's study" in said
    assert before + 1 == _counts(site)[1]
    listed = site.archive.json("conflicts", "list")
    assert isinstance(listed, dict)
    (entry,) = [one for one in listed["conflicts"] if one["study_instance_uid"] == sample.study_instance_uid]
    number = str(entry["id"])
    printed = (
        site.archive.command("conflicts", "list").stdout + site.archive.command("conflicts", "show", number).stdout
    )
    assert "CANARY" not in printed.upper()
    assert "PatientID" in printed
    assert "CANARY-7" in site.archive.command("conflicts", "show", number, "--reason", "whose is it").stdout
    twin = replace(sample, sop_instance_uid=f"{sample.sop_instance_uid}.1")
    site.archive.command("conflicts", "resolve", number, "--keep", "second", "--reason", "asked the ward")
    assert ({}, {twin.sop_instance_uid}) == (_get(site, sample), set(_get(site, twin)))
    site.archive.command("conflicts", "resolve", number, "--keep", "first", "--reason", "asked again")
    assert ({sample.sop_instance_uid}, {}) == (set(_get(site, sample)), _get(site, twin))
    assert "decision about a conflict" in site.archive.command("trail", "show", "--last", "10").stdout
    site.archive.command("check", "--read")


def test_a_program_in_front_of_a_file_goes_nowhere(site: Site, tmp_path: Path) -> None:
    """Over STOW-RS and by import: the instance is taken, and every way out has a preamble of zeros (F01, F02)."""
    samples = [corpus.renamed(corpus.shipped("CT_small.dcm"), tmp_path / name) for name in _folders(tmp_path, "a", "b")]
    for sample, beginning in zip(samples, (b"MZ\x90\0", b"#!/bin/sh\n"), strict=True):
        content = sample.path.read_bytes()
        sample.path.write_bytes(beginning.ljust(128, b"\x90") + content[128:])
    _, _, before = _counts(site)
    trust = ssl.create_default_context(cafile=site.archive.authority)
    bearer = {"Authorization": f"Bearer {site.archive.token('preamble', 'modality', 'radiologist')}"}
    with httpx.Client(verify=trust, headers=bearer, base_url=f"{site.archive.web}/") as client:
        sent = client.post(
            "studies", content=samples[0].path.read_bytes(), headers={"Content-Type": "application/dicom"}
        )
        assert 200 == sent.status_code
        site.archive.command("import", str(samples[1].path))
        assert before + 2 == _counts(site)[2]
        for sample in samples:
            study = f"studies/{sample.study_instance_uid}"
            whole = client.get(study, headers={"Accept": 'multipart/related; type="application/dicom"'}).content
            packed = client.get(study, headers={"Accept": "application/zip"}).content
            out = tmp_path / f"out-{sample.sop_instance_uid}"
            site.archive.command("export", "study", sample.study_instance_uid, "--out", str(out), "--reason", "a test")
            files = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                files += [archive.read(name) for name in archive.namelist()]
            assert len(files) >= 4  # the images and their DICOMDIR, twice
            assert {bytes(128) + b"DICM"} == {content[:132] for content in files}
            assert bytes(128) == whole[whole.index(b"DICM") - 128 : whole.index(b"DICM")]
            for beginning in (b"MZ\x90\0\x90\x90", b"#!/bin/sh"):
                assert not any(beginning in content for content in (whole, *files))
    site.archive.command("check", "--read")


def _folders(root: Path, *names: str) -> list[str]:
    for name in names:
        (root / name).mkdir()
    return list(names)
