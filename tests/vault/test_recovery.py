"""After a crash: every record that was flushed stays, what was torn is named, nothing is taken away."""

from __future__ import annotations

import hashlib
import itertools
import os
import random

import pytest

from strongroom.errors import IntegrityError, OutOfResources
from strongroom.ground.medium import DiskMedium, MemoryMedium
from strongroom.vault.blob import SealedRecord
from strongroom.vault.check import FindingKind, check
from strongroom.vault.pack import Vault

FILE = "vault/00000001.open"
KEY_ID = b"k" * 16


def sealed_bytes(seed, length):
    """Bytes that look sealed."""
    return hashlib.shake_128(b"%d" % seed).digest(length)


def record(seed, length=600):
    """One record."""
    return SealedRecord(seed.to_bytes(16, "big"), KEY_ID, [sealed_bytes(seed, length)], b"label of %d" % seed)


def filled(count=4, length=600):
    """A vault in memory with flushed records, and where they are."""
    medium = MemoryMedium()
    vault = Vault(medium)
    kept = []
    for seed in range(count):
        made = record(seed, length)
        kept.append((made, vault.append([made])[0]))
        vault.flush()
    return medium, vault, kept


def as_found(content):
    """A medium with one open pack of this content."""
    medium = MemoryMedium()
    medium.make_directory("vault")
    medium.overwrite(FILE, content)
    return medium


def assert_kept(vault, kept):
    """Every kept record is read and walked, and no byte anywhere is called wrong that is not in a known tear."""
    for made, location in kept:
        assert vault.read(location) == b"".join(made.sealed)
    walked = [stored.blob_id for pack in vault.packs() for stored in vault.records(pack)]
    assert walked[: len(kept)] == [made.blob_id for made, _ in kept]
    return walked


@pytest.mark.parametrize("ahead", [True, False], ids=["zeros behind", "file ends"])
def test_torn_tail_at_every_length(ahead):
    """However much of the last record reached the disk, all before it stays, the tear is named, and work goes on."""
    medium, vault, kept = filled(3)
    start = len(medium.content(FILE))
    vault.append([record(9, 1100)])
    whole = medium.content(FILE)
    stop = len(whole.rstrip(b"\0"))
    assert stop - start > 1150
    for length in range(start, stop):
        found = as_found(whole[:length] + (bytes(len(whole) + 4096 - length) if ahead else b""))
        again = Vault(found)
        assert_kept(again, kept)
        if length == start:
            assert again.torn == ()
        else:
            (torn,) = again.torn
            assert (torn.pack, torn.offset, torn.by_crash) == (1, start, True)
            assert 0 < torn.length <= length - start
            assert again.packs() == [1]
            assert again.open_packs() == []
        assert list(check(again, read=True)) == []
        again.append([record(10)])
        again.flush()
        assert assert_kept(Vault(found.power_cut()), kept)[len(kept) :] == [record(10).blob_id]


def test_whole_tail_is_kept():
    """A record that reached the disk whole before the crash stays, also when the padding behind it did not."""
    medium, vault, kept = filled(3)
    vault.append([record(9, 1100)])
    whole = medium.content(FILE)
    for length in range(len(whole.rstrip(b"\0")), len(whole) + 1):
        again = Vault(as_found(whole[:length]))
        assert again.torn == ()
        assert len(assert_kept(again, kept)) == 4


def test_torn_bytes_stay_where_they_are():
    """Recovery takes no byte away: what was torn is still there for whoever wants to look."""
    medium, vault, _ = filled(3)
    start = len(medium.content(FILE))
    vault.append([record(9, 3000)])
    content = medium.content(FILE)[: start + 2000]
    found = as_found(content)
    Vault(found)

    assert found.content("vault/00000001.pack")[: len(content)] == content


@pytest.mark.parametrize("seed", range(20))
def test_sectors_in_any_order(seed):
    """Any subset of the last group's sectors may have arrived: what was flushed stays, the rest is never taken for whole."""
    drawn = random.Random(seed)
    medium, vault, kept = filled(3)
    vault.append([record(20 + n, 900) for n in range(4)])

    def keep(_name, offset, data):
        assert offset % 512 == 0
        sectors = [data[start : start + 512] for start in range(0, len(data), 512)]
        return b"".join(sector if drawn.random() < 0.7 else bytes(len(sector)) for sector in sectors)

    again = Vault(medium.power_cut(keep))
    walked = assert_kept(again, kept)
    for pack in again.packs():
        for stored in again.records(pack):
            assert again.read(stored.location) == sealed_bytes(
                int.from_bytes(stored.blob_id, "big"), stored.location.length
            )
    assert list(check(again, read=True)) == []
    assert len(walked) >= 3


