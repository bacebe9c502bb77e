"""Sockets below our doors and our calls: listening, accepting, calling."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

_BACKLOG: Final = 256
_BREATH_SECONDS: Final = 0.2
"""How long accepting rests when the process has no file descriptor left."""


async def listen(host: str, port: int) -> tuple[list[socket.socket], int]:
    """Listen on every address of *host*; returns the sockets and the port. Raises OSError when it cannot be had."""
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(_listen(family, kind, protocol, (str(address[0]), port)))
            port = int(sockets[-1].getsockname()[1])
    except BaseException:
        for listening in sockets:
            listening.close()
        raise
    return sockets, port


async def accept(listening: socket.socket, take: Callable[[socket.socket, tuple[str, int]], None]) -> None:
    """Hand every connection and where it comes from to *take*, until *listening* is closed or the task cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connected, address = await loop.sock_accept(listening)
        except OSError:
            if listening.fileno() < 0:
                return
            await asyncio.sleep(_BREATH_SECONDS)
            continue
        take(connected, address)


async def call(host: str, port: int, announce: Callable[[tuple[str, int]], None] | None = None) -> socket.socket:
    """
    Connect to the first address of *host* that answers; raises OSError.

    *announce* is told the address and port we call from before the peer can see them; the connection is then bound to
    the called address, so this is for own doors only.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    last: OSError | None = None
    for family, kind, protocol, _, address in found:
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)  # noqa: FBT003 -- the signature of the standard library
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if announce is not None:
                connected.bind((address[0], 0))
                announce(connected.getsockname()[:2])
            await loop.sock_connect(connected, address)
        except OSError as error:
            connected.close()
            last = error
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise last or OSError("the name has no address")


def _listen(family: int, kind: int, protocol: int, address: tuple[str, int]) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)  # noqa: FBT003 -- the signature of the standard library
        listening.bind(address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


__all__ = ["accept", "call", "listen"]
