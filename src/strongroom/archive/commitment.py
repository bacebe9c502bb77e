"""
Storage commitment (PS3.4 annex J), on both sides, as jobs.

Asked by a device:
1. the request is durable, with its job, before it is answered;
2. a job reads every instance again (`examination`), writes down the result and makes the job that tells it, in one
   transaction with the records of the trail;
3. the result goes to the association that asked, while it stands, else to the address of the device's entry, where the
   certificate of the entry has to be shown; it is tried again for a day.
A request that comes twice is answered once, or again when it was over.

Asking a device: the request is a job too; its result is taken from that device only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.archive import commitment_records as records
from strongroom.archive.acts import Change
from strongroom.archive.batch import from_thread
from strongroom.archive.committed import Commitment, Reference
from strongroom.archive.examination import Examination
from strongroom.archive.jobs import JobImpossible
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.scope import Scope
from strongroom.errors import ConflictError, NotFound, RemoteProtocolError
from strongroom.register import commitments as register
from strongroom.register import jobs
from strongroom.register.commitments import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from strongroom.archive.committed import CommitmentInbox, CommitmentPeer
    from strongroom.archive.core import Core
    from strongroom.archive.credentials import MoveDestination
    from strongroom.archive.directory import Directory
    from strongroom.archive.job_task import Task
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.instances import InstanceRow

EXAMINE, REPORT, ASK = "commitment", "commitment-report", "commitment-ask"
"""Kinds of jobs."""
REPORT_ATTEMPTS: Final = 32
"""Attempts to tell a device its result, or to ask one: about a day, for one that is switched off over night."""
AT_ONCE: Final = 4
"""Devices that are told or asked at a time."""


@final
class Commitments:
    """Every storage commitment of the archive."""

    def __init__(self, core: Core, directory: Directory) -> None:
        self._core = core
        self._directory = directory
        self._inboxes: dict[tuple[str, str], CommitmentInbox] = {}
        self.peer: CommitmentPeer | None = None
        """The way to the devices; the server has one."""
        self.has_second: Callable[[InstanceRow], bool] | None = None
        """Whether the second copy of an instance is there, where the configuration asks for one."""
        core.jobs.handle(EXAMINE, self.examine)
        core.jobs.handle(REPORT, self.report, attempts=REPORT_ATTEMPTS, concurrent=AT_ONCE)
        core.jobs.handle(ASK, self.ask, attempts=REPORT_ATTEMPTS, concurrent=AT_ONCE)

    # ------------------------------------------------------------------ a device asks

    async def open(self, device: str, request: Commitment, inbox: CommitmentInbox) -> None:
        """Make a request of *device* durable; raises ConflictError, OutOfResources."""
        key, at = (device, request.transaction_uid), self._now()
        before, was_expected = self._inboxes.get(key), request.transaction_uid in inbox.expected
        inbox.expected.add(request.transaction_uid)
        self._inboxes[key] = inbox  # before the job exists, which may be quicker than the answer to the request

        def change(connection: apsw.Connection) -> None:
            asked = [(one.sop_class_uid, one.sop_instance_uid) for one in request.references]
            number = register.open_(connection, device, request.transaction_uid, asked, ours=False, at=at)
            if number is None:  # it is open already: whoever asks again may be told sooner
                known = register.named(connection, device, request.transaction_uid, ours=False)
                if known is not None and known.state is State.KNOWN:
                    jobs.enqueue(connection, REPORT, {"commitment": known.id}, at=at, key=str(known.id))
                return
            jobs.enqueue(connection, EXAMINE, {"commitment": number}, at=at, key=str(number))

        try:
            await self._submit(change)
        except BaseException:
            if not was_expected:
                inbox.expected.discard(request.transaction_uid)
            self._inboxes.pop(key, None)
            if before is not None:  # what was asked first under this UID goes on as it was
                self._inboxes[key] = before
            raise
        finally:
            self._inboxes = {key: one for key, one in self._inboxes.items() if one.is_open}
        self._core.jobs.wake()

    async def examine(self, task: Task) -> None:
        """Read what was asked for and write down the result (step 2)."""
        asked = await self._find(task)
        if asked is None or asked.state is not State.OPEN:
            return
        examination = Examination(
            self._core.parts, asked.device, asked.asked, self._scope(asked.device), has_second=self.has_second
        )
        async with contextlib.aclosing(from_thread(examination.run())) as steps:
            async for done in steps:
                await task.progress(done, asked.items)
        at = self._now()

        def change(connection: apsw.Connection) -> None:
            register.set_reasons(connection, asked.id, examination.reasons, at=at)
            catalogue.checked(connection, [row.id for row in examination.kept], at)
            jobs.enqueue(connection, REPORT, {"commitment": asked.id}, at=at, key=str(asked.id))

        actor = self._directory.actor(asked.device)
        messages = records.examined(self._core.parts, actor, asked.device, examination)
        await self._submit(change, messages)
        self._core.jobs.wake()

    async def report(self, task: Task) -> None:
        """Tell the device that asked (step 3)."""
        asked = await self._find(task)
        if asked is None or asked.state is not State.KNOWN:
            return
        references = tuple(Reference(*one) for one in asked.asked)
        result = Commitment(asked.transaction_uid, references, asked.reasons)
        inbox = self._inboxes.get((asked.device, asked.transaction_uid))
        if inbox is None or not await inbox.deliver(result):
            await self._call(asked.device, lambda peer, address: peer.report(address, result))
        at = self._now()
        await self._submit(lambda connection: register.over(connection, asked.id, at=at))
        self._inboxes.pop((asked.device, asked.transaction_uid), None)

    def _scope(self, device: str) -> Scope:
        """
        What a device may learn the presence of: its scope, and of that only what it sent itself, unless it may search
        or retrieve.
        """
        actor = self._directory.actor(device)
        if actor is None:
            raise JobImpossible("the device that asked is not enrolled any more")
        scope = self._directory.scope(actor)
        if {"query", "retrieve"} & actor.actions:
            return scope
        return scope & Scope.of(sending_devices=[device])

    # ------------------------------------------------------------------ we ask a device

    async def request(
        self, device: str, transaction_uid: str, rows: Sequence[InstanceRow], messages: Sequence[AuditMessage]
    ) -> int:
        """Ask *device* to answer for *rows*; return the number of the transaction. Raises NotFound, OutOfResources."""
        if self._directory.address(device) is None:
            raise NotFound(f"there is no device {device!r} with an address (--move-port) whose entry is in force")
        at = self._now()

        def change(connection: apsw.Connection) -> int:
            asked = [(row.sop_class_uid, row.sop_instance_uid) for row in rows]
            number = register.open_(connection, device, transaction_uid, asked, ours=True, at=at)
            if number is None:
                raise ConflictError("this Transaction UID is in use")
            jobs.enqueue(connection, ASK, {"commitment": number}, at=at, key=str(number))
            return number

        number: int = await self._submit(change, messages)
        self._core.jobs.wake()
        return number

    async def ask(self, task: Task) -> None:
        """Send a request of ours to its device."""
        asked = await self._find(task)
        if asked is None or asked.state is not State.OPEN:
            return
        request = Commitment(asked.transaction_uid, tuple(Reference(*one) for one in asked.asked))

        async def take(result: Commitment) -> None:
            await self.answered(asked.device, result)

        await self._call(asked.device, lambda peer, address: peer.ask(address, request, take))

    async def answered(self, device: str, result: Commitment) -> None:
        """
        Take the result of *device* for something we asked it; what it does not mention it does not answer for. Raises
        NotFound for a transaction that is not open with it.
        """
        at = self._now()
        found = await asyncio.to_thread(self._named, device, result.transaction_uid)
        if found is None or found.state is not State.OPEN:
            raise NotFound("no such transaction is open with this device")
        said = dict(zip(result.references, result.reasons, strict=True))
        unsaid = records.NOT_MENTIONED
        reasons = [said.get(Reference(*one), unsaid) for one in found.asked]
        message = records.answered(self._core.parts, self._directory.actor(device), found, Counter(reasons))

        def change(connection: apsw.Connection) -> None:
            register.set_reasons(connection, found.id, reasons, at=at, state=State.OVER)

        await self._submit(change, (message,))

    def _named(self, device: str, transaction_uid: str) -> register.Commitment | None:
        with self._core.parts.database.reader() as connection:
            return register.named(connection, device, transaction_uid, ours=True)

    # ------------------------------------------------------------------ both

    async def _call(self, device: str, what: Callable[[CommitmentPeer, MoveDestination], Any]) -> Any:
        """Call the address of the device's entry; raises a StrongroomError when that did not work."""
        address = self._directory.address(device)
        if address is None:
            raise JobImpossible(
                "the association that asked is over, and the device has no address (--move-port), or its entry is not"
                " in force"
            )
        assert self.peer is not None
        try:
            return await what(self.peer, address)
        except OSError as error:
            raise RemoteProtocolError("the device could not be reached") from error

    async def _find(self, task: Task) -> register.Commitment | None:
        number = task.payload["commitment"]

        def read() -> register.Commitment | None:
            with self._core.parts.database.reader() as connection:
                return register.find(connection, number)

        return await asyncio.to_thread(read)

    def _now(self) -> float:
        return self._core.parts.clock().timestamp()

    async def _submit(self, change: Callable[[apsw.Connection], Any], messages: Sequence[AuditMessage] = ()) -> Any:
        return await self._core.committer.submit(Change(change, messages))
