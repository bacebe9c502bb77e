"""
Our DICOM doors: accept, TLS, negotiate, hand over to the handler, see to the end (PS3.8 §9.1; SECURITY C07-C13).

1. A caller takes one of the few places for strangers before anything is read from it; when there is none, the
   connection is closed.
2. Handshake and A-ASSOCIATE PDU have deadlines in total; whoever misses one is reported.
3. The handler decides who is let in; here only door, room and deadlines are looked at.
4. Failures are answered later and later by source, successes never: the failing caller waits in its own place.
5. Nothing that is reported holds a byte the peer sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Final, final

from strongroom.errors import StrongroomError
from strongroom.transport import sockets, tls
from strongroom.transport.conversation import Conversation
from strongroom.transport.doors import (
    DEFAULT_RULES,
    NO_ROOM,
    REFUSAL,
    Admission,
    Door,
    Handler,
    Peer,
    Present,
    Rules,
    peer_at,
)
from strongroom.transport.ends import AssociationEndedError, Ended, Refused
from strongroom.transport.link import Link
from strongroom.transport.quotas import Failures, Places, Waiting, source_of
from strongroom.transport.secure import Secure, raw_buffer
from strongroom.upper_layer import AssociateReject, AssociateRequest, Association, Role


def _nothing(_peer: Peer, _reason: Refused) -> None:
    """Report to nobody."""


def _no_knock(_address: tuple[str, int]) -> bool:
    return False


@final
class Listener:
    """All DICOM doors of one archive; they share places and quotas."""

    def __init__(
        self,
        handler: Handler,
        *,
        today: Callable[[], date],
        rules: Rules = DEFAULT_RULES,
        refused: Callable[[Peer, Refused], None] = _nothing,
        known_knock: Callable[[tuple[str, int]], bool] = _no_knock,
    ) -> None:
        """
        *refused* is told of every caller the handler never saw, and must count rather than record: a flood calls it
        as often as it knocks. *known_knock* says that address and port are our own look from outside: it is neither
        delayed nor counted nor reported.
        """
        self._handler = handler
        self._today = today
        self._rules = rules
        self._refused = refused
        self._known_knock = known_knock
        self._waiting = Waiting(rules.quota)
        self._places = Places(rules.quota)
        self._failures = Failures(rules.quota)
        self._raw = raw_buffer()
        self._doors: dict[str, _OpenDoor] = {}
        self._present: dict[Link, Present] = {}
        self._visits: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def open(self, door: Door) -> int:
        """Open a door; returns its port. Raises OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        listening, port = await sockets.listen(door.host, door.port)
        tasks = [loop.create_task(self._accept(door, one)) for one in listening]
        self._doors[door.name] = _OpenDoor(door, listening, tasks)
        return port

    async def shut(self, name: str) -> int:
        """Shut a door and end what came in through it; returns how many associations that were."""
        opened = self._doors.pop(name, None)
        if opened is not None:
            await opened.close()
        return self.disconnect(lambda present: present.peer.door == name)

    def present(self) -> tuple[Present, ...]:
        """The associations that stand."""
        return tuple(self._present.values())

    def disconnect(self, predicate: Callable[[Present], bool]) -> int:
        """Abort at once every association *predicate* holds for; returns how many (revocation)."""
        chosen = [link for link, present in self._present.items() if link.over is None and predicate(present)]
        for link in chosen:
            link.abort(Ended.DISCONNECTED)
        return len(chosen)

    async def stop(self, seconds: float = 10.0) -> None:
        """Stop accepting, end what is idle, give what is busy *seconds* to finish, abort the rest."""
        self._stopping = True
        for opened in self._doors.values():
            await opened.close()
        self._doors.clear()
        for link in tuple(self._present):
            link.wind_down()
        serving = {visit for visit in self._visits if visit.get_name() == _SERVING}
        for visit in self._visits - serving:
            visit.cancel()
        if serving:
            await asyncio.wait(serving, timeout=seconds)
        for link in tuple(self._present):
            link.abort(Ended.STOPPED)
        if self._visits:
            await asyncio.wait(self._visits, timeout=_LAST_SECONDS)
        for visit in tuple(self._visits):
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------------ accepting
    async def _accept(self, door: Door, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def take(connected: socket.socket, address: tuple[str, int]) -> None:
            visitor = _Visitor(peer_at(door, address), source_of(address[0]), known=self._known_knock(address[:2]))
            reason = self._waiting.enter(visitor.source, loop.time())
            if reason is not None:
                connected.close()
                self._report(visitor, reason)
                return
            task = self._start(loop, self._meet(door, connected, visitor))
            self._waiting.stand(visitor, loop.time(), partial(self._give_way, visitor, task))

        await sockets.accept(listening, take)

    def _start(self, loop: asyncio.AbstractEventLoop, visit: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = loop.create_task(visit)
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)
        return task

    def _give_way(self, visitor: _Visitor, task: asyncio.Task[None]) -> None:
        """Somebody else needs the place of a caller that has stood there for long."""
        self._report(visitor, Refused.POOL_FULL)
        task.cancel()

    def _report(self, visitor: _Visitor, reason: Refused) -> None:
        if not visitor.known:
            self._refused(visitor.peer, reason)

    async def _meet(self, door: Door, connected: socket.socket, visitor: _Visitor) -> None:
        """One connection from its first byte to its last."""
        loop = asyncio.get_running_loop()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(
            Association(Role.ACCEPTOR, self._rules.limits),
            loop=loop,
            deadlines=self._rules.deadlines,
            connected=None if door.encrypted else connected,
        )
        admission: Admission | None = None
        try:
            try:
                admission = await self._negotiate(door, link, connected, visitor)
            finally:
                self._waiting.leave(visitor.source, visitor)
            if admission is not None:
                task = asyncio.current_task()
                assert task is not None
                task.set_name(_SERVING)
                await self._serve(link, admission)
            link.abort(Ended.STOPPED)
            await link.lost()
        except asyncio.CancelledError:
            link.cut()
            raise
        finally:
            if admission is not None:
                self._present.pop(link, None)
                self._places.leave(admission.holder)

    async def _negotiate(self, door: Door, link: Link, connected: socket.socket, visitor: _Visitor) -> Admission | None:
        """Get from a connection to an association that stands, or to nothing (rules 2 to 4)."""
        try:
            visitor = await self._shake_hands(door, link, connected, visitor)
        except OSError as error:
            await self._fail(visitor, tls.why(error))
            return None
        try:
            request = await link.opened()
            assert isinstance(request, AssociateRequest)
        except AssociationEndedError as error:
            await self._fail(visitor, _OPENING_FAILED.get(error.code, Refused.ASSOCIATE_CLOSED))
            return None
        reason = door.admits(visitor.peer.address, self._today())
        if reason is not None:
            await self._fail(visitor, reason)
            await _reject(link, REFUSAL)
            return None
        answer = await self._handler.admit(request, visitor.peer)
        if isinstance(answer, AssociateReject):
            await self._fail(visitor, None)
            await _reject(link, answer)
            return None
        return await self._let_in(link, request, answer, visitor)

    async def _shake_hands(self, door: Door, link: Link, connected: socket.socket, visitor: _Visitor) -> _Visitor:
        """Make the transport; over TLS, learn who is there."""
        loop = asyncio.get_running_loop()
        try:
            if door.tls is None:
                await loop.connect_accepted_socket(lambda: link, connected)
                return visitor
            secure = Secure(link, door.tls, connected, self._raw)
            await loop.connect_accepted_socket(lambda: secure, connected)
            await secure.shaken(self._rules.deadlines.handshake_seconds)
        except BaseException:
            connected.close()
            raise
        return visitor.proved(secure.info("ssl_object", None).getpeercert(binary_form=True))

    async def _fail(self, visitor: _Visitor, reason: Refused | None) -> None:
        """Report a failure, and keep the caller waiting in its place if its source fails often (rule 4)."""
        if visitor.known:
            return
        if reason is not None:
            self._report(visitor, reason)
        now = asyncio.get_running_loop().time()
        self._failures.add(visitor.source, now)
        delay = self._failures.delay(visitor.source, now)
        if delay:
            await asyncio.sleep(delay)

    async def _let_in(
        self, link: Link, request: AssociateRequest, admission: Admission, visitor: _Visitor
    ) -> Admission | None:
        """Give the association its place and say yes to the peer."""
        reason = Refused.ARCHIVE_FULL if self._stopping else self._places.enter(admission.holder, most=admission.most)
        if reason is not None:
            admission.declined()
            self._report(visitor, reason)
            await _reject(link, NO_ROOM)
            return None
        try:
            link.send(admission.accept)
        except BaseException as error:
            self._places.leave(admission.holder)
            admission.declined()
            if not isinstance(error, AssociationEndedError):
                raise
            self._report(visitor, _OPENING_FAILED.get(error.code, Refused.ASSOCIATE_CLOSED))
            return None
        if admission.idle_seconds is not None:
            link.deadlines = replace(link.deadlines, idle_seconds=admission.idle_seconds)
        self._present[link] = Present(
            admission.holder, request.calling_ae_title, visitor.peer, Conversation(link, admission.accept)
        )
        return admission

    async def _serve(self, link: Link, admission: Admission) -> None:
        """Run the association; what goes wrong in it ends it and nothing else."""
        try:
            await admission.serve(self._present[link].conversation)
        except StrongroomError:
            link.abort(Ended.PROTOCOL_ERROR)
        except Exception as error:  # noqa: BLE001 -- a bug in one association must not end the others
            link.abort(Ended.ABORTED)
            asyncio.get_running_loop().call_exception_handler(
                {"message": "serving an association failed", "exception": error}
            )
        else:
            if link.established:
                link.abort(Ended.ABORTED)  # served to the end while the peer goes on


_SERVING: Final = "serving"
_LAST_SECONDS: Final = 2.0
"""How long tasks may take to notice that their association is over before they are cancelled."""

_OPENING_FAILED: Final = {
    Ended.ASSOCIATE_TIMEOUT: Refused.ASSOCIATE_TIMEOUT,
    Ended.PROTOCOL_ERROR: Refused.ASSOCIATE_MALFORMED,
}


@final
@dataclass(frozen=True, slots=True)
class _Visitor:
    """A caller on the way in."""

    peer: Peer
    source: str
    known: bool = False

    def proved(self, certificate: bytes | None) -> _Visitor:
        """The same with the certificate TLS has verified."""
        peer = Peer(self.peer.address, self.peer.port, self.peer.door, self.peer.encrypted, certificate)
        return _Visitor(peer, self.source, self.known)


@final
@dataclass(frozen=True, slots=True)
class _OpenDoor:
    door: Door
    sockets: list[socket.socket]
    tasks: list[asyncio.Task[None]]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for listening in self.sockets:
            listening.close()


async def _reject(link: Link, answer: AssociateReject) -> None:
    """Say no and wait for the peer to hang up, a bounded time."""
    with contextlib.suppress(StrongroomError):
        link.send(answer)
        await link.lost()


__all__ = ["Listener"]
