"""
Two associations and a fake link between them, for every test that needs a conversation without a network.

    wire = established({CT: Support((EXPLICIT,))})
    wire.requestor.send_data(1, b"...", is_command=False, is_last=True)
    wire.pump()
    wire.acceptor.events

Bytes travel in pieces of the sizes given (repeated for ever), into the zero-copy buffer or by `receive_data`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from strongroom.errors import RemoteProtocolError
from strongroom.upper_layer import (
    DEFAULT_LIMITS,
    AssociateRequest,
    AssociateRequested,
    Association,
    Event,
    Limits,
    Primitive,
    Role,
    State,
    Supported,
    negotiate,
    number_contexts,
)

VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

WHOLE = (1 << 30,)
BYTE_BY_BYTE = (1,)


def a_request(
    contexts: Iterable[tuple[str, Iterable[str]]] = (
        (VERIFICATION, (IMPLICIT,)),
        (CT_IMAGE_STORAGE, (EXPLICIT, IMPLICIT)),
    ),
    **changes: object,
) -> AssociateRequest:
    """Return a plain request of an imaginary CT scanner; *changes* are fields of AssociateRequest."""
    fields: dict[str, object] = {
        "called_ae_title": "STRONGROOM",
        "calling_ae_title": "CT1",
        "presentation_contexts": number_contexts(contexts),
        "implementation_class_uid": "1.2.3.4",
        "implementation_version_name": "IMAGINARY",
    }
    return AssociateRequest(**(fields | changes))


class End:
    """One side: its association, what it was told, and what it has written but the link has not carried yet."""

    def __init__(self, role: Role, limits: Limits) -> None:
        self.association = Association(role, limits)
        self.events: list[Event] = []
        self.errors: list[RemoteProtocolError] = []
        self.outgoing = bytearray()
        self.closed = False

    @property
    def state(self) -> State:
        return self.association.state

    def send(self, primitive: Primitive) -> None:
        """Hand a primitive to the association and put the bytes on the link."""
        self.outgoing += self.association.send(primitive)

    def send_data(self, context_id: int, data: bytes, *, is_command: bool, is_last: bool) -> None:
        """Hand a piece of a message to the association and put the buffers on the link."""
        for buffer in self.association.send_data(context_id, data, is_command=is_command, is_last=is_last):
            self.outgoing += buffer

    def receive(self, data: bytes, *, zero_copy: bool = True) -> None:
        """Feed *data* and collect every event and error it leads to."""
        if not zero_copy:
            self.association.receive_data(data)
            self.drain()
            return
        while data:
            room = self.association.get_buffer(-1)
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            del room
            self.association.buffer_updated(taken)
            data = data[taken:]
            self.drain()

    def receive_eof(self) -> None:
        """Say that the link is down."""
        self.association.receive_eof()
        self.drain()

    def drain(self) -> None:
        """Take events until there are none; what is owed after an error goes onto the link."""
        while True:
            try:
                event = self.association.next_event()
            except RemoteProtocolError as error:
                self.errors.append(error)
                self.outgoing += self.association.abort_pdu()
                continue
            if event is None:
                return
            self.events.append(event)


class Wire:
    """A requestor, an acceptor and the link between them; `pump` carries bytes until nobody has any."""

    def __init__(
        self,
        *,
        requestor_limits: Limits = DEFAULT_LIMITS,
        acceptor_limits: Limits = DEFAULT_LIMITS,
        sizes: Iterable[int] = WHOLE,
        zero_copy: bool = True,
    ) -> None:
        self.requestor = End(Role.REQUESTOR, requestor_limits)
        self.acceptor = End(Role.ACCEPTOR, acceptor_limits)
        self._sizes: Iterator[int] = itertools.cycle(sizes)
        self._zero_copy = zero_copy

    def connect(self, request: AssociateRequest) -> None:
        """Open the link and carry the A-ASSOCIATE-RQ."""
        self.requestor.send(request)
        self.requestor.outgoing += self.requestor.association.transport_connected()
        self.acceptor.association.transport_connected()
        self.pump()

    def pump(self) -> None:
        """Carry bytes both ways, in turn, until both directions are empty; then close what is to be closed."""
        while self.requestor.outgoing or self.acceptor.outgoing:
            self._carry(self.requestor, self.acceptor)
            self._carry(self.acceptor, self.requestor)
        for end, other in ((self.requestor, self.acceptor), (self.acceptor, self.requestor)):
            if end.association.closing and not end.closed:
                end.closed = True
                other.receive_eof()

    def _carry(self, source: End, target: End) -> None:
        size = next(self._sizes)
        data = bytes(source.outgoing[:size])
        del source.outgoing[:size]
        if data:
            target.receive(data, zero_copy=self._zero_copy)


def established(supported: Supported, request: AssociateRequest | None = None, **options: object) -> Wire:
    """Return a wire with an association on it; *options* are those of Wire. The events of the negotiation are gone."""
    wire = Wire(**options)
    wire.connect(request or a_request())
    (asked,) = wire.acceptor.events
    assert isinstance(asked, AssociateRequested)
    wire.acceptor.send(negotiate(asked.request, supported, max_pdu_length=_announced(wire)))
    wire.pump()
    assert wire.requestor.state is State.ESTABLISHED
    assert wire.acceptor.state is State.ESTABLISHED
    wire.requestor.events.clear()
    wire.acceptor.events.clear()
    return wire


def _announced(wire: Wire) -> int:
    return wire.acceptor.association._limits.max_pdu_length
