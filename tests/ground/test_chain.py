"""Chained records: what was flushed stays, a torn tail is cut and named, anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground.chain import Chain, Head, chains, read, verify
from strongroom.ground.disk import DiskMedium
from strongroom.ground.memory import MemoryMedium

KEY = bytes(range(32))
VECTORS = Path(__file__).parent.parent / "vectors" / "trail"
FILE = "trail/main-00000001.chain"


def opened(medium, **options):
    """Open the chain of these tests."""
    return Chain.open(medium, "trail", "main", KEY, **options)


def payloads(medium, **options):
    """All payloads of the chain."""
    return [record.payload for record in read(medium, "trail", "main", KEY, **options)]


def filled(medium, count=5, **options):
    """Open a chain and flush *count* records of different length, each a group."""
    chain = opened(medium, **options)
    for number in range(1, count + 1):
        chain.append([b"%d" % number * (number * 37)])
        chain.flush()
    return chain


@pytest.fixture(params=["disk", "memory"])
def medium(request, tmp_path):
    """An empty medium of each kind."""
    made = DiskMedium(tmp_path / "home") if request.param == "disk" else MemoryMedium()
    yield made
    made.close()


def test_records_come_back_in_order(medium):
    """What was appended is read in order, and the head names the newest."""
    chain = opened(medium)
    assert chain.head == Head("main", 0, bytes(32))
    head = chain.append([b"one", b"", b"three"])
    chain.flush()

    records = list(read(medium, "trail", "main", KEY))
    assert [(r.sequence, r.payload) for r in records] == [(1, b"one"), (2, b""), (3, b"three")]
    assert (head.sequence, head.hash) == (3, records[-1].hash)
    assert head == chain.head


def test_reopened_chain_goes_on(medium):
    """A chain opened again continues where it ended."""
    head = filled(medium).head
    chain = opened(medium, expected=head)
    assert chain.head == head
    assert chain.torn is None
    chain.append([b"more"])
    chain.flush()

    assert payloads(medium, after=5) == [b"more"]
    assert verify(medium, "trail", "main", KEY, expected=chain.head).findings == ()


def test_segments_rotate_and_join(medium):
    """A long chain is spread over segments, read as one, forwards and backwards, from any place."""
    chain = filled(medium, 40, segment_bytes=2_000)
    assert len(medium.listing("trail")) > 5
    sequences = list(range(1, 41))

    assert [r.sequence for r in read(medium, "trail", "main", KEY)] == sequences
    assert [r.sequence for r in read(medium, "trail", "main", KEY, newest_first=True)] == sequences[::-1]
    for after in (0, 1, 17, 39, 40, 99):
        assert [r.sequence for r in read(medium, "trail", "main", KEY, after=after)] == sequences[after:]
        backwards = [r.sequence for r in read(medium, "trail", "main", KEY, after=after, newest_first=True)]
        assert backwards == sequences[after:][::-1]
    again = opened(medium, segment_bytes=2_000)
    assert again.head == chain.head


def test_closed_segments_have_no_zeros(medium):
    """Only the newest segment has zeros written ahead."""
    filled(medium, 40, segment_bytes=2_000)
    sizes = [medium.size(f"trail/{name}") for name in medium.listing("trail")]

    assert all(size < 5_000 for size in sizes[:-1])


def test_nothing_readable_in_the_file():
    """A payload does not show in the file."""
    medium = MemoryMedium()
    opened(medium).append([b"CANARY^PATIENT"])

    assert b"CANARY" not in medium.content(FILE)


def test_two_chains_in_one_folder(medium):
    """Chains are told apart by name, and one's file cannot stand in for the other's."""
    for name in ("web", "dicom"):
        chain = Chain.open(medium, "trail", name, KEY)
        chain.append([name.encode()])
        chain.flush()

    assert chains(medium, "trail") == ["dicom", "web"]
    medium.rename("trail/web-00000001.chain", "trail/dicom-00000001.chain")
    with pytest.raises(IntegrityError, match="another chain"):
        Chain.open(medium, "trail", "dicom", KEY)


def test_absent_chain(medium):
    """Reading a chain that is not there says so."""
    with pytest.raises(NotFound):
        payloads(medium)


def test_another_key_opens_nothing(medium):
    """Under another key nothing of a chain is accepted."""
    filled(medium)
    with pytest.raises(IntegrityError):
        Chain.open(medium, "trail", "main", bytes(32))
    with pytest.raises(IntegrityError):
        list(read(medium, "trail", "main", bytes(32)))


def test_flushed_records_survive_a_power_cut():
    """After a power cut everything that was flushed is there, and nothing is reported."""
    medium = MemoryMedium()
    chain = filled(medium)
    chain.append([b"not flushed"])
    after = medium.power_cut()
    again = opened(after)

    assert (again.head.sequence, again.torn) == (5, None)
    assert len(payloads(after)) == 5


@pytest.mark.parametrize("ahead", [True, False], ids=["zeros behind", "file ends"])
def test_torn_tail_at_every_length(ahead):
    """However much of the last record reached the disk, all before it stays and the tear is named and cut."""
    medium = MemoryMedium()
    chain = filled(medium, 3)
    before = chain._end
    chain.append([b"the last record, torn" * 40])
    whole = medium.content(FILE)
    stop = chain._end
    assert stop - before > 900
    for length in range(before, stop):
        torn = MemoryMedium()
        torn.make_directory("trail")
        torn.overwrite(FILE, whole[:length] + (bytes(len(whole) - length) if ahead else b""))
        again = opened(torn)

        assert again.head.sequence == 3
        if length == before:
            assert again.torn is None
        else:
            assert (again.torn.where, again.torn.offset) == (FILE, before)
            assert 0 < again.torn.length <= length - before
        again.append([b"goes on"])
        again.flush()
        assert len(payloads(torn)) == 4
        assert verify(torn, "trail", "main", KEY, expected=again.head).findings == ()


def test_torn_sectors_in_any_pattern():
    """Sectors of the last group may reach the disk in any order: what is whole in front stays, the rest is a tear."""
    medium = MemoryMedium()
    chain = filled(medium, 3)
    chain.append([b"a" * 700, b"b" * 700, b"c" * 700])

    def without(sector):
        def keep(_name, offset, data):
            start = -(-offset // 512) * 512 + sector * 512 - offset
            return data[:start] + bytes(min(512, len(data) - start)) + data[start + 512 :]

        return keep

    for sector in range(4):
        after = medium.power_cut(without(sector))
        again = opened(after)
        assert again.torn is not None
        assert 3 <= again.head.sequence < 6
        assert [record.sequence for record in read(after, "trail", "main", KEY)] == list(
            range(1, again.head.sequence + 1)
        )


def test_damage_before_a_flush_is_not_a_tear():
    """A hole in a record that later flushed records stand behind is damage: the chain does not open for writing."""
    medium = MemoryMedium()
    chain = opened(medium)
    for number in range(4):
        chain.append([b"%d" % number * 2000])
        chain.flush()
    content = bytearray(medium.content(FILE))
    content[2560:3072] = bytes(512)
    medium.overwrite(FILE, bytes(content))

    with pytest.raises(IntegrityError, match="was whole once"):
        opened(medium)


def test_expected_head_protects_the_tail():
    """With the head kept elsewhere, a chain cut at a record's end, inside one, or gone altogether does not open."""
    medium = MemoryMedium()
    chain = filled(medium, 4)
    cut_at_record = chain._end
    chain.append([b"last"])
    chain.flush()
    content = medium.content(FILE)
    for length in (cut_at_record, cut_at_record + 10, 128):
        cut = MemoryMedium()
        cut.make_directory("trail")
        cut.overwrite(FILE, content[:length])
        with pytest.raises(IntegrityError):
            opened(cut, expected=chain.head)
        assert cut.content(FILE) == content[:length]
    with pytest.raises(IntegrityError, match="ends with record 0"):
        opened(MemoryMedium(), expected=chain.head)
    with pytest.raises(IntegrityError, match="not the one"):
        opened(medium, expected=Head("main", 5, bytes(32)))


