"""Proof of a chain: every way of tampering is found and named; a crash's tear is named apart."""

from __future__ import annotations

import pytest

from strongroom.ground._segment import HEADER, frames
from strongroom.ground.chain import Chain, Head, Kind, verify
from strongroom.ground.memory import MemoryMedium

KEY = bytes(range(32))
FIRST = "trail/main-00000001.chain"


@pytest.fixture
def chain():
    """A medium with a chain of nine flushed records, its head, and its segments' names."""
    medium = MemoryMedium()
    made = Chain.open(medium, "trail", "main", KEY)
    for number in range(1, 10):
        made.append([b"%d" % number * 50])
        made.flush()
    return medium, made.head


@pytest.fixture
def long_chain():
    """A medium with a chain over several segments, and its head."""
    medium = MemoryMedium()
    made = Chain.open(medium, "trail", "main", KEY, segment_bytes=1_000)
    for number in range(1, 31):
        made.append([b"%d" % number * 50])
        made.flush()
    return medium, made.head


def proved(medium, expected=None):
    """Verify and return the kinds found, with the record each is at."""
    seen = verify(medium, "trail", "main", KEY, expected=expected)
    return [(finding.kind, finding.sequence) for finding in seen.findings]


def parts(medium, name=FIRST):
    """Split a segment into header and frames."""
    content = medium.content(name)
    return [content[:HEADER], *(content[f.start : f.stop] for f in frames(memoryview(content)))]


def test_whole_chain(long_chain):
    """A whole chain has no findings and reaches its head."""
    medium, head = long_chain
    seen = verify(medium, "trail", "main", KEY, expected=head)

    assert (seen.findings, seen.torn, seen.head, seen.records, seen.tampered) == ((), None, head, 30, False)


def test_every_flipped_bit_is_found(chain):
    """No byte of a chain can change without a finding that is not called a tear."""
    medium, head = chain
    stop = sum(map(len, parts(medium)))
    for position in range(stop):
        medium.corrupt(FIRST, position)
        seen = verify(medium, "trail", "main", KEY, expected=head)
        medium.corrupt(FIRST, position)
        assert seen.tampered, position
    assert proved(medium, head) == []


def test_flipped_bit_is_named_at_its_record(chain):
    """An edited record is named, and the records behind it are still proven."""
    medium, head = chain
    pieces = parts(medium)
    position = sum(map(len, pieces[:4])) + 60
    medium.corrupt(FIRST, position)
    seen = verify(medium, "trail", "main", KEY, expected=head)

    assert [(f.kind, f.sequence) for f in seen.findings] == [(Kind.EDITED, 4)]
    assert seen.records == 8
    assert seen.head == head


@pytest.mark.parametrize("with_head", [True, False])
def test_removed_record_is_named(chain, with_head):
    """A record taken out of the middle is named, head or no head."""
    medium, head = chain
    pieces = parts(medium)
    medium.overwrite(FIRST, b"".join(pieces[:4] + pieces[5:]))

    assert proved(medium, head if with_head else None) == [(Kind.REMOVED, 4)]


def test_reordered_records_are_named(chain):
    """Two records that changed places are named as reordered, not as removed."""
    medium, head = chain
    pieces = parts(medium)
    pieces[4], pieces[5] = pieces[5], pieces[4]
    medium.overwrite(FIRST, b"".join(pieces))

    found = proved(medium, head)
    assert (Kind.REORDERED, 4) in found
    assert {kind for kind, _ in found} == {Kind.REORDERED}


def test_repeated_record_is_named(chain):
    """A record that stands there twice is named."""
    medium, head = chain
    pieces = parts(medium)
    medium.overwrite(FIRST, b"".join([*pieces[:5], pieces[4], *pieces[5:]]))

    assert (Kind.REORDERED, 4) in proved(medium, head)


def test_truncation_needs_the_head(chain):
    """A chain cut at a record's end is found by whoever kept the head, and by nobody else."""
    medium, head = chain
    pieces = parts(medium)
    medium.overwrite(FIRST, b"".join(pieces[:-2]))

    assert proved(medium, head) == [(Kind.TRUNCATED, 9)]
    assert proved(medium) == []


def test_everything_removed(chain):
    """A chain that is gone altogether is found with the head."""
    medium, head = chain
    medium.unlink(FIRST)

    assert proved(medium, head) == [(Kind.TRUNCATED, 9)]


