"""
DCMTK as modality, viewer and workstation: everything goes in, is found, and comes back.

DCMTK decodes what it reads from a file and encodes it again when it sends it, so here data sets are compared element by element, value bytes
and pixel bytes alike; bit for bit is shown in test_pynetdicom.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from interop import corpus, harness, questions
from interop.compare import UNDECODABLE, differences, pixels_differ
from interop.conftest import Site

pytestmark = pytest.mark.xdist_group("dcmtk")

CONVERTIBLE = {*corpus.NATIVE, "1.2.840.10008.1.2.1.99"}
"""What the archive can turn into implicit little endian."""

UNREADABLE = {"explicit_VR-UN.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"}
"""Files that DCMTK cannot read, and so not send: their encapsulated Pixel Data says OW."""

Stored = dict[str, corpus.Sample]

LETTERS = {
    corpus.IMPLICIT: "i",
    corpus.EXPLICIT: "e",
    corpus.BIG_ENDIAN: "b",
    "1.2.840.10008.1.2.1.99": "d",
    "1.2.840.10008.1.2.5": "r",
    "1.2.840.10008.1.2.4.50": "y",
    "1.2.840.10008.1.2.4.51": "x",
    "1.2.840.10008.1.2.4.70": "s",
    "1.2.840.10008.1.2.4.80": "t",
    "1.2.840.10008.1.2.4.81": "u",
    "1.2.840.10008.1.2.4.90": "v",
    "1.2.840.10008.1.2.4.91": "w",
}
"""Transfer syntax -> the letter DCMTK's options have for it: -x. proposes, +x. prefers."""


