"""Callers that were seen and refused."""

from __future__ import annotations

import pytest

from register.registry import register
from strongroom.register import callers


@pytest.fixture
def connection():
    """An empty register."""
    return register()


def note(connection, address="10.0.0.1", ae_title="CT9", at=1.0, reason="certificate-unknown"):
    """One refusal."""
    callers.note(connection, address=address, ae_title=ae_title, door="dicom", reason=reason, at=at, fingerprint="ab")


def test_refusals_of_one_caller_are_counted(connection):
    """First and last time, and the last reason."""
    note(connection, at=1.0)
    note(connection, at=5.0, reason="device-revoked")
    note(connection, ae_title="MR9", at=3.0)

    first, second = callers.refused(connection)
    assert (first.ae_title, first.count, first.first_at, first.last_at) == ("CT9", 2, 1.0, 5.0)
    assert (first.reason, first.door, first.fingerprint) == ("device-revoked", "dicom", "ab")
    assert second.ae_title == "MR9"
    assert callers.refused(connection, limit=1) == (first,)


def test_one_address_cannot_fill_the_table(connection):
    """Beyond its share its guesses are counted together, so others stay visible."""
    note(connection, address="10.0.0.2", ae_title="HONEST", at=0.0)
    for number in range(500):
        note(connection, ae_title=f"GUESS{number}", at=float(number))

    found = callers.refused(connection, limit=1_000)
    assert len(found) == callers.MAX_OF_ADDRESS + 2
    assert "HONEST" in {one.ae_title for one in found}
    assert sum(one.count for one in found) == 501


def test_the_table_is_bounded(connection, monkeypatch):
    """The caller that knocked longest ago goes first."""
    monkeypatch.setattr(callers, "MAX_CALLERS", 10)
    for number in range(50):
        note(connection, address=f"10.0.1.{number}", at=float(number))

    assert [one.last_at for one in callers.refused(connection)] == [float(49 - number) for number in range(10)]


def test_what_a_stranger_says_is_short_and_printable(connection):
    """No control characters reach a terminal, no long text the disk (SECURITY D25)."""
    note(connection, ae_title="A\x1b[31m\n" + "x" * 1_000)

    [found] = callers.refused(connection)
    assert found.ae_title == ("A?[31m?" + "x" * 1_000)[:64]


def test_an_enrolled_caller_is_no_stranger_any_more(connection):
    """Enrolling an AE title clears its entries from every address."""
    note(connection)
    note(connection, address="10.0.0.9")
    note(connection, ae_title="MR9")

    assert callers.forget(connection, ae_title="CT9") == 2
    assert [one.ae_title for one in callers.refused(connection)] == ["MR9"]
