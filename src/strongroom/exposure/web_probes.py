"""
What a stranger gets at a web door, tried one request at a time (EXPOSURE 7.3; SECURITY W34).

1. A search for a study that cannot exist: its status proves whether a stranger may search; no identity crosses the
   wire, and what is answered is not kept.
2. A search for instances, as narrow.
3. The pages that servers forget: metrics, the description of the interface, its documentation.
4. The first search over TLS with a certificate made on the spot, and in clear text.
A door is open when any answer is other than a refusal: 400, 401, 403, 404, 421, 429, 503, or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from strongroom.dicom.uid import from_random
from strongroom.exposure.disguise import stranger_identity
from strongroom.exposure.probes import CALLING, KNOCK_SECONDS, Announce, Answer, Evidence, Look
from strongroom.exposure.territory import Host
from strongroom.transport import sockets, tls

_REFUSALS: Final = frozenset({400, 401, 403, 404, 421, 429, 503})
_PAGES: Final = ("/metrics", "/openapi.json", "/docs")
_LONGEST_LINE: Final = 256
"""Only a status line is read."""


async def look_at_web(host: Host, *, name: str, announce: Announce, entropy: Callable[[int], bytes]) -> Look:
    """Ask *host*, by its *name*, in every way a stranger can; *announce* hears our own address before each knock."""
    plain, foreign = tls.unverified_client_context(), tls.Identity(*stranger_identity(entropy))

    def search(level: str) -> str:
        return f"/dicom-web/{level}?StudyInstanceUID={from_random(entropy(16))}&limit=1"

    knocks: list[tuple[str, ssl.SSLContext | None, str]] = [
        ("without a token", plain, search("studies")),
        ("without a token", plain, search("instances")),
        *(("without a token", plain, page) for page in _PAGES),
        ("with a foreign certificate", tls.unverified_client_context(foreign), search("studies")),
        ("in clear text", None, search("studies")),
    ]
    evidence = []
    for knock, context, target in knocks:
        answer, detail = await _knock(host, context, f"{name}:{host.port}", target, announce)
        path = target.partition("?")[0]
        evidence.append(Evidence(f"GET {path} {knock}", path, answer, detail))
    return Look(host, tuple(evidence))


async def _knock(
    host: Host, context: ssl.SSLContext | None, authority: str, target: str, announce: Announce
) -> tuple[Answer, str]:
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            connected = await sockets.call(host.address, host.port, announce)
    except (OSError, TimeoutError):
        return Answer.NO_CONNECTION, ""
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            line = await _ask(connected, context, authority, target)
    except ssl.SSLError:
        return Answer.TLS_REFUSED, ""
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return Answer.CLOSED, ""
    finally:
        connected.close()
    return _judge(line)


async def _ask(connected: socket.socket, context: ssl.SSLContext | None, authority: str, target: str) -> bytes:
    """The status line of the answer; nothing else of it is looked at."""
    name = None if context is None else authority.rpartition(":")[0]
    reader, writer = await asyncio.open_connection(
        sock=connected, limit=_LONGEST_LINE, ssl=context, server_hostname=name
    )
    try:
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {CALLING}\r\n"
            "Accept: application/dicom+json\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        return await reader.readuntil(b"\r\n")
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _judge(line: bytes) -> tuple[Answer, str]:
    status = line[9:12]
    if not line.startswith(b"HTTP/1.") or not status.isdigit():
        return Answer.CLOSED, ""  # an alert of TLS, where clear text was sent
    refused = int(status) in _REFUSALS
    return (Answer.NOT_SERVED if refused else Answer.SERVED), status.decode("ascii")


__all__ = ["look_at_web"]
