"""Instances as the archive handles them: targets, fragments, checks, counts."""

from __future__ import annotations

import pytest

from catalogue.holding import Holding
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.catalogue.scope import EVERYTHING, NOTHING, Scope
from strongroom.dicom.model import Level


@pytest.fixture
def holding():
    """Two patients, three studies, four series, five instances."""
    holding = Holding()
    holding.record(PatientID="P1", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1")
    holding.record(PatientID="P1", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1")
    holding.record(PatientID="P1", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.2")
    holding.record(PatientID="P1", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    holding.record(PatientID="P2", StudyInstanceUID="1.3", SeriesInstanceUID="1.3.1", device="MR1")
    return holding


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (Target(Level.PATIENT, patient_id="P1"), [1, 2, 3, 4]),
        (Target(Level.PATIENT, patient_id="P*"), []),
        (Target(Level.STUDY, study_instance_uids=("1.1",)), [1, 2, 3]),
        (Target(Level.STUDY, study_instance_uids=("1.1", "1.3", "1.3")), [1, 2, 3, 5]),
        (Target(Level.STUDY, patient_id="P2", study_instance_uids=("1.1",)), []),
        (Target(Level.SERIES, study_instance_uids=("1.1",), series_instance_uids=("1.1.2", "1.2.1")), [3]),
        (
            Target(
                Level.IMAGE,
                study_instance_uids=("1.1",),
                series_instance_uids=("1.1.1",),
                sop_instance_uids=("1.9.2", "1.9.3", "1.9.99"),
            ),
            [2],
        ),
        (Target(Level.IMAGE, sop_instance_uids=tuple(f"1.9.{number}" for number in range(3_000))), [1, 2, 3, 4, 5]),
        (Target(Level.PATIENT), []),
        (Target(Level.PATIENT, patient_id=""), []),
    ],
    ids=str,
)
def test_a_target_names_instances(holding, target, found):
    """What a retrieval names, in the order of studies, series and arrival; naming nothing gives nothing."""
    rows = catalogue.instances(holding.connection, target, EVERYTHING)

    assert [row.id for row in rows] == found
    assert catalogue.instances(holding.connection, target, NOTHING) == []


def test_all_instances_come_in_pages(holding, monkeypatch):
    """Every instance once, whatever the size of a page."""
    monkeypatch.setattr(catalogue, "PAGE", 2)

    assert [row.id for row in catalogue.all_instances(holding.connection)] == [1, 2, 3, 4, 5]


def test_fragments_are_due_until_they_are_put(holding, monkeypatch):
    """An instance without its metadata is known as such; a second fragment replaces the first."""
    monkeypatch.setattr(catalogue, "PAGE", 1)
    assert [row.id for row in catalogue.without_fragment(holding.connection, 2)] == [1, 2]
    catalogue.put_fragment(holding.connection, 1, b"one")
    catalogue.put_fragment(holding.connection, 1, b"two")
    catalogue.put_fragment(holding.connection, 2, b"three")

    assert [row.id for row in catalogue.without_fragment(holding.connection, 9)] == [3, 4, 5]
    found = list(catalogue.fragments(holding.connection, "1.1", "1.1.1"))
    assert [(one.instance_id, one.sop_instance_uid, one.sealed) for one in found] == [
        (1, "1.9.1", b"two"),
        (2, "1.9.2", b"three"),
    ]
    assert list(catalogue.fragments(holding.connection, "1.1", "1.1.1", Scope.of(sending_devices=["MR1"]))) == []
    assert list(catalogue.fragments(holding.connection, "1.2", "1.1.1")) == []


def test_what_was_checked_longest_ago_comes_first(holding):
    """Never checked ones first; then in the order in which they were checked."""
    assert (
        catalogue.oldest_check(holding.connection) == catalogue.find_instance(holding.connection, "1.9.1").received_at
    )
    catalogue.checked(holding.connection, [1, 2, 3], 2_000.0)
    catalogue.checked(holding.connection, [4], 1_000.0)
    assert [row.id for row in catalogue.least_recently_checked(holding.connection, 2)] == [5, 4]
    catalogue.checked(holding.connection, [5], 3_000.0)

    assert [row.id for row in catalogue.least_recently_checked(holding.connection, 9)] == [4, 1, 2, 3, 5]
    assert catalogue.oldest_check(holding.connection) == 1_000.0
    assert catalogue.oldest_check(Holding().connection) is None


def test_a_content_digest_is_kept(holding):
    """Computed when somebody needs it, then remembered (I3)."""
    assert catalogue.find_instance(holding.connection, "1.9.1").content_digest is None
    catalogue.set_content_digest(holding.connection, 1, b"d" * 32)

    assert catalogue.find_instance(holding.connection, "1.9.1").content_digest == b"d" * 32


def test_counts_are_those_of_the_tables(holding):
    """The totals kept beside agree with what is there."""
    tables = ("patient", "study", "series", "instance")
    counted = [holding.connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in tables]
    found = catalogue.counts(holding.connection)

    assert [found.patients, found.studies, found.series, found.instances] == counted
    assert found.bytes == 5000


@pytest.mark.parametrize("walk", ["without_fragment", "least_recently_checked"])
def test_bookkeeping_does_not_read_the_table(holding, walk):
    """What runs in the background of a full archive stays cheap."""
    seen = []
    holding.connection.exec_trace = lambda cursor, statement, values: seen.append((statement, values)) or True
    getattr(catalogue, walk)(holding.connection, 1)
    holding.connection.exec_trace = None
    [(statement, values)] = seen
    plan = [row[3] for row in holding.connection.execute("EXPLAIN QUERY PLAN " + statement, values)]

    assert [step for step in plan if "ORDER BY" in step] == []
    assert [step for step in plan if step.startswith("SCAN instance") and "USING" not in step] == []
