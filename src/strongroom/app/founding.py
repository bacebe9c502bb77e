"""`init`: make a home with its keys, its authority, its empty database, keyring, vault and trail."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.access.authority import Authority
from strongroom.app import config as configuration
from strongroom.app.home import Home, finish, make_folders
from strongroom.errors import ConfigurationError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey

MASTER_KEY_FILE = "master.key"
AUTHORITY_PURPOSE = "certificate authority"


def found(path: Path, *, dicom: str, web: str, ae_title: str, passphrase_file: Path | None) -> dict[str, Any]:
    """Make a new home at *path*; raises ConflictError when something is there, ConfigurationError on a bad option."""
    text = configuration.template(dicom=dicom, web=web, ae_title=ae_title)
    configuration.parse(_parsed(text))
    passphrase = read_passphrase(passphrase_file)
    home = make_folders(path)
    _write_config(home, text)
    master = MasterKey.create(home.keys / MASTER_KEY_FILE, passphrase=passphrase)
    authority = Authority.create(
        home.keys, master.derive(AUTHORITY_PURPOSE), clock=lambda: datetime.now(UTC), entropy=os.urandom
    )
    Keyring.create(home.root, master, DiskMedium(home.root)).close()
    finish(home)
    return {"home": str(path), "ae_title": ae_title, "dicom": dicom, "web": web, "authority": authority.fingerprint}


def _parsed(text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 -- init alone needs it

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"this option cannot stand in strongroom.toml: {error}") from error


def read_passphrase(file: Path | None) -> bytes | None:
    """The first line of *file*; raises ConfigurationError when it is empty or cannot be read."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            passphrase = opened.readline(4096).strip()
    except OSError as error:
        raise ConfigurationError(f"the passphrase file {file} cannot be read: {error.strerror}") from error
    if not passphrase:
        raise ConfigurationError(f"the passphrase file {file} has an empty first line")
    return passphrase


def _write_config(home: Home, text: str) -> None:
    descriptor = os.open(home.config_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
