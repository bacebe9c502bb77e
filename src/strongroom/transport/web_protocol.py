"""
HTTP/1.1 on one connection of the web door: uvicorn's httptools protocol, bounded in every direction.

1. One parser reads the request, and `web_rules` looks at its head before the application does.
2. The first thing that is wrong is answered and ends the connection; nothing that follows is read as a request.
3. One request at a time. A client that has its answer by length may ask again before we have closed our books on it:
   a few bytes of that wait, unparsed, until we have; more than a head, and the connection ends.
4. Trailers are counted and dropped: uvicorn would add them to the head after it was decided on.
5. Head, body, answer and silence have their deadlines; `tick` looks at all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from strongroom.transport import web_refusal
from strongroom.transport.web_exchange import Exchange
from strongroom.transport.web_pace import Pace
from strongroom.transport.web_rules import Head, Limits, fault, path_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from strongroom.transport.doors import Peer
    from strongroom.transport.ends import Refused
    from strongroom.transport.secure import Secure, SecureTransport


@final
class _Stage(IntEnum):
    """Where a connection is; from ANSWER on nothing is parsed."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWER = 3
    HURRIED = 4
    LINGER = 5
    OVER = 6


class _StopError(Exception):
    """Ends the parsing; the status stands in the protocol."""


@final
@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of a door share."""

    config: Config
    state: ServerState
    limits: Limits
    buffer: memoryview
    """What TLS decrypts into; parsed at once, so never in use between two calls."""
    scope: Callable[[WebProtocol], dict[str, Any]]
    """The part of an ASGI scope that says who is there."""
    refused: Callable[[WebProtocol, Refused], None]
    """Told of a stranger's request that was ended before the application saw it, or while it came."""


