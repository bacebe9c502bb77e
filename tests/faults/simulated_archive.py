"""
The real archive on a simulated disk: parts, committer, deposits, deletions, fragments and start-up are those of the server.

Three things are smaller than in the server, so that a short history meets every border: packs, zeros written ahead, and
the trail's segments. One thing is another: everything runs in one thread, in an order that a seed decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import itertools
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from archive.world import CT, EXPLICIT, IMPLICIT, data_set, uid
from faults.ledger import Event, Ledger
from faults.simulated_disk import SimulatedDisk
from faults.simulated_medium import FILES, SimulatedMedium
from strongroom.access.policy import Action, Actor, ActorKind
from strongroom.app import assembly
from strongroom.app import config as configuration
from strongroom.app.home import Home
from strongroom.archive import Target, committer, deposit
from strongroom.archive.acts import Note
from strongroom.archive.committer import Committer
from strongroom.archive.core import Core
from strongroom.archive.deletion import DeleteAct, RestoreAct, read_again
from strongroom.archive.fragments import Fragments
from strongroom.archive.recovery import reconcile
from strongroom.audit.codes import EventType
from strongroom.catalogue.scope import EVERYTHING
from strongroom.dicom.model import Level
from strongroom.errors import DataSetError, StrongroomError
from strongroom.ground import chain, database
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey
from strongroom.register import deletions
from strongroom.vault import _open_pack, pack
from strongroom.vault.pack import Vault

MASTER = MasterKey(bytes(range(32)))
CONFIG = configuration.parse({})
PACK_BYTES = 192 << 10
KIB = 1 << 10
DEVICE = Actor(ActorKind.DEVICE, "CT1", frozenset({Action.DEPOSIT}), scope=EVERYTHING)
KEEPER = Actor(ActorKind.HOST, "keeper", scope=EVERYTHING)


def _small_vault(medium: Any, root: str, *, pack_bytes: int, leases: int) -> Vault:
    return Vault(medium, root, pack_bytes=PACK_BYTES, leases=leases)


def make_small() -> None:
    """Let every border lie near; for a process that does nothing else."""
    assembly.Vault = _small_vault  # type: ignore[misc,assignment]
    pack.AHEAD = _open_pack._FILL = 16 * KIB
    pack.LEAST_AHEAD = 24 * KIB
    for name, module in list(sys.modules.items()):
        if name.startswith("strongroom.vault") and hasattr(module, "CHUNK"):  # each has its own name for it
            module.CHUNK = 32 * KIB
    chain.AHEAD = 3 * KIB
    assert chain.Chain.open.__func__.__kwdefaults__ is not None  # type: ignore[attr-defined]
    chain.Chain.open.__func__.__kwdefaults__["segment_bytes"] = 6 * KIB  # type: ignore[attr-defined]
    database.CHECKPOINT_PAGES = 60
    database.migrations_in = functools.cache(database.migrations_in)
    deposit.MAX_SEALED_HELD, deposit.LEASED_WRITE, deposit.MAX_HELD = 40 * KIB, 32 * KIB, 8 * KIB
    committer.SLOW_SECONDS = 1e9
    committer.wait = _wait  # type: ignore[assignment]


class InThisThread(ThreadPoolExecutor):
    """An executor whose work is done when it is given, or, when *late*, when somebody waits for it."""

    def __init__(self, *, late: Callable[[], bool] = lambda: False) -> None:
        super().__init__(1)
        self._late = late

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future = _Lazy(lambda: work(*arguments, **named))
        if not self._late():
            future.do()
        return future


class Flusher:
    """What `archive.beside.Beside` is to the committer: the work is done at once or, when *late*, when it is waited for."""

    def __init__(self, *, late: Callable[[], bool]) -> None:
        self._late = late

    @contextlib.contextmanager
    def run(self, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """See `Beside.run`."""
        lazy = _Lazy(work)
        if not self._late():
            lazy.do()
        waiting = [lazy]

        def done() -> None:
            one = waiting.pop()
            one.do()
            one.result()

        try:
            yield done
        finally:
            if waiting:
                waiting.pop().do()

    def stop(self) -> None:
        """Nothing to end."""


class _Lazy(Future[Any]):
    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work: Callable[[], Any] | None = work

    def do(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            try:
                self.set_result(work())
            except BaseException as failed:  # noqa: BLE001 -- whatever it is belongs to who asks for the result
                self.set_exception(failed)

    def result(self, timeout: float | None = None) -> Any:
        self.do()
        return super().result(timeout)


def _wait(futures: list[_Lazy]) -> None:
    """Play the threads that somebody waits for."""
    for future in futures:
        future.do()


@contextlib.contextmanager
def opened(medium: SimulatedMedium, rng: random.Random) -> Iterator[Any]:
    """Open the parts and bring them together, as the server does at start."""
    with contextlib.ExitStack() as stack:
        parts = assembly._open_parts(Home(medium.root), CONFIG, MASTER, medium, stack, files=FILES)  # type: ignore[arg-type]
        clock = itertools.count()
        parts.clock = lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(clock))
        parts.entropy = rng.randbytes
        yield parts


def founded() -> dict[str, bytes]:
    """The files of a home as `init` leaves them."""
    disk = SimulatedDisk(folders=("vault", "trail", "keyring"))
    medium = SimulatedMedium(disk)
    Keyring.create(medium.root, MASTER, medium, files=FILES).close()
    medium.close()
    return {name: bytes(inode.seen) for name, inode in disk.names.items()}


def started(image: dict[str, bytes]) -> dict[str, bytes]:
    """The same after one clean start and stop: the database is there."""
    disk = SimulatedDisk(image, folders=("vault", "trail", "keyring"))
    medium = SimulatedMedium(disk)
    with opened(medium, random.Random(1)) as parts:
        reconcile(parts)
    medium.close()
    return {name: bytes(inode.seen) for name, inode in disk.names.items()}


class Sender:
    """Everything that goes on in an archive, and the ledger of what was answered."""

    def __init__(self, parts: Any, ledger: Ledger, rng: random.Random, loop: asyncio.AbstractEventLoop) -> None:
        self.parts, self.ledger, self.rng = parts, ledger, rng
        self._owed = reconcile(parts)  # before the committer: it begins where the chain ends, as in the server
        made = Committer(parts, loop)
        made._flusher = Flusher(late=lambda: rng.random() < 0.5)
        made._trail_written = lambda: None  # type: ignore[method-assign] -- no timers: flushing is a step of its own
        self.core = Core(parts, made)
        self.core.fragments = Fragments(self.core)

    async def start(self) -> None:
        """Record what opening found."""
        if self._owed:
            await self.core.committer.submit(Note(self._owed))

    async def together(self, works: list[Awaitable[None]]) -> None:
        """Let several callers go on at once; the committer's thread is played here."""
        tasks = [asyncio.ensure_future(work) for work in works]
        own = self.core.committer
        while not all(task.done() for task in tasks):
            for _ in range(30):
                await asyncio.sleep(0)
            if not own._queue.empty():
                group: list[Any] = []
                own._gather(group)
                with own._working:
                    own._commit(group)
        failed = [task.exception() for task in tasks]  # each is asked, so that none complains of not having been
        for error in failed:
            if error is not None:
                raise error

    async def deposit(
        self, number: int, content: int, *, long: bool = False, lost: bool = False, implicit: bool = False
    ) -> None:
        """An instance of one of three studies; *content* tells versions apart, *lost* loses its end."""
        syntax = IMPLICIT if implicit else EXPLICIT
        data = image_of(number, content, long=long, syntax=syntax)
        if lost:
            data = data[:-7]
        digest = hashlib.sha256(data).digest()
        begun = self.ledger.begin("quarantine" if lost else "deposit", uid=uid(number), digest=digest)
        coming = deposit.Deposit(
            self.core, DEVICE, sop_class_uid=CT, sop_instance_uid=uid(number), transfer_syntax_uid=syntax
        )
        try:
            for start in range(0, len(data), 9_000):
                coming.feed(memoryview(data)[start : start + 9_000])
                await coming.ready()
                await asyncio.sleep(0)
            receipt = await coming.finish()
            self.ledger.answer(begun, receipt.outcome.value)
        except DataSetError:
            self.ledger.answer(begun)
        finally:
            await coming.abandon("interrupted")

    async def abort(self, number: int, *, long: bool) -> None:
        """A sender that goes away in the middle."""
        data = image_of(number, 9, long=long, syntax=EXPLICIT)
        coming = deposit.Deposit(
            self.core, DEVICE, sop_class_uid=CT, sop_instance_uid=uid(number), transfer_syntax_uid=EXPLICIT
        )
        for start in range(0, len(data) * 2 // 3, 9_000):
            coming.feed(memoryview(data)[start : start + 9_000])
            await coming.ready()
        await coming.abandon("association-aborted")

    async def note(self, subject: int) -> None:
        begun = self.ledger.begin("note", uid=f"urn:strongroom:note:{subject}")
        alert = self.parts.reporter.alert(self.parts.clock(), EventType.INTEGRITY, begun.uid, "a note")
        await self.core.committer.submit(Note((alert,)))
        self.ledger.answer(begun)

    async def delete(self, study: str) -> None:
        target = Target(Level.STUDY, study_instance_uids=(study,))
        with self.parts.database.reader() as connection:
            found = connection.execute(
                "SELECT sop_instance_uid FROM instance JOIN series ON series.id = instance.series"
                " JOIN study ON study.id = series.study WHERE study_instance_uid = ?",
                (study,),
            ).fetchall()
        if found:
            begun = self.ledger.begin("delete", uid=study, uids=tuple(row[0] for row in found))
            await self.core.committer.submit(DeleteAct(KEEPER, target, EVERYTHING, "test"))
            self.ledger.answer(begun)

    async def restore(self, study: str) -> None:
        with self.parts.database.reader() as connection:
            listed = deletions.matching(connection, study_instance_uids=(study,))
        if listed:
            begun = self.ledger.begin("restore", uid=study, uids=tuple(one.kept.sop_instance_uid for one in listed))
            await self.core.committer.submit(RestoreAct(KEEPER, [read_again(self.parts, one) for one in listed]))
            self.ledger.answer(begun)

    async def flush_trail(self) -> None:
        self.core.committer._catch_up()
        self.core.committer._flush_trail()

    async def fragments(self) -> None:
        await self.core.fragments.merge()

    async def prepare(self) -> None:
        self.parts.vault.prepare()

    async def stop(self) -> None:
        """A clean stop: what `Committer.stop` does when its thread has ended."""
        own = self.core.committer
        own._thread = _Ended()  # type: ignore[assignment]
        await own.stop()


class _Ended:
    def join(self) -> None:
        return None


@functools.lru_cache(maxsize=256)
def image_of(number: int, content: int, *, long: bool, syntax: str) -> bytes:
    """The data set number *number*, of its study."""
    pixels = random.Random(content * 1000 + number).randbytes(150_000 if long else 512)
    return data_set(number, syntax, study=study_of(number), pixels=pixels)


def study_of(number: int) -> str:
    return f"1.2.{3 + number % 3}"


__all__ = [
    "Event",
    "InThisThread",
    "Sender",
    "StrongroomError",
    "founded",
    "image_of",
    "make_small",
    "opened",
    "started",
]
