"""Each message holds to its table of PS3.15 A.5.3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strongroom.audit.codes import _TABLE, Event, EventType, Outcome, Role, code
from strongroom.audit.parties import Party, Patient, Study, count, listed
from strongroom.audit.report import MAX_QUERY, Reporter

# Per event, from the tables of A.5.3: allowed actions, roles that have to be there once, fewest and most participants,
# and fewest and most objects of (type code, role, ID type).
STUDY, PATIENT, QUERY, LOG = ("2", "3", "110180"), ("1", "1", "2"), ("2", "3", "110181"), ("2", "13", "12")
MANY = 10**6
TABLES = {
    "110100": ("E", ["110150"], 1, MANY, {}),
    "110101": ("R", [], 1, 2, {LOG: (1, 1)}),
    "110102": ("E", ["110153", "110152"], 2, MANY, {STUDY: (1, MANY), PATIENT: (1, 1)}),
    "110103": ("CRUD", [], 1, 2, {STUDY: (1, MANY), PATIENT: (1, 1)}),
    "110104": ("CRU", ["110153", "110152"], 2, MANY, {STUDY: (1, MANY), PATIENT: (1, 1)}),
    "110105": ("D", [], 1, 2, {STUDY: (1, MANY), PATIENT: (1, 1)}),
    "110106": ("R", ["110154"], 2, MANY, {STUDY: (0, MANY), PATIENT: (1, MANY)}),
    "110107": ("C", ["110155"], 2, MANY, {STUDY: (0, MANY), PATIENT: (1, MANY)}),
    "110112": ("E", ["110153", "110152"], 2, MANY, {QUERY: (1, 1)}),
    "110113": ("E", [], 1, MANY, None),
    "110114": ("E", [], 1, 2, {}),
}
# CID 403 as PS3.16 has it, as far as we use it.
ALERT_TYPES = {"110126", "110128", "110129", "110131", "110132", "110135", "110136", "110137", "110144"}


def test_message_holds_to_its_table(sample):
    """Action, roles, number of participants and objects are those of the event's table."""
    actions, roles, fewest, most, objects = TABLES[sample.event]

    assert sample.action in actions
    assert fewest <= len(sample.participants) <= most
    given_roles = [role for participant in sample.participants for role in participant.roles]
    for role in roles:
        assert given_roles.count(role) == 1
    shapes = [(one.type_code, one.role, one.id_type) for one in sample.objects]
    if objects is not None:
        assert set(shapes) <= set(objects)
        for shape, (least, top) in objects.items():
            assert least <= shapes.count(shape) <= top


def test_at_most_one_participant_is_the_requestor(sample):
    """The standard allows one requestor; who did not ask is not marked as one (A.5.2)."""
    assert sum(participant.requestor for participant in sample.participants) <= 1


def test_every_code_has_a_meaning(sample):
    """No message carries a code the tables do not explain."""
    used = {sample.event, *sample.types}
    used |= {role for participant in sample.participants for role in participant.roles}
    used |= {one.id_type for one in sample.objects}
    assert used <= set(_TABLE)


def test_security_alert_has_a_standard_type_and_a_description(samples):
    """EventTypeCode comes from CID 403 and the subject is described (A.5.3.11)."""
    alerts = [one for one in samples.values() if one.event == Event.SECURITY_ALERT]

    assert len(alerts) >= 7
    for alert in alerts:
        assert ALERT_TYPES & set(alert.types)
        assert alert.objects[0].details[0][0] == "Alert Description"
        assert alert.objects[0].id
        assert alert.objects[0].role == "13"


def test_authentication_names_where_from(samples):
    """A login record holds the network access point, which A.5.3.12 demands."""
    for name in ("login", "login-failed", "logout"):
        assert samples[name].participants[0].address
        assert set(samples[name].types) <= {"110122", "110123"}


def test_held_copies_are_read_and_new_ones_created(samples):
    """Action C for what we did not hold, R for what we did (SECURITY C19)."""
    assert samples["deposited"].action == "C"
    assert samples["deposited-again"].action == "R"


