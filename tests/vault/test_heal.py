"""A damaged pack is made whole again out of copies, byte for byte; what no copy has is named, and nothing is guessed."""

from __future__ import annotations

import hashlib

import pytest

from strongroom.ground.memory import MemoryMedium
from strongroom.vault.blob import SealedRecord
from strongroom.vault.check import check
from strongroom.vault.heal import DirectoryPacks, heal
from strongroom.vault.pack import Vault

NAME = "vault/00000001.pack"
KEY_ID = b"k" * 16


def record(seed, length=600):
    """One record."""
    data = hashlib.shake_128(b"%d" % seed).digest(length)
    return SealedRecord(seed.to_bytes(16, "big"), KEY_ID, [data], b"label of %d" % seed)


@pytest.fixture
def place():
    """A vault whose first pack is closed and holds a chunked record too, the medium, a copy of it, and what is expected."""
    medium = MemoryMedium()
    vault = Vault(medium, pack_bytes=8_000)
    expected = {}
    for seed in range(10):
        made = record(seed)
        where = vault.append([made])[0]
        if where.pack == 1:
            expected[where.offset] = made.blob_id
        vault.flush()
    copy = MemoryMedium()
    copy.make_directory("vault")
    file = copy.open(NAME, create=True)
    file.pwrite((medium.content(NAME),), 0)
    file.fdatasync()
    return medium, copy, expected


def healed(place, *, apply=True, sources=True):
    """What healing pack 1 says."""
    medium, copy, expected = place
    given = [DirectoryPacks(copy, "vault")] if sources else []
    return heal(medium, "vault", 1, given, expected=expected, apply=apply)


def findings(medium):
    """What check finds afterwards."""
    return [(one.kind.value, one.pack) for one in check(Vault(medium, pack_bytes=8_000), read=True)]


def test_a_whole_pack_needs_nothing(place):
    """Nothing is written where nothing is wrong."""
    assert not healed(place).changes


@pytest.mark.parametrize("position", [5, 100, 515, 560, 700, 1_200, 1_700, 2_000, 5_000, -100, -20])
def test_one_flipped_bit_anywhere_is_healed(place, position):
    """Header, records, labels, checksums, zeros between, index, end: the bytes are those that were written."""
    medium, copy, _ = place
    whole = medium.content(NAME)
    medium.corrupt(NAME, position % len(whole))
    dry = healed(place, apply=False)
    assert medium.content(NAME) != whole

    done = healed(place)
    assert dry == done
    assert done.changes
    assert done.lost == ()
    assert medium.content(NAME) == whole
    assert copy.content(NAME) == whole
    assert findings(medium) == []


def test_a_pack_that_is_gone_comes_back(place):
    """The whole file is lost."""
    medium, copy, _ = place
    medium.unlink(NAME)

    assert len(healed(place).records) == len(place[2])
    assert medium.content(NAME) == copy.content(NAME)


def test_both_damaged_in_different_places(place):
    """Each gives what the other has not."""
    medium, copy, expected = place
    whole = medium.content(NAME)
    first, second, *_ = expected
    medium.corrupt(NAME, first + 100)
    copy.corrupt(NAME, second + 100)

    assert healed(place).records == (first,)
    assert medium.content(NAME) == whole


def test_what_nobody_has_is_named_and_left(place):
    """Damaged in both: named; the others are healed all the same."""
    medium, copy, expected = place
    first, second, *_ = expected
    for one in (medium, copy):
        one.corrupt(NAME, first + 100)
    medium.corrupt(NAME, second + 100)
    done = healed(place)

    assert done.lost == (first,)
    assert done.records == (second,)
    assert findings(medium) == [("damaged-record", 1)]


def test_a_namesake_is_no_copy(place):
    """Another archive's pack of the same number gives nothing, also when our own header is damaged."""
    medium, _, expected = place
    other = MemoryMedium()
    stranger = Vault(other, pack_bytes=8_000)
    for seed in range(100, 110):
        stranger.append([record(seed)])
        stranger.flush()
    medium.corrupt(NAME, next(iter(expected)) + 100)
    before = medium.content(NAME)
    assert not heal(medium, "vault", 1, [DirectoryPacks(other, "vault")], expected=expected, apply=True).changes

    medium.corrupt(NAME, 5)
    refused = heal(medium, "vault", 1, [DirectoryPacks(other, "vault")], expected=expected, apply=True)
    medium.corrupt(NAME, 5)
    assert "header" in refused.refused
    assert medium.content(NAME) == before


def test_an_index_is_made_anew_without_a_copy(place):
    """The records say the same themselves."""
    medium, copy, _ = place
    medium.corrupt(NAME, len(medium.content(NAME)) - 20)
    assert findings(medium) != []

    done = healed(place, sources=False)
    assert done.index
    assert findings(medium) == []
    assert medium.content(NAME) == copy.content(NAME)


def test_no_index_is_made_over_a_lost_record(place):
    """It would call a gap what was a record once."""
    medium, _, expected = place
    medium.corrupt(NAME, list(expected)[1] + 10)
    medium.corrupt(NAME, len(medium.content(NAME)) - 20)
    done = healed(place, sources=False)

    assert done.index_lost
    assert not done.changes
