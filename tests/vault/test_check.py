"""`check` names every way a pack breaks, without a key, and calls nothing broken that is not."""

from __future__ import annotations

import hashlib

import pytest

from strongroom.ground.memory import MemoryMedium
from strongroom.vault.blob import Location, SealedRecord
from strongroom.vault.check import FindingKind, check, check_record
from strongroom.vault.pack import Vault

FIRST = "vault/00000001.pack"
KEY_ID = b"k" * 16


def record(seed, length=600):
    """One record."""
    data = hashlib.shake_128(b"%d" % seed).digest(length)
    return SealedRecord(seed.to_bytes(16, "big"), KEY_ID, [data], b"label of %d" % seed)


@pytest.fixture
def packs():
    """A medium with closed packs and an open one, the vault, and where each record is."""
    medium = MemoryMedium()
    vault = Vault(medium, pack_bytes=8_000)
    kept = []
    for seed in range(20):
        made = record(seed)
        kept.append((made, vault.append([made])[0]))
        vault.flush()
    assert len(vault.packs()) == 3
    return medium, vault, kept


def kinds(vault, *, read=True):
    """What check finds, in short."""
    return [(finding.kind, finding.pack) for finding in check(vault, read=read)]


def test_nothing_wrong(packs):
    """Whole packs have no findings, read through or not."""
    assert kinds(packs[1]) == []
    assert kinds(packs[1], read=False) == []


def test_a_pack_that_is_only_being_made_is_no_finding(packs):
    """Whoever looks while the file stands there and holds nothing yet sees the packs before it."""
    medium, vault, _ = packs
    seen = []
    medium.sync_directory = lambda _: seen.append((kinds(vault), vault.packs(), vault.extents()[-1].number))

    vault.lease(b"b" * 16, KEY_ID)

    assert seen == [([], [1, 2, 3], 3)]
    assert vault.packs() == [1, 2, 3, 4]
    assert kinds(vault) == []


def test_an_open_pack_whose_file_is_gone_is_missing(packs):
    """It can still be written to by whoever has it open, and is lost when that ends."""
    medium, vault, _ = packs
    vault.lease(b"b" * 16, KEY_ID)
    medium.unlink("vault/00000003.open")

    assert (FindingKind.MISSING_PACK, 3) in kinds(vault)


def test_every_flipped_bit_is_found(packs):
    """No byte of a closed pack can rot unseen, but for the zeros between records."""
    medium, vault, _ = packs
    content = medium.content(FIRST)
    unseen = [position for position in range(0, len(content), 5) if not flipped(medium, vault, position)]

    assert all(content[position] == 0 for position in unseen)
    assert len(unseen) < len(content) // 5


def flipped(medium, vault, position):
    """What is found while one bit is flipped."""
    medium.corrupt(FIRST, position)
    found = kinds(vault)
    medium.corrupt(FIRST, position)
    return found


def test_rotten_record_is_named_with_its_blob(packs):
    """A record with a flipped bit is named; the others are not."""
    medium, vault, kept = packs
    made, location = kept[2]
    medium.corrupt(FIRST, location.offset + 300)

    (finding,) = check(vault, read=True)
    assert (finding.kind, finding.pack, finding.offset) == (FindingKind.DAMAGED_RECORD, 1, location.offset)
    assert finding.blob_id == made.blob_id
    assert finding.where == f"pack 1 at {location.offset}"
    assert list(check(vault)) == []


def test_rotten_header_is_a_gap(packs):
    """A record whose header rotted is a gap the index contradicts."""
    medium, vault, kept = packs
    medium.corrupt(FIRST, kept[2][1].offset + 10)

    assert kinds(vault, read=False) == [(FindingKind.GAP, 1), (FindingKind.DAMAGED_INDEX, 1)]


def test_rotten_index_loses_nothing(packs):
    """Damage in the index is named, and every record is still walked."""
    medium, vault, _ = packs
    medium.corrupt(FIRST, medium.content(FIRST).rfind(b"SRrd") + 100)

    assert kinds(vault, read=False) == [(FindingKind.DAMAGED_INDEX, 1)]
    assert len(list(vault.records(1))) == 7


@pytest.mark.parametrize("cut", [1, 31, 33, 700, 3000])
def test_cut_pack_is_found(packs, cut):
    """A closed pack that lost its end is found."""
    medium, vault, _ = packs
    medium.overwrite(FIRST, medium.content(FIRST)[:-cut])

    assert (FindingKind.DAMAGED_INDEX, 1) in kinds(vault, read=False)


def test_missing_pack_is_found(packs):
    """A pack that is gone is named."""
    medium, _, _ = packs
    medium.unlink(FIRST)

    assert kinds(Vault(medium, pack_bytes=8_000)) == [(FindingKind.MISSING_PACK, 1)]


def test_swapped_packs_are_found(packs):
    """Two packs that changed names are found by their headers."""
    medium, _, _ = packs
    one, two = medium.content(FIRST), medium.content("vault/00000002.pack")
    medium.overwrite(FIRST, two)
    medium.overwrite("vault/00000002.pack", one)

    assert {(FindingKind.DAMAGED_PACK, 1), (FindingKind.DAMAGED_PACK, 2)} <= set(kinds(Vault(medium, pack_bytes=8_000)))


def test_rotten_pack_header_is_found(packs):
    """A pack with a damaged header is named, and the others are still looked at."""
    medium, vault, kept = packs
    medium.corrupt(FIRST, 9)
    medium.corrupt("vault/00000002.pack", kept[8][1].offset + 200)

    assert kinds(vault) == [(FindingKind.DAMAGED_PACK, 1), (FindingKind.DAMAGED_RECORD, 2)]


def test_open_pack_is_checked_up_to_its_records(packs):
    """A running lease and zeros ahead are no findings."""
    _, vault, _ = packs
    lease = vault.lease(b"L" * 16, KEY_ID)
    lease.write([b"x" * (3 << 20)])
    vault.prepare()

    assert kinds(vault) == []
    lease.abandon()
    assert kinds(vault) == []


def test_one_record(packs):
    """The scrub's step finds rot, another blob, a wrong length and an empty place."""
    medium, vault, kept = packs
    made, location = kept[2]
    assert check_record(vault, location, made.blob_id) is None
    wrong = [
        (location, b"x" * 16),
        (kept[3][1], made.blob_id),
        (Location(1, location.offset, location.length + 1, 0), made.blob_id),
        (Location(1, location.offset + 512, location.length, 0), made.blob_id),
    ]
    for where, blob_id in wrong:
        assert check_record(vault, where, blob_id).kind is FindingKind.DAMAGED_RECORD
    medium.corrupt(FIRST, location.offset + 300)
    assert "checksum" in check_record(vault, location, made.blob_id).detail
    assert check_record(vault, Location(9, 512, 600, 0), made.blob_id).kind is FindingKind.MISSING_PACK
