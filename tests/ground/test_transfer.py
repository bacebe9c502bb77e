"""Copying between media: whole, durable and compared, or not there."""

from __future__ import annotations

from hashlib import sha256

import pytest

from strongroom.errors import IntegrityError, OutOfResources
from strongroom.ground.memory import MemoryMedium
from strongroom.ground.transfer import Pace, digest_of, transfer

DATA = bytes(range(256)) * 10_000


@pytest.fixture
def source():
    """A file of 2.4 MiB."""
    medium = MemoryMedium()
    file = medium.open("a", create=True)
    file.pwrite((DATA,), 0)
    return file


def test_a_copy_has_its_name_when_it_is_whole(source):
    """The first bytes, as many as were asked for, in place of what was there; the digest is theirs."""
    target = MemoryMedium()
    target.open("b", create=True).pwrite((b"old",), 0)

    digest = transfer(source, 2_000_000, target, "b", Pace())

    assert digest == sha256(DATA[:2_000_000]).digest() == digest_of(target, "b", 2_000_000, pace=None)
    assert target.size("b") == 2_000_000
    assert target.listing("") == ["b"]


def test_a_source_that_ends_early_leaves_what_was_there(source):
    """A file cut by somebody: no name is given to half a copy."""
    target = MemoryMedium()
    target.open("b", create=True).pwrite((b"old",), 0)

    with pytest.raises(IntegrityError, match="ends at"):
        transfer(source, len(DATA) + 1, target, "b", Pace())

    assert target.size("b") == 3
    assert transfer(source, len(DATA), target, "b", Pace()) == sha256(DATA).digest()


class _Lying:
    """A file of a disk that says it wrote and did not."""

    def __init__(self, file):
        self._file = file

    def pwrite(self, buffers, offset):
        changed = bytearray(b"".join(buffers))
        changed[0] ^= 1
        return self._file.pwrite((changed,), offset)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_disk_that_gives_back_something_else_is_found(source, monkeypatch):
    """What reads back differently is never renamed."""
    target = MemoryMedium()
    opened = target.open

    def lying(name, *, create=False, writable=True):
        file = opened(name, create=create, writable=writable)
        return _Lying(file) if create else file

    monkeypatch.setattr(target, "open", lying)
    with pytest.raises(IntegrityError, match="reads back"):
        transfer(source, len(DATA), target, "b", Pace())
    assert target.size("b") is None


def test_a_full_disk_leaves_what_was_there(source, monkeypatch):
    """OutOfResources, and the old file under the name."""
    target = MemoryMedium()
    target.open("b", create=True).pwrite((b"old",), 0)

    def full(*_, **__):
        raise OutOfResources("b cannot be written: full")

    monkeypatch.setattr(target, "open", full)
    with pytest.raises(OutOfResources):
        transfer(source, len(DATA), target, "b", Pace())
    assert target.size("b") == 3


def test_the_pace_is_kept():
    """Ten MiB at 2 MiB/s take five seconds; time that was not used is not saved up for longer than a second."""
    now = [0.0]
    pace = Pace(2, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    for _ in range(10):
        pace.spend(1 << 20)
    assert now[0] == pytest.approx(5.0)

    now[0] += 100
    for _ in range(10):
        pace.spend(1 << 20)
    assert now[0] == pytest.approx(109.0, abs=0.6)


def test_without_a_rate_nobody_waits():
    """0 is as fast as it goes."""
    pace = Pace(0, clock=lambda: 0.0, sleep=lambda _: pytest.fail("slept"))
    pace.spend(1 << 40)
    assert pace.spent == 1 << 40
