"""Enrolled devices."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from register.registry import register
from strongroom.errors import ConflictError, NotFound
from strongroom.register import devices
from strongroom.register.devices import Device, Duplicates, State

CT1 = Device("CT1", "CT1AE", frozenset({"deposit"}), 1_000.0)
FULL = Device(
    name="WS1",
    ae_title="WS 1",
    actions=frozenset({"query", "retrieve"}),
    created_at=2_000.0,
    networks=("10.0.0.0/8", "fd00::/8"),
    doors=frozenset({"legacy"}),
    scope={"everything": False, "studies": ["1.1"]},
    private_sop_classes=frozenset({"1.2.3"}),
    duplicates=Duplicates.SUCCESS,
    idle_seconds=30,
    max_associations=4,
    move_host="ws1.example",
    move_port=2762,
    destinations=frozenset({"CT1"}),
    user_identity_type=1,
    expires=date(2030, 1, 31),
    last_seen_at=3_000.0,
)


@pytest.fixture
def connection():
    """A register with both devices."""
    connection = register()
    devices.add(connection, CT1)
    devices.add(connection, FULL)
    return connection


def test_an_entry_comes_back_as_it_was(connection):
    """Every field survives, and the difference between no destinations and all of them."""
    assert devices.every(connection) == (CT1, FULL)
    assert devices.find(connection, "WS1") == FULL
    assert devices.with_ae_title(connection, "CT1AE") == CT1
    assert devices.find(connection, "ct1") is None
    assert (CT1.receives, FULL.receives) == (False, True)
    nowhere = replace(FULL, destinations=frozenset())
    devices.change(connection, nowhere)
    assert devices.find(connection, "WS1") == nowhere


@pytest.mark.parametrize("other", [replace(CT1, ae_title="OTHER"), replace(CT1, name="CT2")])
def test_names_and_ae_titles_are_taken_once(connection, other):
    """A second device of the same name or AE title is refused, and the sentence says what is taken."""
    with pytest.raises(ConflictError, match="CT1"):
        devices.add(connection, other)


def test_a_revoked_device_is_revoked_for_good(connection):
    """Its name stays taken, its AE title is free again, and nothing brings it back."""
    devices.revoke(connection, "CT1")

    assert devices.find(connection, "CT1").state is State.REVOKED
    assert devices.with_ae_title(connection, "CT1AE") is None
    devices.add(connection, replace(CT1, name="CT1-2027"))
    with pytest.raises(ConflictError):
        devices.add(connection, replace(CT1, ae_title="NEW"))
    for act in (devices.revoke, devices.suspend, devices.resume):
        with pytest.raises(ConflictError, match="revoked"):
            act(connection, "CT1")
    with pytest.raises(ConflictError):
        devices.change(connection, replace(CT1, ae_title="NEW"))


def test_a_suspended_device_can_be_resumed(connection):
    """Suspending is a pause; the AE title stays its own meanwhile."""
    devices.suspend(connection, "CT1")
    assert devices.with_ae_title(connection, "CT1AE").state is State.SUSPENDED
    devices.resume(connection, "CT1")

    assert devices.find(connection, "CT1") == CT1


def test_a_change_keeps_state_and_history(connection):
    """Changing an entry does not let a suspended device in, nor forget when it was enrolled and seen."""
    devices.suspend(connection, "CT1")
    devices.seen(connection, "CT1", at=5_000.0)
    devices.change(connection, replace(CT1, ae_title="NEWAE", created_at=9.0))

    changed = replace(CT1, ae_title="NEWAE", state=State.SUSPENDED, last_seen_at=5_000.0)
    assert devices.find(connection, "CT1") == changed
    with pytest.raises(ConflictError):
        devices.change(connection, replace(changed, ae_title="WS 1"))


def test_what_is_not_there_is_said(connection):
    """A name that nobody has."""
    for act in (devices.revoke, devices.suspend, devices.resume):
        with pytest.raises(NotFound):
            act(connection, "CT9")
    with pytest.raises(NotFound):
        devices.change(connection, replace(CT1, name="CT9"))


def test_last_seen_never_goes_back(connection):
    """Two associations end in any order; a stranger's name changes nothing."""
    devices.seen(connection, "CT1", at=5_000.0)
    devices.seen(connection, "CT1", at=4_000.0)
    devices.seen(connection, "CT9", at=4_000.0)

    assert devices.find(connection, "CT1").last_seen_at == 5_000.0
    assert len(devices.every(connection)) == 2
