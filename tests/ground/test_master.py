"""The master key: from a private file, a passphrase or a credential, and from nothing else."""

from __future__ import annotations

import os
import stat

import pytest

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError
from strongroom.ground.master import CREDENTIAL, MasterKey


@pytest.fixture
def path(tmp_path):
    """Where a home keeps its master key."""
    return tmp_path / "keys" / "master.key"


def test_created_key_is_loaded(path):
    """A key that was written derives the same secrets when it is read."""
    made = MasterKey.create(path)
    read = MasterKey.load(path)

    assert read.derive("a") == made.derive("a")
    assert read.fingerprint == made.fingerprint
    assert not MasterKey.is_wrapped(path)


def test_purposes_are_independent(path):
    """Different purposes and different keys derive different secrets."""
    one, two = MasterKey(bytes(32)), MasterKey(bytes(31) + b"\x01")
    secrets = {one.derive("a"), one.derive("b"), two.derive("a"), bytes(32)}

    assert len(secrets) == 4
    assert all(len(secret) == 32 for secret in secrets)


def test_written_for_the_owner_only(path):
    """Folder and file are private, whatever the umask is."""
    before = os.umask(0)
    try:
        MasterKey.create(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_never_replaced(path):
    """A key that is there is not overwritten."""
    MasterKey.create(path)
    before = path.read_bytes()
    with pytest.raises(ConflictError):
        MasterKey.create(path)

    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o601])
def test_readable_for_others_is_refused(path, mode):
    """A file anybody else may read or write is refused, with what to do."""
    MasterKey.create(path)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match="chmod 600"):
        MasterKey.load(path)


def test_link_and_absence_are_refused(path, tmp_path):
    """A link is not followed and a missing file is named."""
    with pytest.raises(ConfigurationError, match="no master key"):
        MasterKey.load(path)
    MasterKey.create(tmp_path / "real" / "master.key")
    path.parent.mkdir()
    path.symlink_to(tmp_path / "real" / "master.key")

    with pytest.raises(ConfigurationError):
        MasterKey.load(path)


def test_passphrase_wraps(path):
    """Under a passphrase the secret does not stand in the file, and only that passphrase opens it."""
    secret = bytes(range(32))
    drawn = {32: secret, 16: b"s" * 16, 12: b"n" * 12}
    MasterKey.create(path, passphrase=b"correct horse", randomness=drawn.__getitem__)

    assert secret not in path.read_bytes()
    assert MasterKey.is_wrapped(path)
    assert MasterKey.load(path, passphrase=b"correct horse").derive("a") == MasterKey(secret).derive("a")
    with pytest.raises(ConfigurationError, match="does not open"):
        MasterKey.load(path, passphrase=b"wrong horse")
    with pytest.raises(ConfigurationError, match="none was given"):
        MasterKey.load(path)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_damage_is_named(path, passphrase):
    """Every flipped bit and every cut of the file is damage or a foreign format, never another key."""
    MasterKey.create(path, passphrase=passphrase)
    whole = path.read_bytes()
    wrong = [whole[:cut] for cut in range(0, len(whole), 7)]
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x01
        wrong.append(bytes(changed))
    for content in wrong:
        path.write_bytes(content)
        with pytest.raises((IntegrityError, ConfigurationError)):
            MasterKey.load(path, passphrase=passphrase)


def test_absurd_cost_is_refused_before_it_is_paid(path):
    """A file that asks for gigabytes of scrypt is refused at once."""
    import hashlib

    MasterKey.create(path, passphrase=b"x")
    body = bytearray(path.read_bytes()[:-32])
    body[8] = 40
    path.write_bytes(bytes(body) + hashlib.sha256(body).digest())

    with pytest.raises(IntegrityError, match="2\\^40"):
        MasterKey.load(path, passphrase=b"x")


def test_credential_goes_first(path, tmp_path):
    """A systemd credential, as a key file or as 32 bare bytes, is used instead of the home's file."""
    MasterKey.create(path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    assert MasterKey.load(path, credentials=credentials).fingerprint == MasterKey.load(path).fingerprint
    (credentials / CREDENTIAL).write_bytes(bytes(range(32)))
    (credentials / CREDENTIAL).chmod(0o400)

    assert MasterKey.load(path, credentials=credentials).derive("a") == MasterKey(bytes(range(32))).derive("a")
    (credentials / CREDENTIAL).chmod(0o444)
    with pytest.raises(ConfigurationError):
        MasterKey.load(path, credentials=credentials)


def test_secret_does_not_show(path):
    """Neither text form of the key shows the secret."""
    key = MasterKey(bytes(range(32)))

    assert bytes(range(32)).hex() not in repr(key) + str(key)
    assert key.fingerprint in repr(key)
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(b"short")
