"""
Puts an archive together: a home's lock, keys, database, vault, trail and gate, in the order in which they depend on
one another.

Whoever holds an `Archive` owns the home: the server for as long as it runs, a command for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from strongroom.access import identity
from strongroom.access.authority import CERTIFICATE_FILE, Authority
from strongroom.app import background
from strongroom.app import config as configuration
from strongroom.app.founding import AUTHORITY_PURPOSE, MASTER_KEY_FILE
from strongroom.app.home import Home
from strongroom.archive import Gate, Session
from strongroom.archive.acts import Note
from strongroom.archive.committer import Committer
from strongroom.archive.core import MAX_LEASES, Core, Parts
from strongroom.archive.custodian import Custodian
from strongroom.archive.directory import Directory
from strongroom.archive.fragments import Fragments
from strongroom.archive.job_keeping import JobKeeper
from strongroom.archive.jobs import Jobs
from strongroom.archive.recovery import reconcile
from strongroom.archive.tokens import Tokens
from strongroom.audit.report import Reporter
from strongroom.audit.trail import MAIN, Trail
from strongroom.catalogue.record import Recorder
from strongroom.dicom.limits import Limits
from strongroom.errors import ConflictError, HomeInUseError
from strongroom.ground.chain import Head
from strongroom.ground.database import Database
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey
from strongroom.register import heads
from strongroom.vault.pack import Vault

TLS_DOOR = "dicom"
LEGACY_DOOR = "legacy"
WEB_DOOR = "web"
CLEAR = "plain text"
_LOCK = "lock"


@final
class Archive:
    """A running archive without doors; `serving` adds those."""

    def __init__(
        self, home: Home, config: configuration.Config, core: Core, directory: Directory, authority: Authority
    ) -> None:
        self.home = home
        self.config = config
        self.core = core
        self.directory = directory
        self.authority = authority
        self.gate = Gate(core, directory, identity_doors(config))
        self.serving = False
        self.door_table: Callable[[], list[dict[str, Any]]] = lambda: closed_doors(config)
        self.disconnect: Callable[[str], int] = lambda _device: 0
        self.disconnect_web: Callable[[str, str], int] = lambda _kind, _name: 0
        """`(kind, name)` of an actor: end its requests that are under way on the web door; how many there were."""

    def custodian(self, session: Session) -> Custodian:
        """The keepers' tools for *session*."""
        return Custodian(self.core, self.directory, self.authority, session)

    def tokens(self, session: Session) -> Tokens:
        """The keepers' tools for tokens, for *session*."""
        return Tokens(self.core, self.directory, session)

    def job_keeper(self, session: Session) -> JobKeeper:
        """The keepers' tools for jobs, for *session*."""
        return JobKeeper(self.core, session)

    def web_settings(self) -> dict[str, str]:
        """What a service has to know to reach the archive: where DICOMweb is, and whom it has to trust."""
        open_now = (door["address"] for door in self.door_table() if door["name"] == WEB_DOOR)
        _, port = configuration.split_listen(next(open_now, self.config.web.listen), "web.listen")
        url = configuration.web_base_url(self.config.web, port)
        return {"url": url, "authority": str(self.home.keys / CERTIFICATE_FILE)}

    def connection_settings(self, enrolled: dict[str, Any]) -> dict[str, str]:
        """What a device has to be told to reach the archive, and a command to try it."""
        plain = self.config.legacy is not None and bool(enrolled["legacy"])
        door = next(door for door in self.door_table() if door["name"] == (LEGACY_DOOR if plain else TLS_DOOR))
        host, port = configuration.split_listen(door["address"], "listen")
        named = "localhost" if host in ("127.0.0.1", "::1") else host
        tls = "" if plain else "+tls BUNDLE/device.key BUNDLE/device.crt +cf BUNDLE/ca.crt "
        command = f"echoscu {tls}-aet {enrolled['ae_title']} -aec {self.config.dicom.ae_title} {named} {port}"
        return {"archive": self.config.dicom.ae_title, "host": named, "port": str(port), "try_command": command}


