"""What a power cut leaves on the medium that lives in memory."""

from __future__ import annotations

import pytest

from strongroom.errors import NotFound, OutOfResources
from strongroom.ground.memory import MemoryMedium


def test_only_durable_names_and_bytes_survive():
    """After a power cut flushed bytes of synced names are there, and nothing else."""
    medium = MemoryMedium()
    kept = medium.open("kept", create=True)
    kept.pwrite([b"flushed"], 0)
    kept.fdatasync()
    medium.sync_directory()
    kept.pwrite([b"not flushed"], 7)
    unsynced = medium.open("unsynced", create=True)
    unsynced.pwrite([b"flushed"], 0)
    unsynced.fdatasync()

    after = medium.power_cut()
    assert after.listing("") == ["kept"]
    assert after.content("kept") == b"flushed"
    assert medium.content("kept") == b"flushednot flushed"


def test_pending_writes_may_arrive_in_part():
    """What was under way may have reached the disk in part, as the caller chooses."""
    medium = MemoryMedium()
    file = medium.open("a", create=True)
    file.pwrite([b"0123456789"], 0)
    file.fdatasync()
    medium.sync_directory()
    file.pwrite([b"abcdef"], 2)

    assert medium.power_cut(lambda _name, _offset, data: data[:3]).content("a") == b"01abc56789"
    assert medium.power_cut(lambda _name, _offset, data: data).content("a") == b"01abcdef89"


def test_unsynced_rename_and_unlink_come_back():
    """A rename or a removal that was not synced is undone by a power cut."""
    medium = MemoryMedium()
    for name in ("a", "b"):
        medium.open(name, create=True)
    medium.sync_directory()
    medium.rename("a", "c")
    medium.unlink("b")

    assert medium.power_cut().listing("") == ["a", "b"]
    medium.sync_directory()
    assert medium.power_cut().listing("") == ["c"]


def test_power_cut_does_not_touch_the_living():
    """The medium before and the one after share nothing."""
    medium = MemoryMedium()
    file = medium.open("a", create=True)
    file.pwrite([b"data"], 0)
    file.fdatasync()
    medium.sync_directory()
    after = medium.power_cut()
    after.corrupt("a", 0, 0xFF)

    assert medium.content("a") == b"data"
    with pytest.raises(NotFound):
        medium.open("b")


def test_capacity():
    """A full medium refuses what does not fit and keeps what is there."""
    medium = MemoryMedium(capacity=10)
    file = medium.open("a", create=True)
    file.pwrite([b"0123456789"], 0)
    with pytest.raises(OutOfResources, match="No space left"):
        file.pwrite([b"x"], 10)

    assert file.pwrite([b"x"], 0) == 1
    assert not medium.suspect