def test_lease_torn_at_any_length():
    """A crash during a long record leaves a tear and everything that was finished before."""
    medium = MemoryMedium()
    vault = Vault(medium)
    first = vault.lease(b"F" * 16, KEY_ID)
    first.write([sealed_bytes(1, 5000)])
    location = first.finish(b"label")
    vault.flush()
    start = len(medium.content(FILE))
    second = vault.lease(b"S" * 16, KEY_ID)
    second.write([sealed_bytes(2, 2_500_000)])
    second.finish(b"label")
    whole = medium.content(FILE)
    stop = len(whole.rstrip(b"\0"))
    frames = [start, start + 64, start + 64 + 24 + (1 << 20), stop - 24]
    lengths = {at + more for at in frames for more in (0, 1, 2, 23, 24, 25, 63, 64, 65, 500)} | {stop - 1}
    for length in sorted(length for length in lengths if start <= length < stop):
        for ahead in (b"", bytes(100_000)):
            found = as_found(whole[:length] + ahead)
            again = Vault(found)
            assert again.read(location) == sealed_bytes(1, 5000)
            assert [stored.blob_id for stored in again.records(1)] == [b"F" * 16]
            assert [torn.by_crash for torn in again.torn] == [True] * (length > start)
            assert list(check(again, read=True)) == []


def test_damage_is_not_called_a_tear():
    """A flipped bit in the header of a flushed record with others behind it is damage; the others stay."""
    medium, _, kept = filled(4)
    medium.corrupt(FILE, kept[1][1].offset + 10)
    again = Vault(medium)

    (torn,) = again.torn
    assert (torn.offset, torn.by_crash) == (kept[1][1].offset, False)
    for number in (0, 2, 3):
        assert again.read(kept[number][1]) == b"".join(kept[number][0].sealed)
    with pytest.raises(IntegrityError):
        again.read(kept[1][1])


def test_damaged_newest_record_is_kept():
    """Bit rot in the newest record is no tear: it stays in its place, and `check` names it."""
    medium, _, kept = filled(4)
    medium.corrupt(FILE, kept[3][1].offset + 100)
    again = Vault(medium)

    assert again.torn == ()
    assert len(list(again.records(1))) == 4
    (finding,) = check(again, read=True)
    assert (finding.kind, finding.blob_id) == (FindingKind.DAMAGED_RECORD, kept[3][0].blob_id)


def test_hole_in_a_flushed_record_with_more_behind_it():
    """A sector lost from a record that was flushed before others is damage, and its bytes stay."""
    medium, _, kept = filled(4, 3000)
    content = bytearray(medium.content(FILE))
    offset = kept[1][1].offset
    content[offset + 512 : offset + 1024] = bytes(512)
    again = Vault(as_found(bytes(content)))

    assert again.torn == ()
    assert [finding.blob_id for finding in check(again, read=True)] == [kept[1][0].blob_id]


def test_crash_while_a_pack_is_made():
    """A pack that never got its header is removed and named; its number is the next one's, for no number may be missing."""
    for content in (b"", b"SRpk", bytes(512), bytes(8 << 10)):
        medium = as_found(content)
        vault = Vault(medium)
        assert [torn.pack for torn in vault.torn] == [1]
        assert vault.packs() == []
        vault.append([record(1)])
        vault.flush()
        assert vault.packs() == [1]


def test_crash_at_any_point_of_closing():
    """A pack whose closing was cut anywhere is closed at the next start with all its records."""
    medium, vault, kept = filled(4)
    end = len(medium.content(FILE))
    vault._close_for_good(vault._main)
    closed = medium.content("vault/00000001.pack")
    for length in range(end, len(closed) + 1, 3):
        for ahead in (b"", bytes(9000)):
            found = as_found(closed[:length] + ahead)
            again = Vault(found)
            assert_kept(again, kept)
            assert list(check(again, read=True)) == []
            if length > end:
                assert found.listing("vault") == ["00000001.pack"]
    found = as_found(closed + bytes(5000))
    assert Vault(found).torn == ()
    assert found.content("vault/00000001.pack") == closed


def test_recovery_of_recovery():
    """A crash in the middle of recovery, again and again, loses nothing."""
    medium, vault, kept = filled(3)
    start = len(medium.content(FILE))
    vault.append([record(9, 3000)])
    found = as_found(medium.content(FILE)[: start + 2000])
    for _ in range(3):
        cut = found.power_cut()
        Vault(cut)
        written = cut.content("vault/00000001.pack")
        found = as_found(written[:-40])
    again = Vault(found)

    assert_kept(again, kept)
    assert list(check(again, read=True)) == []


def test_full_disk_at_start_still_reads():
    """When there is no room to close a torn pack its records are read all the same, and it is closed at a later start."""
    medium, vault, kept = filled(3)
    start = len(medium.content(FILE))
    vault.append([record(9, 3000)])
    found = as_found(medium.content(FILE)[: start + 2000])
    found.capacity = found.size(FILE)
    again = Vault(found)
    assert_kept(again, kept)
    with pytest.raises(OutOfResources):
        again.append([record(10)])
    found.capacity = None

    assert_kept(Vault(found), kept)
    assert found.listing("vault") == ["00000001.pack"]


