"""
What both clients ask, by each kind of matching of PS3.4 C.2.2.2, and an oracle that answers from the files themselves.

A question is put at study level; the archive must find exactly the studies one of whose files fits. The files of a shipped study agree on
what is asked here, so "one" and "each" are the same.
"""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from interop.corpus import Sample


@dataclass(frozen=True, slots=True)
class Question:
    """Keys by DICOM keyword, and whether a file's data set fits them."""

    name: str
    keys: dict[str, str]
    fits: Callable[[Dataset], bool]


def text(data_set: Dataset, keyword: str) -> str:
    """A value as text, without a value an empty one."""
    value = data_set.get(keyword)
    return "" if value is None else str(value).strip()


def _is(keyword: str, value: str) -> Callable[[Dataset], bool]:
    return lambda data_set: text(data_set, keyword) == value


def _like(keyword: str, pattern: str) -> Callable[[Dataset], bool]:
    return lambda data_set: fnmatch.fnmatchcase(text(data_set, keyword), pattern)


def _between(keyword: str, low: str, high: str) -> Callable[[Dataset], bool]:
    """A date or a time between two, written as the standard wants it or as it was written before 1993 (2001.02.03, 11:22:33)."""

    def fits(data_set: Dataset) -> bool:
        value = text(data_set, keyword).replace(":", "")
        value = value.replace(".", "") if keyword.endswith("Date") else value
        return bool(value) and low <= value.ljust(len(low), "0") and value[: len(high)].ljust(len(high), "0") <= high

    return fits


def _named(pattern: str, group: int | None = None) -> Callable[[Dataset], bool]:
    """A person name by the case-insensitive pattern of one of its component groups, or of any (PS3.4 C.2.2.2.1)."""

    def fits(data_set: Dataset) -> bool:
        name = data_set.get("PatientName")
        if not isinstance(name, PersonName):
            return False
        groups = [name.alphabetic, name.ideographic, name.phonetic]
        asked = groups if group is None else [groups[group]]
        return any(fnmatch.fnmatchcase(one.casefold(), pattern.casefold()) for one in asked if one)

    return fits


def _both(*parts: Callable[[Dataset], bool]) -> Callable[[Dataset], bool]:
    return lambda data_set: all(part(data_set) for part in parts)


def _codes(data_set: Dataset, value: str) -> bool:
    return any(text(item, "CodeValue") == value for item in data_set.get("ProcedureCodeSequence") or ())


_COUNTED = {"PatientID": "4MR1"}
_LATIN = {"SpecificCharacterSet": "ISO_IR 100"}
_UTF8 = {"SpecificCharacterSet": "ISO_IR 192"}