@pytest.fixture(scope="module")
def stored(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """
    Every shipped file, and its twins under new UIDs: what is not compressed by dcmsend behind a TLS front and by storescu in turn, the rest
    by storescu.

    dcmsend refuses files it cannot decompress, whatever it is told.
    """
    folder = tmp_path_factory.mktemp("files")
    samples = {uid: sample for uid, sample in corpus.everything(folder).items() if sample.path.name not in UNREADABLE}
    native = [sample for sample in samples.values() if sample.transfer_syntax_uid == corpus.EXPLICIT]
    by_dcmsend = native[::2]
    with harness.tls_front(site.modality, site.archive.port, folder) as port:
        done = harness.run(
            "dcmsend", "-v", "-aet", "CT1", "-aec", "STRONGROOM", "-dn", "-nip", "localhost", str(port),
            *(str(sample.path) for sample in by_dcmsend),
        )  # fmt: skip
    assert f"with status SUCCESS  : {len(by_dcmsend)}" in done.stdout + done.stderr
    rest = [sample for sample in samples.values() if sample not in by_dcmsend]
    for syntax in {sample.transfer_syntax_uid for sample in rest}:
        _storescu(
            site, f"-x{LETTERS[syntax]}", *(sample.path for sample in rest if sample.transfer_syntax_uid == syntax)
        )
    return samples


def _storescu(site: Site, option: str, *paths: Path) -> None:
    """Send files over storescu's own TLS; it ends with an error at the first that is not a success."""
    harness.run(
        "storescu", *site.modality.tls, option, "-R", "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(site.archive.port),
        *map(str, paths),
    )  # fmt: skip


class Find:
    """Each answer is a data set as findscu writes it to a file."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site = site
        self._folders = (folder / f"answers-{number}" for number in count())

    def __call__(self, level: str, *, root: str = "-S", **keys: str) -> list[Dataset]:
        return self.ask(level, keys, root=root)

    def ask(self, level: str, keys: dict[str, str], *, root: str = "-S") -> list[Dataset]:
        """Ask at *level*; a key of a sequence is written Sequence.Key."""
        out = next(self._folders)
        out.mkdir()
        asked = {"QueryRetrieveLevel": level, **keys}
        encoding = "latin-1" if keys.get("SpecificCharacterSet") == "ISO_IR 100" else "utf-8"
        words = (f"{key.replace('.', '[0].')}={value}".encode(encoding) for key, value in asked.items())
        arguments = [part for word in words for part in ("-k", os.fsdecode(word))]
        harness.run(
            "findscu", *self._site.reader.tls, root, "-X", "-od", str(out), "-aet", "READER", "-aec", "STRONGROOM", *arguments,
            "localhost", str(self._site.archive.port),
        )  # fmt: skip
        return [pydicom.dcmread(path) for path in sorted(out.iterdir())]


@pytest.fixture
def find(site: Site, tmp_path: Path) -> Find:
    """Findscu over its own TLS, as a question that returns identifiers."""
    return Find(site, tmp_path)


def _values(answers: Iterable[Dataset], keyword: str) -> list[str]:
    return sorted(str(answer[keyword].value) for answer in answers)


def test_a_modality_is_answered(site: Site) -> None:
    """C-ECHO over DCMTK's own TLS succeeds for an enrolled device."""
    harness.run("echoscu", *site.modality.tls, "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(site.archive.port))


def test_every_file_is_taken(site: Site, stored: Stored) -> None:
    """At least sixty files of different modality, syntax and character set are stored, each one once."""
    assert len(stored) >= 60
    assert len({sample.transfer_syntax_uid for sample in stored.values()}) >= 8
    assert len({sample.modality for sample in stored.values()}) >= 8
    assert len({sample.character_set for sample in stored.values()}) >= 8

    status = site.archive.json("status")

    assert isinstance(status, dict)
    assert len(stored) == status["instances"]
    assert len({sample.study_instance_uid for sample in stored.values()}) == status["studies"]
    assert {key: status[key] for key in ("conflicts", "quarantine")} == {"conflicts": 0, "quarantine": 0}


def test_getscu_returns_every_data_set(site: Site, stored: Stored, tmp_path: Path) -> None:
    """
    C-GET by lists of UIDs, each stored syntax preferred in turn: every element and the pixels are what was sent.

    What is stored in implicit little endian is left to movescu: getscu's +xi proposes explicit all the same.
    """
    wanted = {uid: sample for uid, sample in stored.items() if sample.transfer_syntax_uid != corpus.IMPLICIT}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for uid, sample in wanted.items():
        groups.setdefault(
            (sample.transfer_syntax_uid, sample.study_instance_uid, sample.series_instance_uid), []
        ).append(uid)
    returned: dict[str, Path] = {}
    with harness.tls_front(site.reader, site.archive.port, tmp_path) as port:
        for number, ((syntax, study, series), uids) in enumerate(groups.items()):
            out = tmp_path / f"got-{number}"
            out.mkdir()
            harness.run(
                "getscu", "-S", "-aet", "READER", "-aec", "STRONGROOM", "-od", str(out), "+B", f"+x{LETTERS[syntax]}",
                "-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={study}", "-k", f"SeriesInstanceUID={series}",
                "-k", "SOPInstanceUID=" + "\\".join(uids), "localhost", str(port),
            )  # fmt: skip
            returned |= _arrived(out)

    assert _different(wanted, returned) == {}


def _arrived(folder: Path) -> dict[str, Path]:
    """SOP Instance UID -> file."""
    return {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in folder.iterdir()}


def _different(sent: Stored, returned: dict[str, Path], *, implicit_only: bool = False) -> dict[str, list[str]]:
    """File name -> what is not as it was sent."""
    different = {str(uid): ["never sent"] for uid in returned.keys() - sent.keys()}
    for uid, sample in sent.items():
        if uid not in returned:
            different[sample.path.name] = ["did not come back"]
        elif found := differences(sample.path, returned[uid]):
            different[sample.path.name] = found
        elif _syntax(returned[uid]) != (corpus.IMPLICIT if implicit_only else sample.transfer_syntax_uid):
            different[sample.path.name] = ["came in another syntax"]
    return different


def _syntax(path: Path) -> str:
    return str(read_file_meta_info(path).TransferSyntaxUID)


def _move(site: Site, port: int, level: str, *, status: int | None = 0, **keys: str) -> str:
    """Movescu through the front at *port*, to the workstation; returns what it says."""
    arguments = [part for key, value in keys.items() for part in ("-k", f"{key}={value}")]
    done = harness.run(
        "movescu", "-d", "-S" if level != "PATIENT" else "-P", "-aet", "WORK1", "-aec", "STRONGROOM", "-aem", "WORK1",
        "-k", f"QueryRetrieveLevel={level}", *arguments, "localhost", str(port), status=status,
    )  # fmt: skip
    return done.stdout + done.stderr


def _studies(samples: Iterable[corpus.Sample]) -> str:
    return "\\".join(sorted({sample.study_instance_uid for sample in samples}))


def test_movescu_sends_everything_to_an_enrolled_destination(site: Site, stored: Stored, tmp_path: Path) -> None:
    """C-MOVE of all studies reaches storescp over TLS, each object in the syntax it was stored in."""
    with (
        harness.receiver(site.workstation, site.workstation_port, tmp_path) as out,
        harness.tls_front(site.workstation, site.archive.port, tmp_path) as port,
    ):
        _move(site, port, "STUDY", StudyInstanceUID=_studies(stored.values()))

        assert _different(stored, _arrived(out)) == {}


def test_movescu_sends_by_each_level_to_dcmrecv(site: Site, stored: Stored, tmp_path: Path) -> None:
    """C-MOVE of a patient, a study, a series and an image reaches dcmrecv over TLS."""
    wanted: Stored = {}
    with (
        harness.receiver(site.workstation, site.workstation_port, tmp_path, accept=None) as out,
        harness.tls_front(site.workstation, site.archive.port, tmp_path) as port,
    ):
        for level, name in (
            ("PATIENT", "chrH31.dcm"),
            ("STUDY", "chrX1.dcm"),
            ("SERIES", "reportsi.dcm"),
            ("IMAGE", "liver_1frame.dcm"),
        ):
            sample = next(one for one in stored.values() if one.path.name == name)
            keys = {
                "PatientID": questions.text(questions.header(sample), "PatientID"),
                "StudyInstanceUID": sample.study_instance_uid,
                "SeriesInstanceUID": sample.series_instance_uid,
                "SOPInstanceUID": sample.sop_instance_uid,
            }
            depth = ("PATIENT", "STUDY", "SERIES", "IMAGE").index(level)
            first = 0 if level == "PATIENT" else 1
            named = dict(list(keys.items())[first : depth + 1])
            _move(site, port, level, **named)
            wanted |= {uid: one for uid, one in stored.items() if _fits(one, named)}

        assert _different(wanted, _arrived(out)) == {}


def _fits(sample: corpus.Sample, keys: dict[str, str]) -> bool:
    return all(questions.text(questions.header(sample), keyword) == value for keyword, value in keys.items())


def test_a_destination_that_takes_only_implicit_gets_it_converted(site: Site, stored: Stored, tmp_path: Path) -> None:
    """Everything reaches storescp +xi without a change of value or pixel, decoded where it was compressed; what is damaged is reported."""
    wanted = {uid: sample for uid, sample in stored.items() if sample.transfer_syntax_uid in CONVERTIBLE}
    with (
        harness.receiver(site.workstation, site.workstation_port, tmp_path, accept="+xi") as out,
        harness.tls_front(site.workstation, site.archive.port, tmp_path) as port,
    ):
        said = _move(site, port, "STUDY", status=None, StudyInstanceUID=_studies(stored.values()))
        returned = _arrived(out)

    assert len(wanted) >= 60
    damaged = [sample for sample in stored.values() if sample.path.name in UNDECODABLE]
    assert f"Completed Suboperations       : {len(stored) - len(damaged)}" in said
    assert f"Failed Suboperations          : {len(damaged)}" in said
    assert [] == [
        sample.path.name
        for uid, sample in stored.items()
        if uid in returned and pixels_differ(sample.path, returned[uid])
    ]
    assert {corpus.IMPLICIT} == {read_file_meta_info(path).TransferSyntaxUID for path in returned.values()}
    assert _different(wanted, {uid: returned[uid] for uid in wanted}, implicit_only=True) == {}


def test_a_move_to_a_stranger_is_refused(site: Site, stored: Stored, tmp_path: Path) -> None:
    """A destination that is not in the register gets A801 and nothing is sent."""
    sample = next(iter(stored.values()))
    with harness.tls_front(site.reader, site.archive.port, tmp_path) as port:
        done = harness.run(
            "movescu", "-v", "-S", "-aet", "READER", "-aec", "STRONGROOM", "-aem", "NOBODY", "-k", "QueryRetrieveLevel=STUDY",
            "-k", f"StudyInstanceUID={sample.study_instance_uid}", "localhost", str(port), status=None,
        )  # fmt: skip

    assert "MoveDestinationUnknown" in done.stdout + done.stderr


@pytest.mark.parametrize("root", ["-P", "-S"])
def test_find_by_each_level(find: Find, stored: Stored, root: str) -> None:
    """Study, series and image level answer with what was sent, under both roots; patient level under its own."""
    one = next(sample for sample in stored.values() if sample.path.name == "MR_small.dcm")
    siblings = [sample for sample in stored.values() if sample.study_instance_uid == one.study_instance_uid]
    above = {"PatientID": "4MR1"} if root == "-P" else {}
    uids = {"StudyInstanceUID": one.study_instance_uid, "SeriesInstanceUID": one.series_instance_uid}
    studies = find("STUDY", root=root, StudyInstanceUID="", **above)
    series = find(
        "SERIES", root=root, StudyInstanceUID=one.study_instance_uid, SeriesInstanceUID="", Modality="", **above
    )
    images = find("IMAGE", root=root, SOPInstanceUID="", SOPClassUID="", **above, **uids)

    assert len(siblings) >= 5
    if root == "-P":
        patients = find("PATIENT", root=root, PatientID="4MR1", PatientName="")
        assert _values(patients, "PatientName") == ["CompressedSamples^MR1"]
        assert [one.study_instance_uid] == _values(studies, "StudyInstanceUID")
    else:
        assert sorted({sample.study_instance_uid for sample in stored.values()}) == _values(studies, "StudyInstanceUID")
    assert sorted({sample.series_instance_uid for sample in siblings}) == _values(series, "SeriesInstanceUID")
    assert {"MR"} == set(_values(series, "Modality"))
    in_series = [sample for sample in siblings if sample.series_instance_uid == one.series_instance_uid]
    assert sorted(sample.sop_instance_uid for sample in in_series) == _values(images, "SOPInstanceUID")
    assert [one.sop_class_uid] * len(in_series) == _values(images, "SOPClassUID")


@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda question: question.name)
def test_find_by_each_matching_kind(find: Find, stored: Stored, question: questions.Question) -> None:
    """Each kind of matching finds the studies that the files themselves say, and no other."""
    answers = find.ask("STUDY", {"StudyInstanceUID": "", **question.keys})

    assert sorted(questions.studies_that_fit(question, stored.values())) == _values(answers, "StudyInstanceUID")


def test_find_by_a_list_of_uids(find: Find, stored: Stored) -> None:
    """A list of UIDs finds exactly those."""
    wanted = sorted({sample.study_instance_uid for sample in stored.values()})[:5]

    assert wanted == _values(find("STUDY", StudyInstanceUID="\\".join([*wanted, "1.2.3.4"])), "StudyInstanceUID")


def test_a_find_counts_and_lists_what_a_study_has(find: Find, stored: Stored) -> None:
    """NumberOf..., ModalitiesInStudy and SOPClassesInStudy of each study are those of its files."""
    answers = find(
        "STUDY", StudyInstanceUID="", NumberOfStudyRelatedSeries="", NumberOfStudyRelatedInstances="", ModalitiesInStudy="", SOPClassesInStudy=""
    )  # fmt: skip

    def of(study: str) -> tuple[int, int, list[str], list[str]]:
        files = [sample for sample in stored.values() if sample.study_instance_uid == study]
        return (
            len({sample.series_instance_uid for sample in files}),
            len(files),
            sorted({sample.modality for sample in files} - {""}),
            sorted({sample.sop_class_uid for sample in files}),
        )

    for answer in answers:
        found = (
            answer.NumberOfStudyRelatedSeries,
            answer.NumberOfStudyRelatedInstances,
            _several(answer.ModalitiesInStudy),
            _several(answer.SOPClassesInStudy),
        )
        assert of(answer.StudyInstanceUID) == found
    assert answers


def _several(value: object) -> list[str]:
    """The values of an element, however many pydicom found."""
    if not value:
        return []
    return [value] if isinstance(value, str) else sorted(map(str, value))  # type: ignore[call-overload]


def test_a_name_comes_back_in_all_its_groups(find: Find, stored: Stored) -> None:
    """The ideographic and phonetic groups of a name are answered whatever character set the file had."""
    assert stored
    for patient, name in (
        ("H31EXAMPLE", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("H32EXAMPLE", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("I2EXAMPLE", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("X2EXAMPLE", "Wang^XiaoDong=王^小东"),
        ("SCSARAB", "قباني^لنزار"),
    ):
        assert [name] == _values(find("STUDY", PatientID=patient, PatientName=""), "PatientName")


def test_storescu_again_is_a_success_that_stores_nothing_twice(site: Site, stored: Stored) -> None:
    """Sending the same file once more changes nothing."""
    sample = next(one for one in stored.values() if one.path.name == "CT_small.dcm")
    before = site.archive.json("status")
    _storescu(site, "-xe", sample.path)

    assert before == site.archive.json("status")


def test_check_and_trail_after_all_that(site: Site, stored: Stored) -> None:
    """Every byte opens and compares; the trail verifies."""
    checked = site.archive.json("check", "--read")
    trail = site.archive.json("trail", "verify")

    assert isinstance(checked, dict)
    assert isinstance(trail, dict)
    assert ([], len(stored), []) == (checked["findings"], checked["checked"], trail["findings"])
