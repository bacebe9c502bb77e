"""What lies outside a scope cannot be told from what does not exist (SECURITY D19)."""

from __future__ import annotations

import pytest

from catalogue.holding import Holding, tag
from strongroom.catalogue.instances import instances
from strongroom.catalogue.query import Root, Target
from strongroom.catalogue.scope import EVERYTHING, NOTHING, Scope
from strongroom.dicom.model import Level

MINE = Scope.of(sending_devices=["MINE"])


@pytest.fixture
def holding():
    """A study of another device, one of ours, and one both sent something into."""
    holding = Holding()
    holding.record(device="OTHER", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", PatientID="P1", PatientName="Doe")
    holding.record(device="MINE", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", PatientID="P2", PatientName="Roe")
    both = {"StudyInstanceUID": "1.3", "PatientID": "P1", "PatientName": "Doe"}
    holding.record(device="OTHER", **both, SeriesInstanceUID="1.3.1", Modality="CT")
    holding.record(device="MINE", **both, SeriesInstanceUID="1.3.2", Modality="SR")
    return holding


def test_a_device_sees_what_it_sent(holding):
    """At every level, and counts and lists leave the rest out."""
    assert holding.uids(Level.PATIENT, MINE) == ["P1", "P2"]
    assert holding.uids(Level.STUDY, MINE) == ["1.2", "1.3"]
    assert holding.uids(Level.SERIES, MINE) == ["1.2.1", "1.3.2"]
    assert holding.uids(Level.IMAGE, MINE) == ["1.9.2", "1.9.4"]
    [match] = holding.ask(
        Level.STUDY, MINE, StudyInstanceUID="1.3", ModalitiesInStudy=None, NumberOfStudyRelatedInstances=None
    )
    assert match[tag("ModalitiesInStudy")]["Value"] == ["SR"]
    assert match[tag("NumberOfStudyRelatedInstances")]["Value"] == [1]
    assert holding.uids(Level.STUDY, MINE, ModalitiesInStudy="CT", StudyInstanceUID="1.3") == []
    assert (
        []
        == holding.ask(Level.STUDY, MINE, StudyInstanceUID="1.1")
        == holding.ask(Level.STUDY, MINE, StudyInstanceUID="1.999")
    )


@pytest.mark.parametrize("patient_id", ["P666", None])
def test_sending_into_a_study_of_somebody_else_shows_nothing_of_it(holding, patient_id):
    """Whoever knows a Study Instance UID, but not whose study it is, gains nothing by sending something into it."""
    recorded = holding.record(
        device="EVIL", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.9", PatientID=patient_id, PatientName="Doe"
    )
    scope = Scope.of(sending_devices=["EVIL"])

    assert recorded.patient_mismatch
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE):
        assert holding.uids(level, scope) == []
    assert instances(holding.connection, Target(Level.STUDY, study_instance_uids=("1.1",)), scope) == []


def test_two_scopes_together_cover_what_both_cover(holding):
    """What may be sent from one caller to another is what both may have (SECURITY C37)."""
    both = MINE & Scope.of(studies=["1.1", "1.3"])

    assert holding.uids(Level.STUDY, both) == ["1.3"]
    assert holding.uids(Level.IMAGE, both) == ["1.9.4"]
    assert MINE & EVERYTHING == MINE
    assert EVERYTHING & EVERYTHING == EVERYTHING
    assert (MINE & NOTHING).nothing
    assert holding.uids(Level.STUDY, MINE & NOTHING) == []


def test_a_retrieval_stays_inside(holding):
    """A target that is broader than the scope gives what lies in both."""
    target = Target(Level.PATIENT, patient_id="P1")

    assert [row.sop_instance_uid for row in instances(holding.connection, target, MINE)] == ["1.9.4"]
    assert len(instances(holding.connection, target, EVERYTHING)) == 3
    assert instances(holding.connection, target, NOTHING) == []


def test_nothing_is_what_no_name_gives():
    """A scope is nothing until something is named, and cannot be made without saying what it reaches."""
    assert Scope.of() == NOTHING
    assert NOTHING.nothing
    assert not EVERYTHING.nothing
    with pytest.raises(ValueError, match="names what it reaches"):
        Scope(())


def test_a_patient_is_there_for_what_is_inside(holding):
    """Numbers at the level of patients count inside the scope."""
    [match] = holding.ask(
        Level.PATIENT,
        Scope.of(studies=["1.3"]),
        root=Root.PATIENT,
        NumberOfPatientRelatedStudies=None,
        NumberOfPatientRelatedInstances=None,
    )
    assert match[tag("NumberOfPatientRelatedStudies")]["Value"] == [1]
    assert match[tag("NumberOfPatientRelatedInstances")]["Value"] == [2]
