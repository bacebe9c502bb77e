"""Answers: which keys come back, at which level, in which pages."""

from __future__ import annotations

import itertools

import pytest

from catalogue.holding import CT, MR, Holding, elements, tag
from strongroom.catalogue.query import Query, Root
from strongroom.catalogue.scope import EVERYTHING, NOTHING, Scope
from strongroom.catalogue.search import FIRST_PAGE, PAGE, search
from strongroom.dicom.model import Level


@pytest.fixture
def holding():
    """Two patients, three studies."""
    holding = Holding()
    doe = {"PatientID": "P1", "PatientName": "Doe^John", "PatientBirthDate": "19700101"}
    holding.record(**doe, StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", StudyDate="20200101", InstanceNumber=1)
    holding.record(**doe, StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", StudyDate="20200101", InstanceNumber=2)
    holding.record(
        **doe,
        StudyInstanceUID="1.1",
        SeriesInstanceUID="1.1.2",
        StudyDate="20200101",
        Modality="MR",
        SOPClassUID=MR,
    )
    holding.record(**doe, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", StudyDate="20210101")
    holding.record(
        PatientID="P2", PatientName="Roe^Ann", StudyInstanceUID="1.3", SeriesInstanceUID="1.3.1", Modality="PT"
    )
    return holding


def values(match, keyword):
    """The values an answer has for an attribute; None when it does not hold it at all."""
    element = match.get(tag(keyword))
    return None if element is None else element.get("Value", [])


def ask(holding, root, level, **keys):
    """A hierarchical search."""
    return list(search(holding.connection, Query(root, level, elements(**keys)), EVERYTHING))


def test_the_hierarchy_is_walked_down_from_a_patient(holding):
    """Each level is found by the unique keys of those above it (PS3.4 C.4.1.3.1.1)."""
    root = Root.PATIENT
    assert [values(one, "PatientID")[0] for one in ask(holding, root, Level.PATIENT, PatientName="doe*")] == ["P1"]
    studies = ask(holding, root, Level.STUDY, PatientID="P1", StudyDate="20200101-20201231")
    assert [values(one, "StudyInstanceUID")[0] for one in studies] == ["1.1"]
    above = {"PatientID": "P1", "StudyInstanceUID": "1.1"}
    series = ask(holding, root, Level.SERIES, **above, Modality="CT")
    assert [values(one, "SeriesInstanceUID")[0] for one in series] == ["1.1.1"]
    images = ask(holding, root, Level.IMAGE, **above, SeriesInstanceUID="1.1.1", InstanceNumber=2)
    assert [values(one, "SOPInstanceUID")[0] for one in images] == ["1.9.2"]
    assert ask(holding, root, Level.SERIES, PatientID="P2", StudyInstanceUID="1.1") == []


def test_a_unique_key_above_the_level_is_taken_literally(holding):
    """A Patient ID above the level has no wild cards: one that holds an asterisk names just that patient."""
    assert ask(holding, Root.PATIENT, Level.STUDY, PatientID="P*") == []
    holding.record(PatientID="P*", StudyInstanceUID="1.4", SeriesInstanceUID="1.4.1")

    [found] = ask(holding, Root.PATIENT, Level.STUDY, PatientID="P*")
    assert values(found, "StudyInstanceUID") == ["1.4"]


def test_every_requested_key_is_answered(holding):
    """With its value, with those of the levels above, and empty when there is none or it is not kept."""
    keys = {"PatientName": None, "StudyDate": None, "StudyDescription": None, "Modality": None, "InstanceNumber": None}
    [match] = ask(
        holding,
        Root.STUDY,
        Level.IMAGE,
        StudyInstanceUID="1.1",
        SeriesInstanceUID="1.1.1",
        SOPInstanceUID="1.9.1",
        KVP=None,
        **keys,
    )

    assert values(match, "PatientName") == [{"Alphabetic": "Doe^John"}]
    assert values(match, "StudyDate") == ["20200101"]
    assert match[tag("StudyDescription")] == {"vr": "LO"}
    assert values(match, "Modality") == ["CT"]
    assert values(match, "InstanceNumber") == [1]
    assert match[tag("KVP")] == {"vr": "DS"}
    assert values(match, "SOPClassUID") is None


def test_a_key_of_a_lower_level_is_no_condition(holding):
    """Modality is not an attribute of a study: it is answered empty and filters nothing (PS3.4 C.4.1.1.3.2)."""
    found = ask(holding, Root.STUDY, Level.STUDY, Modality="PT")

    assert len(found) == 3
    assert found[0][tag("Modality")] == {"vr": "CS"}


def test_everything_that_is_kept_can_be_asked_for(holding):
    """`every_attribute` answers the attributes and counts of the level without naming them."""
    query = Query(Root.STUDY, Level.STUDY, elements(StudyInstanceUID="1.1"), every_attribute=True)
    [match] = search(holding.connection, query, EVERYTHING)

    assert values(match, "PatientBirthDate") == ["19700101"]
    assert values(match, "ModalitiesInStudy") == ["CT", "MR"]
    assert values(match, "SOPClassesInStudy") == sorted([CT, MR])
    assert values(match, "NumberOfStudyRelatedInstances") == [3]
    assert values(match, "InstanceAvailability") == ["ONLINE"]


def test_a_patient_counts_what_is_his(holding):
    """Numbers of related studies, series and instances of a patient (PS3.4 C.3.4)."""
    counts = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")
    [match] = ask(holding, Root.PATIENT, Level.PATIENT, PatientID="P1", **dict.fromkeys(counts))

    assert [values(match, count)[0] for count in counts] == [2, 3, 4]


@pytest.mark.parametrize("level", [Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE])
def test_pages_leave_nothing_out_and_repeat_nothing(level):
    """More rows than several pages hold, with equal sort keys, at every level and for every way to walk."""
    holding = Holding()
    count = FIRST_PAGE + 2 * PAGE + 7
    for number in range(count):
        study = number if level in (Level.PATIENT, Level.STUDY) else number % 3
        series = number if level is not Level.IMAGE else number % 5
        holding.record(
            PatientID=f"P{study}",
            PatientName=f"Doe^{study % 2}",
            StudyDate=f"2020010{1 + study % 2}",
            StudyInstanceUID=f"1.{study}",
            SeriesInstanceUID=f"1.{study}.{series}",
        )
    ways = [{}, {"PatientName": "doe*"}]
    if level is not Level.PATIENT:
        ways += [{"StudyDate": "20200101-20200131"}, {"ModalitiesInStudy": "CT"}, {"PatientID": "P*"}]
        ways += [{"StudyInstanceUID": [f"1.{number}" for number in range(count)]}]
    for keys in ways:
        assert len(set(holding.uids(level, **keys))) == len(holding.uids(level, **keys)) == count, keys
    assert len(holding.uids(level, Scope.of(sending_devices=["CT1"]))) == count


def test_a_page_is_fetched_when_it_is_wanted():
    """A search that is not read to its end has not run to its end: memory stays bounded."""
    holding = Holding()
    for number in range(FIRST_PAGE + 2 * PAGE):
        holding.record(PatientID=f"P{number}", StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.{number}.1")
    statements = []
    holding.connection.exec_trace = lambda cursor, statement, values: statements.append(statement) or True
    found = search(holding.connection, Query(Root.STUDY, Level.STUDY, {}), EVERYTHING)

    assert statements == []
    assert len(list(itertools.islice(found, FIRST_PAGE))) == FIRST_PAGE
    assert len(statements) == 1
    found.close()
    assert len(statements) == 1


def test_a_limit_ends_a_search(holding):
    """No more than asked for, also when it lies inside a page."""
    assert len(holding.ask(Level.STUDY, limit=2)) == 2
    assert len(holding.ask(Level.STUDY, limit=5)) == 3
    assert len(holding.ask(Level.STUDY, limit=0)) == 0


def test_a_long_list_of_uids_is_one_question(holding):
    """Ten thousand UIDs, of which three are known, find three studies (SECURITY D11)."""
    uids = [f"1.{number}" for number in range(10_000)]

    assert holding.uids(Level.STUDY, StudyInstanceUID=uids) == ["1.1", "1.2", "1.3"]
    assert holding.uids(Level.STUDY, StudyInstanceUID=uids, PatientName="doe*") == ["1.1", "1.2"]


def test_a_row_that_comes_between_two_pages_disturbs_nothing():
    """Between pages no snapshot is held; what was there is answered once, whatever is recorded meanwhile."""
    holding = Holding()
    for number in range(FIRST_PAGE + 10):
        holding.record(StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.{number}.1", StudyDate="20200105")
    query = Query(Root.STUDY, Level.STUDY, elements(StudyDate="20200101-20200131"))
    found = search(holding.connection, query, EVERYTHING)
    first = [values(next(found), "StudyInstanceUID")[0] for _ in range(FIRST_PAGE)]
    holding.record(StudyInstanceUID="1.900", SeriesInstanceUID="1.900.1", StudyDate="20200101")
    rest = [values(one, "StudyInstanceUID")[0] for one in found]

    assert sorted(first + rest) == sorted(f"1.{number}" for number in range(FIRST_PAGE + 10))


def test_a_scope_of_nothing_runs_no_statement(holding):
    """Whoever may see nothing is not even looked for."""
    holding.connection.exec_trace = lambda cursor, statement, values: False

    assert holding.ask(Level.STUDY, NOTHING) == []
