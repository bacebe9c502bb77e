"""The vault: what was flushed comes back bit for bit, a full or failing medium refuses, closed packs never change."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground.medium import DiskMedium, MemoryMedium
from strongroom.ground.seal import plain_length
from strongroom.vault.blob import Location, SealedRecord
from strongroom.vault.check import check
from strongroom.vault.pack import Vault

VECTORS = Path(__file__).parent.parent / "vectors" / "pack"
CHUNK = 1 << 20
KEY_ID = b"k" * 16


def sealed_bytes(seed, length):
    """Bytes that look sealed: the same for the same seed."""
    return hashlib.shake_128(b"%d" % seed).digest(length)


def record(seed, length=600):
    """One record in three pieces."""
    data = sealed_bytes(seed, length)
    cut = length // 3
    pieces = [data[:cut], bytearray(data[cut : 2 * cut]), memoryview(data)[2 * cut :]]
    return SealedRecord(seed.to_bytes(16, "big"), KEY_ID, pieces, b"label of %d" % seed)


def whole(made):
    """The sealed bytes of a record."""
    return b"".join(made.sealed)


@pytest.fixture(params=["disk", "memory"])
def medium(request, tmp_path):
    """An empty medium of each kind."""
    made = DiskMedium(tmp_path / "home") if request.param == "disk" else MemoryMedium()
    yield made
    made.close()


def filled(medium, count=30, **options):
    """A vault with *count* records, flushed one by one, and where they are."""
    vault = Vault(medium, **options)
    kept = []
    for seed in range(count):
        made = record(seed, 300 + seed * 97)
        kept.append((made, vault.append([made])[0]))
        vault.flush()
    return vault, kept


def assert_all_there(vault, kept):
    """Every record is at its place, whole and with its label, and the packs are well."""
    for made, location in kept:
        assert vault.read(location) == whole(made)
        stored = vault.record(location)
        assert (stored.blob_id, stored.key_id, stored.trailer) == (made.blob_id, made.key_id, made.trailer)
        assert stored.location == location
    walked = [stored for pack in vault.packs() for stored in vault.records(pack)]
    assert {stored.blob_id for stored in walked} >= {made.blob_id for made, _ in kept}
    assert list(check(vault, read=True)) == []


def test_records_come_back(medium):
    """A group of records is read back, whole or in part, by its locations."""
    vault = Vault(medium)
    made = [record(seed, 1000 + seed) for seed in range(10)]
    locations = vault.append(made)
    vault.flush()

    assert_all_there(vault, list(zip(made, locations, strict=True)))
    for one, location in zip(made, locations, strict=True):
        assert location.length == len(whole(one))
        assert location.plain_length == plain_length(location.length)
        for start, stop in ((0, 0), (0, 1), (17, 500), (999, location.length)):
            assert vault.read(location, start, stop) == whole(one)[start:stop]
    vault.close()


def test_reopened_vault_has_them_all(medium):
    """Opening again finds every record and goes on in the same pack."""
    vault, kept = filled(medium)
    vault.close()
    again = Vault(medium)

    assert again.torn == ()
    assert_all_there(again, kept)
    made = record(999)
    kept.append((made, again.append([made])[0]))
    again.flush()
    assert_all_there(again, kept)
    assert again.packs() == [1]
    again.close()


def test_full_pack_is_closed_and_the_next_begun(medium):
    """Packs are closed when full, read through their file afterwards, and numbered on."""
    vault, kept = filled(medium, 30, pack_bytes=10_000)

    assert len(vault.packs()) > 4
    assert vault.open_packs() == vault.packs()[-1:]
    assert_all_there(vault, kept)
    vault.close()
    again = Vault(medium, pack_bytes=10_000)
    assert_all_there(again, kept)
    again.close()


def test_closed_packs_never_change(medium):
    """Nothing that happens later touches a byte of a closed pack (I9)."""
    vault, _ = filled(medium, 20, pack_bytes=10_000)
    closed = {}
    for number in set(vault.packs()) - set(vault.open_packs()):
        name = f"vault/{number:08d}.pack"
        closed[name] = medium.open(name, writable=False).pread(1 << 20, 0)
    assert len(closed) > 1
    for seed in range(100, 130):
        vault.append([record(seed)])
        vault.flush()
    vault.close()
    Vault(medium, pack_bytes=10_000).close()

    for name, content in closed.items():
        assert medium.open(name, writable=False).pread(1 << 20, 0) == content


def test_earlier_bytes_of_an_open_pack_never_change():
    """Appending never writes into a sector that holds an earlier record."""
    medium = MemoryMedium()
    vault = Vault(medium)
    for seed in range(20):
        before = medium.content("vault/00000001.open") if seed else b""
        vault.append([record(seed, 60 + seed * 101)])
        vault.flush()
        used = len(before.rstrip(b"\0"))
        assert medium.content("vault/00000001.open")[:used] == before[:used]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(60, 5_000), min_size=1, max_size=12), st.integers(2_000, 20_000), st.data())
def test_any_groups_come_back(lengths, pack_bytes, data):
    """Whatever the lengths and the groups, every record comes back after a power cut."""
    medium = MemoryMedium()
    vault = Vault(medium, pack_bytes=pack_bytes)
    kept = []
    group = []
    for seed, length in enumerate(lengths):
        group.append(record(seed, length))
        if data.draw(st.booleans()):
            kept += zip(group, vault.append(group), strict=True)
            vault.flush()
            group = []
    again = Vault(medium.power_cut(), pack_bytes=pack_bytes)

    assert again.torn == ()
    assert_all_there(again, kept)


def test_unflushed_is_not_promised():
    """What was appended and not flushed is gone after a power cut, without a report."""
    medium = MemoryMedium()
    vault, kept = filled(medium, 5)
    vault.append([record(99)])
    again = Vault(medium.power_cut())

    assert again.torn == ()
    assert len(list(again.records(1))) == 5
    assert_all_there(again, kept)


@pytest.mark.parametrize("length", [60, CHUNK - 1, CHUNK, CHUNK + 17, 2 * CHUNK, 3 * CHUNK + 70_000])
def test_leased_record_comes_back(medium, length):
    """A long record written in pieces is read back whole and in any part."""
    vault = Vault(medium)
    data = sealed_bytes(1, length)
    lease = vault.lease(b"L" * 16, KEY_ID)
    for start in range(0, length, 65_536):
        lease.write([data[start : start + 40_000], data[start + 40_000 : start + 65_536]])
    assert lease.sealed_length == length
    location = lease.finish(b"label")
    vault.flush()

    for start, stop in ((0, length), (0, 1), (length - 1, length), (length // 3, length // 2), (length, length)):
        assert vault.read(location, start, stop) == data[start:stop]
    assert vault.record(location).trailer == b"label"
    assert [stored.blob_id for stored in vault.records(location.pack)] == [b"L" * 16]
    assert list(check(vault, read=True)) == []
    vault.close()
    again = Vault(medium)
    assert again.read(location) == data
    again.close()


def test_leases_run_side_by_side_with_appends(medium):
    """Several long records come in at once, beside short ones, each in a pack of its own."""
    vault = Vault(medium, leases=3)
    leases = [vault.lease(bytes([n]) * 16, KEY_ID) for n in range(3)]
    assert vault.free_leases == 0
    with pytest.raises(OutOfResources, match="3 long instances"):
        vault.lease(b"x" * 16, KEY_ID)
    kept = []
    for step in range(4):
        for number, lease in enumerate(leases):
            lease.write([sealed_bytes(number * 10 + step, 500_000)])
        made = record(step)
        kept.append((made, vault.append([made])[0]))
        vault.flush()
    locations = [lease.finish(b"label") for lease in leases]
    vault.flush()

    assert len({location.pack for location in locations}) == 3
    for number, location in enumerate(locations):
        assert vault.read(location) == b"".join(sealed_bytes(number * 10 + step, 500_000) for step in range(4))
    assert_all_there(vault, kept)
    assert vault.free_leases == 3
    vault.close()


def test_abandoned_lease_is_skippable_dead_bytes(medium):
    """What an abandoned lease wrote is stepped over; the pack takes another record behind it."""
    vault = Vault(medium, leases=1)
    dead = vault.lease(b"D" * 16, KEY_ID)
    dead.write([sealed_bytes(1, 2 * CHUNK + 5)])
    dead.abandon()
    dead.abandon()
    lease = vault.lease(b"L" * 16, KEY_ID)
    lease.write([sealed_bytes(2, 1000)])
    location = lease.finish(b"label")
    vault.flush()

    assert vault.read(location) == sealed_bytes(2, 1000)
    assert [stored.blob_id for stored in vault.records(location.pack)] == [b"L" * 16]
    assert list(check(vault, read=True)) == []
    assert vault.packs() == [1]
    with pytest.raises(ValueError, match="has ended"):
        dead.write([b"x"])
    with pytest.raises(IntegrityError):
        vault.record(Location(1, 512, 2 * CHUNK + 5, 0))
    vault.close()


def test_read_of_a_wrong_location_is_refused():
    """A location that is not a record's, or another's, is an IntegrityError; a missing pack is NotFound."""
    vault, kept = filled(MemoryMedium(), 3)
    location = kept[1][1]
    for wrong in (
        Location(1, location.offset + 512, location.length, 0),
        Location(1, location.offset, location.length + 1, 0),
        Location(1, 0, location.length, 0),
        Location(1, 1 << 40, location.length, 0),
    ):
        with pytest.raises(IntegrityError):
            vault.read(wrong)
    with pytest.raises(NotFound):
        vault.read(Location(7, location.offset, location.length, 0))
    with pytest.raises(ValueError, match="bytes 0 to"):
        vault.read(location, 0, location.length + 1)


def test_failed_flush_refuses_everything_after():
    """A failed flush is never tried again: appends, leases and flushes are refused, reading goes on."""
    medium = MemoryMedium()
    vault, kept = filled(medium, 5)
    vault.append([record(99)])
    medium.fail_flushes()
    for act in (
        vault.flush,
        vault.flush,
        lambda: vault.append([record(100)]),
        lambda: vault.lease(b"x" * 16, KEY_ID),
    ):
        with pytest.raises(OutOfResources):
            act()

    assert vault.prepare() is False
    assert vault.free_leases == 4
    for made, location in kept:
        assert vault.read(location) == whole(made)
    again = Vault(medium.power_cut())
    assert_all_there(again, kept)


def test_full_medium_refuses_and_recovers():
    """On a full medium a group is refused as a whole; once there is room the next one is taken."""
    medium = MemoryMedium()
    vault, kept = filled(medium, 5)
    medium.capacity = medium.size("vault/00000001.open") + 1_500
    with pytest.raises(OutOfResources):
        vault.append([record(50), record(51), record(52)])
    medium.capacity = None
    made = record(60, 700)
    kept.append((made, vault.append([made])[0]))
    vault.flush()

    assert_all_there(vault, kept)
    assert len(list(vault.records(1))) == 6
    assert_all_there(Vault(medium.power_cut()), kept)


def test_full_medium_during_a_lease():
    """A lease that runs out of room is abandoned, and its pack serves again."""
    medium = MemoryMedium()
    vault = Vault(medium)
    lease = vault.lease(b"L" * 16, KEY_ID)
    medium.capacity = 1 << 20
    with pytest.raises(OutOfResources):
        lease.write([bytes(b"x" * (2 * CHUNK))])
    lease.abandon()
    medium.capacity = None
    again = vault.lease(b"M" * 16, KEY_ID)
    again.write([sealed_bytes(2, 1000)])
    location = again.finish(b"label")
    vault.flush()

    assert vault.read(location) == sealed_bytes(2, 1000)
    assert vault.free_leases == 4
    after = Vault(medium.power_cut())
    assert after.read(location) == sealed_bytes(2, 1000)


def test_prepared_zeros_are_ahead_of_the_records(medium):
    """Preparing writes zeros ahead until enough stand there, and makes the next pack in time."""
    vault = Vault(medium, pack_bytes=24 << 20)
    steps = 0
    while vault.prepare():
        steps += 1
    assert medium.size("vault/00000001.open") >= 16 << 20
    assert 2 <= steps <= 5
    for seed in range(20):
        vault.append([record(seed, 1_000_000)])
    while vault.prepare():
        pass

    assert vault.packs() == [1, 2]
    assert medium.size("vault/00000002.open") >= 8 << 20
    vault.close()


def test_preparing_beside_appending_destroys_nothing(medium):
    """A thread that prepares while another appends never writes zeros over a record."""
    vault = Vault(medium, pack_bytes=4 << 20)
    done = threading.Event()

    def prepare():
        while not done.is_set():
            vault.prepare()

    thread = threading.Thread(target=prepare)
    thread.start()
    kept = []
    try:
        for seed in range(60):
            made = record(seed, 200_000)
            kept.append((made, vault.append([made])[0]))
            vault.flush()
    finally:
        done.set()
        thread.join()

    assert_all_there(vault, kept)
    vault.close()


def test_closed_pack_takes_no_zeros():
    """A step of preparing that comes late writes nothing behind a closed pack's end (I9)."""
    medium = MemoryMedium()
    vault, _ = filled(medium, 3)
    late = vault._main
    vault._close_for_good(late)
    before = medium.content("vault/00000001.pack")
    late.fill(8 << 20)

    assert medium.content("vault/00000001.pack") == before


