"""
The pool of workers: every decode, encode, rendering and picture of the archive goes through it (SECURITY C32, F10-F16).

1. No worker exists before the first job; starting the server costs nothing.
2. A job that crashes its worker, hangs or grows too large is one `UnreadablePixelsError`; the worker is replaced at
   once, and the others notice nothing.
3. What waits is bounded in number and bytes; beyond that a job is refused with `PoolBusyError` before it costs
   anything.
4. What a worker answers is compared with what it may be: it has seen bytes from outside, and is not believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from strongroom.imaging import syntaxes
from strongroom.imaging.errors import PoolBusyError, UnreadablePixelsError
from strongroom.imaging.options import RenderOptions
from strongroom.imaging.pixels import MAX_FRAME_BYTES, PixelDescription
from strongroom.imaging.process import Worker, WorkerEndedError
from strongroom.imaging.protocol import Decode, Encode, Fault, Job, Picture, PictureInfo, Render, Reply, Transcode

__all__ = ["Budget", "Pool"]

MAX_PICTURE_BYTES: Final = 256 << 20
"""A rendered picture; an animated one may be long."""

MAX_FRAMES_AT_ONCE: Final = 512
"""Frames of one animated picture."""

WORKERS: Final = 2
"""Processes of a pool: pixel work has two cores at most, whatever is asked for."""

_SLACK: Final = 1 << 20  # what a lossless encoder may need beyond twice the decoded frame


@final
@dataclass(frozen=True, slots=True)
class Budget:
    """How much pixel work is taken on at a time."""

    job_seconds: float = 30.0
    """One job on the clock; then its worker is killed."""
    wait_seconds: float = 30.0
    """A job that has waited so long is refused instead of done."""
    max_waiting: int = 256
    """Jobs that wait."""
    max_waiting_bytes: int = 256 << 20
    """Bytes of the jobs that wait."""
    idle_seconds: float = 600.0
    """A worker without a job for so long ends: it holds some 60 MB."""
    max_jobs: int = 20_000
    """Jobs of one worker before a fresh one takes its place, in case a codec leaks."""


@final
class _Ticket:
    """One job that waits or is being done."""

    __slots__ = ("future", "job", "most", "parts", "since", "size")

    def __init__(self, job: Job, parts: Sequence[bytes], most: int, loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.parts = parts
        self.most = most
        self.size = sum(map(len, parts))
        self.since = loop.time()
        self.future: asyncio.Future[tuple[Reply, bytes]] = loop.create_future()


@final
class Pool:
    """*workers* processes at most. Use: `start`, any number of jobs at a time, `stop`; on one event loop."""

    def __init__(self, workers: int = WORKERS, *, budget: Budget | None = None) -> None:
        self._size = workers
        self._budget = budget or Budget()
        self._queue: asyncio.Queue[_Ticket] = asyncio.Queue()
        self._waiting_bytes = 0
        self._runners: list[asyncio.Task[None]] = []
        self._workers: set[Worker] = set()
        self._open = False
        self.ended = 0
        """Workers that ended otherwise than asked to, since the start."""

    @property
    def confined(self) -> tuple[str, ...]:
        """What confines the running workers here (decision 0007); nothing before the first job."""
        return next((worker.confined for worker in self._workers), ())

    @property
    def pids(self) -> tuple[int, ...]:
        """The running workers."""
        return tuple(worker.pid for worker in self._workers)

    async def start(self) -> None:
        """Take jobs from now on; processes start with the first ones."""
        self._open = True

    async def stop(self) -> None:
        """End every worker; what waits is refused."""
        self._open = False
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners.clear()
        while not self._queue.empty():
            ticket = self._queue.get_nowait()
            if not ticket.future.done():
                ticket.future.set_exception(PoolBusyError("the archive is stopping"))

    async def decode(self, pixels: PixelDescription, frame: bytes) -> tuple[bytes, PixelDescription]:
        """
        Decode one stored frame: native little endian, colour by pixel, single bits packed from bit 0.

        *frame* are its bytes as stored, fragments joined. The description is what the bytes are now. Raises
        UnreadablePixelsError and PoolBusyError.
        """
        described = syntaxes.after_decoding(pixels)
        native = await self._frame(Decode(pixels.bare()), frame, described.native_length)
        if len(native) != described.native_length:
            raise UnreadablePixelsError("a worker gave a frame of another size")
        return native, described

    async def encode(self, pixels: PixelDescription, native: bytes, transfer_syntax_uid: str) -> bytes:
        """Encode a frame that `decode` gave, losslessly; see `syntaxes.after_encoding`. Raises as `decode` does."""
        if not syntaxes.can_convert(pixels.transfer_syntax_uid, transfer_syntax_uid, pixels):
            raise UnreadablePixelsError("frames of this kind are not written in this transfer syntax")
        most = 2 * pixels.native_length + _SLACK
        return await self._frame(Encode(pixels.bare(), transfer_syntax_uid), native, most)

    async def transcode(
        self, pixels: PixelDescription, frame: bytes, transfer_syntax_uid: str
    ) -> tuple[bytes, PixelDescription]:
        """Decode and encode in one step; the description is what the bytes are then."""
        if not syntaxes.can_convert(pixels.transfer_syntax_uid, transfer_syntax_uid, pixels):
            raise UnreadablePixelsError("frames of this kind are not written in this transfer syntax")
        most = 2 * pixels.native_length + _SLACK
        made = await self._frame(Transcode(pixels.bare(), transfer_syntax_uid), frame, most)
        return made, syntaxes.after_encoding(syntaxes.after_decoding(pixels), transfer_syntax_uid)

    async def render(self, pixels: PixelDescription, frames: Sequence[bytes], options: RenderOptions) -> bytes:
        """Make a picture of stored frames: one, or for an animated GIF several. Raises as `decode` does."""
        if not 1 <= len(frames) <= MAX_FRAMES_AT_ONCE:
            raise UnreadablePixelsError(f"a picture shows 1 to {MAX_FRAMES_AT_ONCE} frames, not {len(frames)}")
        _, picture = await self._submit(Render(pixels, options), frames, MAX_PICTURE_BYTES)
        return picture

    async def picture(self, data: bytes, media_type: str) -> tuple[PictureInfo, bytes]:
        """
        Read an ordinary JPEG or PNG for an instance that will hold it (STOW-RS).

        A JPEG that DICOM allows is kept as it is (the syntax says which), anything else is decoded to native little
        endian. Raises as `decode` does.
        """
        reply, made = await self._submit(Picture(media_type), (data,), MAX_FRAME_BYTES)
        if reply.picture is None:
            raise UnreadablePixelsError("a worker said nothing about a picture")
        return reply.picture, made

    async def _frame(self, job: Job, frame: bytes, most: int) -> bytes:
        _, made = await self._submit(job, (frame,), most)
        return made

    async def _submit(self, job: Job, parts: Sequence[bytes], most: int) -> tuple[Reply, bytes]:
        """Queue a job within the budget and wait for what becomes of it."""
        ticket = _Ticket(job, parts, most, asyncio.get_running_loop())
        if not self._open:
            raise PoolBusyError("the pool takes no work")
        if self._queue.qsize() >= self._budget.max_waiting:
            raise PoolBusyError(f"{self._budget.max_waiting} pixel jobs are waiting already")
        if self._waiting_bytes and self._waiting_bytes + ticket.size > self._budget.max_waiting_bytes:
            raise PoolBusyError(f"{self._waiting_bytes} bytes of pixel jobs are waiting already")
        if not self._runners:
            self._runners = [asyncio.create_task(self._run()) for _ in range(self._size)]
        self._waiting_bytes += ticket.size
        self._queue.put_nowait(ticket)
        return await ticket.future

    async def _run(self) -> None:
        """Serve the queue with one worker after the other."""
        worker: Worker | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(self._budget.idle_seconds if worker else None):
                        ticket = await self._queue.get()
                except TimeoutError:
                    await self._retire(worker)
                    worker = None
                    continue
                self._waiting_bytes -= ticket.size
                if ticket.future.done():  # whoever wanted it has gone
                    continue
                if asyncio.get_running_loop().time() - ticket.since > self._budget.wait_seconds:
                    ticket.future.set_exception(PoolBusyError("pixel work waits for too long"))
                    continue
                worker = await self._serve(ticket, worker)
        finally:
            await self._retire(worker)

    async def _serve(self, ticket: _Ticket, worker: Worker | None) -> Worker | None:
        """Do one job; return the worker for the next one."""
        try:
            worker = worker or await self._hire()
            reply, made = await worker.run(ticket.job, ticket.parts, ticket.most, self._budget.job_seconds)
            if reply.fault == Fault.MEMORY and worker.jobs > 1:  # perhaps others' leaks: once more, on a fresh one
                await self._retire(worker)
                worker = await self._hire()
                reply, made = await worker.run(ticket.job, ticket.parts, ticket.most, self._budget.job_seconds)
        except WorkerEndedError as error:
            if worker is None:
                _fail(ticket, PoolBusyError("no worker could be started"))
                return None
            self.ended += 1
            _fail(ticket, UnreadablePixelsError(str(error)))
            await self._retire(worker)
            return await self._replacement()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the others' jobs still have to be done
            asyncio.get_running_loop().call_exception_handler({"message": "a pixel job failed", "exception": error})
            _fail(ticket, PoolBusyError("no worker could do this now"))
            await self._retire(worker)
            return None
        except BaseException:
            _fail(ticket, PoolBusyError("the archive is stopping"))
            await self._retire(worker)
            raise
        if reply.fault:
            _fail(ticket, UnreadablePixelsError(reply.sentence))
        elif not ticket.future.done():
            ticket.future.set_result((reply, made))
        if worker.jobs >= self._budget.max_jobs or reply.fault == Fault.MEMORY:
            await self._retire(worker)
            return None
        return worker

    async def _hire(self) -> Worker:
        worker = await Worker.start()
        self._workers.add(worker)
        return worker

    async def _replacement(self) -> Worker | None:
        """Start the next worker now, so that the next job need not wait; one that cannot start is tried again then."""
        with contextlib.suppress(WorkerEndedError):
            return await self._hire()
        return None

    async def _retire(self, worker: Worker | None) -> None:
        if worker is not None:
            self._workers.discard(worker)
            await worker.kill()


def _fail(ticket: _Ticket, error: Exception) -> None:
    if not ticket.future.done():
        ticket.future.set_exception(error)
