"""Tokens as the register keeps them: without the token."""

from __future__ import annotations

from dataclasses import replace

import apsw
import pytest

from register.registry import register
from strongroom.errors import ConflictError, NotFound
from strongroom.register import devices, tokens
from strongroom.register.tokens import Token

OHIF = Token("ohif", b"\x01" * 32, frozenset({"reader", "modality"}), {"studies": ["1.2.3"]}, 1_000.0, 2_000.0)
CT1 = devices.Device("CT1", "CT1AE", frozenset({"deposit"}), 1_000.0)


@pytest.fixture
def connection():
    """A register with one token."""
    connection = register()
    tokens.add(connection, OHIF)
    return connection


def test_an_entry_comes_back_as_it_was(connection):
    """Every field survives, in the order of the names."""
    full = replace(OHIF, name="a", digest=b"\x02" * 32, scope={"everything": True}, revoked_at=3.0, last_used_at=2.0)
    tokens.add(connection, full)

    assert (full, OHIF) == tokens.every(connection)
    assert OHIF == tokens.find(connection, "ohif")
    assert tokens.find(connection, "OHIF") is None


def test_a_hash_is_not_printed():
    """A traceback or a log line that shows an entry does not show what it could be found by."""
    assert "digest" not in repr(OHIF)


def test_a_name_is_taken_once_among_tokens_and_devices(connection):
    """What a service deposits is listed under its name: a token cannot be called like a device, nor the other way round."""
    devices.add(connection, CT1)

    for name in ("ohif", "CT1"):
        with pytest.raises(ConflictError, match=name):
            tokens.add(connection, replace(OHIF, name=name, digest=b"\x03" * 32))
    with pytest.raises(ConflictError, match="ohif"):
        devices.add(connection, replace(CT1, name="ohif", ae_title="OHIF"))


def test_a_hash_is_kept_once(connection):
    """Two entries of one hash cannot be, whoever writes them."""
    with pytest.raises(apsw.ConstraintError):
        tokens.add(connection, replace(OHIF, name="other"))


def test_a_revoked_token_is_revoked_for_good(connection):
    """Its name stays taken, the time of its end stays the first one, and one that is not there is told."""
    tokens.revoke(connection, "ohif", at=1_500.0)

    assert tokens.find(connection, "ohif").revoked_at == 1_500.0
    with pytest.raises(ConflictError, match="revoked"):
        tokens.revoke(connection, "ohif", at=1_600.0)
    with pytest.raises(ConflictError, match="taken"):
        tokens.add(connection, replace(OHIF, digest=b"\x04" * 32))
    with pytest.raises(NotFound):
        tokens.revoke(connection, "nobody", at=1_600.0)


def test_the_last_use_never_goes_back(connection):
    """A clock that was put back makes no token look unused; an unknown name changes nothing."""
    for at in (1_200.0, 1_100.0):
        tokens.used(connection, "ohif", at=at)
    tokens.used(connection, "nobody", at=9_000.0)

    assert tokens.find(connection, "ohif").last_used_at == 1_200.0
