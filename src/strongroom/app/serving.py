"""
`serve`: open the doors of a home and stay until told to end.

Order: the home's lock and everything behind the gate, the doors' certificate, the control socket, the doors, the look
at our own doors from outside; only then "ready" is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import msgspec
import uvloop

from strongroom.app import background as background_work
from strongroom.app import config as configuration
from strongroom.app.assembly import CLEAR, LEGACY_DOOR, TLS_DOOR, WEB_DOOR, Archive, closed_doors, open_archive
from strongroom.app.control import ControlServer
from strongroom.app.doorkeeper import Doorkeeper, WayOut
from strongroom.app.founding import read_passphrase
from strongroom.app.home import open_home
from strongroom.app.journal import log, unexpected
from strongroom.app.operations import operate
from strongroom.app.selflook import SelfLook
from strongroom.archive import erasing
from strongroom.archive.acts import Note
from strongroom.audit.codes import EventType
from strongroom.errors import ConfigurationError
from strongroom.ground.allocator import keep_freed_memory
from strongroom.imaging.pool import Pool
from strongroom.scp.commitment_caller import CommitmentCaller
from strongroom.scp.dispatch import Provider
from strongroom.transport import tls
from strongroom.transport.doors import Door, Rules
from strongroom.transport.listener import Listener
from strongroom.transport.pacing import Deadlines
from strongroom.transport.quotas import Quota
from strongroom.upper_layer.events import MAX_PDU_LENGTH

if TYPE_CHECKING:
    from strongroom.app.web import Web

STOP_SECONDS = 10.0
"""What is under way may finish for so long once the end was asked for."""
DAY_SECONDS = 86_400.0
COLLECT = (10_000, 10, 10)
"""
Objects made between two looks for garbage in cycles: an image makes some hundreds, none of them in a cycle.
"""
TIDY_SECONDS = 10.0
"""
Between two looks for garbage in quiet times: a connection that broke leaves a ring of objects with its TLS buffers,
and COLLECT alone would let a thousand of them stand for hours once everybody has gone.
"""
PREPARE_SECONDS = 1.0
"""
After so long without a write the vault may write zeros ahead: flushing into written blocks takes half as long, but
doing it while images come in costs them more than it gains.
"""


def serve_forever(path: Path, *, passphrase_file: Path | None, as_json: bool) -> None:
    """Run the server until SIGTERM or SIGINT."""
    os.umask(0o077)
    keep_freed_memory()
    # a thread that waits for the interpreter gets it after 0.5 ms instead of 5: flushes end on another thread
    sys.setswitchinterval(0.0005)
    home = open_home(path)
    passphrase = read_passphrase(passphrase_file)

    async def run() -> None:
        async with open_archive(home, passphrase=passphrase) as archive:
            await Server(archive).run(as_json=as_json)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@final
class Server:
    """The doors of one archive, and what runs beside them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        config = archive.config
        self.pool = Pool()
        """Pixel work of all doors."""
        self._identity = self._door_identity()
        self._look = SelfLook(archive, self)
        outbound = WayOut(
            config.dicom.ae_title,
            lambda: tls.client_context(self._identity, archive.authority.certificate),
            self._own_addresses,
        )
        provider = Provider(ae_title=config.dicom.ae_title, outbound=outbound, pool=self.pool)
        archive.core.commitments.peer = CommitmentCaller(outbound)
        self._doorkeeper = Doorkeeper(archive, provider, max_pdu_length=MAX_PDU_LENGTH, own_knock=self._look.is_own)
        limits = config.limits
        rules = Rules(
            deadlines=Deadlines(idle_seconds=limits.idle_seconds),
            quota=Quota(associations=limits.associations, associations_per_device=limits.associations_per_device),
        )
        self._listener = Listener(
            self._doorkeeper,
            today=lambda: datetime.now(UTC).date(),
            rules=rules,
            refused=self._doorkeeper.refused,
            known_knock=self._look.is_own,
        )
        self._web: Web | None = None
        self._table = {door["name"]: door for door in closed_doors(config)}
        self._ended = asyncio.Event()

    def _door_identity(self) -> tls.Identity:
        """A fresh certificate of our own authority at every start, its key never on the disk."""
        config = self._archive.config
        names = configuration.host_names(config.dicom.listen, config.dicom.names, "dicom.listen")
        bundle = self._archive.authority.issue_server(names)
        return tls.Identity(bundle.certificate, bundle.key)

    def _own_addresses(self) -> set[tuple[str, int]]:
        """Addresses and ports of the doors that are open: a C-MOVE is never sent to ourselves."""
        found = (door["address"].rpartition(":") for door in self.open_doors())
        return {(host.strip("[]"), int(port)) for host, _, port in found}

    async def run(self, *, as_json: bool) -> None:
        """Open everything, say so, and wait for the end."""
        archive = self._archive
        parts = archive.core.parts
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(unexpected)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        archive.serving = True
        await asyncio.to_thread(parts.database.reserve_log)
        archive.disconnect_web = self._disconnect_web
        archive.door_table = lambda: list(self._table.values())
        archive.disconnect = lambda device: self._listener.disconnect(lambda present: present.holder == device)
        control = ControlServer(
            archive.home.control_socket, lambda name, given, uid: operate(archive, name, given, uid)
        )
        await archive.core.committer.submit(Note((parts.reporter.started(parts.clock()),)))
        await self.pool.start()
        archive.gate.refusals.start()
        archive.core.fragments.start()
        erasing.bind(archive.core)
        background_work.begin(archive)
        await archive.core.jobs.start()
        if archive.second is not None:
            await archive.second.wake()  # what was closed while nobody looked
        background = [loop.create_task(self._prepare())]
        try:
            await control.start()
            await self._open_doors()
            await self._look.once()
            background.append(loop.create_task(self._look.hourly()))
            background.append(loop.create_task(self.warn_of_plaintext()))
            gc.collect()
            gc.freeze()  # what start-up made stays; collections need not look at it again
            gc.set_threshold(*COLLECT)
            self._announce(as_json=as_json)
            log("ready", doors=len(self.open_doors()))
            await self._ended.wait()
        finally:
            log("stopping")
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(
                archive.core.jobs.stop(), self._listener.stop(STOP_SECONDS), self._close_web(STOP_SECONDS)
            )
            await self.pool.stop()
            await control.stop()
            await archive.gate.refusals.stop()
            await archive.core.committer.submit(Note((parts.reporter.stopped(parts.clock()),)))

    async def _open_doors(self) -> None:
        config = self._archive.config
        host, port = configuration.split_listen(config.dicom.listen, "dicom.listen")
        context = tls.server_context(self._identity, self._archive.authority.certificate)
        await self._open(Door(TLS_DOOR, host, port, context))
        await self._open_web()
        legacy = config.legacy
        if legacy is None:
            return
        if datetime.now(UTC).date() >= legacy.expires:
            self._table[LEGACY_DOOR]["state"] = "expired"
            return
        host, port = configuration.split_listen(legacy.listen, "legacy.listen")
        networks = tuple(ipaddress.ip_network(network) for network in legacy.networks)
        await self._open(Door(LEGACY_DOOR, host, port, None, networks, legacy.expires))

    async def _open(self, door: Door) -> None:
        try:
            port = await self._listener.open(door)
        except OSError as error:
            raise _taken(door.name, door.host, door.port, error) from error
        self._opened(door.name, door.host, port)

    async def _open_web(self) -> None:
        from strongroom.app.web import Web  # noqa: PLC0415 -- 0.2 s that only a server has to spend

        host, port = configuration.split_listen(self._archive.config.web.listen, "web.listen")
        self._web = Web(self._archive, self.pool, own_knock=self._look.is_own)
        try:
            opened = await self._web.open()
        except OSError as error:
            raise _taken(WEB_DOOR, host, port, error) from error
        self._opened(WEB_DOOR, host, opened)

    async def _close_web(self, seconds: float) -> None:
        if self._web is not None:
            await self._web.close(seconds)

    def _disconnect_web(self, kind: str, name: str) -> int:
        return 0 if self._web is None else self._web.disconnect(kind, name)

    def _opened(self, name: str, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._table[name] |= {"address": f"{shown}:{port}", "state": "open"}

    async def warn_of_plaintext(self) -> None:
        """Every day that the plaintext door is open the trail says so (SECURITY C08)."""
        parts = self._archive.core.parts
        while self._table.get(LEGACY_DOOR, {}).get("state") == "open":
            door = self._table[LEGACY_DOOR]
            text = f"the plaintext door is open on {door['address']} for {door['who']}"
            alert = parts.reporter.alert(
                parts.clock(), EventType.PLAINTEXT_DOOR, f"urn:strongroom:door:{LEGACY_DOOR}", text
            )
            await self._archive.core.committer.submit(Note((alert,)))
            await asyncio.sleep(DAY_SECONDS)

    async def shut(self, name: str, evidence: str) -> None:
        """Shut a door that let a stranger in; it stays shut until the next start."""
        if name == WEB_DOOR:
            await self._close_web(0)
        else:
            await self._listener.shut(name)
        log("door-shut", level="error", door=name, evidence=evidence)
        self._table[name] |= {"state": "shut", "stranger": evidence}

    def looked(self, name: str, evidence: str, when: datetime) -> None:
        """Keep what a stranger got at a door when it was last looked at."""
        self._table[name] |= {"stranger": evidence, "looked": when.isoformat(timespec="seconds")}

    def open_doors(self) -> list[dict[str, Any]]:
        """The doors that are open now."""
        return [door for door in self._table.values() if door["state"] == "open"]

    async def _prepare(self) -> None:
        """Write zeros ahead of the records while nothing else is going on."""
        core, clock = self._archive.core, asyncio.get_running_loop().time
        more, tidied = True, clock()
        while True:
            await asyncio.sleep(0.01 if more else PREPARE_SECONDS)
            idle = clock() - core.committer.last_write
            if idle > PREPARE_SECONDS and clock() - tidied > TIDY_SECONDS and any(gc.get_count()[1:]):
                gc.collect()
                tidied = clock()
            more = idle > PREPARE_SECONDS and await asyncio.to_thread(core.parts.vault.prepare)

    def _announce(self, *, as_json: bool) -> None:
        doors = self.open_doors()
        if as_json:
            line = msgspec.json.encode({"ready": True, "doors": doors}).decode()
        else:
            shown = (f"{door['name']} {door['address']} ({_shown(door['transport'])})" for door in doors)
            line = "ready  " + "  ".join(shown)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _shown(transport: str) -> str:
    return transport.upper() if transport == CLEAR else transport


def _taken(name: str, host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the door {name} cannot listen on {host}:{port} ({error.strerror or error}); is another program there?"
    )
