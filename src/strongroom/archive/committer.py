"""
The one writer: groups what associations finished, and makes each group durable before anybody is answered.

Order of one group (DESIGN section 4); the keys are in the keyring before a group begins:
1. pack      sealed records appended, flushed
2. database  one transaction: catalogue, register, and the trail's records in its outbox
3. trail     the records appended to the chain
4. answer    the futures of the group are resolved
The statements of 2 run while the flush of 1 is under way, but the transaction commits only after it (I2). The records
of 3 are durable with 2; the chain's own file is flushed within TRAIL_SECONDS, and start-up appends what a crash kept
from it (docs/decisions/0003).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, final

from strongroom.archive.beside import Beside
from strongroom.audit.message import encode
from strongroom.errors import OutOfResources, StrongroomError
from strongroom.register import heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from strongroom.archive.acts import DepositAct
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage

MAX_GROUP = 64
"""
Works taken into one group: enough that the flushes cost little each, few enough that the first of them does not wait
long.
"""
MAX_GROUP_BYTES = 64 * 1024 * 1024
SLOW_SECONDS = 0.05
"""A group that took longer is not made on the event loop next time: somebody else might be waiting there."""
SLOW_FOR_SECONDS = 2.0
MAX_INLINE_BYTES = 8 * 1024 * 1024
TRAIL_SECONDS = 0.1
"""The chain's own file is flushed this long after a record, or twice as long; until then the outbox keeps it."""
MAX_QUEUED = 4096
"""Works waiting; front doors are held back long before by their own limits, this is the last wall (OutOfResources)."""


class Act(Protocol):
    """One act that must be durable before it is answered; every method runs in the committer's thread."""

    def write(self, group: Group) -> None:
        """Step 1: append sealed bytes to the vault, if there are any."""

    def index(self, group: Group) -> None:
        """Step 2: change catalogue and register inside the transaction; a StrongroomError fails this act alone."""

    def records(self, group: Group) -> Sequence[AuditMessage]:
        """Step 3: what the trail says of it; asked only when write and index succeeded."""

    @property
    def size(self) -> int:
        """Sealed bytes this act appends."""

    @property
    def result(self) -> Any:
        """What the future gets."""


@final
@dataclass(slots=True)
class Group:
    """What the acts of one group share."""

    parts: Parts
    connection: apsw.Connection = field(init=False)
    """The writing connection inside the transaction; set before the first index()."""
    pending: dict[str, Any] = field(default_factory=dict)
    """SOP Instance UID -> the deposit of this very group that brings it."""
    conflicts: set[tuple[str, bytes]] = field(default_factory=set)
    """(SOP Instance UID, digest) of what this group keeps aside."""
    quarantined: set[tuple[str, bytes, str]] = field(default_factory=set)
    """(SOP Instance UID, digest, fault) of what this group puts into quarantine."""
    deposits: list[DepositAct] = field(default_factory=list)
    """The deposits of this group that were indexed."""
    stored: dict[tuple[str, ...], list[DepositAct]] = field(default_factory=dict)
    """`DepositAct.shared` -> the deposits of this group that share one trail record."""
    appended: bool = False
    """Whether something was written to the vault and has to be flushed."""

    def companions(self, act: DepositAct) -> list[DepositAct]:
        """The deposits of this group that one record can speak for together with *act*."""
        wanted = act.shared
        return [one for one in self.deposits if one.shared == wanted]


