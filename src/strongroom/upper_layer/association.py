"""
One association: bytes in, events out; primitives in, bytes out (PS3.8). No socket, no clock, no thread.

How to drive it: `transport_connected`, then `get_buffer`/`buffer_updated` (or `receive_data`) and `next_event` until
it returns None, and write what `send` and `send_data` return. When `next_event` raises RemoteProtocolError, write
`abort_pdu()`. Run the ARTIM timer while `artim_running` and call `timer_expired`; after every call look at `closing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer import pdu
from strongroom.upper_layer.buffer import SMALL, ReceiveBuffer
from strongroom.upper_layer.events import (
    APPLICATION_CONTEXT,
    MAX_PDU_LENGTH,
    Abort,
    Aborted,
    AbortReason,
    AbortSource,
    AcceptedContext,
    AssociateAccept,
    AssociateAccepted,
    AssociateReject,
    AssociateRejected,
    AssociateRequest,
    AssociateRequested,
    Event,
    PDataReceived,
    Primitive,
    RejectResult,
    RejectSource,
    ReleaseConfirmed,
    ReleaseRequest,
    ReleaseRequested,
    ReleaseResponse,
    Role,
    TransportClosed,
)
from strongroom.upper_layer.faults import AssociationRefused, PduError
from strongroom.upper_layer.negotiation import agree
from strongroom.upper_layer.pdu import PduType
from strongroom.upper_layer.state import Action, Evt, Machine, State

_PDU_EVENTS: Final[Mapping[int, Evt]] = MappingProxyType(
    {
        PduType.ASSOCIATE_RQ: Evt.RQ_PDU,
        PduType.ASSOCIATE_AC: Evt.AC_PDU,
        PduType.ASSOCIATE_RJ: Evt.RJ_PDU,
        PduType.P_DATA_TF: Evt.DATA_PDU,
        PduType.RELEASE_RQ: Evt.RELEASE_RQ_PDU,
        PduType.RELEASE_RP: Evt.RELEASE_RP_PDU,
        PduType.ABORT: Evt.ABORT_PDU,
    }
)

_PRIMITIVE_EVENTS: Final[Mapping[type[Primitive], Evt]] = MappingProxyType(
    {
        AssociateRequest: Evt.ASSOCIATE_REQUEST,
        AssociateAccept: Evt.ACCEPT_RESPONSE,
        AssociateReject: Evt.REJECT_RESPONSE,
        ReleaseRequest: Evt.RELEASE_REQUEST,
        ReleaseResponse: Evt.RELEASE_RESPONSE,
        Abort: Evt.ABORT_REQUEST,
    }
)

_UNEXPECTED: Final = frozenset({Action.AA_1, Action.AA_7, Action.AA_8})
_NO_CONTEXTS: Final[Mapping[int, AcceptedContext]] = MappingProxyType({})


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """
    What we allow a peer (SECURITY C12).

    *max_pdu_length* is the most we announce, and the most we send to a peer that sets no limit. A peer that takes
    less than *min_peer_pdu_length* is refused: one byte of message per PDU would be an attack (SECURITY T17).
    """

    max_pdu_length: int = MAX_PDU_LENGTH
    max_associate_length: int = pdu.MAX_ASSOCIATE_LENGTH
    min_peer_pdu_length: int = 128


DEFAULT_LIMITS: Final = Limits()


@final
class Association:
    """
    One side of an association; used once, for one transport connection.

    Every method may raise LocalProtocolError when we, not the peer, break the rules; nothing has changed then.
    """

    __slots__ = (
        "_accepted",
        "_announced",
        "_buffer",
        "_deaf",
        "_eof",
        "_limits",
        "_machine",
        "_need",
        "_owed",
        "_peer_max_pdu_length",
        "_request",
        "_skip",
    )

    def __init__(self, role: Role, limits: Limits = DEFAULT_LIMITS) -> None:
        self._machine = Machine(role)
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._need = pdu.HEADER.size  # length of the PDU at the front of the buffer, as far as known
        self._skip = 0  # bytes of an ignored PDU still to come
        self._deaf = False  # after a malformed PDU nothing that follows can be told apart any more
        self._eof = False
        self._owed = b""
        self._request: AssociateRequest | None = None  # only while it is being negotiated
        self._announced = limits.max_pdu_length
        self._peer_max_pdu_length = 0
        self._accepted: Mapping[int, AcceptedContext] = _NO_CONTEXTS

    # --------------------------------------------------------------------------------------------------------- asking
    @property
    def role(self) -> Role:
        """Which side we are."""
        return self._machine.role

    @property
    def state(self) -> State:
        """Where in Table 9-10 we are."""
        return self._machine.state

    @property
    def artim_running(self) -> bool:
        """Whether the ARTIM timer runs (PS3.8 §9.1.5)."""
        return self._machine.artim_running

    @property
    def artim_starts(self) -> int:
        """How often the timer was started: a changed number means "restart it"."""
        return self._machine.artim_starts

    @property
    def closing(self) -> bool:
        """Whether the transport is to be closed once everything returned so far has been written."""
        return self._machine.closing

    @property
    def accepted_contexts(self) -> Mapping[int, AcceptedContext]:
        """What was agreed on, by presentation context id; empty before."""
        return self._accepted

    @property
    def max_pdv_length(self) -> int:
        """How many bytes of a message one PDU to the peer carries; 0 before the association is established."""
        return pdu.max_pdv_length(self._peer_max_pdu_length) if self._peer_max_pdu_length else 0

    # ------------------------------------------------------------------------------------------------------ transport
    def transport_connected(self) -> bytes:
        """Say that the connection is there. Returns the A-ASSOCIATE-RQ PDU of a requestor, nothing for an acceptor."""
        if self._machine.role is Role.ACCEPTOR:
            self._machine.fire(Evt.TRANSPORT_INDICATION)
            return b""
        self._machine.fire(Evt.TRANSPORT_CONFIRMED)
        request = self._request
        assert request is not None  # only send(AssociateRequest) leads to Sta4
        return pdu.encode(request)

    def get_buffer(self, hint: int = -1) -> memoryview:  # noqa: ARG002 -- the signature of asyncio.BufferedProtocol
        """Return where the transport shall write received bytes; drain `next_event` before. Never empty."""
        self._check_connected()
        if self._buffer.end - self._buffer.start > self._most_unread:
            raise LocalProtocolError("more than a PDU is waiting: next_event has to be drained before reading on")
        # Only a party we agreed with may make us allocate a whole PDU by announcing one.
        return self._buffer.room(self._need, eager=bool(self._accepted))

    def buffer_updated(self, count: int) -> None:
        """Say that the transport wrote *count* bytes to the start of the last `get_buffer`."""
        if not self._dropping:
            self._buffer.filled(count)

    def receive_data(self, data: pdu.Buffer) -> None:
        """Store received bytes, copying them; `next_event` does the work."""
        self._check_connected()
        if not self._dropping:
            self._buffer.append(data)

    def receive_eof(self) -> None:
        """Say that the transport is closed, or never opened; the last events still come from `next_event`."""
        if self._machine.state is State.IDLE and not self._machine.closing:
            raise LocalProtocolError("the end of a connection that never began")
        self._eof = True

    def timer_expired(self) -> None:
        """Say that ARTIM ran out; raises LocalProtocolError if it was not running."""
        self._machine.fire(Evt.ARTIM_EXPIRED)

    def shrink(self) -> None:
        """Give the memory of a busy time back; for associations that have become idle."""
        self._buffer.shrink()

    # ------------------------------------------------------------------------------------------------------ receiving
    def next_event(self) -> Event | None:
        """
        Return the next event, or None when more bytes are needed.

        Raises RemoteProtocolError when the peer broke a rule, and nothing else whatever was received (invariant I6).
        """
        buffer = self._buffer
        while True:
            if self._dropping:
                buffer.take(len(buffer.data))
            elif self._skip:
                self._skip -= buffer.take(self._skip)
            unread = buffer.end - buffer.start
            if unread < pdu.HEADER.size:
                self._need = pdu.HEADER.size
                return self._end_of_input()
            pdu_type, length = pdu.HEADER.unpack_from(buffer.data, buffer.start)
            event = self._classify(pdu_type, length)
            total = pdu.HEADER.size + length
            action = self._machine.action_for(event)
            if action in _UNEXPECTED:
                self._skip = total
                raise self._fail(
                    event, PduError(f"PDU type {pdu_type} in Sta{self.state.value}", AbortReason.UNEXPECTED_PDU)
                )
            if action is Action.AA_6:
                self._machine.fire(event)
                self._skip = total
                continue
            if unread < total:
                self._need = total
                return self._end_of_input()
            body = memoryview(buffer.data)[buffer.start + pdu.HEADER.size : buffer.start + total].toreadonly()
            buffer.start += total
            self._need = pdu.HEADER.size
            result = self._accept_pdu(event, pdu_type, body)
            if result is not None:
                return result

    def abort_pdu(self) -> bytes:
        """
        Return, once, what the peer is owed after `next_event` raised: A-ABORT, or A-ASSOCIATE-RJ for a request that
        cannot be accepted.

        An A-ABORT says "service provider" and the reason, in Sta2 as well, where Table 9-10's AA-1 would say "service
        user" and no reason: the reason is what the person at the other end needs (SECURITY T16).
        """
        owed, self._owed = self._owed, b""
        return owed

    @property
    def _dropping(self) -> bool:
        return self._deaf or self._machine.closing

    @property
    def _most_unread(self) -> int:
        return max(self._announced, self._limits.max_associate_length) + SMALL

    def _check_connected(self) -> None:
        state = self._machine.state
        if (state is State.IDLE and not self._machine.closing) or state is State.AWAITING_TRANSPORT_OPEN:
            raise LocalProtocolError(f"bytes received in Sta{state.value}, without a connection")

    def _classify(self, pdu_type: int, length: int) -> Evt:
        try:
            pdu.check_header(pdu_type, length, limit=self._announced, associate_limit=self._limits.max_associate_length)
        except PduError as error:
            raise self._fail(Evt.INVALID_PDU, error) from None
        return _PDU_EVENTS[pdu_type]

    def _accept_pdu(self, event: Evt, pdu_type: int, body: memoryview) -> Event | None:
        """Decode a complete PDU that is expected in this state, take its event and make the indication."""
        try:
            if event is Evt.DATA_PDU:
                values = pdu.decode_values(body, self._accepted)
                self._machine.fire(event)
                return PDataReceived(values)
            received = pdu.decode_body(pdu_type, body)
            if isinstance(received, AssociateRequest):
                self._check_acceptable(received)
            elif isinstance(received, AssociateAccept):
                self._establish(received)
        except AssociationRefused as error:
            self._machine.fire(event, acceptable=False)
            self._owed = pdu.encode(error.reject)
            raise
        except PduError as error:
            raise self._fail(Evt.INVALID_PDU, error) from None
        return self._indicate(self._machine.fire(event), received)

    def _indicate(self, action: Action, received: pdu.Pdu) -> Event | None:
        match received:
            case AssociateRequest():
                self._request = received
                return AssociateRequested(received)
            case AssociateAccept():
                return AssociateAccepted(received)
            case AssociateReject(result, source, reason):
                return AssociateRejected(result, source, reason)
            case ReleaseRequest():
                return ReleaseRequested(collision=action is Action.AR_8)
            case ReleaseResponse():
                return ReleaseConfirmed()
            case Abort(source, reason) if action is Action.AA_3:
                return Aborted(source, reason)
        return None  # A-ABORT where there is no association (AA-2): nobody to tell

    def _end_of_input(self) -> Event | None:
        if not self._eof or self._machine.closing:
            return None
        action = self._machine.fire(Evt.TRANSPORT_CLOSED)
        return TransportClosed(orderly=action is not Action.AA_4)

    def _fail(self, event: Evt, error: PduError) -> PduError:
        self._machine.fire(event)
        self._owed = pdu.encode(Abort(AbortSource.SERVICE_PROVIDER, error.reason))
        self._deaf = self._deaf or event is Evt.INVALID_PDU
        return error

    # ---------------------------------------------------------------------------------------------------- negotiation
    def _check_acceptable(self, request: AssociateRequest) -> None:
        """Answer the provider's question of AE-6; everything else is for whoever gets the event."""
        if request.application_context != APPLICATION_CONTEXT:
            raise AssociationRefused(
                "an application context that is not DICOM",
                AssociateReject(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 2),
            )
        if self._too_small(request.max_pdu_length):
            raise AssociationRefused(
                f"the peer takes PDUs of {request.max_pdu_length} bytes only",
                AssociateReject(RejectResult.PERMANENT, RejectSource.SERVICE_PROVIDER_ACSE, 1),
            )

    def _establish(self, accept: AssociateAccept) -> None:
        """Take over what the acceptor answered, after checking that it is an answer to what we proposed."""
        request = self._request
        assert request is not None
        if self._too_small(accept.max_pdu_length):
            raise PduError(
                f"the peer takes PDUs of {accept.max_pdu_length} bytes only",
                AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        try:
            self._accepted = MappingProxyType(agree(request, accept))
        except ValueError as error:
            raise PduError(str(error), AbortReason.INVALID_PDU_PARAMETER_VALUE) from error
        self._use(announced=request.max_pdu_length, peer=accept.max_pdu_length)

    def _use(self, *, announced: int, peer: int) -> None:
        self._announced = announced
        cap = self._limits.max_pdu_length
        self._peer_max_pdu_length = min(peer, cap) if peer else cap  # 0 means "no limit" (PS3.8 D.1.1)
        self._request = None

    def _too_small(self, max_pdu_length: int) -> bool:
        return 0 < max_pdu_length < self._limits.min_peer_pdu_length

    # -------------------------------------------------------------------------------------------------------- sending
    def send(self, primitive: Primitive) -> bytes:
        """
        Take a primitive of the local user and return the bytes to write: none for an AssociateRequest, whose PDU
        `transport_connected` returns, and none for an Abort before that.
        """
        event = _PRIMITIVE_EVENTS[type(primitive)]
        action = self._machine.action_for(event)
        encoded = pdu.encode(primitive)
        if isinstance(primitive, AssociateRequest):
            if self._machine.role is not Role.REQUESTOR:
                raise LocalProtocolError("an acceptor does not request associations")
            self._check_announced(primitive.max_pdu_length)
            self._announced = primitive.max_pdu_length
            self._request = primitive
        elif isinstance(primitive, AssociateAccept):
            self._accept(primitive)
        self._machine.fire(event)
        return b"" if action in (Action.AE_1, Action.AA_2) else encoded

    def send_data(
        self, context_id: int, data: pdu.Buffer, *, is_command: bool, is_last: bool
    ) -> list[bytes | memoryview]:
        """
        Return the buffers to write, in order, for one piece of a command set or data set (PS3.8 §9.3.5).

        *data* (contiguous bytes) is cut to the peer's PDU size and not copied unless it is small. In a stream of
        pieces all but the last should be a multiple of `max_pdv_length` long, so that PDUs are full.
        """
        if context_id not in self._accepted:
            raise LocalProtocolError(f"presentation context {context_id} was not accepted")
        self._machine.fire(Evt.DATA_REQUEST)
        return pdu.encode_data(
            context_id, data, is_command=is_command, is_last=is_last, max_pdu_length=self._peer_max_pdu_length
        )

    def _accept(self, accept: AssociateAccept) -> None:
        request = self._request
        assert request is not None
        self._check_announced(accept.max_pdu_length)
        if {context.id for context in request.presentation_contexts} != {
            context.id for context in accept.presentation_contexts
        }:
            raise LocalProtocolError("every proposed presentation context takes an answer")
        try:
            self._accepted = MappingProxyType(agree(request, accept))
        except ValueError as error:
            raise LocalProtocolError(str(error)) from error
        self._use(announced=accept.max_pdu_length, peer=request.max_pdu_length)
        self._buffer.shrink()

    def _check_announced(self, max_pdu_length: int) -> None:
        if not self._limits.min_peer_pdu_length <= max_pdu_length <= self._limits.max_pdu_length:
            raise LocalProtocolError(
                f"announcing PDUs of {max_pdu_length} bytes; we take up to {self._limits.max_pdu_length}"
            )


__all__ = ["DEFAULT_LIMITS", "Association", "Limits"]