def test_stillborn_segment_is_removed():
    """A crash while a segment is begun leaves the chain as it was, and is named."""
    medium = MemoryMedium()
    head = filled(medium).head
    for content in (b"", b"SRch", bytes(128), bytes(5000)):
        medium.overwrite("trail/main-00000002.chain", content)
        chain = opened(medium, expected=head)
        assert chain.head == head
        assert chain.torn.where == "trail/main-00000002.chain"
        assert medium.listing("trail") == ["main-00000001.chain"]


def test_failed_append_leaves_the_chain_as_it_was():
    """When there is no room the head stays, and what is appended later stands where the failed record would have."""
    medium = MemoryMedium()
    chain = filled(medium, 2)
    head, medium.capacity = chain.head, medium.size(FILE)
    with pytest.raises(OutOfResources):
        chain.append([b"x" * (2 << 20)])

    assert chain.head == head
    chain.append([b"small"])
    chain.flush()
    assert len(payloads(medium)) == 3
    assert opened(medium).torn is None


def test_failed_flush_ends_the_chain():
    """After a failed flush nothing is appended any more; reading goes on."""
    medium = MemoryMedium()
    chain = filled(medium, 2)
    chain.append([b"lost"])
    medium.fail_flushes()
    with pytest.raises(OutOfResources):
        chain.flush()
    with pytest.raises(OutOfResources):
        chain.append([b"more"])
    with pytest.raises(OutOfResources):
        chain.flush()

    assert len(payloads(medium)) == 3


def test_one_flush_per_group():
    """A group of records costs one flush."""
    medium = MemoryMedium()
    chain = filled(medium, 1)
    flushes = medium.flushes
    for _ in range(10):
        chain.append([b"x" * 100] * 5)
        chain.flush()

    assert medium.flushes == flushes + 10


def test_too_long_a_record_is_a_bug():
    """A payload beyond the documented length is refused before anything is written."""
    chain = opened(MemoryMedium())
    with pytest.raises(ValueError, match="is the longest"):
        chain.append([bytes((8 << 20) + 1)])


@pytest.mark.parametrize("name", ["", "A", "a-b", "a/b", "..", "x" * 70])
def test_names_of_chains(name):
    """A chain's name is one plain word of ours."""
    with pytest.raises(ValueError, match="not a name"):
        Chain.open(MemoryMedium(), "trail", name, KEY)


def test_golden_chain_opens():
    """The chain an earlier version wrote opens, verifies and goes on."""
    fields = dict(line.split(": ") for line in (VECTORS / "main.txt").read_text().splitlines())
    head = Head("main", int(fields["head-sequence"]), bytes.fromhex(fields["head-hash"]))
    medium = MemoryMedium()
    medium.make_directory("trail")
    for path in VECTORS.glob("*.chain"):
        medium.overwrite(f"trail/{path.name}", path.read_bytes())

    assert payloads(medium) == [b"first", b"second" * 20, b"third"]
    assert verify(medium, "trail", "main", KEY, expected=head).findings == ()
    assert opened(medium, expected=head).head == head