def test_replaced_end_is_found_by_its_hash(chain):
    """A holder of the key who wrote the newest records anew is found by the hash kept elsewhere."""
    medium, head = chain
    other = MemoryMedium()
    other.make_directory("trail")
    other.overwrite(FIRST, b"".join(parts(medium)[:-1]))
    made = Chain.open(other, "trail", "main", KEY)
    forged = made.append([b"9" * 50])
    made.flush()

    assert forged.sequence == head.sequence
    assert proved(other, head) == [(Kind.EDITED, 9)]
    assert proved(other) == []


def test_torn_tail_is_not_tampering(chain):
    """What a crash left half written is named apart, at every length, when the head is in front of it."""
    medium, head = chain
    pieces = parts(medium)
    whole = b"".join(pieces)
    expected = verify(medium, "trail", "main", KEY).head
    assert expected == head
    for length in range(len(whole) - len(pieces[-1]) + 1, len(whole)):
        torn = MemoryMedium()
        torn.make_directory("trail")
        torn.overwrite(FIRST, whole[:length] + bytes(2_000))
        seen = verify(torn, "trail", "main", KEY)
        assert [(f.kind, f.sequence) for f in seen.findings] == [(Kind.TORN_TAIL, 9)]
        assert not seen.tampered
        assert seen.torn.offset == len(whole) - len(pieces[-1])
        with_head = verify(torn, "trail", "main", KEY, expected=head)
        assert with_head.tampered


def test_removed_segment_is_named(long_chain):
    """A missing segment in the middle is named with its records."""
    medium, head = long_chain
    medium.unlink("trail/main-00000002.chain")
    found = proved(medium, head)

    assert {kind for kind, _ in found} == {Kind.REMOVED}


def test_removed_last_segment_needs_the_head(long_chain):
    """A missing last segment is a truncation."""
    medium, head = long_chain
    medium.unlink(f"trail/{medium.listing('trail')[-1]}")

    assert proved(medium, head) == [(Kind.TRUNCATED, 30)]


def test_swapped_segments_are_named(long_chain):
    """Two segments that changed names are found."""
    medium, head = long_chain
    second, third = (medium.content(f"trail/main-0000000{n}.chain") for n in (2, 3))
    medium.overwrite("trail/main-00000002.chain", third)
    medium.overwrite("trail/main-00000003.chain", second)

    assert Kind.REORDERED in {kind for kind, _ in proved(medium, head)}


def test_segment_of_another_chain_is_named(long_chain):
    """A segment of another chain under the same key and name is foreign."""
    medium, head = long_chain
    other = MemoryMedium()
    made = Chain.open(other, "trail", "main", KEY, segment_bytes=1_000)
    for number in range(1, 31):
        made.append([b"%d" % number * 50])
        made.flush()
    medium.overwrite("trail/main-00000002.chain", other.content("trail/main-00000002.chain"))

    assert (Kind.FOREIGN, 0) in proved(medium, head)


def test_cut_in_an_older_segment_is_tampering(long_chain):
    """A torn record in any segment but the last is no crash's doing."""
    medium, head = long_chain
    name = "trail/main-00000002.chain"
    medium.overwrite(name, medium.content(name)[:-20])
    found = proved(medium, head)

    assert found
    assert Kind.TORN_TAIL not in {kind for kind, _ in found}


def test_damaged_header_is_named(long_chain):
    """A changed segment header is found."""
    medium, head = long_chain
    for position in (0, 4, 10, 30, 50, 100):
        medium.corrupt("trail/main-00000002.chain", position)
        assert Kind.FOREIGN in {kind for kind, _ in proved(medium, head)}
        medium.corrupt("trail/main-00000002.chain", position)


def test_findings_are_bounded():
    """A chain that is broken throughout gives a bounded list."""
    medium = MemoryMedium()
    made = Chain.open(medium, "trail", "main", KEY)
    made.append([b"x" * 10] * 500)
    made.flush()
    for frame in list(frames(memoryview(medium.content(FIRST)))):
        medium.corrupt(FIRST, frame.start + 60)

    assert len(verify(medium, "trail", "main", KEY, expected=made.head).findings) <= 100


def test_head_of_nothing():
    """The head of an empty chain expects nothing."""
    medium = MemoryMedium()
    made = Chain.open(medium, "trail", "main", KEY)

    assert proved(medium, made.head) == []
    assert proved(medium, Head("main", 0, bytes(32))) == []
