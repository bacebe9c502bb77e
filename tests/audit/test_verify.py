"""Whatever is done to the trail is found, and a crash is not taken for it (SECURITY C21, H01)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.audit.parties import Party
from strongroom.audit.report import Reporter
from strongroom.audit.trail import Trail
from strongroom.audit.verify import Kind, verify
from strongroom.ground import chain
from strongroom.ground._segment import HEADER, frames
from strongroom.ground.chain import Head

NOW = datetime(2026, 10, 5, tzinfo=UTC)
KEY = bytes(32)
FILE = "trail/archive-00000001.chain"
REPORTER = Reporter("STRONGROOM", "STRONGROOM")


def login(number: int):
    """A small message."""
    return REPORTER.authenticated(NOW + timedelta(seconds=number), Party("person", f"user{number}"))


@pytest.fixture
def head(trail) -> Head:
    """A trail of eight records in four groups; the head the register keeps."""
    for number in range(0, 8, 2):
        trail.append([login(number), login(number + 1)])
        trail.flush()
    return trail.head


def spans(medium) -> list[tuple[int, int]]:
    """Where each record begins and ends in the file."""
    return [(frame.start, frame.stop) for frame in frames(memoryview(medium.content(FILE)), HEADER)]


def rewrite(medium, records: list[int], tail: bytes = b"") -> None:
    """Put the file together anew out of the records with these indexes."""
    content = medium.content(FILE)
    parts = [content[start:stop] for start, stop in spans(medium)]
    medium.overwrite(FILE, content[:HEADER] + b"".join(parts[number] for number in records) + tail)


def kinds(medium, *heads: Head) -> set[Kind]:
    """The kinds of findings."""
    return {finding.kind for finding in verify(medium, "trail", KEY, heads).findings}


def test_a_whole_trail_has_no_findings(medium, head):
    """Untouched, every record is proved up to the head."""
    seen = verify(medium, "trail", KEY, [head])

    assert seen.whole
    assert seen.records == 8
    assert seen.heads == (head,)
    assert seen.torn == ()


def test_any_changed_byte_is_found(medium, head):
    """One bit in header or records, here or there: found, and named by the record it is in or follows."""
    original = medium.content(FILE)
    end = spans(medium)[-1][1]
    for position in range(0, end, 31):
        medium.corrupt(FILE, position)
        seen = verify(medium, "trail", KEY, [head])
        assert not seen.whole, position
        assert {finding.where for finding in seen.findings} <= {FILE, "trail"}
        medium.overwrite(FILE, original)
    assert verify(medium, "trail", KEY, [head]).whole


@pytest.mark.parametrize("number", range(7))
def test_a_removed_record_is_found_and_named(medium, head, number):
    """Any record taken out of the middle leaves a gap with its number."""
    rewrite(medium, [each for each in range(8) if each != number])
    seen = verify(medium, "trail", KEY, [head])

    assert Kind.REMOVED in {finding.kind for finding in seen.findings}
    assert number + 1 in {finding.sequence for finding in seen.findings}


@pytest.mark.parametrize("first", range(7))
def test_swapped_records_are_found(medium, head, first):
    """Two neighbours in each other's place are not where they belong."""
    order = list(range(8))
    order[first], order[first + 1] = order[first + 1], order[first]
    rewrite(medium, order)
    assert Kind.REORDERED in kinds(medium, head)


@pytest.mark.parametrize("kept", range(8))
def test_records_cut_off_at_the_end_are_found_by_the_expected_head(medium, head, kept):
    """A chain cut at a record's end is consistent in itself; only the head in the register gives it away."""
    rewrite(medium, list(range(kept)), tail=bytes(100))

    assert kinds(medium, head) == {Kind.TRUNCATED}
    assert kinds(medium) == set()


def test_a_repeated_record_is_found(medium, head):
    """The same record twice is not two acts."""
    rewrite(medium, [0, 1, 1, 2, 3, 4, 5, 6, 7])
    assert kinds(medium, head)