@final
class Committer:
    """
    Owns the writing side of vault, database and trail; one group at a time, whichever thread makes it.

    A group of one, on a disk that has been quick so far, is made on the event loop itself: waking two threads and the
    loop again costs a lone sender more than the flushes do (docs/decisions/0004). Everything else, and everything
    after a slow group, goes to the thread.
    """

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop) -> None:
        self._parts = parts
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[Act, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._flusher = Beside("flush")
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._waiting = 0
        self._working = threading.Lock()
        self._flushed = parts.trail.head
        self._backlog: list[bytes] = []
        """Records that are committed and not in the chain yet, because it would not take them."""
        self._forgotten = -1
        """Up to this record the outbox is tidy."""
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_behind_answer = False
        self._slow_until = 0.0
        self.busy_senders = 0
        """Deposits under way; more than one make groups worth waiting for."""
        self._closed = False
        self.last_write = 0.0
        """The loop's time of the last act that brought bytes: work that can wait keeps away from it."""

    def start(self) -> None:
        """Begin taking acts."""
        self._thread.start()

    async def submit(self, act: Act) -> Any:
        """Queue *act* and wait until it is durable; raises what it failed with, and then nothing of it is visible."""
        if self._closed or self._waiting >= MAX_QUEUED:
            raise OutOfResources(
                "the archive is stopping" if self._closed else f"more than {MAX_QUEUED} writes are waiting"
            )
        if act.size:
            self.last_write = self._loop.time()
        if self._is_quick(act):
            return self._now(act)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting += 1
        self._queue.put((act, future))
        try:
            # shielded: a caller that goes away must not cancel a write that others share
            return await asyncio.shield(future)
        finally:
            self._waiting -= 1

    def _is_quick(self, act: Act) -> bool:
        """Whether *act* is made here and now."""
        return (
            not self._waiting
            and self.busy_senders <= 1
            and act.size <= MAX_INLINE_BYTES
            and self._loop.time() >= self._slow_until
            and self._working.acquire(blocking=False)
        )

    def _now(self, act: Act) -> Any:
        """Make a group of one on the event loop; the lock is held."""
        began = self._loop.time()
        try:
            self._make_durable_alone(act)
        except BaseException:
            self._parts.recorder.forget()
            raise
        finally:
            self._working.release()
            self._trail_written()
            ended = self._loop.time()
            if ended - began > SLOW_SECONDS:
                self._slow_until = ended + SLOW_FOR_SECONDS
        return act.result

    async def stop(self) -> None:
        """Finish what is queued, then end the thread; the trail is flushed and the register knows where it ends."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._flusher.stop()
        parts = self._parts
        with contextlib.suppress(OutOfResources):  # the outbox keeps what the chain could not take
            self._catch_up()
            self._flush_trail()
            with parts.database.transaction() as connection:
                heads.save(connection, parts.trail.head, self._flushed)

    def _catch_up(self) -> None:
        """
        Append what was committed and is not in the chain yet; raises OutOfResources, and then nothing new is taken
        (I10).
        """
        if self._backlog:
            self._parts.trail.append_encoded(self._backlog)
            self._backlog = []

    def _flush_trail(self) -> None:
        head = self._parts.trail.head
        self._parts.trail.flush()
        self._flushed = head

    def _trail_written(self) -> None:
        """On the loop: see to it that the chain's file is flushed soon."""
        if self._flush_behind_answer:
            self._loop.call_soon(self._flush_now)
        elif (
            self._flush_timer is None and not self._closed and self._parts.trail.head.sequence > self._flushed.sequence
        ):
            self._flush_timer = self._loop.call_later(TRAIL_SECONDS, self._flush_due)

    def _flush_due(self) -> None:
        """Flush now or, while data sets come in, behind the next answer: that sender is busy with its next file."""
        if self.busy_senders and not self._flush_behind_answer:
            self._flush_behind_answer = True
            self._flush_timer = self._loop.call_later(TRAIL_SECONDS, self._flush_due)
        else:
            self._flush_now()

    def _flush_now(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flush_behind_answer = False
        if self._closed or self._parts.trail.head == self._flushed:
            return
        if not self._working.acquire(blocking=False):
            self._trail_written()
            return
        try:
            with contextlib.suppress(OutOfResources):  # the medium is suspect now, every later act hears of it
                self._flush_trail()
        finally:
            self._working.release()

    def _run(self) -> None:
        more = True
        while more:
            group: list[tuple[Act, asyncio.Future[Any]]] = []
            more = self._gather(group)
            if group:
                with self._working:
                    self._commit(group)
                    if self._flush_behind_answer:  # under load the loop would find this thread busy again and again
                        with contextlib.suppress(OutOfResources):
                            self._flush_trail()
                self._loop.call_soon_threadsafe(self._trail_written)

    def _gather(self, group: list[tuple[Act, asyncio.Future[Any]]]) -> bool:
        """Wait for the first act, then take whatever else is there already; False once stopping."""
        item = self._queue.get()
        size = 0
        while item is not None:
            group.append(item)
            size += item[0].size
            if len(group) >= MAX_GROUP or size >= MAX_GROUP_BYTES:
                return True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _commit(self, pairs: list[tuple[Act, asyncio.Future[Any]]]) -> None:
        """Make one group durable; an error of the medium fails the whole group, an error of one act only that act."""
        errors: list[BaseException | None] = [None] * len(pairs)
        try:
            self._make_durable([act for act, _ in pairs], errors)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the callers must hear of it and the thread must live
            self._parts.recorder.forget()
            errors = [error] * len(pairs)
        outcome = [(future, act, error) for (act, future), error in zip(pairs, errors, strict=True)]
        self._loop.call_soon_threadsafe(_resolve, outcome)

    def _make_durable(self, acts: list[Act], errors: list[BaseException | None]) -> None:
        """Steps 1 to 3 for one group; fills *errors* for acts that failed alone, raises when the medium failed."""
        parts = self._parts
        self._catch_up()
        group = Group(parts)
        for number, act in enumerate(acts):
            errors[number] = _attempt(act.write, group)
        with self._flushing(group) as durable, parts.database.transaction() as connection:
            group.connection = connection
            self._index(acts, group, errors)
            records = [
                encode(message)
                for act, error in zip(acts, errors, strict=True)
                if error is None
                for message in act.records(group)
            ]
            flushed = self._save_head(connection, records, appended=group.appended)
            durable()
        self._committed(records, flushed)

    def _make_durable_alone(self, act: Act) -> None:
        """The same for a group of one, here and now: it needs no savepoint, for whatever fails leaves nothing."""
        parts = self._parts
        self._catch_up()
        group = Group(parts)
        with parts.database.transaction() as connection:  # begun first: what is looked up needs no lock of its own
            group.connection = connection
            act.write(group)
            with self._flushing(group) as durable:
                act.index(group)
                records = [encode(message) for message in act.records(group)]
                flushed = self._save_head(connection, records, appended=group.appended)
                durable()
        self._committed(records, flushed)

    def _flushing(self, group: Group) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Flush the pack beside the body, which has to wait for it before its transaction may commit (I2)."""
        return self._flusher.run(self._parts.vault.flush) if group.appended else contextlib.nullcontext(_nothing)

    def _save_head(self, connection: apsw.Connection, records: Sequence[bytes], *, appended: bool) -> int:
        """Put *records* into the outbox; return up to which record it is tidy once this is committed."""
        flushed = self._flushed
        tidy = flushed.sequence != self._forgotten
        heads.save(connection, self._parts.trail.head, flushed, records, tidy=tidy)
        if appended:
            connection.cache_flush()  # into the log, while the pack is flushed; only the commit's mark makes it count
        return flushed.sequence

    def _committed(self, records: list[bytes], flushed: int) -> None:
        self._forgotten = flushed
        self._backlog = records
        with contextlib.suppress(OutOfResources):  # these acts are durable; the next one hears of it
            self._catch_up()

    def _index(self, acts: list[Act], group: Group, errors: list[BaseException | None]) -> None:
        """Step 2, each act in a savepoint of its own."""
        execute = group.connection.execute
        for number, act in enumerate(acts):
            if errors[number] is None:
                # our own savepoints: a full disk ends the transaction under apsw's, and hides behind its complaint
                execute("SAVEPOINT act")
                errors[number] = _attempt(act.index, group)
                if errors[number] is not None:
                    self._parts.recorder.forget()
                    execute("ROLLBACK TO act")
                execute("RELEASE act")


def _nothing() -> None:
    """Nothing was appended, so nothing has to become durable."""


def _attempt(step: Callable[[Group], None], group: Group) -> BaseException | None:
    """
    Run one act's step; an error raised on purpose is that act's alone, except that the medium's concern the whole
    group.
    """
    try:
        step(group)
    except OutOfResources:
        raise
    except StrongroomError as error:
        return error
    return None


def _resolve(outcome: list[tuple[asyncio.Future[Any], Act, BaseException | None]]) -> None:
    for future, act, error in outcome:
        if future.done():
            continue
        if error is None:
            future.set_result(act.result)
        else:
            future.set_exception(error)
            future.exception()  # a caller that went away must not make the loop complain
