"""
The control socket: how `strongroom` commands talk to the server that owns the home.

One JSON object a line over a Unix socket inside the home (0600). The peer's uid comes from the kernel (SO_PEERCRED)
and must be the owner's; what is asked goes through the same gate as everything else, as the actor *host* (DESIGN
section 6, One writer).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, final

import msgspec

from strongroom import errors
from strongroom.errors import ConflictError, StrongroomError

MAX_REQUEST_BYTES = 256 * 1024
"""A request names an operation and a few parameters; a longer one is a mistake."""
_MAX_SOCKET_PATH = 100
"""sun_path holds 108 bytes; a longer home is reached through /proc/self/fd."""
_PEER_CREDENTIALS = struct.Struct("3i")

Reply = dict[str, Any]


class NobodyListensError(ConflictError):
    """No server answers on the home's control socket."""


Operate = Callable[[str, dict[str, Any], int], AsyncIterator[Reply]]
"""(operation, parameters, uid of the caller) -> progress objects, the last one being {"result": ...}."""


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Give a name for *path* short enough for a socket address."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@final
class ControlServer:
    """Listens on the home's socket; the caller must already hold the home's lock."""

    def __init__(self, path: Path, operate: Operate) -> None:
        self._path = path
        self._operate = operate
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind; a socket file left by a killed server is removed first, which the home's lock makes safe."""
        self._path.unlink(missing_ok=True)
        with _reachable(self._path) as name:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                listening.bind(name)
            finally:
                os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_REQUEST_BYTES)

    async def stop(self) -> None:
        """Stop listening and end what runs."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            uid = _peer_uid(writer)
            if uid not in (os.getuid(), 0):
                return
            async with asyncio.timeout(10):
                line = await reader.readline()
            await self._answer(line, uid, writer)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the command went away; nobody is left to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes, uid: int, writer: asyncio.StreamWriter) -> None:
        try:
            request = msgspec.json.decode(line, type=_Request)
            async for reply in self._operate(request.operation, request.parameters, uid):
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except StrongroomError as error:
            writer.write(msgspec.json.encode({"error": type(error).__name__, "message": str(error)}) + b"\n")
            await writer.drain()


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operation: str
    parameters: dict[str, Any]


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
    return int(uid)


async def ask(path: Path, operation: str, parameters: dict[str, Any]) -> AsyncGenerator[Reply]:
    """
    Ask the server behind *path* and yield its replies, the last one holding "result".

    Raises the StrongroomError the server raised, or NobodyListensError.
    """
    try:
        with _reachable(path) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=64 * 1024 * 1024)
    except OSError as error:
        raise NobodyListensError("no server answers on the control socket of this home") from error
    try:
        writer.write(msgspec.json.encode({"operation": operation, "parameters": parameters}) + b"\n")
        await writer.drain()
        while line := await reader.readline():
            reply: Reply = msgspec.json.decode(line)
            if "error" in reply:
                raise _rebuild(str(reply["error"]), str(reply["message"]))
            yield reply
            if "result" in reply:
                return
        raise ConflictError("the server ended while it worked on this command")
    finally:
        writer.close()


def _rebuild(kind: str, message: str) -> StrongroomError:
    """The same error type on this side of the socket, so that exit statuses agree."""
    candidate = getattr(errors, kind, None)
    if isinstance(candidate, type) and issubclass(candidate, StrongroomError):
        return candidate(message)
    return StrongroomError(message)