@final
class WebProtocol(HttpToolsProtocol):
    """Made by the door for each connection; speaks to `secure.Secure` below and the application above."""

    def __init__(self, around: Surroundings, connected: socket.socket, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(around.config, around.state, {}, loop)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self.access_log = False
        self._around = around
        self._limits = around.limits
        self._socket: socket.socket | None = connected
        self.peer = peer
        self.secure: Secure | None = None
        self._exchange: Exchange | None = None
        self.holder = ""
        """Who was admitted last on this connection; empty for a stranger."""
        self.certificate: bytes | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self._since = loop.time()
        """When the present head, body or silence began."""
        self._stage = _Stage.IDLE
        self._head_bytes = self._body_bytes = self._framing = 0
        self._status: int | None = None
        self._early = b""
        """What came of the next request before the answer to this one was complete."""
        self._pace = Pace(around.limits)

    # ------------------------------------------------------------------------------------------ the connection
    def connection_made(self, transport: SecureTransport) -> None:  # type: ignore[override]
        """The handshake is done."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.client = (self.peer.address, self.peer.port)
        self.scheme = "https"
        host, port = transport.get_extra_info("sockname")[:2]
        self.server = (str(host), int(port))
        self.certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the signature of asyncio.Protocol
        """Tell the application and the door."""
        self.connections.discard(self)
        self._stage = _Stage.OVER
        self._socket = None
        owed = self._owed()
        if owed is not None:
            owed.give_up()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # a circle of references otherwise
        if not self.lost.done():
            self.lost.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the signature of asyncio.BufferedProtocol
        """Offer the shared buffer."""
        return self._around.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* of the shared buffer."""
        self.data_received(self._around.buffer[:nbytes])

    def cut(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def _owed(self) -> Exchange | None:
        """The exchange whose answer is not complete, if there is one."""
        exchange = self._exchange
        return exchange if exchange is not None and exchange.running else None

    def wind_down(self) -> None:
        """End the connection now if it is idle, else with the answer under way."""
        owed = self._owed()
        if owed is not None:
            owed.end_with_this()
        elif self._stage in (_Stage.IDLE, _Stage.HEAD):
            self.transport.close()

    # ------------------------------------------------------------------------------------------ receiving
    def data_received(self, data: bytes | memoryview) -> None:
        """Parse *data*, or drop it once nothing that follows is read any more (rules 2 and 3)."""
        if self._stage >= _Stage.ANSWER:
            if self._stage is _Stage.ANSWER:
                self._keep(data)
            return
        if self._stage is _Stage.IDLE:
            self._stage = _Stage.HEAD
            self._since = self.loop.time()
        if self._stage is _Stage.HEAD:
            self._head_bytes += len(data)
        self._framing += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._stopped()
            return
        if self._stage is _Stage.HEAD and self._head_bytes > self._limits.head_bytes:
            self.refuse(431)
        elif self._stage is _Stage.BODY and self._framing > self._limits.framing_bytes:
            self.refuse(400)

    def _stopped(self) -> None:
        """The parser, or one of the looks at what it found, has had enough."""
        if self._stage is _Stage.ANSWER and self._status is None:
            self._hurried()
        else:
            self.refuse(self._status or 400)

    def _keep(self, data: bytes | memoryview) -> None:
        """Keep *data* for after the answer, if the client can have seen the end of the answer already (rule 3)."""
        owed = self._owed()
        if owed is None or not owed.sent_by_length or len(self._early) + len(data) > self._limits.head_bytes:
            self._hurried()
            return
        self._early += data
        self.flow.pause_reading()

    def _hurried(self) -> None:
        """Bytes came before the answer to the request before them was complete (rule 3)."""
        self._stage = _Stage.HURRIED
        self.flow.pause_reading()
        owed = self._owed()
        if owed is not None:
            owed.end_with_this()

    def _stop(self, status: int | None) -> None:
        self._status = status
        raise _StopError

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._stage is not _Stage.HEAD:
            self._stop(None)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; drop a trailer (rule 4)."""
        if self._stage is not _Stage.HEAD:
            return
        if len(self.headers) >= self._limits.head_fields:
            self._stop(431)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Look at the head (rule 1), and let the application begin."""
        fields = self.headers
        size = len(self.url) + sum(len(name) + len(value) for name, value in fields)
        if size > self._limits.head_bytes:
            self._stop(431)
        method = self.parser.get_method().decode("ascii")
        head = Head(self.parser.get_http_version(), method, self.url, fields, self.parser.should_upgrade())
        status = fault(head, self._limits)
        if status is not None:
            self._stop(status)
        self._begin(head)

    def _begin(self, head: Head) -> None:
        raw_path, _, query = head.target.partition(b"?")
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope |= {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": head.version,
            "method": head.method,
            "path": path_of(head.target),
            "raw_path": raw_path,
            "query_string": query,
            "strongroom": self._around.scope(self),
        }
        self.cycle = self._exchange = Exchange(
            self,
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and head.version == "1.1",
            keep_alive=head.version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self._stage = _Stage.BODY
        self._since = self.loop.time()
        self._body_bytes = self._framing = 0
        self._pace.rest()
        self._start_asgi_task(self.cycle, self.app)

    def _start_asgi_task(self, cycle: Any, app: ASGI3Application) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._body_bytes += len(body)
        self._framing = 0
        if self._body_bytes > self._limits.body_bytes:
            self._stop(413)
        owed = self._owed()
        if owed is None:
            return
        owed.body += body
        if len(owed.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        owed.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stage = _Stage.ANSWER
        self.cycle.more_body = False
        self.cycle.message_event.set()

    # ------------------------------------------------------------------------------------------ answering
    def on_response_complete(self) -> None:
        """Wait for the next request, or end the connection."""
        if self.transport.is_closing():
            return
        exchange = self._exchange
        if self._stage is not _Stage.ANSWER or exchange is None or exchange.last:
            self._linger(clean=self._stage is _Stage.ANSWER)
            return
        self._stage = _Stage.IDLE
        self._head_bytes = 0
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self._early:
            data, self._early = self._early, b""
            self.data_received(data)

    def refuse(self, status: int) -> None:
        """Answer *status* in our own words and end the connection (rule 2)."""
        if not self.holder:
            self._around.refused(self, web_refusal.code(status))
        owed = self._owed()
        if owed is not None:
            owed.give_up()
            if owed.response_started:
                self.cut()
                return
        self.transport.write(web_refusal.encode(status))
        self._linger(clean=False)

    def _linger(self, *, clean: bool) -> None:
        """Close; unless *clean*, after a while in which what still comes is dropped."""
        if clean:
            self._stage = _Stage.OVER
            self.transport.close()
            return
        self._stage = _Stage.LINGER
        self._since = self.loop.time()
        self.flow.resume_reading()

    # ------------------------------------------------------------------------------------------ deadlines
    def tick(self, now: float) -> None:
        """Look at every deadline (rule 5); the door calls it again and again."""
        if self.secure is None or self._socket is None or self.transport is None:
            return
        if self._pace.reads_slowly(self.secure, self._socket, now):
            self.cut()
            return
        waited = now - self._since
        limits = self._limits
        if self._stage is _Stage.IDLE:
            if waited >= (limits.idle_seconds if self.holder else limits.head_seconds):
                self._linger(clean=True)
        elif self._stage is _Stage.HEAD:
            if waited >= limits.head_seconds:
                self.refuse(408)
        elif self._stage is _Stage.BODY:
            if self._slow(now) or waited >= limits.body_seconds:
                self.refuse(408)
        elif self._stage is _Stage.LINGER and waited >= limits.linger_seconds:
            self._linger(clean=True)

    def _slow(self, now: float) -> bool:
        """Whether a body that we are ready to take comes too slowly."""
        owed = self._owed()
        if owed is None or owed.waiting_for_100_continue or self.flow.read_paused:
            self._pace.rest()
            return False
        return self._pace.sends_slowly(self._body_bytes, now)


__all__ = ["Surroundings", "WebProtocol"]
