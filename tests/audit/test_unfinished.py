"""A transfer that began has to end in the trail, one way or another (SECURITY C20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from strongroom.audit.codes import EventType
from strongroom.audit.parties import Party, Patient, Study
from strongroom.audit.report import Reporter
from strongroom.audit.unfinished import transfers_since, unfinished

NOW = datetime(2026, 10, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
R = Reporter("S", "S")
ANNA, STUDIES = Party("person", "anna"), [Study("1.2")]


def begin(act: str, patient: str, at: datetime = NOW):
    """A beginning."""
    return R.begin_transfer(at, ANNA, ANNA, Patient(patient), STUDIES, act=act)


def end(act: str, patient: str, reason: str = ""):
    """An end, good or bad."""
    return R.transferred(NOW + timedelta(minutes=1), ANNA, ANNA, Patient(patient), STUDIES, act=act, reason=reason)


def alert(act: str, patient: str):
    """Somebody was told already."""
    return R.alert(LATER, EventType.TRANSFER_UNFINISHED, "urn:x", "no end", patient=Patient(patient), act=act)


def found(trail, messages, before: datetime = LATER) -> list[tuple[str, str]]:
    """(act, patient) of what has no end."""
    trail.append(messages)
    entries = unfinished(trail.read(transfers_since(NOW)), before=before)
    return [(entry.message.act, *entry.message.patient_ids()) for entry in entries]


def test_an_end_of_either_outcome_ends_it(trail):
    """Sent or failed: the trail says how it went."""
    assert found(trail, [begin("a", "P1"), begin("b", "P1"), end("b", "P1"), end("a", "P1", "aborted")]) == []


def test_a_beginning_without_an_end_is_found(trail):
    """Another act's or another patient's end does not count; oldest first."""
    messages = [begin("a", "P1"), begin("a", "P2"), begin("b", "P1"), end("a", "P1"), end("c", "P1")]
    assert found(trail, messages) == [("a", "P2"), ("b", "P1")]


def test_a_transfer_still_under_way_is_left_alone(trail):
    """What began a moment ago has its time."""
    assert found(trail, [begin("a", "P1")], before=NOW) == []


def test_each_is_reported_once(trail):
    """After the alert the transfer is not found again."""
    assert found(trail, [begin("a", "P1"), begin("a", "P2"), alert("a", "P1")]) == [("a", "P2")]


def test_other_records_do_not_matter(trail, samples):
    """Records without an act are passed over."""
    assert found(trail, [R.authenticated(NOW, ANNA), samples["deposited"], samples["conflict"]]) == []
