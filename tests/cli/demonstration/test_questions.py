"""What the demo asks, and the answers that it works out itself."""

from __future__ import annotations

from pathlib import Path

from strongroom.cli.demonstration.files import Sample, shipped
from strongroom.cli.demonstration.questions import Question, questions


def _sample(study: str, *, name: str = "", date: str = "", modality: str = "CT") -> Sample:
    return Sample(Path(study), "1.2", f"{study}.1", "1.2.840.10008.1.2", b"", study, modality, date, name)


def _asked(samples: list[Sample]) -> dict[str, Question]:
    return {question.asked: question for question in questions(samples)}


def test_the_commonest_family_name_is_asked_for_in_small_letters() -> None:
    """The name that most studies have, not that most files have."""
    samples = [_sample("1", name="Doe^Jane"), _sample("2", name="DOE^John"), *[_sample("3", name="Roe^Rick")] * 9]

    assert _asked(samples)["PatientName=doe*"].expected == {"1", "2"}


def test_a_name_in_another_alphabet_is_asked_for_too() -> None:
    """Found in whichever component group it stands in that alphabet."""
    samples = [
        _sample("1", name="Doe^Jane"),
        _sample("2", name="김희중"),
        _sample("3", name="Yamada^Tarou=山田^太郎"),
    ]

    assert _asked(samples)["PatientName=김희중*"].expected == {"2"}


def test_what_counts_for_a_study_is_what_its_first_instance_says() -> None:
    """A later instance with another date does not move the study."""
    samples = [_sample("1", date="20050101"), _sample("1", date="19990101"), _sample("2", date="19990101")]

    assert _asked(samples)["StudyDate=20010101-20091231"].expected == {"1"}


def test_dates_that_are_none_are_not_expected() -> None:
    """An empty date, and the dotted form of old, lie in no range that is written in digits."""
    samples = [_sample("1"), _sample("2", date="2005.01.01"), _sample("3", date="20091231")]

    assert _asked(samples)["StudyDate=20010101-20091231"].expected == {"3"}


def test_one_instance_of_the_modality_is_enough() -> None:
    """ModalitiesInStudy looks at all instances."""
    samples = [_sample("1"), _sample("1", modality="MR"), _sample("2")]

    assert _asked(samples)["ModalitiesInStudy=MR"].expected == {"1"}


def test_everything_is_asked_for_last() -> None:
    """The last question has no condition, and every study for its answer."""
    samples = [_sample("1"), _sample("2")]
    last = questions(samples)[-1]

    assert last.expected == {"1", "2"}
    assert not any("Value" in key for key in last.keys.values())


def test_the_shipped_files_make_every_question_worth_asking() -> None:
    """Each question finds something, and none but the last finds everything."""
    *chosen, everything = questions(shipped().originals)

    assert len(chosen) == 4
    assert all(0 < len(one.expected) < len(everything.expected) for one in chosen)
