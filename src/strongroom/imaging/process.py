"""
One worker process as the pool sees it: start it, hand it a job, wait no longer than allowed, kill it.

The process gets no environment, no working folder of ours, no descriptor but its socket (SECURITY C32).
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, final

import msgspec

from strongroom.errors import OutOfResources
from strongroom.imaging.protocol import FRAMING, MAX_REPLY_HEADER, Job, Reply, Request

__all__ = ["Worker", "WorkerEndedError"]

START_SECONDS: Final = 30.0
"""A worker loads its codecs in half a second; a machine under load may take longer."""

_BUFFER: Final = 1 << 20
_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    # One thread each: a worker is one job on one core, and their pools would reserve memory.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}


@final
class WorkerEndedError(OutOfResources):
    """The process is gone: it crashed, took too long, or said what cannot be. Never leaves the pool."""


@final
class Worker:
    """A running worker; make it with `start`, and `kill` it in the end."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.confined: tuple[str, ...] = ()
        self.jobs = 0

    @classmethod
    async def start(cls) -> Worker:
        """Start a process and wait until it is ready; raises WorkerEndedError."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerEndedError("no worker process could be started") from error
        try:
            # From the loop's own thread: the kernel sends the worker's death signal when that thread ends.
            process = subprocess.Popen(  # noqa: S603, ASYNC220 -- our own interpreter; vfork returns within a millisecond
                [sys.executable, "-I", "-m", "strongroom.imaging.worker", str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
            )
        except OSError as error:
            ours.close()
            raise WorkerEndedError("no worker process could be started") from error
        finally:
            theirs.close()
        ours.setblocking(False)  # noqa: FBT003 -- the library's signature
        reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER)
        worker = cls(process, reader, writer)
        try:
            async with asyncio.timeout(START_SECONDS):
                reply, _ = await worker._reply(0)
        except BaseException as error:
            await worker.kill()
            if isinstance(error, WorkerEndedError | TimeoutError):
                raise WorkerEndedError("a worker did not become ready") from error
            raise
        worker.confined = reply.confined
        return worker

    async def run(
        self, job: Job, parts: Sequence[bytes | memoryview], most: int, seconds: float
    ) -> tuple[Reply, bytes]:
        """
        Have *job* done within *seconds*, with at most *most* bytes of result.

        Raises WorkerEndedError; the process is of no use after that, and has to be killed.
        """
        header = msgspec.msgpack.encode(Request(job, tuple(len(part) for part in parts)))
        self.jobs += 1
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(FRAMING.pack(len(header), sum(map(len, parts))) + header)
                for part in parts:
                    self._writer.write(part)
                    await self._writer.drain()
                return await self._reply(most)
        except TimeoutError as error:
            raise WorkerEndedError(f"a worker took longer than {seconds:g} seconds") from error
        except OSError as error:
            raise WorkerEndedError("a worker ended over a job") from error

    async def _reply(self, most: int) -> tuple[Reply, bytes]:
        try:
            length, total = FRAMING.unpack(await self._reader.readexactly(FRAMING.size))
            if length > MAX_REPLY_HEADER or total > most:
                raise WorkerEndedError(f"a worker wants to answer with {total} bytes, {most} are the most")
            reply = msgspec.msgpack.decode(await self._reader.readexactly(length), type=Reply)
            return reply, await self._reader.readexactly(total)
        except (asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            raise WorkerEndedError("a worker ended over a job") from error

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def kill(self) -> None:
        """End the process, whatever it does, and wait for its end."""
        self._process.kill()
        self._writer.transport.abort()
        # A killed process is gone within some milliseconds; a thread to wait in would take as long to start.
        while self._process.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