def identity_doors(config: configuration.Config) -> dict[str, identity.Door]:
    """The doors' rules as the gate applies them."""
    called = frozenset({config.dicom.ae_title})
    doors = {
        TLS_DOOR: identity.Door(TLS_DOOR, identity.DoorKind.TLS, called),
        WEB_DOOR: identity.Door(WEB_DOOR, identity.DoorKind.WEB),
    }
    if config.legacy is not None:
        networks = tuple(ipaddress.ip_network(network) for network in config.legacy.networks)
        doors[LEGACY_DOOR] = identity.Door(
            LEGACY_DOOR, identity.DoorKind.LEGACY, called, networks, config.legacy.expires
        )
    return doors


def closed_doors(config: configuration.Config) -> list[dict[str, Any]]:
    """The table of doors while no server runs."""
    doors = [
        _closed(TLS_DOOR, config.dicom.listen, "TLS", "enrolled devices with their certificate"),
        _closed(WEB_DOOR, config.web.listen, "HTTPS", "callers with a token, enrolled devices with their certificate"),
    ]
    if config.legacy is not None:
        who = f"{', '.join(config.legacy.networks)}: store and echo, until {config.legacy.expires}"
        doors.append(_closed(LEGACY_DOOR, config.legacy.listen, CLEAR, who))
    return doors


def _closed(name: str, address: str, transport: str, who: str) -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        "transport": transport,
        "who": who,
        "state": "closed",
        "stranger": "nothing listens",
        "looked": "",
    }


def load_master(home: Home, passphrase: bytes | None) -> MasterKey:
    """The master key: a systemd credential, the key file, or the key file with its passphrase."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return MasterKey.load(
        home.keys / MASTER_KEY_FILE, passphrase=passphrase, credentials=Path(credentials) if credentials else None
    )


@contextlib.asynccontextmanager
async def open_archive(home: Home, *, passphrase: bytes | None = None) -> AsyncIterator[Archive]:
    """Own *home* and open what is in it; raises HomeInUseError while another process owns it."""
    medium = DiskMedium(home.root)
    try:
        lock = medium.lock(_LOCK)
    except ConflictError as error:
        raise HomeInUseError("another Strongroom process owns this home; stop it first, or wait for it") from error
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        config = home.config()
        master = load_master(home, passphrase)
        parts = _open_parts(home, config, master, medium, stack)
        authority = Authority.load(
            home.keys, master.derive(AUTHORITY_PURPOSE), clock=parts.clock, entropy=parts.entropy
        )
        owed = reconcile(parts)
        core = Core(parts, Committer(parts, asyncio.get_running_loop()))
        core.fragments = Fragments(core)
        core.jobs = Jobs(core)
        core.committer.start()
        try:
            if owed:
                await core.committer.submit(Note(owed))
            archive = Archive(home, config, core, Directory(parts), authority)
            background.register(archive)
            yield archive
        finally:
            await core.jobs.stop()
            await core.fragments.stop()
            await core.committer.stop()


def _open_parts(
    home: Home, config: configuration.Config, master: MasterKey, medium: DiskMedium, stack: contextlib.ExitStack
) -> Parts:
    keyring = Keyring.open(home.root, master, medium)
    stack.callback(keyring.close)
    database = Database(home.database_file, master.derive("database 1"))
    stack.callback(database.close)
    database.migrate("catalogue", "strongroom.catalogue.migrations")
    database.migrate("register", "strongroom.register.migrations")
    vault = Vault(medium, "vault", pack_bytes=config.limits.pack_mebibytes << 20, leases=MAX_LEASES)
    stack.callback(vault.close)
    trail_key = master.derive("trail 1")
    trail = Trail.open(medium, "trail", trail_key, expected=_flushed_head(database))
    stack.callback(trail.close)
    return Parts(
        ae_title=config.dicom.ae_title,
        vault=vault,
        keyring=keyring,
        database=database,
        trail=trail,
        trail_root="trail",
        trail_key=trail_key,
        medium=medium,
        recorder=Recorder(),
        reporter=Reporter(config.dicom.ae_title, config.dicom.ae_title),
        clock=lambda: datetime.now(UTC),
        entropy=os.urandom,
        header_limits=Limits(max_data_set_length=config.limits.data_set_gibibytes << 30),
    )


def _flushed_head(database: Database) -> Head | None:
    """The newest head that the chain's own file holds for certain."""
    with database.reader() as connection:
        saved = heads.find(connection, MAIN)
    return None if saved is None else saved.flushed
