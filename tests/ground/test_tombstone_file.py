"""Tombstones: durable before anything they name is touched, readable as long as one generation is, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import IntegrityError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.memory import MemoryMedium
from strongroom.ground.tombstone_file import ROOT, Tombstone, TombstoneFile

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
FILE = f"{ROOT}/tombstones.1-00000001.chain"


def tombstone(number: int, *, released_at: float | None = None) -> Tombstone:
    """The tombstone of that number."""
    key_ids = (bytes([number]) * 16, bytes([number + 100]) * 16)
    return Tombstone(bytes([number]) * 16, f"1.2.{number}", key_ids, number * 10, 1.5, bytes(32), released_at)


def test_what_was_appended_is_read_by_another(tmp_path: Path) -> None:
    """Any number of appends, and a folder that was never there holds nothing."""
    medium = DiskMedium(tmp_path / "home")
    assert {} == TombstoneFile(medium, ROOT, KEY).read()

    TombstoneFile(medium, ROOT, KEY).append([tombstone(1), tombstone(2)])
    TombstoneFile(medium, ROOT, KEY).append([tombstone(3)])
    TombstoneFile(medium, ROOT, KEY).append([])

    assert {one.tombstone_id: one for one in map(tombstone, (1, 2, 3))} == TombstoneFile(medium, ROOT, KEY).read()


def test_a_release_replaces_the_tombstone() -> None:
    """The later record of one id is what holds."""
    medium = MemoryMedium()
    file = TombstoneFile(medium, ROOT, KEY)
    file.append([tombstone(1)])
    file.append([tombstone(1, released_at=9.0)])

    assert {bytes([1]) * 16: tombstone(1, released_at=9.0)} == file.read()


def test_an_append_survives_a_power_cut() -> None:
    """It is flushed when `append` returns."""
    medium = MemoryMedium()
    TombstoneFile(medium, ROOT, KEY).append([tombstone(1)])

    assert 1 == len(TombstoneFile(medium.power_cut(), ROOT, KEY).read())


def test_another_master_key_opens_nothing() -> None:
    """Rather an error than no tombstones: a restore must not go on without them."""
    medium = MemoryMedium()
    TombstoneFile(medium, ROOT, KEY).append([tombstone(1)])

    with pytest.raises(IntegrityError):
        TombstoneFile(medium, ROOT, OTHER).read()


def test_a_changed_byte_is_found() -> None:
    """A damaged file is never read in part."""
    medium = MemoryMedium()
    TombstoneFile(medium, ROOT, KEY).append([tombstone(1), tombstone(2)])
    medium.corrupt(FILE, 300)

    with pytest.raises(IntegrityError):
        TombstoneFile(medium, ROOT, KEY).read()


def test_a_new_master_key_makes_a_new_generation() -> None:
    """The older one is gone, the new one takes further ones."""
    medium = MemoryMedium()
    file = TombstoneFile(medium, ROOT, KEY)
    file.append([tombstone(1)])
    file.rewrite(OTHER, file.read().values())
    file.append([tombstone(2)])

    assert ["tombstones.2-00000001.chain"] == medium.listing(ROOT)
    assert 2 == len(TombstoneFile(medium, ROOT, OTHER).read())


def test_a_rotation_that_was_cut_short_loses_nothing() -> None:
    """Both generations lie there: the one that opens under the master key in force is read."""
    medium = MemoryMedium()
    TombstoneFile(medium, ROOT, KEY).append([tombstone(1)])
    image = medium.content(FILE)
    TombstoneFile(medium, ROOT, KEY).rewrite(OTHER, [tombstone(1)])
    medium.overwrite(FILE, image)

    assert 1 == len(TombstoneFile(medium, ROOT, KEY).read())
    assert 1 == len(TombstoneFile(medium, ROOT, OTHER).read())