QUESTIONS = (
    Question("single value", {"PatientID": "1CT1"}, _is("PatientID", "1CT1")),
    Question("single value of another key", {"AccessionNumber": "FUJI95706"}, _is("AccessionNumber", "FUJI95706")),
    Question("single value is case-sensitive", {"PatientID": "1ct1"}, _is("PatientID", "1ct1")),
    Question(
        "two keys at once",
        {**_COUNTED, "StudyDate": "20040826"},
        _both(_is("PatientID", "4MR1"), _is("StudyDate", "20040826")),
    ),
    Question("two keys that exclude each other", {**_COUNTED, "StudyDate": "20040119"}, lambda _: False),
    Question("nobody", {"PatientID": "NOBODY"}, lambda _: False),
    Question("SQL is text", {"PatientID": "' OR 1=1--"}, lambda _: False),
    Question("another language's pattern is text", {"PatientID": "1CT_"}, lambda _: False),
    Question("wildcard *", {"PatientID": "*MR*"}, _like("PatientID", "*MR*")),
    Question("wildcard * at the end", {"StudyDescription": "OFFIS*"}, _like("StudyDescription", "OFFIS*")),
    Question("wildcard ?", {"PatientID": "?MR?"}, _like("PatientID", "?MR?")),
    Question("only a wildcard", {"PatientID": "*"}, lambda _: True),
    Question("universal", {"PatientID": "", "PatientName": ""}, lambda _: True),
    Question("date", {"StudyDate": "20040119"}, _is("StudyDate", "20040119")),
    Question("date range", {"StudyDate": "20040101-20051231"}, _between("StudyDate", "20040101", "20051231")),
    Question("dates until", {"StudyDate": "-20030805"}, _between("StudyDate", "00000000", "20030805")),
    Question("dates since", {"StudyDate": "20130125-"}, _between("StudyDate", "20130125", "99999999")),
    Question(
        "birth dates", {"PatientBirthDate": "19400101-19501231"}, _between("PatientBirthDate", "19400101", "19501231")
    ),
    Question("time range", {"StudyTime": "100000-120000"}, _between("StudyTime", "100000", "120000")),
    Question("times since", {"StudyTime": "1700-"}, _between("StudyTime", "170000", "235959")),
    Question("times until", {"StudyTime": "-0800"}, _between("StudyTime", "000000", "080059")),
    Question(
        "date and time ranges",
        {"StudyDate": "20040101-20041231", "StudyTime": "180000-190000"},
        _both(_between("StudyDate", "20040101", "20041231"), _between("StudyTime", "180000", "190000")),
    ),
    Question("sequence", {"ProcedureCodeSequence.CodeValue": "2501"}, lambda data_set: _codes(data_set, "2501")),
    Question("sequence without a match", {"ProcedureCodeSequence.CodeValue": "2502"}, lambda _: False),
    Question("modalities in study", {"ModalitiesInStudy": "MR"}, _is("Modality", "MR")),
    Question(
        "two modalities in study",
        {"ModalitiesInStudy": "MR\\SR"},
        lambda data_set: text(data_set, "Modality") in {"MR", "SR"},
    ),
    Question("name", {"PatientName": "CompressedSamples^CT1"}, _named("CompressedSamples^CT1")),
    Question("name in another case", {"PatientName": "compressedSAMPLES^ct1"}, _named("CompressedSamples^CT1")),
    Question("name with *", {"PatientName": "compressed*"}, _named("compressed*")),
    Question("name with ?", {"PatientName": "CompressedSamples^?R?"}, _named("CompressedSamples^?R?")),
    Question("name beyond ASCII", {**_UTF8, "PatientName": "äneas^RÜDIGER"}, _named("Äneas^Rüdiger")),
    Question("name in Latin-1", {**_LATIN, "PatientName": "buc^jérôme"}, _named("Buc^Jérôme")),
    Question("Greek name", {**_UTF8, "PatientName": "διονυσ*"}, _named("Διονυσ*")),
    Question("Russian name", {**_UTF8, "PatientName": "люк*"}, _named("Люк*")),
    Question("Arabic name", {**_UTF8, "PatientName": "قباني^لنزار"}, _named("قباني^لنزار")),
    Question("Hebrew name", {**_UTF8, "PatientName": "שרון*"}, _named("שרון*")),
    Question("ideographic group", {**_UTF8, "PatientName": "=山田^太郎"}, _named("山田^太郎", 1)),
    Question("ideographic group with ?", {**_UTF8, "PatientName": "=王^小?"}, _named("王^小?", 1)),
    Question("phonetic group", {**_UTF8, "PatientName": "==やまだ*"}, _named("やまだ*", 2)),
    Question(
        "Korean groups",
        {**_UTF8, "PatientName": "Hong*=洪*=홍*"},
        _both(_named("hong*", 0), _named("洪*", 1), _named("홍*", 2)),
    ),
    Question("any group", {**_UTF8, "PatientName": "洪*"}, _named("洪*")),
    Question("half-width katakana", {**_UTF8, "PatientName": "ﾔﾏﾀﾞ*"}, _named("ﾔﾏﾀﾞ*", 0)),
)


@cache
def header(sample: Sample) -> Dataset:
    """The data set of a file without its pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(sample.path, stop_before_pixels=True)
        data_set.decode()
    return data_set


def studies_that_fit(question: Question, samples: Iterable[Sample]) -> set[str]:
    """The oracle's answer."""
    return {sample.study_instance_uid for sample in samples if question.fits(header(sample))}
