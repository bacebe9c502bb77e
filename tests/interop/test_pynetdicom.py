"""pynetdicom as a second client over TLS: what the files hold goes over the wire untouched, and comes back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association

from interop import corpus, peer, questions
from interop.compare import UNDECODABLE, differences, pixels_differ
from interop.conftest import Site

pytestmark = pytest.mark.xdist_group("pynetdicom")

Stored = dict[str, corpus.Sample]

PENDING = {0xFF00, 0xFF01}
CONVERTIBLE = {*corpus.NATIVE, "1.2.840.10008.1.2.1.99"}
"""What the archive can turn into another native syntax."""
CROWD = 300


@pytest.fixture(scope="module")
def stored(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Every shipped file, and its twins under new UIDs, sent as it stands."""
    samples = corpus.everything(tmp_path_factory.mktemp("files"))
    contexts = peer.syntaxes_of(samples.values())
    with peer.bytes_as_they_are(), peer.associated(site.modality, site.archive.port, contexts) as association:
        statuses = {sample.path.name: association.send_c_store(sample.path).Status for sample in samples.values()}
    assert {name: status for name, status in statuses.items() if status} == {}
    return samples


@pytest.fixture(scope="module")
def reader(site: Site) -> Iterator[Association]:
    """The reader's association for queries."""
    with peer.associated(site.reader, site.archive.port, peer.services()) as association:
        yield association


def _ask(association: Association, level: str, keys: dict[str, str], *, root: str = "study") -> list[Dataset]:
    """C-FIND; every answer, after a final success."""
    *pending, (final, nothing) = association.send_c_find(peer.identifier(level, keys), peer.FIND[root])
    assert {answer.Status for answer, _ in pending} <= PENDING
    assert (final.Status, nothing) == (0x0000, None)
    return [found for _, found in pending if found is not None]


def _values(answers: list[Dataset], keyword: str) -> list[str]:
    return sorted(str(answer[keyword].value) for answer in answers)


def _studies(samples: Stored) -> list[str]:
    return sorted({sample.study_instance_uid for sample in samples.values()})


def _named(samples: Stored, name: str) -> corpus.Sample:
    return next(sample for sample in samples.values() if sample.path.name == name)


def test_an_enrolled_device_is_answered(site: Site) -> None:
    """C-ECHO over TLS with the device's certificate succeeds."""
    with peer.associated(site.modality, site.archive.port, peer.services()) as association:
        assert association.send_c_echo().Status == 0x0000


def test_every_file_is_taken(site: Site, stored: Stored) -> None:
    """At least sixty files of different modality, syntax and character set are stored, each one once."""
    assert len(stored) >= 60
    assert len({sample.transfer_syntax_uid for sample in stored.values()}) >= 8
    assert len({sample.modality for sample in stored.values()}) >= 8
    assert len({sample.character_set for sample in stored.values()}) >= 8

    status = site.archive.json("status")

    assert isinstance(status, dict)
    assert (len(stored), len(_studies(stored))) == (status["instances"], status["studies"])
    assert (0, 0) == (status["conflicts"], status["quarantine"])


@pytest.mark.parametrize("root", ["patient", "study"])
def test_get_returns_every_data_set_bit_for_bit(site: Site, stored: Stored, root: str) -> None:
    """C-GET with role selection, study by study: the bytes of each data set are those of its file."""
    kept = peer.Kept()
    contexts = [*peer.services(), *peer.syntaxes_of(stored.values())]
    patients = {one.study_instance_uid: questions.text(questions.header(one), "PatientID") for one in stored.values()}
    with peer.associated(site.reader, site.archive.port, contexts, keep=kept) as association:
        for study in _studies(stored):
            if root == "patient" and not patients[study]:
                continue  # the root needs a Patient ID
            keys = {"PatientID": patients[study]} if root == "patient" else {}
            asked = peer.identifier("STUDY", {**keys, "StudyInstanceUID": study})
            *_, (final, _) = association.send_c_get(asked, peer.GET[root])
            wanted = sum(one.study_instance_uid == study for one in stored.values())
            assert (0x0000, wanted, 0) == (
                final.Status,
                final.NumberOfCompletedSuboperations,
                final.NumberOfFailedSuboperations,
            )

    _assert_as_sent(
        stored if root == "study" else {u: s for u, s in stored.items() if patients[s.study_instance_uid]}, kept
    )


def _assert_as_sent(sent: Stored, kept: peer.Kept) -> None:
    """Each instance came, no other did, in its own syntax, with the very bytes of its file."""
    assert sent.keys() == kept.data_sets.keys()
    assert [
        sample.path.name
        for uid, sample in sent.items()
        if kept.data_sets[uid] != corpus.data_set_bytes(sample.path) or kept.syntaxes[uid] != sample.transfer_syntax_uid
    ] == []


