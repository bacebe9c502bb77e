"""Searches by an indexed key walk that index, and the smallest part of it."""

from __future__ import annotations

import pytest

from catalogue.holding import Holding
from strongroom.catalogue.plan import PROBE
from strongroom.catalogue.query import Root
from strongroom.catalogue.scope import EVERYTHING, Scope
from strongroom.dicom.model import Level

TABLES = ("patient", "study", "series", "instance", "series_source", "study_source", "study_modality", "fragment")
RETURNED = dict.fromkeys(
    [
        "PatientName",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "NumberOfPatientRelatedInstances",
    ]
)


@pytest.fixture(scope="module")
def holding():
    """Some studies, with the statistics a long-lived database has."""
    holding = Holding()
    for number in range(30):
        holding.record(
            PatientID=f"P{number}",
            PatientName=f"Doe^{number}",
            StudyInstanceUID=f"1.{number}",
            SeriesInstanceUID=f"1.{number}.1",
            StudyDate=f"202001{number + 1:02}",
            AccessionNumber=f"A{number}",
        )
    return holding


def statements(holding, level, scope, **keys):
    """The statements of a search with their values."""
    seen = []
    holding.connection.exec_trace = lambda cursor, statement, values: seen.append((statement, values)) or True
    try:
        holding.ask(level, scope, **keys)
    finally:
        holding.connection.exec_trace = None
    return seen


def steps(holding, level, scope, **keys):
    """The steps of the plans of all statements of a search, as SQLite explains them."""
    return [
        row[3]
        for statement, values in statements(holding, level, scope, **keys)
        for row in holding.connection.execute("EXPLAIN QUERY PLAN " + statement, values)
    ]


def scanned(plan):
    """The tables a plan reads through."""
    return [
        step
        for step in plan
        if step.startswith("SCAN ") and step.split()[1] in {*TABLES, "listed", "member", "source", "sent", "theirs"}
    ]


INDEXED = [
    {"PatientName": "doe*"},
    {"PatientName": "Doe^1"},
    {"PatientName": "=山田*"},
    {"PatientName": ["doe^1", "roe*"]},
    {"PatientID": "P1"},
    {"PatientID": "P*"},
    {"AccessionNumber": "A1"},
    {"AccessionNumber": "A?"},
    {"StudyDate": "20200101-20200107"},
    {"StudyDate": "20200101"},
    {"StudyDate": "-20200107"},
    {"StudyDate": ["20200101", "20200105-20200107"]},
    {"ModalitiesInStudy": "CT", "StudyDate": "20200101-"},
    {"ModalitiesInStudy": ["CT", "MR"]},
    {"StudyInstanceUID": "1.1"},
    {"StudyInstanceUID": ["1.1", "1.2"]},
    {"PatientName": "doe*", "StudyDate": "20200101-20200107", "StudyDescription": "x*"},
    {"StudyID": "S1"},
]


@pytest.mark.parametrize(
    "scope",
    [
        EVERYTHING,
        Scope.of(sending_devices=["CT1"]),
        Scope.of(sending_devices=["CT1", "MR1"]),
        Scope.of(studies=["1.1", "1.2"]),
    ],
    ids=["everything", "device", "devices", "studies"],
)
@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
@pytest.mark.parametrize("keys", INDEXED, ids=str)
def test_an_indexed_key_never_scans_a_table(holding, keys, level, scope):
    """No statement of such a search reads a table or a whole index through, counts and scope included."""
    plan = steps(holding, level, scope, **(RETURNED | keys))

    assert plan
    assert scanned(plan) == []


@pytest.mark.parametrize(
    "keys",
    [{"PatientName": "doe*"}, {"PatientID": "P1"}, {"PatientID": "P*"}, {"PatientBirthDate": "19700101-19701231"}],
    ids=str,
)
def test_neither_does_one_of_a_patient(holding, keys):
    """The same at the level of patients."""
    assert scanned(steps(holding, Level.PATIENT, EVERYTHING, root=Root.PATIENT, **keys)) == []


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (Level.SERIES, {"SeriesInstanceUID": "1.1.1"}),
        (Level.IMAGE, {"SeriesInstanceUID": "1.1.1"}),
        (Level.IMAGE, {"SOPInstanceUID": ["1.9.1", "1.9.2"]}),
        (Level.SERIES, {"Modality": "CT", "StudyDate": "20200101-20200107"}),
        (Level.IMAGE, {"Modality": "CT"}),
    ],
    ids=str,
)
def test_uids_and_modality_lead_to_lower_levels(holding, level, keys):
    """A search of series or instances starts at the lowest UID, or at the studies of a modality."""
    assert scanned(steps(holding, level, EVERYTHING, **keys)) == []


def test_the_scan_test_can_fail(holding):
    """A key without an index does read the table: that is what the tests above would show."""
    assert scanned(steps(holding, Level.STUDY, EVERYTHING, StudyDescription="x")) != []


@pytest.mark.parametrize("keys", INDEXED[:14], ids=str)
@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
def test_pages_are_in_the_order_of_their_index(holding, keys, level):
    """No page is sorted, so the first row does not wait for the last."""
    plan = steps(holding, level, EVERYTHING, **keys)

    assert [step for step in plan if "ORDER BY" in step] == []


def test_no_statement_counts_rows_to_skip(holding):
    """Keyset paging: OFFSET does not occur, and no value stands in the text of a statement (SECURITY D11)."""
    text = "".join(
        statement
        for keys in INDEXED
        for statement, _ in statements(holding, Level.IMAGE, Scope.of(sending_devices=["CT1"]), **(RETURNED | keys))
    )

    assert "OFFSET" not in text
    for value in ("doe", "Doe", "A1", "P1", "2020", "1.1", "'CT'", "CT1"):
        assert value not in text


def test_the_smaller_part_is_walked():
    """Of a common name and a rare date the date leads, and the other way round."""
    holding = Holding()
    for number in range(60):
        holding.record(
            PatientID=f"P{number}",
            PatientName="Doe" if number else "Roe",
            StudyDate="20200101" if number % 30 else "20200202",
            StudyInstanceUID=f"1.{number}",
            SeriesInstanceUID=f"1.{number}.1",
        )
    common_name = statements(holding, Level.STUDY, EVERYTHING, PatientName="doe", StudyDate="20200202")
    rare_name = statements(holding, Level.STUDY, EVERYTHING, PatientName="roe", StudyDate="20200101-20200202")

    assert "ORDER BY study.id" in common_name[-1][0]
    assert "study_by_study_date" in common_name[-1][0]
    assert "study_by_name" in rare_name[-1][0]
    assert all(values[-1] <= PROBE for statement, values in common_name if "count(*)" in statement)


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
def test_a_scope_of_devices_leads_by_itself(holding, level):
    """Without any key the studies of the devices are walked, not all that there are."""
    assert scanned(steps(holding, level, Scope.of(sending_devices=["CT1", "MR1"]), **RETURNED)) == []
