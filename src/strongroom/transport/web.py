"""
The web door: HTTPS connections to an ASGI application (SECURITY C12, C13, T25, T26).

As on the DICOM doors: a caller takes one of the few places for strangers before anything is read from it; it leaves
that place for one of the admitted when the application says who it is; a source whose handshakes keep failing keeps
its places longer and longer; nothing that is reported holds a byte the peer sent. Bad credentials are the gate's to
slow down.

What the application finds in `scope["strongroom"]`: `certificate` (DER that TLS has verified, or None), `door`,
`address` (an IPv4-mapped one as IPv4), `port`, and `admitted`, to be called with the caller's name once somebody was
let in; it returns False when that name, or the door, has no place left (to be answered 503).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast, final

from uvicorn.config import Config
from uvicorn.server import ServerState

from strongroom.transport import sockets, tls
from strongroom.transport.doors import Peer, canonical
from strongroom.transport.ends import Refused
from strongroom.transport.quotas import Failures, Places, Waiting, source_of
from strongroom.transport.secure import RAW_SIZE, Secure, raw_buffer
from strongroom.transport.web_protocol import Surroundings, WebProtocol
from strongroom.transport.web_rules import DEFAULT_RULES, Rules

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]
"""Scope, receive, send, as ASGI has them; uvicorn's and Starlette's words for them are not the same types."""

NAME: Final = "web"
_LAST_SECONDS: Final = 1.0
"""How long connections may take to end once they were cut."""


def _nothing(_peer: Peer, _reason: Refused) -> None:
    """Report to nobody."""


def _no_knock(_address: tuple[str, int]) -> bool:
    return False


@final
class WebDoor:
    """One listening address; runs in the loop of whoever starts it and touches no signal."""

    def __init__(
        self,
        app: AsgiApplication,
        *,
        rules: Rules = DEFAULT_RULES,
        refused: Callable[[Peer, Refused], None] = _nothing,
        known_knock: Callable[[tuple[str, int]], bool] = _no_knock,
    ) -> None:
        """*refused* and *known_knock* as for `listener.Listener`."""
        self._rules = rules
        self._refused = refused
        self._known_knock = known_knock
        self._waiting = Waiting(rules.quota)
        self._places = Places(rules.quota)
        self._failures = Failures(rules.quota)
        self._raw = raw_buffer()
        self._state = ServerState()
        self._around = Surroundings(
            config=_config(cast("ASGI3Application", app)),
            state=self._state,
            limits=rules.limits,
            buffer=memoryview(bytearray(RAW_SIZE)),
            scope=self._scope,
            refused=lambda protocol, reason: self._report(protocol.peer, reason),
        )
        self._held: dict[WebProtocol, str] = {}
        """Connections of the admitted, with the name each place is counted by."""
        self._listening: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._visits: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Open the door; returns its port. Raises OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._listening, port = await sockets.listen(host, port)
        take = partial(self._take, context)
        self._tasks = [loop.create_task(sockets.accept(one, take)) for one in self._listening]
        self._tasks.append(loop.create_task(self._tick()))
        return port

    async def stop(self, seconds: float = 10.0) -> None:
        """Stop accepting, end what is idle, give answers under way *seconds*, cut the rest."""
        accepting, ticking = self._tasks[:-1], self._tasks[-1:]
        await _cancel(accepting)
        for listening in self._listening:
            listening.close()
        self._listening = []
        for protocol in self._connections():
            protocol.wind_down()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=seconds)
        if not self._state.tasks and self._visits:  # what was answered may still have to leave
            for protocol in self._connections():
                protocol.transport.close()
            await asyncio.wait(self._visits, timeout=max(end - loop.time(), 0))
        for protocol in self._connections():
            protocol.cut()
        if self._visits:
            await asyncio.wait(self._visits, timeout=_LAST_SECONDS)
        await _cancel([*self._state.tasks, *self._visits, *ticking])
        self._tasks = []

    def disconnect(self, holder: str) -> int:
        """Cut at once every connection *holder* was last admitted on; returns how many (revocation)."""
        chosen = [protocol for protocol in self._held if protocol.holder == holder]
        for protocol in chosen:
            protocol.cut()
        return len(chosen)

    def counts(self) -> tuple[int, int]:
        """How many strangers and how many admitted connections there are."""
        return len(self._waiting), len(self._places)

    # ------------------------------------------------------------------------------------------ connections
    def _connections(self) -> list[WebProtocol]:
        return [one for one in self._state.connections if isinstance(one, WebProtocol)]

    def _take(self, context: ssl.SSLContext, connected: socket.socket, address: tuple[str, int]) -> None:
        peer = Peer(canonical(address[0]), address[1], NAME, encrypted=True)
        source = source_of(address[0])
        now = asyncio.get_running_loop().time()
        reason = self._waiting.enter(source, now)
        if reason is not None:
            connected.close()
            self._report(peer, reason)
            return
        task = asyncio.get_running_loop().create_task(self._meet(context, connected, peer, source))
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)
        self._waiting.stand(peer, now, partial(self._give_way, peer, task))

    def _give_way(self, peer: Peer, task: asyncio.Task[None]) -> None:
        """Somebody else needs the place of a caller that has stood there for long."""
        self._report(peer, Refused.POOL_FULL)
        task.cancel()

    async def _meet(self, context: ssl.SSLContext, connected: socket.socket, peer: Peer, source: str) -> None:
        """One connection from its first byte to its last."""
        loop = asyncio.get_running_loop()
        protocol = WebProtocol(self._around, connected, peer)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = Secure(protocol, context, connected, self._raw)
            try:
                await loop.connect_accepted_socket(lambda: secure, connected)
                await secure.shaken(self._rules.limits.handshake_seconds)
            except OSError as error:
                connected.close()
                await self._not_shaken(peer, tls.why(error))
                return
            protocol.secure = secure
            await protocol.lost
        except asyncio.CancelledError:
            protocol.cut()
            connected.close()
            raise
        finally:
            holder = self._held.pop(protocol, None)
            if holder is None:
                self._waiting.leave(source, peer)
            else:
                self._places.leave(holder)

    async def _not_shaken(self, peer: Peer, reason: Refused) -> None:
        """Report a failed handshake, and keep the caller waiting in its place if its source fails often."""
        if self._known_knock((peer.address, peer.port)):
            return
        self._report(peer, reason)
        source, now = source_of(peer.address), asyncio.get_running_loop().time()
        self._failures.add(source, now)
        delay = self._failures.delay(source, now)
        if delay:
            await asyncio.sleep(delay)

    def _report(self, peer: Peer, reason: Refused) -> None:
        if not self._known_knock((peer.address, peer.port)):
            self._refused(peer, reason)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._rules.limits.tick_seconds)
            now = loop.time()
            for protocol in self._connections():
                protocol.tick(now)

    # ------------------------------------------------------------------------------------------ what a request sees
    def _scope(self, protocol: WebProtocol) -> dict[str, Any]:
        peer = protocol.peer
        return {
            "certificate": protocol.certificate,
            "door": peer.door,
            "address": peer.address,
            "port": peer.port,
            "admitted": partial(self._admitted, protocol),
        }

    def _admitted(self, protocol: WebProtocol, holder: str) -> bool:
        if protocol not in self._held:
            reason = self._places.enter(holder)
            if reason is not None:
                self._report(protocol.peer, reason)
                return False
            if protocol.lost.done():  # it has gone meanwhile, and its place with it
                self._places.leave(holder)
                return True
            self._waiting.leave(source_of(protocol.peer.address), protocol.peer)
            self._held[protocol] = holder
        protocol.holder = holder
        return True


def _config(app: ASGI3Application) -> Config:
    """Uvicorn's own settings: no proxy headers, no Server or Date of its own, no logging, no lifespan, no WebSocket."""
    config = Config(
        app,
        http=WebProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
        forwarded_allow_ips=[],
    )
    config.load()
    return config


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["NAME", "AsgiApplication", "WebDoor"]