def test_get_by_each_level(site: Site, stored: Stored) -> None:
    """C-GET of a patient, a study, a series and an image brings what belongs to it and nothing else."""
    one = _named(stored, "MR_small.dcm")
    keys = {
        "PatientID": "4MR1",
        "StudyInstanceUID": one.study_instance_uid,
        "SeriesInstanceUID": one.series_instance_uid,
        "SOPInstanceUID": one.sop_instance_uid,
    }
    contexts = [*peer.services(), *peer.syntaxes_of(stored.values())]
    for depth, level in enumerate(("PATIENT", "STUDY", "SERIES", "IMAGE"), 1):
        named = dict(list(keys.items())[:depth])
        kept = peer.Kept()
        with peer.associated(site.reader, site.archive.port, contexts, keep=kept) as association:
            *_, (final, _) = association.send_c_get(peer.identifier(level, named), peer.GET["patient"])
        fitting = {
            uid: sample
            for uid, sample in stored.items()
            if all(questions.text(questions.header(sample), keyword) == value for keyword, value in named.items())
        }

        assert final.Status == 0x0000
        _assert_as_sent(fitting, kept)


@pytest.mark.parametrize("syntax", [corpus.IMPLICIT, corpus.EXPLICIT])
def test_get_converts_for_a_viewer_with_one_syntax(site: Site, stored: Stored, tmp_path: Path, syntax: str) -> None:
    """
    Where the peer takes one little endian syntax only, everything comes in it with its values and pixels.

    What is compressed comes decoded, but for what nobody can decode: a failed sub-operation each, and the final status says so.
    """
    convertible = {uid: sample for uid, sample in stored.items() if sample.transfer_syntax_uid in CONVERTIBLE}
    storage = [build_context(uid, syntax) for uid in sorted({one.sop_class_uid for one in stored.values()})]
    kept = peer.Kept()
    asked = peer.identifier("STUDY", {"StudyInstanceUID": "\\".join(_studies(stored))})
    with peer.associated(site.reader, site.archive.port, [*peer.services(), *storage], keep=kept) as association:
        *_, (final, failed) = association.send_c_get(asked, peer.GET["study"])
    files = peer.write(tmp_path / "converted", kept)

    assert {syntax} == set(kept.syntaxes.values())
    undecodable = {uid for uid, sample in stored.items() if sample.path.name in UNDECODABLE}
    assert stored.keys() - undecodable == files.keys()
    assert [] == [
        sample.path.name for uid, sample in stored.items() if uid in files and pixels_differ(sample.path, files[uid])
    ]
    assert {
        sample.path.name: found
        for uid, sample in convertible.items()
        if (found := differences(sample.path, files[uid]))
    } == {}
    assert final.Status == 0xB000
    assert (len(files), len(undecodable)) == (
        final.NumberOfCompletedSuboperations,
        final.NumberOfFailedSuboperations,
    )
    assert undecodable == {failed.FailedSOPInstanceUIDList}


def test_move_sends_every_data_set_bit_for_bit(site: Site, stored: Stored) -> None:
    """C-MOVE of all studies to a TLS storage SCP of pynetdicom: the bytes of each data set are those of its file."""
    asked = peer.identifier("STUDY", {"StudyInstanceUID": "\\".join(_studies(stored))})
    with (
        peer.storage_scp(site.workstation, site.workstation_port, peer.syntaxes_of(stored.values())) as kept,
        peer.associated(site.reader, site.archive.port, peer.services()) as association,
    ):
        *_, (final, _) = association.send_c_move(asked, "WORK1", peer.MOVE["study"])

    assert (0x0000, len(stored)) == (final.Status, final.NumberOfCompletedSuboperations)
    _assert_as_sent(stored, kept)


def test_a_cancelled_get_stops(site: Site, stored: Stored) -> None:
    """C-CANCEL after the first image of a C-GET ends it with the cancel status and what remains."""
    kept = peer.Kept()
    contexts = [*peer.services(), *peer.syntaxes_of(stored.values())]
    asked = peer.identifier("STUDY", {"StudyInstanceUID": "\\".join(_studies(stored))})
    with peer.associated(site.reader, site.archive.port, contexts, keep=kept) as association:
        responses = association.send_c_get(asked, peer.GET["study"], msg_id=7)
        next(responses)
        association.send_c_cancel(7, query_model=peer.GET["study"])
        *_, (final, _) = responses

    assert final.Status == 0xFE00
    assert 0 < len(kept.data_sets) < len(stored)
    assert len(stored) - len(kept.data_sets) == final.NumberOfRemainingSuboperations


@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda question: question.name)
def test_find_by_each_matching_kind(reader: Association, stored: Stored, question: questions.Question) -> None:
    """Each kind of matching finds the studies that the files themselves say, and no other."""
    answers = _ask(reader, "STUDY", {"StudyInstanceUID": "", **question.keys})

    assert sorted(questions.studies_that_fit(question, stored.values())) == _values(answers, "StudyInstanceUID")


