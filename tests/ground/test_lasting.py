"""Keys that outlive a master key."""

from __future__ import annotations

import pytest

from strongroom.errors import IntegrityError
from strongroom.ground import lasting
from strongroom.ground.master import MasterKey

FIRST, SECOND, THIRD = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))


def test_without_a_file_everything_is_derived(tmp_path):
    """A home that was never rotated."""
    assert lasting.load(tmp_path, FIRST).derive(lasting.TRAIL) == FIRST.derive(lasting.TRAIL)


def test_a_lasting_key_stays_through_two_rotations(tmp_path):
    """It is what the first master key derived; any other purpose follows the master key in force."""
    for old, new in ((FIRST, SECOND), (SECOND, THIRD)):
        (tmp_path / lasting.NAME).write_bytes(lasting.load(tmp_path, old).encode(new))

    keys = lasting.load(tmp_path, THIRD)
    assert keys.derive(lasting.TRAIL) == FIRST.derive(lasting.TRAIL)
    assert keys.derive("database 1") == THIRD.derive("database 1")
    assert FIRST.derive(lasting.TRAIL) not in (tmp_path / lasting.NAME).read_bytes()


def test_every_changed_byte_is_found(tmp_path):
    """Another key, a flipped bit anywhere, a cut: refused."""
    whole = lasting.load(tmp_path, FIRST).encode(SECOND)
    path = tmp_path / lasting.NAME
    path.write_bytes(whole)
    with pytest.raises(IntegrityError):
        lasting.load(tmp_path, FIRST)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(IntegrityError):
            lasting.load(tmp_path, SECOND)
        path.write_bytes(whole[:position])
        with pytest.raises(IntegrityError):
            lasting.load(tmp_path, SECOND)
