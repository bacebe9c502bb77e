"""The sealed label: it comes back under its own blob and key only."""

from __future__ import annotations

import msgspec
import pytest

from strongroom.errors import IntegrityError
from strongroom.ground.label import LONGEST, Label, open_label, seal_label
from strongroom.ground.seal import Slot, associated_data, seal_small

KEY, BLOB, KEY_ID = bytes(32), b"b" * 16, b"k" * 16
LABEL = Label(
    "1.2.3", "1.2.840.10008.5.1.4.1.1.2", "1.2", "1.2.1", "1.2.840.10008.1.2.1", b"d" * 32, 526000, 1.5, "CT1"
)


def test_round_trip():
    """A label comes back as it was, and is short."""
    sealed = seal_label(LABEL, KEY, BLOB, KEY_ID)

    assert open_label(sealed, KEY, BLOB, KEY_ID) == LABEL
    assert len(sealed) < 600


def test_longest_label_fits():
    """Values of the greatest lengths the standard allows fit a trailer."""
    uid = "1" * 64
    longest = Label(uid, uid, uid, uid, uid, bytes(32), 1 << 40, 1e12, "x" * 1000)

    assert len(seal_label(longest, KEY, BLOB, KEY_ID)) < LONGEST


def test_nothing_readable():
    """Neither the sealed label nor its text form shows a UID."""
    assert b"1.2.3" not in seal_label(LABEL, KEY, BLOB, KEY_ID)
    assert "1.2.3" not in repr(LABEL)


@pytest.mark.parametrize(
    ("key", "blob", "key_id"), [(b"x" * 32, BLOB, KEY_ID), (KEY, KEY_ID, KEY_ID), (KEY, BLOB, BLOB)]
)
def test_only_in_its_place(key, blob, key_id):
    """Under another key, blob id or key id a label does not open."""
    with pytest.raises(IntegrityError):
        open_label(seal_label(LABEL, KEY, BLOB, KEY_ID), key, blob, key_id)


def sealed_json(value):
    """Seal any JSON in a label's place."""
    return seal_small(KEY, msgspec.json.encode(value), associated_data(BLOB, KEY_ID, Slot.LABEL))


def test_newer_version_is_refused():
    """A label of a newer version is refused, not guessed at; a field more is passed over."""
    value = msgspec.to_builtins(LABEL)
    assert open_label(sealed_json({**value, "more": 1}), KEY, BLOB, KEY_ID) == LABEL
    with pytest.raises(IntegrityError, match="version 2"):
        open_label(sealed_json({**value, "version": 2}), KEY, BLOB, KEY_ID)


def test_anything_else_is_refused():
    """What is sealed well and is no label is refused."""
    for value in ([], {}, {"sop_instance_uid": 1}, "x"):
        with pytest.raises(IntegrityError):
            open_label(sealed_json(value), KEY, BLOB, KEY_ID)