@pytest.mark.parametrize("after", [1, 7, 20])
def test_kill_in_the_middle_of_writing(tmp_path, after):
    """A process killed with kill -9 while it writes leaves every record it had acknowledged, bit for bit."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        vault = Vault(DiskMedium(tmp_path / "home"), pack_bytes=300_000)
        for seed in itertools.count():
            vault.append([record(seed, 20_000)])
            vault.flush()
            os.write(tell, seed.to_bytes(4, "big"))
    os.close(tell)
    acknowledged = [int.from_bytes(os.read(told, 4), "big") for _ in range(after)]
    os.kill(child, 9)
    os.waitpid(child, 0)
    while more := os.read(told, 4):
        acknowledged.append(int.from_bytes(more, "big"))
    os.close(told)
    medium = DiskMedium(tmp_path / "home")
    vault = Vault(medium, pack_bytes=300_000)
    found = {stored.blob_id: vault.read(stored.location) for pack in vault.packs() for stored in vault.records(pack)}

    assert acknowledged == list(range(len(acknowledged)))
    for seed in acknowledged:
        assert found[seed.to_bytes(16, "big")] == sealed_bytes(seed, 20_000)
    assert list(check(vault, read=True)) == []
    vault.close()
    medium.close()


def test_foreign_pack_is_refused():
    """A pack under another number's name is refused."""
    medium, _, _ = filled(1)
    medium.rename(FILE, "vault/00000005.open")

    with pytest.raises(IntegrityError, match="holds pack 1"):
        Vault(medium)


def leased_and_cut(lost):
    """A leased record that was abandoned and never flushed; of its first sector the disk has what was there before *lost*."""
    medium, vault, kept = filled(1)
    vault.lease(b"l" * 16, KEY_ID).abandon()  # the lease's pack is another one
    lease = vault.lease(b"m" * 16, KEY_ID)
    lease.write([sealed_bytes(7, (1 << 20) + 5000)])
    lease.abandon()
    (file,) = [name for name in medium.listing("vault") if name != "00000001.open"]
    content = bytearray(medium.content(f"vault/{file}"))
    start = content.rindex(b"SRrd")
    content[start + lost : (start // 512 + 1) * 512] = bytes((start // 512 + 1) * 512 - start - lost)
    medium.overwrite(f"vault/{file}", bytes(content))
    return medium, kept, start


def test_a_sector_between_two_parts_of_a_leased_record_is_a_tear():
    """A leased record is written in parts; a sector may be there as it was between two of them. That is a crash, no damage."""
    medium, kept, start = leased_and_cut(64)
    again = Vault(medium)

    assert [(start, True)] == [(torn.offset, torn.by_crash) for torn in again.torn]
    assert_kept(again, kept)


def test_a_start_that_was_cut_short_does_not_make_a_tear_look_like_damage():
    """Closing a torn pack puts an index behind the tear; the next start, too, calls it a tear and not what was whole once."""
    medium, kept, start = leased_and_cut(64)
    Vault(medium)
    (closed,) = [name for name in medium.listing("vault") if name.endswith(".pack")]
    medium.rename(f"vault/{closed}", f"vault/{closed[:8]}.open")  # the index is there, the new name was lost
    again = Vault(medium)

    assert [(start, True)] == [(torn.offset, torn.by_crash) for torn in again.torn]
    assert_kept(again, kept)
    assert [] == list(check(again, read=True))


def test_a_pack_that_a_crash_kept_from_being_made_leaves_no_hole():
    """Its number is given to the next pack: `check` would look for it for ever."""
    medium, _, kept = filled(1)
    medium.overwrite("vault/00000002.open", b"")
    vault = Vault(medium, pack_bytes=2048)
    for seed in range(50, 56):
        vault.append([record(seed)])
        vault.flush()

    assert vault.packs() == list(range(1, len(vault.packs()) + 1))
    assert [] == list(check(vault))
    assert_kept(vault, kept)


def test_a_pack_that_a_full_disk_kept_from_being_made_leaves_no_hole():
    """The file goes and its number is the next one's, once there is room again."""
    medium = MemoryMedium(capacity=300)
    vault = Vault(medium)
    with pytest.raises(OutOfResources):
        vault.append([record(1)])
    assert [] == medium.listing("vault")
    medium.capacity = None
    vault.append([record(1)])
    vault.flush()

    assert [1] == vault.packs()
    assert [] == list(check(vault))


def test_a_pack_that_a_failed_flush_kept_from_being_made_is_not_called_damaged():
    """The medium is suspect and nothing can be removed: the file is none of the vault's packs until the next start."""
    medium = MemoryMedium()
    vault = Vault(medium)
    medium.fail_flushes()
    with pytest.raises(OutOfResources):
        vault.append([record(1)])

    assert [] == vault.packs()
    assert [] == list(check(vault))