def test_more_packs_than_open_files(medium, monkeypatch):
    """Reading from many packs keeps few files open and always reads the right one."""
    from strongroom.vault import pack

    monkeypatch.setattr(pack, "KEPT_FILES", 3)
    vault, kept = filled(medium, 40, pack_bytes=2_000)
    assert len(vault.packs()) > 10
    for _ in range(2):
        for made, location in kept:
            assert vault.read(location) == whole(made)
    assert len(vault._files) <= 4
    vault.close()


def test_nonsense_records_are_bugs():
    """Ids of a wrong length, too long a label and lengths no seal makes are refused before anything is written."""
    medium = MemoryMedium()
    vault = Vault(medium)
    data = [sealed_bytes(1, 600)]
    for wrong in (
        SealedRecord(b"short", KEY_ID, data, b""),
        SealedRecord(b"b" * 16, b"", data, b""),
        SealedRecord(b"b" * 16, KEY_ID, data, bytes(70_000)),
    ):
        with pytest.raises(ValueError, match="trailer of"):
            vault.append([wrong])
    with pytest.raises(IntegrityError):
        vault.append([SealedRecord(b"b" * 16, KEY_ID, [b"x"], b"")])

    assert list(vault.records(1)) == []


def test_golden_pack_opens():
    """The pack an earlier version wrote opens: its whole and its leased record are there, the abandoned one is not."""
    medium = MemoryMedium()
    medium.make_directory("vault")
    medium.overwrite("vault/00000001.pack", (VECTORS / "00000001.pack").read_bytes())
    vault = Vault(medium)
    stored = list(vault.records(1))

    assert {item.blob_id for item in stored} == {b"L" * 16, b"B" * 16}
    assert stored[0].trailer == b"trailer of the leased record"
    assert stored[1].trailer == b"trailer of the whole record"
    pattern = b"".join(hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(22))
    assert vault.read(stored[0].location) == pattern[:700]
    assert vault.read(stored[1].location) == pattern[:300]
    assert list(check(vault, read=True)) == []
