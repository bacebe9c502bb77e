"""
The master key: the one secret everything else in a home is derived from or wrapped under (docs/formats/keyring.md).

It comes from a file in the home, from a file wrapped under a passphrase, or from a systemd credential. It never
leaves this object except through `derive`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError
from strongroom.ground.database_files import sync_directory
from strongroom.ground.seal import KEY, Randomness, derive

CREDENTIAL = "strongroom-master-key"  # LoadCredential= name looked for in $CREDENTIALS_DIRECTORY

_MAGIC = b"SRmk"
_VERSION = 1
_PLAIN, _WRAPPED = 0, 1
_DIGEST = 32
_PLAIN_LENGTH = 8 + KEY + _DIGEST
_SALT = 16
_WRAPPED_LENGTH = 12 + _SALT + 12 + KEY + 16 + _DIGEST
_LOG_N, _R, _P = 17, 8, 1  # scrypt: 128 MiB and about 0.3 s for every guess
_MOST_LOG_N = 22


@final
class MasterKey:
    """32 random bytes that derive every other secret of a home."""

    __slots__ = ("_secret", "fingerprint")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY:
            raise ValueError(f"a master key is {KEY} bytes")
        self._secret = secret
        self.fingerprint = self.derive("fingerprint")[:8].hex()  # tells two keys apart, says nothing about either

    def __repr__(self) -> str:
        return f"MasterKey({self.fingerprint})"

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for *purpose* (a fixed word of ours); different purposes are independent keys."""
        return derive(self._secret, salt=b"strongroom master key 1", info=purpose.encode())

    @classmethod
    def create(cls, path: Path, *, passphrase: bytes | None = None, randomness: Randomness = os.urandom) -> MasterKey:
        """
        Make a new key and write it to *path* (0600), wrapped when there is a *passphrase*; its folder is made (0700)
        if need be.

        Raises ConflictError when *path* exists: a master key is never replaced.
        """
        secret = randomness(KEY)
        encoded = _encode_plain(secret) if passphrase is None else _encode_wrapped(secret, passphrase, randomness)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise ConflictError(f"{path.name} exists already and is never replaced") from None
        with os.fdopen(handle, "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
        sync_directory(path.parent.parent)
        return cls(secret)

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes | None = None, credentials: Path | None = None) -> MasterKey:
        """
        Read the key from *credentials*/strongroom-master-key when that exists (systemd), from *path* otherwise.

        A credential may also be the 32 bytes alone. Raises ConfigurationError when the file is missing, not private
        to its owner, or wrapped and *passphrase* is None or wrong; IntegrityError when it is damaged.
        """
        offered = None if credentials is None else credentials / CREDENTIAL
        if offered is not None and offered.exists():
            data = _read_private(offered, others=0o007)  # systemd gives 0440 with an access list for the service
            if len(data) == KEY:
                return cls(data)
            return cls(_decode(data, passphrase, offered.name))
        return cls(_decode(_read_private(path), passphrase, path.name))

    @staticmethod
    def is_wrapped(path: Path) -> bool:
        """Whether the file at *path* needs a passphrase."""
        return _read_private(path)[5:6] == bytes((_WRAPPED,))


def _read_private(path: Path, *, others: int = 0o077) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no master key at {path}") from None
    except OSError as failed:
        raise ConfigurationError(f"the master key at {path} cannot be read: {failed.strerror}") from failed
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"the master key at {path} is not a plain file")
        if status.st_mode & others:
            raise ConfigurationError(
                f"the master key at {path} can be read by others (mode {status.st_mode & 0o777:04o}): chmod 600 it, "
                "and treat what it protects as known to them"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise ConfigurationError(f"the master key at {path} belongs to another user (uid {status.st_uid})")
        return file.read(4096)


def _encode_plain(secret: bytes) -> bytes:
    body = _MAGIC + bytes((_VERSION, _PLAIN, 0, 0)) + secret
    return body + hashlib.sha256(body).digest()


def _encode_wrapped(secret: bytes, passphrase: bytes, randomness: Randomness) -> bytes:
    salt, nonce = randomness(_SALT), randomness(12)
    front = _MAGIC + bytes((_VERSION, _WRAPPED, 0, 0, _LOG_N, _R, _P, 0)) + salt
    body = front + nonce + AESGCM(_stretch(passphrase, salt, _LOG_N, _R, _P)).encrypt(nonce, secret, front)
    return body + hashlib.sha256(body).digest()


def _decode(data: bytes, passphrase: bytes | None, name: str) -> bytes:
    if data[:4] != _MAGIC or len(data) < _PLAIN_LENGTH:
        raise IntegrityError(f"{name} is not a master key")
    if data[4] != _VERSION:
        raise ConfigurationError(f"{name} is of format {data[4]}, this program knows {_VERSION}")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not hmac.compare_digest(hashlib.sha256(body).digest(), digest):
        raise IntegrityError(f"{name} is damaged; restore it from where it is kept safe")
    if data[5] == _PLAIN and len(data) == _PLAIN_LENGTH:
        return body[8:]
    if data[5] != _WRAPPED or len(data) != _WRAPPED_LENGTH:
        raise IntegrityError(f"{name} is of an unknown kind")
    if passphrase is None:
        raise ConfigurationError(
            f"{name} is wrapped under a passphrase and none was given: serve takes --passphrase-file, "
            "every command STRONGROOM_PASSPHRASE_FILE"
        )
    log_n, r, p = body[8], body[9], body[10]
    if not (log_n <= _MOST_LOG_N and 1 <= r <= 16 and 1 <= p <= 4):
        raise IntegrityError(f"{name} asks for scrypt with N=2^{log_n}, r={r}, p={p}, beyond what is ever written")
    front, nonce, wrapped = body[: 12 + _SALT], body[12 + _SALT : 24 + _SALT], body[24 + _SALT :]
    try:
        return AESGCM(_stretch(passphrase, front[12:], log_n, r, p)).decrypt(nonce, wrapped, front)
    except InvalidTag:
        raise ConfigurationError(f"the passphrase does not open {name}") from None


def _stretch(passphrase: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEY, n=1 << log_n, r=r, p=p).derive(passphrase)
