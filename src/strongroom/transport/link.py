"""
One connection with its association: bytes between asyncio and `upper_layer`, deadlines, back-pressure (PS3.8 §9).

The hot path is `get_buffer` and `buffer_updated`: TLS or the kernel writes into the association's own buffer, and a
fragment goes from there into the consumer's sink without a turn of the loop. Where there is no sink it waits, one
future is set, and nothing is read meanwhile, so that the one buffer serves the whole association.

Deadlines, looked at once a tick: the A-ASSOCIATE PDU has to be there in total time; a message that has begun has to
come at a minimum rate; without a message the association may be idle for a while; a peer that does not read what we
send is given up; what was asked to close is closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from strongroom.dimse import Assembler, CCancelRequest, DataFragment, MessageReceived
from strongroom.errors import LocalProtocolError, RemoteProtocolError, StrongroomError
from strongroom.transport.acknowledging import LARGEST_SEGMENT, acknowledge
from strongroom.transport.ends import AssociationEndedError, AssociationRejectedError, Ended
from strongroom.transport.pacing import DEFAULT_DEADLINES, Deadlines, Pacer
from strongroom.upper_layer import (
    Abort,
    Aborted,
    AbortSource,
    AcceptedContext,
    AssociateAccept,
    AssociateAccepted,
    AssociateReject,
    AssociateRejected,
    AssociateRequest,
    AssociateRequested,
    Association,
    Event,
    PDataReceived,
    ReleaseConfirmed,
    ReleaseRequest,
    ReleaseRequested,
    ReleaseResponse,
    Role,
    State,
)

_NO_ABORT: Final = frozenset(
    {State.IDLE, State.AWAITING_ASSOCIATE_RQ, State.AWAITING_TRANSPORT_OPEN, State.AWAITING_TRANSPORT_CLOSE}
)
"""Where there is nothing to abort (PS3.8 table 9-10, Evt15)."""

_DROP_SECONDS: Final = 0.5
"""How long a last A-ABORT gets to leave; what the peer still sends meanwhile is not read."""

Received = MessageReceived | DataFragment
Sink = Callable[[DataFragment], bool]
"""Takes a fragment, whose view lives until it returns; says whether it takes the next one as well."""


@final
@dataclass(frozen=True, slots=True)
class Opening:
    """What a requestor does first."""

    request: AssociateRequest
    inspect: Callable[[asyncio.BaseTransport], None]
    """Looks at who is there; a StrongroomError ends it before anything is sent."""


@final
class Link(asyncio.BufferedProtocol):
    """The protocol of one connection; `Conversation` is what the rest of the house sees of it."""

    __slots__ = (
        "_alert",
        "_assembler",
        "_association",
        "_cancels",
        "_close_by",
        "_collision",
        "_drained",
        "_dropping",
        "_end",
        "_loop",
        "_lost",
        "_offered",
        "_opened",
        "_opened_at",
        "_opening",
        "_pacer",
        "_peer_released",
        "_queue",
        "_reading_paused",
        "_release_confirmed",
        "_sink",
        "_sink_failed",
        "_socket",
        "_tick",
        "_transport",
        "_waiter",
        "_waiting_since",
        "_winding_down",
        "bytes_received",
        "deadlines",
    )

    def __init__(
        self,
        association: Association,
        *,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines = DEFAULT_DEADLINES,
        connected: socket.socket | None = None,
        opening: Opening | None = None,
    ) -> None:
        """*connected* is the socket to acknowledge on, if no other protocol does that; *opening* the requestor's."""
        self._association = association
        self._loop = loop
        self.deadlines = deadlines
        self._socket = connected
        self._opening = opening
        self._transport: asyncio.Transport | None = None
        self._assembler = Assembler()
        self._queue: deque[Received] = deque()
        self._cancels: dict[int, bool] = {}  # message id of every request not answered yet -> cancelled?
        self._opened: asyncio.Future[AssociateRequest | AssociateAccept] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._sink_failed: Exception | None = None
        self._drained: asyncio.Future[None] | None = None
        self._release_confirmed: asyncio.Future[None] | None = None
        self._end: AssociationEndedError | None = None
        self._peer_released = False
        self._collision = False
        self._reading_paused = False
        self._winding_down = False
        self._dropping = False
        self._alert = ""
        self._offered = 0
        self.bytes_received = 0
        self._opened_at = loop.time()
        self._waiting_since = 0.0
        self._close_by: float | None = None
        self._pacer = Pacer()
        self._tick: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------------- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; TLS, where there is one, has been negotiated."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "writelines")
        self._transport = transport  # type: ignore[assignment]  # uvloop's are asyncio.Transport in all but name
        self._tick = self._loop.call_later(self.deadlines.tick_seconds, self._look)
        if self._opening is not None:
            try:
                self._opening.inspect(transport)
            except StrongroomError as error:
                self._opened.set_exception(error)
                self.cut()
                return
            self._association.send(self._opening.request)
        self._write(self._association.transport_connected())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Offer the association's own buffer."""
        buffer = self._association.get_buffer(sizehint)
        self._offered = len(buffer)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* that were written into the offered buffer; called for every read."""
        self._association.buffer_updated(nbytes)
        self.bytes_received += nbytes
        if self._socket is not None and 0 < self._offered - nbytes <= LARGEST_SEGMENT:  # 0: called again at once
            acknowledge(self._socket)
        self._take_events()

    def eof_received(self) -> bool:
        """Take note of the end of the peer's bytes; ours ends as well."""
        self._transport_ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection and wake everybody."""
        if isinstance(exc, ssl.SSLError):
            self._alert = exc.reason or ""  # a name out of OpenSSL's own table, never text of the peer
        self._transport_ended()
        self._finish(Ended.CONNECTION_LOST)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._transport = None
        self._socket = None
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Note that the transport has enough for now."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let who waits for room go on."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # ---------------------------------------------------------------------------------------------------- receiving
    def _take_events(self) -> None:
        """Take every event there is, and tell who waits."""
        next_event = self._association.next_event
        queue = self._queue
        try:
            while (event := next_event()) is not None:
                if type(event) is PDataReceived:
                    for value in event.values:
                        for item in self._assembler.feed(value):
                            self._received(item)
                else:
                    self._control(event)
        except RemoteProtocolError:
            self._broken()
        if queue:
            if self._release_confirmed is not None:
                queue.clear()  # whoever releases does not want it any more, and must go on reading
            else:
                self._pause()
            self._wake()
        if self._association.closing:
            self._close()

    def _received(self, item: Received) -> None:
        if self._sink is not None and type(item) is DataFragment:
            self._deliver(self._sink, item)
            return
        if type(item) is MessageReceived:
            message = item.message
            if type(message) is CCancelRequest:
                # Not queued: it has no answer, and a flood of them must not fill anything (SECURITY D14).
                if message.message_id_being_responded_to in self._cancels:
                    self._cancels[message.message_id_being_responded_to] = True
                return
            message_id = getattr(message, "message_id", None)
            if message_id is not None:
                self._cancels[message_id] = False
        self._queue.append(item)

    def _deliver(self, sink: Sink, fragment: DataFragment) -> None:
        try:
            if sink(fragment):
                return
        except Exception as error:  # noqa: BLE001 -- it is raised where the sink came from
            self._sink_failed = error
        self._sink = None
        self._wake()

    def _control(self, event: Event) -> None:
        """Take an event that is not data."""
        if isinstance(event, AssociateRequested):
            self._open(event.request)
        elif isinstance(event, AssociateAccepted):
            self._open(event.accept)
        elif isinstance(event, AssociateRejected):
            if not self._opened.done():
                self._opened.set_exception(AssociationRejectedError(event.result, event.source, event.reason))
                self._opened.exception()  # seen, as in _finish
            self._finish(Ended.ABORTED_BY_PEER)
        elif isinstance(event, ReleaseRequested):
            self._release_requested(collision=event.collision)
        elif isinstance(event, ReleaseConfirmed):
            if self._collision:
                self._write(self._association.send(ReleaseResponse()))
            self._released()
        elif isinstance(event, Aborted):
            self._finish(Ended.ABORTED_BY_PEER)
        else:
            self._finish(Ended.CONNECTION_LOST)

    def _open(self, what: AssociateRequest | AssociateAccept) -> None:
        if not self._opened.done():
            self._opened.set_result(what)

    def _release_requested(self, *, collision: bool) -> None:
        if self._assembler.in_message:
            self._write(self._association.send(Abort()))
            self._finish(Ended.RELEASED_EARLY)
        elif not collision:
            self._peer_released = True
            self._wake()
        elif self._association.role is Role.REQUESTOR:
            self._write(self._association.send(ReleaseResponse()))
        else:
            self._collision = True  # answered after the peer has confirmed ours (PS3.8 §7.2.2.7)

    def _released(self) -> None:
        if self._release_confirmed is not None and not self._release_confirmed.done():
            self._release_confirmed.set_result(None)

    def _broken(self) -> None:
        """Answer a peer that broke a rule: what the upper layer owes, or an A-ABORT of ours for a rule above it."""
        owed = self._association.abort_pdu()
        if owed:
            self._write(owed)
        elif self._association.state not in _NO_ABORT:
            self._write(self._association.send(Abort()))
        self._queue.clear()
        self._finish(Ended.PROTOCOL_ERROR)
        if self._association.state is State.AWAITING_TRANSPORT_CLOSE:
            self._drop_soon()

    def _transport_ended(self) -> None:
        if self._association.state is State.IDLE and not self._association.closing:
            return
        self._association.receive_eof()
        self._take_events()

    def _pause(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ------------------------------------------------------------------------------------------- for the conversation
    @property
    def association(self) -> Association:
        """The association; only to be looked at."""
        return self._association

    @property
    def contexts(self) -> dict[int, AcceptedContext]:
        """What was agreed on."""
        return dict(self._association.accepted_contexts)

    @property
    def over(self) -> Ended | None:
        """Why the association has ended, or None while it has not, or has been released."""
        return None if self._end is None else self._end.code

    @property
    def resting(self) -> bool:
        """Whether the peer is free to ask for something and has asked for nothing."""
        return self._waiter is not None and not self._queue and not self._assembler.in_message and not self._cancels

    @property
    def established(self) -> bool:
        """Whether data can be exchanged."""
        return self._association.state is State.ESTABLISHED

    async def opened(self) -> AssociateRequest | AssociateAccept:
        """Wait for the peer's A-ASSOCIATE PDU; raises AssociationEndedError or AssociationRejectedError."""
        return await self._opened

    async def lost(self) -> None:
        """Wait for the end of the connection, if there is or was one."""
        if self._transport is not None:
            await asyncio.shield(self._lost)

    async def receive(self) -> Received | None:
        """Return the next message or fragment, None after the peer's release; raises AssociationEndedError."""
        queue = self._queue
        while not queue:
            if not await self._come():
                return None
        item = queue.popleft()
        if not queue:
            self._resume()
        return item

    async def receive_into(self, sink: Sink) -> bool:
        """
        Give every fragment to *sink* as it comes, until it wants no more (True) or the peer has released (False).

        Raises AssociationEndedError, and whatever *sink* raises.
        """
        while self._queue:
            item = await self.receive()
            if type(item) is not DataFragment:
                raise LocalProtocolError("a message where fragments were to come")
            if not sink(item):
                return True
        self._sink = sink
        try:
            while self._sink is sink:
                if not await self._come():
                    return False
        finally:
            self._sink = None
            failed, self._sink_failed = self._sink_failed, None
        if failed is not None:
            raise failed
        return True

    async def _come(self) -> bool:
        """Wait until something has come, or something has ended; False after the peer's release."""
        if self._end is not None:
            raise self._end
        if self._quietly_over():
            self._confirm_release()
            return False
        if self._winding_down and not self._assembler.in_message:
            self.abort(Ended.STOPPED)
        else:
            await self._wait()
        return True

    async def _wait(self) -> None:
        """Wait until something has come."""
        if self._waiter is not None:
            raise LocalProtocolError("two tasks receive from one association")
        waiter = self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        try:
            await waiter
        finally:
            self._waiter = None

    def _confirm_release(self) -> None:
        if self._association.state is State.AWAITING_RELEASE_RESPONSE:
            self._write(self._association.send(ReleaseResponse()))
            self._close_soon()

    def cancelled(self, message_id: int) -> bool:
        """Whether a C-CANCEL has come for a request that has no final response yet."""
        return self._cancels.get(message_id, False)

    def answered(self, message_id: int) -> None:
        """Note that the final response to *message_id* is on its way: a C-CANCEL that comes now means nothing."""
        self._cancels.pop(message_id, None)

    def send(self, primitive: AssociateAccept | AssociateReject) -> None:
        """Answer an A-ASSOCIATE-RQ; raises AssociationEndedError when it is too late."""
        if self._end is not None:
            raise self._end
        self._write(self._association.send(primitive))
        if isinstance(primitive, AssociateReject):
            self._finish(Ended.ABORTED)
            self._close_soon()

    def check(self) -> None:
        """Raise AssociationEndedError when nothing can be sent any more."""
        if self._end is not None:
            raise self._end
        if self._transport is None:
            raise AssociationEndedError(Ended.CONNECTION_LOST)

    def write_data(self, buffers: list[bytes | memoryview]) -> None:
        """Write P-DATA-TF PDUs in one go; nothing is copied that need not be. Call `check` before making them."""
        transport = self._transport
        assert transport is not None
        if len(buffers) == 1:
            transport.write(buffers[0])
        else:
            transport.writelines(buffers)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written; raises AssociationEndedError."""
        while self._drained is not None and self._end is None:
            await asyncio.shield(self._drained)
        if self._end is not None:
            raise self._end

    async def release(self) -> None:
        """Release the association in order and wait for the end (PS3.8 §7.2); raises AssociationEndedError."""
        if self._peer_released:
            self._confirm_release()
        else:
            if self._end is not None:
                raise self._end
            self._release_confirmed = self._loop.create_future()
            self._queue.clear()
            self._write(self._association.send(ReleaseRequest()))
            self._resume()
            try:
                async with asyncio.timeout(self.deadlines.release_seconds):
                    await self._release_confirmed
            except TimeoutError:
                self.abort(Ended.RELEASE_TIMEOUT)
            if self._end is not None:
                raise self._end
        self._close_soon()
        await self.lost()

    def abort(self, code: Ended, *, source: AbortSource = AbortSource.SERVICE_USER) -> None:
        """End the association now (PS3.8 §7.3); whoever waits gets AssociationEndedError with *code*."""
        if self._association.state not in _NO_ABORT:
            self._write(self._association.send(Abort(source)))
        elif self._close_by is not None:  # it is ending already
            self._finish(code)
            return
        self._queue.clear()
        self._finish(code)
        self._drop_soon()

    def cut(self) -> None:
        """End the connection without a word."""
        self._finish(Ended.STOPPED)
        if self._transport is not None:
            self._transport.abort()

    def wind_down(self) -> None:
        """Let what has begun be finished, then abort (a graceful stop)."""
        self._winding_down = True
        if self.resting:
            self.abort(Ended.STOPPED)

    # -------------------------------------------------------------------------------------------------------- ending
    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _finish(self, code: Ended) -> None:
        """Make *code* the end unless there is one; wake everybody who waits."""
        if self._end is None and not self._quietly_over():
            self._end = AssociationEndedError(code, alert=self._alert)
        self._wake()
        self.resume_writing()
        self._released()
        if not self._opened.done():
            self._opened.set_exception(self._end or AssociationEndedError(code, alert=self._alert))
            self._opened.exception()  # seen: not everybody waits for it

    def _quietly_over(self) -> bool:
        """After a release the end of the connection is no news."""
        confirmed = self._release_confirmed
        return self._peer_released or (confirmed is not None and confirmed.done() and not confirmed.cancelled())

    def _close_soon(self) -> None:
        """Let the peer close (PS3.8 table 9-10, Sta13), or close by the deadline."""
        if self._close_by is None:
            self._close_by = self._loop.time() + self.deadlines.close_seconds

    def _close(self) -> None:
        """Close once everything is written, by force at the deadline."""
        self._close_soon()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _drop_soon(self) -> None:
        """
        Read nothing any more, and cut the connection when what was written last has had its time.

        A plain close would, over TLS, go on reading from a peer that goes on sending; and unsent data of a revoked
        peer would still leave.
        """
        transport = self._transport
        if transport is None or self._dropping:
            return
        self._dropping = True
        self._close_soon()
        transport.pause_reading()
        self._loop.call_later(_DROP_SECONDS, transport.abort)

    def _look(self) -> None:
        """Look at the deadlines; once a tick."""
        transport = self._transport
        if transport is None:
            return
        self._tick = self._loop.call_later(self.deadlines.tick_seconds, self._look)
        now = self._loop.time()
        if self._close_by is not None:
            if now >= self._close_by:
                transport.abort()
            return
        code = self._overdue(now, transport)
        if code is not None:
            self.abort(code, source=AbortSource.SERVICE_PROVIDER)
        elif self._waiter is not None and not self._reading_paused and self._pacer.quiet(self.bytes_received):
            self._association.shrink()

    def _overdue(self, now: float, transport: asyncio.Transport) -> Ended | None:
        deadlines = self.deadlines
        if not self._opened.done():
            return Ended.ASSOCIATE_TIMEOUT if now - self._opened_at >= deadlines.associate_seconds else None
        if self._drained is not None:
            left = transport.get_write_buffer_size()
            return Ended.NOT_READING if self._pacer.stalled(left, now, deadlines.stall_seconds) else None
        if self._waiter is None or self._reading_paused:
            self._pacer.reset()  # our turn, not the peer's
            return None
        if self._assembler.in_message:
            slow = self._pacer.slow(self.bytes_received, now, deadlines.minimum_rate, deadlines.grace_seconds)
            return Ended.TOO_SLOW if slow else None
        self._pacer.reset()
        return Ended.IDLE if now - self._waiting_since >= deadlines.idle_seconds else None


__all__ = ["Link", "Opening", "Received", "Sink"]
