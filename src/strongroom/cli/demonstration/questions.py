"""
What the demo asks the archive, and the answers it has to give, worked out from the files themselves.

The questions are chosen from what the files hold, so that each has some studies to find and none finds everything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom.cli.demonstration.files import Sample
    from strongroom.dicom.json import JsonElement

PATIENT_NAME: Final = "00100010"
STUDY_DATE: Final = "00080020"
MODALITIES_IN_STUDY: Final = "00080061"

_FROM, _TO = "20010101", "20091231"
_MODALITY: Final = "MR"
_GREEK: Final = "\u0370"
"""From here on a letter is not Latin."""


@final
@dataclass(frozen=True, slots=True)
class Question:
    """One C-FIND at study level, and the Study Instance UIDs that answer it."""

    asked: str
    keys: Mapping[str, JsonElement]
    expected: frozenset[str]


def questions(samples: Sequence[Sample]) -> list[Question]:
    """Ask by name twice (whatever case or alphabet), by date, by modality, and at last for everything."""
    first = _first_of_each_study(samples)
    asked = [
        _by_name(first, beginning)
        for beginning in (_commonest_name(first), _name_in_another_alphabet(first))
        if beginning
    ]
    dated = _studies(first.values(), lambda one: len(one.study_date) == len(_FROM) and _FROM <= one.study_date <= _TO)
    asked.append(Question(f"StudyDate={_FROM}-{_TO}", {STUDY_DATE: {"vr": "DA", "Value": [f"{_FROM}-{_TO}"]}}, dated))
    imaged = _studies(samples, lambda one: one.modality == _MODALITY)
    asked.append(
        Question(f"ModalitiesInStudy={_MODALITY}", {MODALITIES_IN_STUDY: {"vr": "CS", "Value": [_MODALITY]}}, imaged)
    )
    asked.append(Question("everything", {PATIENT_NAME: {"vr": "PN"}}, frozenset(first)))
    return asked


def _first_of_each_study(samples: Iterable[Sample]) -> dict[str, Sample]:
    """What the archive knows of a study is what its first instance said."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.study_instance_uid, sample)
    return first


def _by_name(first: Mapping[str, Sample], beginning: str) -> Question:
    def begins(sample: Sample) -> bool:
        return any(group.casefold().startswith(beginning) for group in sample.patient_name.split("="))

    pattern = f"{beginning}*"
    key: JsonElement = {"vr": "PN", "Value": [{"Alphabetic": pattern}]}
    return Question(f"PatientName={pattern}", {PATIENT_NAME: key}, _studies(first.values(), begins))


def _studies(samples: Iterable[Sample], wanted: Callable[[Sample], bool]) -> frozenset[str]:
    return frozenset(sample.study_instance_uid for sample in samples if wanted(sample))


def _family_names(first: Mapping[str, Sample]) -> Counter[str]:
    names = (sample.patient_name.partition("=")[0].partition("^")[0].strip() for sample in first.values())
    return Counter(name.casefold() for name in names if name)


def _commonest_name(first: Mapping[str, Sample]) -> str:
    """The beginning of the family name that most studies have; in small letters, which matching has to overlook."""
    names = _family_names(first)
    return max(names, key=lambda name: (names[name], name))[:4] if names else ""


def _name_in_another_alphabet(first: Mapping[str, Sample]) -> str:
    """The beginning of a family name that is not written in Latin letters."""
    return next((name[:3] for name in sorted(_family_names(first)) if min(name[:3]) >= _GREEK), "")
