"""Looking up across tables."""

from __future__ import annotations

from register.registry import label, register, stored
from strongroom.register import certificates, conflicts, devices, lookups, quarantine
from strongroom.register.certificates import Certificate
from strongroom.register.devices import Device


def test_a_blob_kept_aside_is_known():
    """Whether it is a conflict or in quarantine."""
    connection = register()
    conflicts.add(connection, label(), stored(1))
    quarantine.add(connection, label(), stored(2), "DataSetError")

    assert [lookups.has_blob(connection, stored(number).blob_id) for number in (1, 2, 3)] == [True, True, False]


def test_revoked_certificates_still_name_their_device():
    """What the trail shows of a caller that comes back with one."""
    connection = register()
    devices.add(connection, Device("CT1", "CT1", frozenset({"deposit"}), 0.0))
    certificates.add(connection, Certificate(1, "aa" * 32, "CT1", 0.0, 9.0))
    certificates.revoke_of_device(connection, "CT1", at=1.0)

    assert [one.serial for one in lookups.certificates_of_device(connection, "CT1")] == [1]
    assert certificates.of_device(connection, "CT1") == ()
