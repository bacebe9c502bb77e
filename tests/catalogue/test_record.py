"""Recording instances: inside transactions that may fail, and into studies that are known already."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.holding import MR, Holding, blob, header, tag
from strongroom.catalogue.instances import counts, find_instance
from strongroom.catalogue.levels import Differs
from strongroom.dicom.model import Level
from strongroom.errors import ConflictError, DataSetError


@pytest.fixture
def holding():
    """An empty catalogue."""
    return Holding()


def test_an_instance_is_found_again(holding):
    """What was recorded comes back, with its place in the vault and in the hierarchy."""
    recorded = holding.record(
        PatientID="P1", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4"
    )
    row = find_instance(holding.connection, "1.2.3.4")
    stored = blob(1)

    assert row is not None
    assert (row.id, row.patient_id, row.study_instance_uid, row.series_instance_uid) == (
        recorded.instance_id,
        "P1",
        "1.2",
        "1.2.3",
    )
    assert (row.blob_id, row.key_id, row.digest, row.location) == (
        stored.blob_id,
        stored.key_id,
        stored.digest,
        stored.location,
    )
    assert (row.device, row.received_at, row.plain_length) == ("CT1", stored.received_at, 1000)
    assert find_instance(holding.connection, "1.2.3.5") is None


def test_what_is_new_is_said_and_counted(holding):
    """Only the first instance of a patient, study and series is new at those levels."""
    first = holding.record()
    second = holding.record()
    third = holding.record(SeriesInstanceUID="1.1.2")
    fourth = holding.record(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", length=5)

    assert (first.new_patient, first.new_study, first.new_series) == (True, True, True)
    assert (second.new_patient, second.new_study, second.new_series) == (False, False, False)
    assert (third.new_patient, third.new_study, third.new_series) == (False, False, True)
    assert (fourth.new_patient, fourth.new_study, fourth.new_series) == (False, True, True)
    found = counts(holding.connection)
    assert (found.patients, found.studies, found.series, found.instances, found.bytes) == (1, 2, 3, 4, 3005)


def test_a_known_instance_is_a_conflict_and_leaves_nothing(holding):
    """A second record of a SOP Instance UID changes nothing at all, not even by a new study (I3)."""
    holding.record(SOPInstanceUID="1.5")
    before = everything(holding)
    for study in ("1.1", "1.2"):
        with pytest.raises(ConflictError):
            holding.record(SOPInstanceUID="1.5", StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")

    assert everything(holding) == before


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_data_set_without_its_uids_is_refused(holding, missing):
    """There is nowhere to file it."""
    with pytest.raises(DataSetError):
        holding.record(**{missing: None})


def everything(holding):
    """Every row of every table."""
    tables = [row[0] for row in holding.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {name: sorted(map(str, holding.connection.execute(f"SELECT * FROM {name}"))) for name in tables}


@pytest.mark.parametrize("savepoint", [False, True])
def test_after_a_rollback_everything_is_made_anew(holding, savepoint):
    """What the recorder remembers of rows that were rolled back is not used, whoever forgot to tell it."""
    begin, undo = ("SAVEPOINT act", "ROLLBACK TO act") if savepoint else ("BEGIN", "ROLLBACK")
    holding.connection.execute(begin)
    holding.record(SOPInstanceUID="1.1.1.1", StudyDescription="gone")
    holding.connection.execute(undo)
    recorded = holding.record(SOPInstanceUID="1.1.1.1", StudyDescription="here")

    assert recorded.new_study
    assert recorded.differences == ()
    assert holding.uids(Level.STUDY, StudyDescription="here") == ["1.1"]
    assert counts(holding.connection).instances == 1
    assert holding.connection.execute("PRAGMA foreign_key_check").fetchall() == []


acts = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from(["keep", "undo", "twice"])), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(acts)
def test_any_mixture_of_rollbacks_leaves_what_was_kept(script):
    """A catalogue with some acts rolled back equals one in which they never happened, counters included."""
    rolled, plain = Holding(), Holding()
    for number, (study, series, fate) in enumerate(script):
        attributes = {
            "SOPInstanceUID": f"1.7.{number}",
            "StudyInstanceUID": f"1.{study}",
            "SeriesInstanceUID": f"1.{study}.{series}",
            "StudyDescription": f"text {number % 2}" if number % 3 else None,
        }
        rolled.number = plain.number = number
        rolled.connection.execute("SAVEPOINT act")
        if fate == "twice":
            rolled.record(**attributes)
            rolled.connection.execute("ROLLBACK TO act")
            rolled.number = number
        rolled.record(**attributes)
        if fate == "undo":
            rolled.connection.execute("ROLLBACK TO act")
        else:
            plain.record(**attributes)
        rolled.connection.execute("RELEASE act")

    assert everything(rolled) == everything(plain)


def test_the_first_value_stays_and_a_difference_is_flagged(holding):
    """Attributes that differ between instances of one study: the first wins, tags are named, never values (PS3.4 C.3)."""
    holding.record(PatientName="Doe^John", StudyDescription="Chest", SeriesDescription="one")
    other = holding.record(PatientName="Doe^Jon", StudyDescription="Head", SeriesDescription="two")
    [match] = holding.ask(Level.SERIES, PatientName=None, StudyDescription=None, SeriesDescription=None)

    assert match[tag("PatientName")]["Value"] == [{"Alphabetic": "Doe^John"}]
    assert match[tag("StudyDescription")]["Value"] == ["Chest"]
    assert match[tag("SeriesDescription")]["Value"] == ["one"]
    assert other.differs == Differs.PATIENT | Differs.STUDY | Differs.SERIES
    assert set(other.differences) == {tag("PatientName"), tag("StudyDescription"), tag("SeriesDescription")}
    assert not other.patient_mismatch
    again = holding.record(PatientName="Doe^Jon", StudyDescription="Head", SeriesDescription="two")
    assert (again.differs, again.differences) == (other.differs, other.differences)


def test_the_same_written_otherwise_is_no_difference(holding):
    """Trailing carets, case of a name and the precision of a time do not contradict."""
    holding.record(PatientName="Doe^John", StudyTime="103000")
    other = holding.record(PatientName="DOE^JOHN^^", StudyTime="1030")

    assert other.differences == ()


def test_a_missing_value_is_filled_in(holding):
    """What only a later instance says is taken over, at once searchable; what it leaves out changes nothing."""
    holding.record(StudyDate=None)
    holding.record(StudyDate="20200101", PatientName="Doe", AccessionNumber="A1", SeriesDescription="x", Modality="CT")
    holding.record()

    for keys in ({"StudyDate": "20200101-"}, {"PatientName": "doe"}, {"AccessionNumber": "A1"}):
        assert holding.uids(Level.STUDY, **keys) == ["1.1"]
    assert holding.uids(Level.STUDY, ModalitiesInStudy="CT", StudyDate="20200101") == ["1.1"]
    assert holding.uids(Level.PATIENT, PatientName="doe") == ["P1"]


def test_a_modality_that_comes_late_is_listed(holding):
    """A series whose first instance had no modality is found by it all the same."""
    holding.record(Modality=None)
    assert holding.uids(Level.STUDY, ModalitiesInStudy="MR") == []
    holding.record(Modality="MR", SOPClassUID=MR)

    assert holding.uids(Level.STUDY, ModalitiesInStudy="MR") == ["1.1"]
    assert holding.uids(Level.SERIES, Modality="MR") == ["1.1.1"]


def test_another_patient_leaves_the_study_as_it_is(holding):
    """An instance with another Patient ID stays with its study, is flagged, and adds nothing of that other person."""
    holding.record(PatientID="P1", PatientName="Doe")
    other = holding.record(PatientID="P2", PatientName="Roe", PatientBirthDate="19800101", SeriesInstanceUID="1.1.2")
    again = holding.record(PatientID="P2", PatientName="Roe", PatientBirthDate="19800101", SeriesInstanceUID="1.1.2")
    [match] = holding.ask(Level.STUDY, PatientID=None, PatientName=None, PatientBirthDate=None)

    assert other.patient_mismatch
    assert again.patient_mismatch
    assert match[tag("PatientID")]["Value"] == ["P1"]
    assert match[tag("PatientName")]["Value"] == [{"Alphabetic": "Doe"}]
    assert match[tag("PatientBirthDate")] == {"vr": "DA"}
    assert holding.uids(Level.PATIENT) == ["P1"]


def test_two_persons_with_one_patient_id_keep_their_names(holding):
    """Each study shows the patient as its own instances name him; the contradiction is flagged."""
    holding.record(PatientID="P1", PatientName="Doe^John", StudyInstanceUID="1.1")
    second = holding.record(PatientID="P1", PatientName="Roe^Ann", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")

    assert second.differs == Differs.PATIENT
    assert holding.uids(Level.STUDY, PatientName="roe*") == ["1.2"]
    assert holding.uids(Level.STUDY, PatientName="doe*") == ["1.1"]


def test_without_a_patient_id_each_study_has_its_own_patient(holding):
    """Nobody is taken for somebody else because both lack an ID."""
    holding.record(PatientID=None, PatientName="Doe", StudyInstanceUID="1.1")
    holding.record(PatientID=None, PatientName="Roe", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")

    assert holding.uids(Level.PATIENT) == ["", ""]
    assert counts(holding.connection).patients == 2


def test_issuers_make_different_patients(holding):
    """One Patient ID of two issuers is two patients."""
    for number, issuer in enumerate(["H1", "H2", "H1"]):
        uids = {"StudyInstanceUID": f"1.{number}", "SeriesInstanceUID": f"1.{number}.1"}
        holding.record(PatientID="P1", IssuerOfPatientID=issuer, **uids)

    assert counts(holding.connection).patients == 2


def test_one_series_uid_in_two_studies_is_two_series(holding):
    """Devices exist that do so; neither study takes the other's instances."""
    holding.record(StudyInstanceUID="1.1", SeriesInstanceUID="1.8")
    holding.record(StudyInstanceUID="1.2", SeriesInstanceUID="1.8")

    assert counts(holding.connection).series == 2
    assert holding.uids(Level.SERIES, StudyInstanceUID="1.1") == ["1.8"]
    assert holding.uids(Level.SERIES, SeriesInstanceUID="1.8") == ["1.8", "1.8"]


