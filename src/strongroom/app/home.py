"""
The home folder of one archive: where each thing lies, which format it has, and how a new one is made.

Layout (DESIGN section 6): strongroom.toml, keys/ (0700), archive.db, keyring.db (and its second copy), vault/, trail/,
VERSION.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import final

from strongroom.app import config as configuration
from strongroom.errors import ConfigurationError, ConflictError

HOME_FORMAT = 1
"""Raised when the layout of the folder changes; newer homes are refused, older ones migrated after a copy."""


KEPT_KEYS = ("ca.crt", "ca.key", "lasting.keys")
"""Of the folder keys/: what is public or sealed under the master key."""


def default_path() -> Path:
    """STRONGROOM_HOME, else the platform's data folder."""
    given = os.environ.get("STRONGROOM_HOME")
    if given:
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "strongroom"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "strongroom"


@final
@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside one home folder; opening it checks the format version and nothing else."""

    root: Path

    @property
    def config_file(self) -> Path:
        """strongroom.toml."""
        return self.root / "strongroom.toml"

    @property
    def keys(self) -> Path:
        """Master key, CA and door keys; 0700."""
        return self.root / "keys"

    @property
    def database_file(self) -> Path:
        """Catalogue and register, one encrypted file."""
        return self.root / "archive.db"

    @property
    def vault(self) -> Path:
        """Packs."""
        return self.root / "vault"

    @property
    def trail(self) -> Path:
        """Trail segments."""
        return self.root / "trail"

    @property
    def control_socket(self) -> Path:
        """The Unix socket on which a running server takes commands of the host."""
        return self.root / "control.sock"

    @property
    def version_file(self) -> Path:
        """The home's format version, one decimal number."""
        return self.root / "VERSION"

    def config(self) -> configuration.Config:
        """Read and check strongroom.toml."""
        return configuration.load(self.config_file)


def open_home(path: Path) -> Home:
    """Open an existing home; raises ConfigurationError when there is none or when it is newer than this program."""
    home = Home(path)
    try:
        text = home.version_file.read_text("ascii").strip()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no Strongroom home at {path}; make one with: strongroom init --home {path}"
        ) from error
    except PermissionError as error:
        raise ConfigurationError(f"the home at {path} belongs to somebody else; run as its owner") from error
    if not text.isdigit():
        raise ConfigurationError(f"{home.version_file.name} in {path} does not hold a format number")
    if int(text) > HOME_FORMAT:
        raise ConfigurationError(
            f"the home at {path} has format {text}, this program knows up to {HOME_FORMAT}: "
            "it was used with a newer Strongroom; "
            "update the program, do not go back"
        )
    return home


def small_files(home: Home) -> dict[str, bytes]:
    """What a backup holds of a home beside its databases, packs and chains; never a master key."""
    found = {name: (home.root / name).read_bytes() for name in ("strongroom.toml", "VERSION")}
    for path in sorted(home.keys.iterdir()):
        if path.name in KEPT_KEYS and path.is_file() and not path.is_symlink():
            found[f"keys/{path.name}"] = path.read_bytes()
    return found


def make_folders(path: Path) -> Home:
    """
    Make the empty folders of a new home, all private to the owner.

    VERSION is written last by the caller (`finish`), so that a home which was cut short while being made is not taken
    for one.
    """
    home = Home(path)
    try:
        if path.exists() and any(path.iterdir()):
            raise ConflictError(f"{path} is not empty; choose another folder or remove what is there")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        for folder in (home.keys, home.vault, home.trail):
            folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"a home cannot be made at {path}: {error.strerror or error}") from error
    return home


def finish(home: Home) -> None:
    """Write VERSION and make the folder durable: from now on this is a home."""
    descriptor = os.open(home.version_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, f"{HOME_FORMAT}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(home.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