def test_find_by_each_level_of_the_patient_root(reader: Association, stored: Stored) -> None:
    """From all patients down to the images of one series."""
    patients = {questions.text(questions.header(sample), "PatientID") for sample in stored.values()} - {""}
    one = _named(stored, "MR_small.dcm")
    siblings = [sample for sample in stored.values() if sample.study_instance_uid == one.study_instance_uid]
    above = {"PatientID": "4MR1"}
    study = {"StudyInstanceUID": one.study_instance_uid}
    series = {"SeriesInstanceUID": one.series_instance_uid}
    found = {
        "PATIENT": _ask(reader, "PATIENT", {"PatientID": "", "PatientName": ""}, root="patient"),
        "STUDY": _ask(reader, "STUDY", {**above, "StudyInstanceUID": ""}, root="patient"),
        "SERIES": _ask(reader, "SERIES", {**above, **study, "SeriesInstanceUID": ""}, root="patient"),
        "IMAGE": _ask(reader, "IMAGE", {**above, **study, **series, "SOPInstanceUID": ""}, root="patient"),
    }

    assert patients == set(_values(found["PATIENT"], "PatientID")) - {"", "None"}
    assert [one.study_instance_uid] == _values(found["STUDY"], "StudyInstanceUID")
    assert sorted({sample.series_instance_uid for sample in siblings}) == _values(found["SERIES"], "SeriesInstanceUID")
    assert sorted(
        sample.sop_instance_uid for sample in siblings if sample.series_instance_uid == one.series_instance_uid
    ) == _values(found["IMAGE"], "SOPInstanceUID")


def test_find_by_keys_of_series_and_image(reader: Association, stored: Stored) -> None:
    """A modality, a description with a wildcard and a number match below the study, too."""
    one = _named(stored, "examples_overlay.dcm")
    header = questions.header(one)
    study = {"StudyInstanceUID": one.study_instance_uid}
    series = {"SeriesInstanceUID": one.series_instance_uid}
    step = {"RequestAttributesSequence.ScheduledProcedureStepID": "8000000000330109"}

    assert [one.series_instance_uid] == _values(
        _ask(reader, "SERIES", {**study, "SeriesInstanceUID": "", **step}), "SeriesInstanceUID"
    )
    assert _ask(reader, "SERIES", {**study, "Modality": "CT"}) == []
    number = {"InstanceNumber": str(header.InstanceNumber), "SOPInstanceUID": ""}
    assert one.sop_instance_uid in _values(_ask(reader, "IMAGE", {**study, **series, **number}), "SOPInstanceUID")
    assert _ask(reader, "IMAGE", {**study, **series, "InstanceNumber": "999999"}) == []


def test_find_by_a_list_of_uids(reader: Association, stored: Stored) -> None:
    """A list of UIDs finds exactly those."""
    wanted = _studies(stored)[:5]
    answers = _ask(reader, "STUDY", {"StudyInstanceUID": "\\".join([*wanted, "1.2.3.4"])})

    assert wanted == _values(answers, "StudyInstanceUID")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_find_below_a_wildcard_is_refused(reader: Association, stored: Stored) -> None:
    """A series query whose study is not one single UID gets a failure that names no value (PS3.4 C.4.1.2.2.1)."""
    assert stored
    asked = peer.identifier("SERIES", {"StudyInstanceUID": "1.2.*", "SeriesInstanceUID": ""})
    ((answer, nothing),) = reader.send_c_find(asked, peer.FIND["study"])

    assert (0xA900, None) == (answer.Status, nothing)


def test_check_and_trail_after_all_that(site: Site, stored: Stored) -> None:
    """Every byte opens and compares; the trail verifies."""
    checked = site.archive.json("check", "--read")
    trail = site.archive.json("trail", "verify")

    assert isinstance(checked, dict)
    assert isinstance(trail, dict)
    assert ([], len(stored), []) == (checked["findings"], checked["checked"], trail["findings"])


def test_a_cancelled_find_stops(site: Site, reader: Association, stored: Stored, tmp_path: Path) -> None:
    """C-CANCEL right behind a C-FIND with hundreds of matches ends it with the cancel status before all have come."""
    crowd = [corpus.renamed(_named(stored, "chrArab.dcm").path, tmp_path, name=f"{at}.dcm") for at in range(CROWD)]
    with (
        peer.bytes_as_they_are(),
        peer.associated(site.modality, site.archive.port, peer.syntaxes_of(crowd)) as association,
    ):
        assert {association.send_c_store(sample.path).Status for sample in crowd} == {0x0000}
    keys = {"StudyInstanceUID": crowd[0].study_instance_uid, "SeriesInstanceUID": crowd[0].series_instance_uid}
    asked = peer.identifier("IMAGE", {**keys, "SOPInstanceUID": ""})
    responses = reader.send_c_find(asked, peer.FIND["study"], msg_id=9)
    reader.send_c_cancel(9, query_model=peer.FIND["study"])
    *pending, (final, _) = responses

    assert final.Status == 0xFE00
    assert len(pending) < CROWD
    assert len(_ask(reader, "IMAGE", {**keys, "SOPInstanceUID": ""})) == CROWD + 1
