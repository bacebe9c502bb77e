"""
Instances of one request on their way into the archive: the next is read while earlier ones are made durable.

Reading is one after the other, as the bytes come; what `finish` waits for (keys, flushes, the transaction) is shared by
all that wait for it, so a few of them are let wait side by side. Results keep the order of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Protocol, final

from strongroom.archive import FileDeposit
from strongroom.dicom import uid
from strongroom.dicomweb.media_type import parse
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.store_results import (
    CANNOT_UNDERSTAND,
    PROCESSING_FAILURE,
    Failed,
    Result,
    reason_of,
    result_of,
)
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.archive import Deposit, Session

MAX_UNSETTLED = 8
"""Instances of one request that wait to be durable: enough for a group commit, 4 MiB sealed in memory each at most."""


class Taker(Protocol):
    """Who takes the parts of a body, one after the other."""

    async def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins."""

    async def take(self, view: memoryview) -> None:
        """Bytes of it."""

    async def end(self) -> None:
        """It is complete."""

    async def close(self, reason: str) -> None:
        """No more will come; forget a part that is not complete."""


@final
class Window:
    """The instances of a request that wait to be durable, and what became of the others."""

    def __init__(self, session: Session, study_instance_uid: str, *, most: int = MAX_UNSETTLED) -> None:
        self.session = session
        self.study_instance_uid = study_instance_uid
        """The study of the request's address, "" when it names none."""
        self.sop_classes = uid.STORAGE_SOP_CLASSES | session.private_sop_classes
        self._duplicate_is_success = session.duplicate_is_success
        self._free = asyncio.Semaphore(most)
        self._running: set[asyncio.Task[None]] = set()
        self._results: list[Result | BaseException | None] = []

    def slot(self) -> int:
        """Keep a place in the order of the results for what will be known later."""
        self._results.append(None)
        return len(self._results) - 1

    def add(self, result: Result, slot: int | None = None) -> None:
        """Note what became of something, without waiting."""
        self._results[self.slot() if slot is None else slot] = result

    def deposit(self, transfer_syntax_uid: str) -> Deposit:
        """Begin an instance that does not come as a file; raises AccessDenied."""
        return self.session.deposit(
            sop_class_uid="",
            sop_instance_uid="",
            transfer_syntax_uid=transfer_syntax_uid,
            study_instance_uid=self.study_instance_uid,
            sop_classes=self.sop_classes,
        )

    async def settle(
        self, deposit: Deposit | FileDeposit, *, stated: tuple[str, str] = ("", ""), slot: int | None = None
    ) -> None:
        """
        Finish *deposit* beside everything else, as soon as there is room.

        *stated*: the SOP class and instance it is named by when its data set cannot be read.
        """
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            await deposit.abandon("interrupted")
            raise
        number = self.slot() if slot is None else slot
        task = asyncio.create_task(self._run(number, self._finish(deposit, stated)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def results(self) -> list[Result]:
        """Wait for everything, also when the caller is cancelled meanwhile; what was complete becomes durable (W05)."""
        while self._running:
            await asyncio.shield(asyncio.wait(list(self._running)))
        settled: list[Result] = []
        for result in self._results:
            if isinstance(result, BaseException):
                raise result
            settled.append(Failed(PROCESSING_FAILURE) if result is None else result)
        return settled

    async def _run(self, number: int, finishing: Coroutine[None, None, Result]) -> None:
        try:
            self._results[number] = await finishing
        except BaseException as error:  # noqa: BLE001 -- a bug of ours: told once the others are through
            self._results[number] = error
        finally:
            self._free.release()

    async def _finish(self, deposit: Deposit | FileDeposit, stated: tuple[str, str]) -> Result:
        try:
            receipt = await deposit.finish()
        except StrongroomError as error:
            found = deposit.identity
            if found is not None and found.sop_instance_uid:
                stated = found.sop_class_uid, found.sop_instance_uid
            return Failed(reason_of(error), *stated)
        finally:
            await deposit.abandon("interrupted")
        return result_of(receipt, duplicate_is_success=self._duplicate_is_success)


@final
class Files:
    """Takes parts that are files (application/dicom), each through the gate as it comes."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._file: FileDeposit | None = None
        """The part that is coming; None as well when it is not taken, and its rest is read and dropped."""

    async def begin(self, headers: Mapping[str, str]) -> None:
        """A part of another kind, or with a malformed Content-Type, is no instance."""
        if not _is_dicom(headers):
            self._window.add(Failed(CANNOT_UNDERSTAND))
            return
        self._file = FileDeposit(
            self._window.session,
            study_instance_uid=self._window.study_instance_uid,
            sop_classes=self._window.sop_classes,
        )

    async def take(self, view: memoryview) -> None:
        """Pass it on; an error is this part's alone."""
        file = self._file
        if file is None:
            return
        try:
            await file.feed(view)
        except StrongroomError as error:
            self._window.add(Failed(reason_of(error), *file.stated))
            self._file = None
            await file.abandon(type(error).__name__)

    async def end(self) -> None:
        """Let it become durable."""
        file, self._file = self._file, None
        if file is not None:
            await self._window.settle(file, stated=file.stated)

    async def close(self, reason: str) -> None:
        """Nothing is kept of a part that is not complete."""
        file, self._file = self._file, None
        if file is not None:
            self._window.add(Failed(CANNOT_UNDERSTAND, *file.stated))
            await file.abandon(reason)


def _is_dicom(headers: Mapping[str, str]) -> bool:
    try:
        return parse(headers.get("content-type", "application/dicom")).essence == "application/dicom"
    except HttpProblem:
        return False
