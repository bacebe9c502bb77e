"""The trail keeps every record in order, gives them back newest first, and promises nothing before the flush."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from strongroom.audit.codes import Event, EventType
from strongroom.audit.message import encode
from strongroom.audit.parties import Party, Patient, Study, listed
from strongroom.audit.report import Reporter
from strongroom.audit.trail import EVERY, Filter, Trail, read
from strongroom.errors import IntegrityError, OutOfResources
from strongroom.ground.medium import MemoryMedium

NOW = datetime(2026, 10, 5, tzinfo=UTC)
KEY = bytes(32)
REPORTER = Reporter("STRONGROOM", "STRONGROOM")
CT1, MR1 = Party("device", "CT1"), Party("device", "MR1")


def login(number: int, name: str = "anna"):
    """A small message *number* seconds after the beginning."""
    return REPORTER.authenticated(NOW + timedelta(seconds=number), Party("person", name))


def sequences(entries) -> list[int]:
    """The sequence numbers of what was read."""
    return [entry.sequence for entry in entries]


def test_what_is_appended_is_read_back_newest_first(trail, samples):
    """Every kind of message comes back as it was, the last one first."""
    head = trail.append(list(samples.values()))
    trail.flush()
    entries = list(trail.read())

    assert head == trail.head
    assert head.sequence == len(samples)
    assert [entry.message for entry in reversed(entries)] == list(samples.values())
    assert sequences(entries) == list(range(len(samples), 0, -1))


def test_a_group_of_fifty_deposits_is_one_record(trail):
    """One record per study, device and group, not per image: it names fifty instances with their digests."""
    instances = [("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}", bytes([number]) * 32) for number in range(50)]
    head = trail.append([REPORTER.deposited(NOW, CT1, Patient("P"), Study("1.2", listed(instances)))])
    (entry,) = trail.read()

    assert head.sequence == 1
    assert entry.message.objects[0].sop_classes[0].count == 50
    assert {one.digest for one in entry.message.objects[0].sop_classes[0].instances} == {each[2] for each in instances}


def test_appending_nothing_changes_nothing(trail):
    """An empty group leaves the head where it was."""
    before = trail.append([login(0)])
    assert trail.append([]) == before


def test_reopening_goes_on_where_it_ended(medium, trail):
    """The next record after a restart follows the last one before it."""
    trail.append([login(0), login(1)])
    trail.flush()
    trail.close()
    again = Trail.open(medium, "trail", KEY, expected=trail.head)
    again.append([login(2)])

    assert again.torn is None
    assert sequences(again.read()) == [3, 2, 1]


def test_one_flush_for_a_group(medium, trail):
    """Appending costs no flush, and a group costs one."""
    trail.append([login(0)])
    trail.flush()
    before = medium.flushes
    trail.append([login(number) for number in range(50)])
    assert medium.flushes == before
    trail.flush()
    assert medium.flushes == before + 1


def test_flushed_records_survive_a_power_cut(medium, trail):
    """After the flush a record is there; before it, nobody was promised anything, and the rest still reads."""
    promised = trail.append([login(0), login(1)])
    trail.flush()
    trail.append([login(2)])
    after = Trail.open(medium.power_cut(), "trail", KEY, expected=promised)

    assert sequences(after.read()) == [2, 1]


def test_a_torn_tail_is_cut_and_named(medium, trail):
    """Half a record at the very end is what a crash leaves: it is cut, and the caller learns of it to record it."""
    trail.append([login(0)])
    trail.flush()
    whole = medium.size("trail/archive-00000001.chain")
    stop = len(medium.content("trail/archive-00000001.chain").rstrip(b"\0"))
    trail.append([login(1)])
    content = bytearray(medium.content("trail/archive-00000001.chain"))
    content[stop + 40 :] = bytes(len(content) - stop - 40)
    medium.overwrite("trail/archive-00000001.chain", bytes(content[: stop + 40]))
    after = Trail.open(medium, "trail", KEY)

    assert whole > stop
    assert after.torn is not None
    assert sequences(after.read()) == [1]
    after.append([REPORTER.alert(NOW, EventType.TORN_TRAIL, "urn:strongroom:trail", f"{after.torn.length} bytes")])
    assert sequences(after.read()) == [2, 1]


def test_a_trail_that_ends_before_the_expected_head_is_not_opened(medium, trail):
    """Going on after records were cut off would hide that they were."""
    short = trail.append([login(0)])
    trail.flush()
    with pytest.raises(IntegrityError):
        Trail.open(medium, "trail", KEY, expected=replace(short, sequence=2))


def test_another_key_does_not_open(medium, trail):
    """Without the key nothing is read or appended."""
    trail.append([login(0)])
    trail.flush()
    with pytest.raises(IntegrityError):
        Trail.open(medium, "trail", b"\1" * 32)
    with pytest.raises(IntegrityError):
        list(read(medium, "trail", b"\1" * 32))


def test_nothing_readable_lies_on_the_medium(medium, trail):
    """Names and identifiers stand sealed in the file."""
    trail.append([REPORTER.accessed(NOW, Party("person", "CANARY-ACTOR"), Patient("CANARY-PATIENT"), [Study("1.2")])])
    trail.flush()
    assert b"CANARY" not in medium.content("trail/archive-00000001.chain")


def test_a_failed_flush_ends_appending_and_not_reading(medium, trail):
    """After a failed flush no record is taken any more: the act it belongs to has to be refused (I10, SECURITY C23)."""
    trail.append([login(0)])
    trail.flush()
    medium.fail_flushes()
    trail.append([login(1)])
    with pytest.raises(OutOfResources):
        trail.flush()
    with pytest.raises(OutOfResources):
        trail.append([login(2)])
    assert sequences(trail.read())[-1] == 1


def test_a_full_medium_takes_no_part_of_a_group():
    """A group that does not fit leaves no record behind, and what was there before stays whole."""
    medium = MemoryMedium(capacity=64 * 1024)
    trail = Trail.open(medium, "trail", KEY)
    taken = []

    def fill():
        for number in range(10_000):
            trail.append([login(number), login(number)])
            taken.append(number)

    with pytest.raises(OutOfResources):
        fill()
    trail.close()
    after = Trail.open(medium, "trail", KEY)

    assert after.head.sequence == 2 * len(taken)
    assert sequences(after.read()) == list(range(2 * len(taken), 0, -1))


@pytest.fixture
def mixed(trail):
    """Records of two devices, three patients and several events, a second apart."""
    pad = Study("1.2.3", listed([("1.1", "1.2.3.1", bytes(32))]))
    other = Study("1.2.4", listed([("1.1", "1.2.4.1", bytes(32))]))
    at = [NOW + timedelta(seconds=number) for number in range(6)]
    trail.append(
        [
            REPORTER.deposited(at[0], CT1, Patient("P1"), pad),
            REPORTER.deposited(at[1], MR1, Patient("P2"), other),
            REPORTER.begin_transfer(at[2], Party("person", "anna"), MR1, Patient("P1"), [pad], act="a1"),
            REPORTER.transferred(at[3], Party("person", "anna"), MR1, Patient("P1"), [pad], act="a1", reason="aborted"),
            REPORTER.refused(at[4], MR1, "retrieve", "out-of-scope", study="1.2.3"),
            REPORTER.accessed(at[5], Party("host", "root", written_reason="drill"), Patient('Ü"P1'), [other]),
        ]
    )
    return trail


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EVERY, [6, 5, 4, 3, 2, 1]),
        (Filter(patient_id="P1"), [4, 3, 1]),
        (Filter(patient_id='Ü"P1'), [6]),
        (Filter(patient_id="P"), []),
        (Filter(patient_id="1.2.3"), []),
        (Filter(study_instance_uid="1.2.3"), [5, 4, 3, 1]),
        (Filter(actor="MR1"), [5, 4, 3, 2]),
        (Filter(actor="device:CT1"), [1]),
        (Filter(actor="person:MR1"), []),
        (Filter(events=frozenset({Event.INSTANCES_TRANSFERRED})), [4, 2, 1]),
        (Filter(events=frozenset({EventType.HOST_ACCESS})), [6]),
        (Filter(failed=True), [5, 4]),
        (Filter(failed=False, actor="MR1"), [3, 2]),
        (Filter(act="a1"), [4, 3]),
        (Filter(since=NOW + timedelta(seconds=4)), [6, 5]),
        (Filter(until=NOW + timedelta(seconds=1)), [1]),
        (Filter(since=NOW + timedelta(seconds=1), until=NOW + timedelta(seconds=3), patient_id="P2"), [2]),
    ],
)
def test_filters(mixed, wanted, expected):
    """Time, patient, study, actor, event and outcome narrow what is read, alone and together."""
    assert sequences(mixed.read(wanted)) == expected


def test_chains_of_several_processes_are_read_as_one(medium, trail):
    """Records of different chains come in the order of time, newest or oldest first."""
    other = Trail.open(medium, "trail", KEY, name="control.1")
    for number in range(6):
        (trail if number % 2 else other).append([login(number)])

    newest = [entry.message.time for entry in trail.read()]
    oldest = list(read(medium, "trail", KEY, newest_first=False))
    assert newest == [NOW + timedelta(seconds=number) for number in range(5, -1, -1)]
    assert [entry.chain for entry in oldest] == ["control.1", "archive"] * 3


def test_order_is_that_of_the_chain_when_the_clock_goes_back(trail):
    """A clock set back reorders nothing (SECURITY H14)."""
    trail.append([login(10), login(0), login(5)])
    assert sequences(trail.read()) == [3, 2, 1]


def test_reading_while_appending(trail):
    """A reader sees a whole trail of the moment it began, also when records are added meanwhile."""
    trail.append([login(0), login(1)])
    reading = trail.read()
    first = next(reading)
    trail.append([login(2)])

    assert [first.sequence, *sequences(reading)] == [2, 1]


def test_reading_holds_one_segment_however_long_the_trail(monkeypatch):
    """Memory does not grow with the number of segments."""
    monkeypatch.setattr("strongroom.ground.chain.SEGMENT_BYTES", 64 * 1024)
    monkeypatch.setattr("strongroom.ground.chain.AHEAD", 4096)
    peaks = []
    for records in (600, 3000):
        medium = MemoryMedium()
        trail = Trail.open(medium, "trail", KEY)
        trail._chain._segment_bytes = 64 * 1024
        for number in range(0, records, 10):
            trail.append([login(each) for each in range(number, number + 10)])
        trail.flush()
        tracemalloc.start()
        assert sum(1 for _ in trail.read()) == records
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(medium.listing("trail")) > records // 300

    assert peaks[1] < 1.5 * peaks[0]


def test_a_record_that_cannot_match_is_not_decoded(monkeypatch, trail):
    """Looking for one patient decodes that patient's records only: years of trail stay quick to search."""
    trail.append([REPORTER.deposited(NOW, CT1, Patient(f"P{number}"), Study("1.2")) for number in range(100)])
    decoded = []
    monkeypatch.setattr("strongroom.audit.trail.decode", lambda record: decoded.append(record) or _decode(record))

    assert sequences(trail.read(Filter(patient_id="P42"))) == [43]
    assert len(decoded) == 1


def _decode(record: bytes):
    from strongroom.audit.message import decode

    return decode(record)


def test_a_record_of_rubbish_is_damage(trail):
    """A record that opens but is no message is not passed over in silence."""
    trail._chain.append([msgspec.json.encode({"not": "a message"})])
    with pytest.raises(IntegrityError):
        list(trail.read())


def test_encoding_is_compact():
    """A deposit record of one image takes no more than a disk's sector or two."""
    message = REPORTER.deposited(NOW, CT1, Patient("P"), Study("1.2.3", listed([("1.1", "1.2.3.4", bytes(32))])))
    assert len(encode(message)) < 1024
