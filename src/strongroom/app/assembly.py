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
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from strongroom.access import identity
from strongroom.access.authority import CERTIFICATE_FILE, Authority
from strongroom.app import background, generation, returned
from strongroom.app import config as configuration
from strongroom.app.founding import AUTHORITY_PURPOSE, MASTER_KEY_FILE
from strongroom.app.home import Home, small_files
from strongroom.app.switching import finish_switch
from strongroom.archive import Gate, Session
from strongroom.archive.acts import Note
from strongroom.archive.backups import Backups, refuse_nested
from strongroom.archive.commitment import Commitments
from strongroom.archive.commitment_keeping import CommitmentKeeper
from strongroom.archive.committer import Committer
from strongroom.archive.compaction import finish_retiring
from strongroom.archive.conflicts import Conflicts
from strongroom.archive.core import MAX_LEASES, Core, Parts
from strongroom.archive.custodian import Custodian
from strongroom.archive.directory import Directory
from strongroom.archive.erase_keeping import Erasing
from strongroom.archive.erasing import bring_together
from strongroom.archive.fragments import Fragments
from strongroom.archive.healing import Damage
from strongroom.archive.holding import Holding
from strongroom.archive.job_keeping import JobKeeper
from strongroom.archive.jobs import Jobs
from strongroom.archive.manifest import PURPOSE as MANIFEST_PURPOSE
from strongroom.archive.manifest import ManifestKey
from strongroom.archive.quarantine import Quarantine
from strongroom.archive.recovery import integrity, reconcile
from strongroom.archive.rotation import Rotation
from strongroom.archive.second import SecondPacks, SecondVault
from strongroom.archive.tokens import Tokens
from strongroom.archive.upkeep import Upkeep
from strongroom.audit.report import Reporter
from strongroom.audit.trail import MAIN, Trail
from strongroom.catalogue.record import Recorder
from strongroom.dicom.limits import Limits
from strongroom.errors import ConflictError, HomeInUseError, IntegrityError
from strongroom.ground import lasting
from strongroom.ground.chain import Head
from strongroom.ground.database import Database
from strongroom.ground.database_files import DISK, DatabaseFiles
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey
from strongroom.ground.medium import Medium
from strongroom.ground.tombstone_file import PURPOSE as TOMBSTONE_PURPOSE
from strongroom.ground.tombstone_file import ROOT as TOMBSTONES
from strongroom.ground.tombstone_file import TombstoneFile
from strongroom.register import heads
from strongroom.vault.pack import Vault

TLS_DOOR = "dicom"
LEGACY_DOOR = "legacy"
WEB_DOOR = "web"
CLEAR = "plain text"
LOCK = "lock"
CATALOGUE, REGISTER = "catalogue", "register"
VAULT = "vault"


@final
class Archive:
    """A running archive without doors; `serving` adds those."""

    def __init__(
        self,
        home: Home,
        config: configuration.Config,
        core: Core,
        directory: Directory,
        authority: Authority,
        manifest_key: ManifestKey,
    ) -> None:
        self.home = home
        self.config = config
        self.core = core
        self.directory = directory
        self.authority = authority
        self.gate = Gate(core, directory, identity_doors(config))
        self.manifest_key = manifest_key
        self.second: SecondVault | None = None
        self.serving = False
        self.door_table: Callable[[], list[dict[str, Any]]] = lambda: closed_doors(config)
        self.disconnect: Callable[[str], int] = lambda _device: 0
        self.disconnect_web: Callable[[str, str], int] = lambda _kind, _name: 0
        """`(kind, name)` of an actor: end its requests that are under way on the web door; how many there were."""

    def custodian(self, session: Session) -> Custodian:
        """The keepers' tools for *session*."""
        return Custodian(self.core, self.directory, self.authority, session)

    def upkeep(self, session: Session) -> Upkeep:
        """The keepers' tools for the packs, for *session*."""
        return Upkeep(self.core, session)

    def tokens(self, session: Session) -> Tokens:
        """The keepers' tools for tokens, for *session*."""
        return Tokens(self.core, self.directory, session)

    def holding(self, session: Session) -> Holding:
        """The keepers' tools for legal holds, for *session*."""
        return Holding(self.core, session)

    def erasing(self, session: Session) -> Erasing:
        """The keepers' tools for erasing, for *session*."""
        return Erasing(self.core, session)

    def backups(self, session: Session) -> Backups:
        """The keepers' tools for backups, for *session*."""
        return Backups(self.core, session, self.home.root, self.manifest_key, lambda: small_files(self.home))

    def rotation(self, session: Session) -> Rotation:
        """What asks and records before and after a rotation of the master key, for *session*."""
        return Rotation(self.core, session)

    def conflicts(self, session: Session) -> Conflicts:
        """The keepers' tools for conflicts, for *session*."""
        return Conflicts(self.core, session)

    def quarantine(self, session: Session) -> Quarantine:
        """The keepers' tools for quarantine, for *session*."""
        return Quarantine(self.core, session)

    def job_keeper(self, session: Session) -> JobKeeper:
        """The keepers' tools for jobs, for *session*."""
        return JobKeeper(self.core, session)

    def commitment_keeper(self, session: Session) -> CommitmentKeeper:
        """The keepers' tools for storage commitment, for *session*."""
        return CommitmentKeeper(self.core, self.directory, session)

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


