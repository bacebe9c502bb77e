"""Certificates of the archive's own authority."""

from __future__ import annotations

from dataclasses import replace

import pytest

from register.registry import register
from strongroom.errors import ConflictError, NotFound
from strongroom.register import certificates, devices
from strongroom.register.certificates import Certificate
from strongroom.register.devices import Device

LARGE = 2**159 + 1
ONE = Certificate(LARGE, "aa" * 32, "CT1", 1_000.0, 9_000.0)
TWO = Certificate(2, "bb" * 32, "CT1", 2_000.0, 5_000.0)
OWN = Certificate(3, "cc" * 32, None, 1_000.0, 2_000.0)


@pytest.fixture
def connection():
    """A register with a device that has two certificates, and one of the archive."""
    connection = register()
    devices.add(connection, Device("CT1", "CT1", frozenset({"deposit"}), 0.0))
    for one in (ONE, TWO, OWN):
        certificates.add(connection, one)
    return connection


def test_a_certificate_is_found_by_its_fingerprint(connection):
    """Serial numbers of 160 bits survive."""
    assert certificates.find(connection, "aa" * 32) == ONE
    assert certificates.find(connection, "dd" * 32) is None
    assert certificates.of_device(connection, "CT1") == (TWO, ONE)


@pytest.mark.parametrize(
    "other",
    [replace(ONE, fingerprint="dd" * 32), replace(ONE, serial=9), Certificate(9, "ee" * 32, "CT9", 0.0, 1.0)],
)
def test_serials_and_fingerprints_are_given_once(connection, other):
    """A certificate for a device that is not enrolled is refused as well."""
    with pytest.raises(ConflictError):
        certificates.add(connection, other)


def test_revocation_is_listed_until_the_certificate_would_have_ended(connection):
    """The first revocation stays; an expired certificate needs no line in the list (RFC 5280 §3.3)."""
    certificates.revoke(connection, LARGE, at=3_000.0)
    certificates.revoke(connection, LARGE, at=4_000.0)

    revoked = replace(ONE, revoked_at=3_000.0)
    assert certificates.revoked(connection, now=8_999.0) == (revoked,)
    assert certificates.revoked(connection, now=9_000.0) == ()
    assert certificates.of_device(connection, "CT1") == (TWO,)
    with pytest.raises(NotFound):
        certificates.revoke(connection, 77, at=1.0)


def test_all_certificates_of_a_device_are_revoked_at_once(connection):
    """Those of others stay in force."""
    assert certificates.revoke_of_device(connection, "CT1", at=3_000.0) == 2
    assert certificates.revoke_of_device(connection, "CT1", at=3_001.0) == 0
    assert certificates.of_device(connection, "CT1") == ()
    assert certificates.find(connection, "cc" * 32) == OWN


def test_what_ends_soon_is_named(connection):
    """Certificates in force only."""
    certificates.revoke(connection, 2, at=1.0)

    assert certificates.expired(connection, by=6_000.0) == (OWN,)