def test_a_record_of_another_trail_is_found(medium, head):
    """A record sealed for another place, even under the same key, does not open in this one."""
    Trail.open(medium, "other", KEY).append([login(number) for number in range(8)])
    foreign = medium.content("other/archive-00000001.chain")
    other = [(frame.start, frame.stop) for frame in frames(memoryview(foreign), HEADER)]
    content = bytearray(medium.content(FILE))
    start, stop = spans(medium)[3]
    content[start:stop] = foreign[other[3][0] : other[3][1]]
    medium.overwrite(FILE, bytes(content))
    assert Kind.EDITED in kinds(medium, head)


def test_a_file_of_another_trail_is_found(medium, head):
    """A whole chain put in place of ours does not hold the record the register remembers."""
    Trail.open(medium, "other", KEY).append([login(number) for number in range(9)])
    medium.overwrite(FILE, medium.content("other/archive-00000001.chain"))
    assert kinds(medium, head)


def test_another_key_opens_nothing(medium, head):
    """Under a wrong key everything is foreign, and nothing is raised."""
    seen = verify(medium, "trail", b"\1" * 32, [head])
    assert {Kind.FOREIGN, Kind.TRUNCATED} >= {finding.kind for finding in seen.findings} != set()


def test_a_missing_chain_is_found(medium, head):
    """Deleting a whole chain, or the whole folder, is remembered by the register."""
    lost = replace(head, chain="control.1")
    assert kinds(medium, head, lost) == {Kind.MISSING}
    medium.unlink(FILE)
    assert kinds(medium, head) == {Kind.MISSING}
    assert kinds(medium) == set()


def test_a_chain_that_never_had_a_record_is_not_missed(medium, head):
    """A head of nothing expects nothing."""
    assert kinds(medium, head, Head("control.1", 0, bytes(32))) == set()


def test_a_missing_segment_is_found(medium, monkeypatch):
    """A segment taken out of the middle of a chain leaves a hole."""
    monkeypatch.setattr(chain, "AHEAD", 512)
    trail = Trail.open(medium, "trail", KEY)
    trail._chain._segment_bytes = 2048
    for number in range(40):
        trail.append([login(number)])
    trail.flush()
    names = medium.listing("trail")
    assert len(names) > 4
    assert kinds(medium, trail.head) == set()
    medium.unlink(f"trail/{names[2]}")
    assert Kind.REMOVED in kinds(medium, trail.head)


def test_a_torn_tail_is_named_apart(medium, trail, head):
    """Half a record behind everything that was promised is what a crash leaves, and no finding."""
    stop = spans(medium)[-1][1]
    trail.append([login(8)])
    content = medium.content(FILE)
    medium.overwrite(FILE, content[: stop + 50])
    seen = verify(medium, "trail", KEY, [head])

    assert seen.whole
    assert seen.records == 8
    assert [one.offset for one in seen.torn] == [stop]


def test_a_torn_record_that_was_promised_is_a_finding(medium, trail, head):
    """The same bytes are missing, but the register says they were durable: that was no crash."""
    stop = spans(medium)[-1][1]
    promised = trail.append([login(8)])
    trail.flush()
    medium.overwrite(FILE, medium.content(FILE)[: stop + 50])
    assert not verify(medium, "trail", KEY, [promised]).whole


def test_records_newer_than_the_head_are_fine(medium, trail, head):
    """A server goes on writing while it is verified against the head of a moment ago."""
    trail.append([login(9)])
    trail.flush()
    seen = verify(medium, "trail", KEY, [head])

    assert seen.whole
    assert seen.heads == (trail.head,)


def test_damage_that_is_gone_at_the_second_look_is_none(medium, head, monkeypatch):
    """A record caught while it was being written is looked at again before anybody is accused."""
    original = medium.content(FILE)
    honest = chain.verify
    looks = []

    def look(*arguments, **named):
        if not looks:
            medium.corrupt(FILE, spans(medium)[-1][0] + 90)
        seen = honest(*arguments, **named)
        medium.overwrite(FILE, original)
        looks.append(seen)
        return seen

    monkeypatch.setattr(chain, "verify", look)
    assert verify(medium, "trail", KEY, [head]).whole
    assert [one.tampered for one in looks] == [True, False]