@contextlib.contextmanager
def own(home: Home) -> Iterator[DiskMedium]:
    """
    Own *home*: what a rotation left undone is done or thrown away first.

    Raises HomeInUseError while another process owns it.
    """
    medium = DiskMedium(home.root)
    try:
        lock = medium.lock(LOCK)
    except ConflictError as error:
        medium.close()
        raise HomeInUseError("another Strongroom process owns this home; stop it first, or wait for it") from error
    try:
        generation.settle(home.root)
        yield medium
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def open_archive(home: Home, *, passphrase: bytes | None = None) -> AsyncIterator[Archive]:
    """Own *home* and open what is in it; raises HomeInUseError while another process owns it."""
    with own(home) as medium:
        async with open_owned(home, medium, load_master(home, passphrase)) as archive:
            yield archive


@contextlib.asynccontextmanager
async def open_owned(home: Home, medium: DiskMedium, master: MasterKey) -> AsyncIterator[Archive]:
    """Open what is in a home that the caller owns."""
    with contextlib.ExitStack() as stack:
        config = home.config()
        finish_switch(home)
        _require_database(home, medium)
        parts = _open_parts(home, config, master, medium, stack)
        authority = Authority.load(
            home.keys, master.derive(AUTHORITY_PURPOSE), clock=parts.clock, entropy=parts.entropy
        )
        mended = [integrity(parts, "tombstones", one) for one in bring_together(parts)]
        owed = [*mended, *reconcile(parts, restored=returned.read(home.root))]
        core = Core(parts, Committer(parts, asyncio.get_running_loop()))
        core.fragments = Fragments(core)
        core.jobs = Jobs(core)
        core.damage = Damage(core)
        parts.damaged = core.damage.met
        core.committer.start()
        try:
            if owed:
                await core.committer.submit(Note(owed))
            returned.forget(home.root)
            key = ManifestKey(master.derive(MANIFEST_PURPOSE), master.fingerprint)
            directory = Directory(parts)
            core.commitments = Commitments(core, directory)
            archive = Archive(home, config, core, directory, authority, key)
            archive.second = _second_vault(core, home, config)
            background.register(archive)
            yield archive
        finally:
            await core.jobs.stop()
            await core.fragments.stop()
            await core.committer.stop()


def _open_parts(
    home: Home,
    config: configuration.Config,
    master: MasterKey,
    medium: Medium,
    stack: contextlib.ExitStack,
    *,
    files: DatabaseFiles = DISK,
) -> Parts:
    keyring = Keyring.open(home.root, master, medium, files=files)
    stack.callback(keyring.close)
    database = _open_database(home, master, files)
    stack.callback(database.close)
    vault = Vault(medium, VAULT, pack_bytes=config.limits.pack_mebibytes << 20, leases=MAX_LEASES)
    stack.callback(vault.close)
    trail_key = lasting.load(home.keys, master).derive(lasting.TRAIL)
    trail = Trail.open(medium, "trail", trail_key, expected=_flushed_head(database))
    stack.callback(trail.close)
    parts = Parts(
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
        header_limits=header_limits(config),
        tombstones=TombstoneFile(medium, TOMBSTONES, master.derive(TOMBSTONE_PURPOSE)),
    )
    finish_retiring(parts)
    return parts


def _second_vault(core: Core, home: Home, config: configuration.Config) -> SecondVault | None:
    if not config.vault.second:
        return None
    root = Path(config.vault.second)
    refuse_nested(home.root, root)
    core.parts.second = SecondPacks(root)
    return SecondVault(core, home.root, root, config.vault.second_mebibytes_per_second)


def header_limits(config: configuration.Config) -> Limits:
    """What a data set may be, as configured."""
    return Limits(max_data_set_length=config.limits.data_set_gibibytes << 30)


def _require_database(home: Home, medium: DiskMedium) -> None:
    """An empty database is made for a new home only; where packs or a trail are, losing it is not passed over."""
    if not home.database_file.exists() and (medium.listing(VAULT) or medium.listing("trail")):
        raise IntegrityError(
            "archive.db is missing, and this home holds images or a trail: put it back from a backup,"
            " or make the catalogue anew with: strongroom rebuild"
        )


def _open_database(home: Home, master: MasterKey, files: DatabaseFiles) -> Database:
    try:
        database = Database(home.database_file, master.derive("database 1"), files=files)
    except IntegrityError as damaged:
        raise IntegrityError(f"{damaged}: `strongroom rebuild` makes the catalogue anew") from damaged
    try:
        database.migrate(CATALOGUE, "strongroom.catalogue.migrations")
        database.migrate(REGISTER, "strongroom.register.migrations")
    except BaseException:
        database.close()
        raise
    return database


def _flushed_head(database: Database) -> Head | None:
    """The newest head that the chain's own file holds for certain."""
    with database.reader() as connection:
        saved = heads.find(connection, MAIN)
    return None if saved is None else saved.flushed
