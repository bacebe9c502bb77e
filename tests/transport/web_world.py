"""A web door on loopback with a tiny application, and clients that send it bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from strongroom.transport.doors import Peer
from strongroom.transport.ends import Refused
from strongroom.transport.quotas import Quota
from strongroom.transport.tls import client_context, web_context
from strongroom.transport.web import WebDoor
from strongroom.transport.web_rules import Limits, Rules
from transport.world import LOOPBACK, authority, server_identity

QUICK = Limits(
    handshake_seconds=0.4,
    head_seconds=0.4,
    body_seconds=5.0,
    grace_seconds=0.3,
    idle_seconds=1.0,
    stall_seconds=0.4,
    linger_seconds=0.05,
    tick_seconds=0.02,
)
NO_DELAY = Quota(first_delay_seconds=0.0, longest_delay_seconds=0.0, knocking_per_address=32)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class App:
    """Answers by path; remembers what it saw."""

    scopes: list[dict] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    sent: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope, receive, send) -> None:
        self.scopes.append(scope)
        try:
            await getattr(self, f"answer_{scope['path'].strip('/') or 'hello'}")(scope, receive, send)
        except OSError as error:
            self.ends.append(type(error).__name__)
            raise
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        else:
            self.ends.append("done")

    async def answer_hello(self, scope, receive, send) -> None:
        body = b"hello"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer_signed(self, scope, receive, send) -> None:
        """As somebody who was let in."""
        room = scope["strongroom"]["admitted"](scope["query_string"].decode() or "ct1")
        await send({"type": "http.response.start", "status": 200 if room else 503, "headers": []})
        await send({"type": "http.response.body"})

    async def answer_echo(self, scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ends.append("disconnect")
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def answer_early(self, scope, receive, send) -> None:
        """An answer that does not wait for the body."""
        await self.answer_hello(scope, receive, send)

    async def answer_unauthorized(self, scope, receive, send) -> None:
        headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body"})

    async def answer_stream(self, scope, receive, send) -> None:
        """Much, in chunks of 64 KiB."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = b"x" * 65_536
        for _ in range(int(scope["query_string"] or 1024)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self.sent += len(piece)
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    async def answer_by_length(self, scope, receive, send) -> None:
        """Every byte of the answer goes out, and only then something is waited for before the answer ends."""
        length = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer_slow(self, scope, receive, send) -> None:
        await self.go_on.wait()
        await self.answer_hello(scope, receive, send)

    async def answer_raise(self, scope, receive, send) -> None:
        raise ValueError("CANARY^PATIENT")

    async def answer_late(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("CANARY^PATIENT")

    async def answer_nothing(self, scope, receive, send) -> None:
        """An application that forgets to answer."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class WebHouse:
    """A web door and its application."""

    door: WebDoor
    app: App
    port: int
    refused: list[Refused]
    peers: list[Peer]
    unexpected: list[dict]

    async def connect(self, identity=None, source: str = LOOPBACK):
        """A TLS connection."""
        context = client_context(identity, authority().pem)
        return await asyncio.open_connection(
            LOOPBACK, self.port, ssl=context, server_hostname="localhost", local_addr=(source, 0)
        )

    async def raw(self, data: bytes, *, seconds: float = 5) -> bytes:
        """Send *data*; everything that comes until the door hangs up."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            async with asyncio.timeout(seconds):
                return await rest(reader)
        finally:
            writer.close()

    async def status(self, data: bytes) -> int:
        """The status of the one answer to *data*; fails when the door answers twice or stays open."""
        received = await self.raw(data)
        assert received.count(b"HTTP/1.1 ") == 1, received
        return int(received.split(b" ", 2)[1])


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side hangs up."""
    received = bytearray()
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            received += piece
    return bytes(received)


async def answer(reader: asyncio.StreamReader) -> Answer:
    """One answer with a Content-Length, or without a body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split(" ")[1]), headers, body)


@asynccontextmanager
async def web_house(
    app: App | None = None, *, limits: Limits = QUICK, quota: Quota = NO_DELAY, known_knock=None, **changes
) -> AsyncIterator[WebHouse]:
    """A web door on an ephemeral port of loopback."""
    app = app or App()
    refused: list[Refused] = []
    peers: list[Peer] = []
    unexpected: list[dict] = []

    def report(peer: Peer, reason: Refused) -> None:
        peers.append(peer)
        refused.append(reason)

    options = {} if known_knock is None else {"known_knock": known_knock}
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unexpected.append(context))
    door = WebDoor(app, rules=Rules(replace(limits, **changes), quota), refused=report, **options)
    port = await door.start(LOOPBACK, 0, web_context(server_identity(), authority().pem))
    try:
        yield WebHouse(door, app, port, refused, peers, unexpected)
    finally:
        await door.stop(0.2)