def test_a_patient_id_with_a_backslash_is_one_text(holding):
    """Such an ID is kept whole and found whole."""
    holding.record(PatientID=["P1", "P2"])

    assert holding.uids(Level.STUDY, PatientID=["P1", "P2"]) == ["1.1"]
    assert find_instance(holding.connection, "1.9.1").patient_id == "P1\\P2"


def test_a_fragment_can_come_with_the_instance(holding):
    """Then nothing is due for it."""
    stored = blob(1)
    data_set = header(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", SOPInstanceUID="1.5", SOPClassUID=MR)
    holding.recorder.record(holding.connection, data_set, stored, fragment=b"sealed")

    assert holding.connection.execute("SELECT count(*) FROM fragment_due").fetchall() == [(0,)]
    assert holding.connection.execute("SELECT sealed FROM fragment").fetchall() == [(b"sealed",)]


def test_a_further_instance_of_a_series_takes_few_statements(holding):
    """The work per image is bounded: that is what keeps ingest fast (PERFORMANCE section 2)."""
    holding.record()
    statements = []
    holding.connection.exec_trace = lambda cursor, statement, values: statements.append(statement) or True
    holding.record()

    assert len(statements) <= 5


def test_memory_of_the_recorder_is_bounded(holding, monkeypatch):
    """It forgets the series that were silent longest, and is still right about them."""
    monkeypatch.setattr("strongroom.catalogue.record.MAX_KNOWN_SERIES", 2)
    for turn in range(2):
        for series in range(5):
            recorded = holding.record(SeriesInstanceUID=f"1.1.{series}")
            assert recorded.new_series is (turn == 0)

    assert len(holding.recorder._known) == 2
    assert counts(holding.connection).series == 5