def test_deposits_are_counted_and_listed(samples):
    """A deposit record counts by SOP class and names each instance with its digest."""
    study = samples["deposited"].objects[0]

    counts = [(one.uid, one.count) for one in study.sop_classes]
    assert counts == [("1.2.840.10008.5.1.4.1.1.2", 2), ("1.2.840.10008.5.1.4.1.1.88.11", 1)]
    assert study.sop_classes[0].instances[1].digest == b"\2" * 32


def test_disclosures_are_counted_only(samples):
    """A transfer of any size is a short record."""
    assert all(not one.instances for study in samples["transferred"].objects for one in study.sop_classes)
    assert samples["transferred"].objects[0].sop_classes[0].count == 2


def test_begin_and_end_are_joined(samples):
    """The act's name is the same in both records of a transfer (SECURITY C20)."""
    assert samples["begin-move"].act == samples["transferred"].act == samples["transfer-failed"].act == "a2"


def test_the_requester_of_a_move_stands_beside_the_destination(samples):
    """Who asked, who sent and who received are three; a caller that fetches for itself is the destination."""
    moved, fetched = samples["begin-move"], samples["begin-transfer"]

    assert [one.user_id for one in moved.participants] == ["application:STRONGROOM", "device:WS1", "person:anna"]
    assert [one.user_id for one in fetched.participants] == ["application:STRONGROOM", "device:WS1"]
    assert fetched.requestor.roles == (Role.DESTINATION,)


def test_the_host_with_a_reason_has_a_type_of_its_own(samples):
    """Patient data seen from the command line stands out, with the reason (DESIGN section 6)."""
    message = samples["accessed-by-host"]

    assert EventType.HOST_ACCESS in message.types
    assert ("Written reason", "restore drill") in message.objects[0].details
    assert EventType.HOST_ACCESS not in samples["accessed"].types


def test_a_query_says_how_many_and_never_which(samples):
    """The query as it came and the number of matches are recorded, an open end is marked (SECURITY D10)."""
    assert ("Matches", "7") in samples["query"].objects[0].details
    assert ("Matches so far", "256") in samples["query-for-all"].objects[0].details
    assert samples["query"].objects[0].query == b"\x10\x00"


def test_what_a_caller_makes_long_is_cut(samples):
    """A query or reason of any length makes a record of bounded length."""
    reporter = Reporter("S", "S")
    time = samples["query"].time
    caller = Party("device", "CT1", written_reason="x" * 10**6)
    message = reporter.query(time, caller, "1.2", b"q" * 10**6)

    assert len(message.objects[0].query) == MAX_QUERY
    assert ("Query length", "1000000") in message.objects[0].details
    assert len(reporter.deposit_failed(time, Party("d", "x"), Study("1"), "y" * 10**6).reason) <= 1024
    assert max(len(value) for _, value in message.objects[0].details) <= 1024


def test_outcomes(samples):
    """A failure is one, and a change somebody was allowed to make is not."""
    assert samples["transferred"].outcome == Outcome.SUCCESS
    assert samples["transfer-failed"].outcome == Outcome.SERIOUS_FAILURE
    assert samples["enrolled"].outcome == Outcome.SUCCESS
    assert samples["refused"].outcome == Outcome.MINOR_FAILURE


def test_unknown_codes_stand_for_themselves():
    """A record of a newer version with a code of ours shows the code."""
    assert code("later").meaning == "later"
    assert code("110104").meaning == "DICOM Instances Transferred"


@given(st.lists(st.tuples(st.sampled_from(["1.1", "1.2"]), st.uuids().map(lambda uid: f"2.25.{uid.int}"), st.binary())))
def test_counting_and_listing_agree(instances):
    """Both ways of summing up a group give the same counts, and listing loses no instance."""
    counted, each = count(uid for uid, _, _ in instances), listed(instances)

    assert [(one.uid, one.count) for one in counted] == [(one.uid, one.count) for one in each]
    assert sum(len(one.instances) for one in each) == len(instances)


def test_a_patient_without_an_identifier(samples):
    """An empty Patient ID is kept as empty: no other patient's record is found by it."""
    message = Reporter("S", "S").accessed(samples["accessed"].time, Party("person", "a"), Patient(""), [Study("1")])
    assert list(message.patient_ids()) == [""]
