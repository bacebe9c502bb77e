"""One association through every state and event of Table 9-10, and two of them joined by a wire."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import LocalProtocolError, RemoteProtocolError
from strongroom.upper_layer import (
    Abort,
    Aborted,
    AbortReason,
    AssociateAccepted,
    AssociateReject,
    AssociateRejected,
    AssociateRequested,
    Association,
    AssociationRefused,
    Limits,
    PDataReceived,
    PduError,
    PduTooLarge,
    ReleaseConfirmed,
    ReleaseRequest,
    ReleaseRequested,
    ReleaseResponse,
    Role,
    State,
    Support,
    TransportClosed,
    negotiate,
)
from strongroom.upper_layer.pdu import decode, encode, encode_data
from strongroom.upper_layer.state import TRANSITIONS, Evt
from wire import (
    BYTE_BY_BYTE,
    CT_IMAGE_STORAGE,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    WHOLE,
    End,
    Wire,
    a_request,
    established,
)

SUPPORTED = {VERIFICATION: Support((IMPLICIT,)), CT_IMAGE_STORAGE: Support((EXPLICIT,))}
REQUEST = a_request()
ACCEPT = negotiate(REQUEST, SUPPORTED)
REJECT = AssociateReject(1, 1, 7)
DATA_PDU = b"".join(encode_data(1, b"abcd", is_command=False, is_last=True, max_pdu_length=4096))

RECEIVED = {
    Evt.AC_PDU: encode(ACCEPT),
    Evt.RJ_PDU: encode(REJECT),
    Evt.RQ_PDU: encode(REQUEST),
    Evt.DATA_PDU: DATA_PDU,
    Evt.RELEASE_RQ_PDU: encode(ReleaseRequest()),
    Evt.RELEASE_RP_PDU: encode(ReleaseResponse()),
    Evt.ABORT_PDU: encode(Abort(2, 1)),
    Evt.INVALID_PDU: b"\x09\0\0\0\0\x04abcd",
}

SENT = {
    Evt.ASSOCIATE_REQUEST: REQUEST,
    Evt.ACCEPT_RESPONSE: ACCEPT,
    Evt.REJECT_RESPONSE: REJECT,
    Evt.RELEASE_REQUEST: ReleaseRequest(),
    Evt.RELEASE_RESPONSE: ReleaseResponse(),
    Evt.ABORT_REQUEST: Abort(),
}


def reach(state: int, role: Role) -> Association:
    """Bring a new association into *state* by the shortest lawful way."""
    association = Association(role)
    if state == 1:
        return association
    if role is Role.ACCEPTOR:
        association.transport_connected()
        if state == 2:
            return association
        association.receive_data(RECEIVED[Evt.RQ_PDU])
        association.next_event()
        if state == 3:
            return association
        association.send(ACCEPT)
    else:
        association.send(REQUEST)
        if state == 4:
            return association
        association.transport_connected()
        if state == 5:
            return association
        association.receive_data(RECEIVED[Evt.AC_PDU])
        association.next_event()
    if state in {7, 9, 10, 11, 12}:
        association.send(ReleaseRequest())
    if state in {8, 9, 10, 11, 12}:
        association.receive_data(RECEIVED[Evt.RELEASE_RQ_PDU])
        association.next_event()
    if state == 11:
        association.send(ReleaseResponse())
    if state == 12:
        association.receive_data(RECEIVED[Evt.RELEASE_RP_PDU])
        association.next_event()
    if state == 13:
        association.send(Abort())
    assert association.state.value == state
    return association


REACHABLE = [
    *[(state, Role.ACCEPTOR) for state in (1, 2, 3, 6, 7, 8, 10, 12, 13)],
    *[(state, Role.REQUESTOR) for state in (1, 4, 5, 6, 7, 8, 9, 11, 13)],
]


@dataclass
class Outcome:
    """What one event did: first byte of every PDU sent, the indications, the error."""

    sent: list[int]
    events: list[object]
    error: Exception | None


def apply(association: Association, event: Evt, sizes: tuple[int, ...] = WHOLE) -> Outcome:
    """Let *event* happen to *association* through its public methods; received bytes come in pieces of *sizes*."""
    written = b""
    events: list[object] = []
    error: Exception | None = None
    try:
        if event in {Evt.TRANSPORT_CONFIRMED, Evt.TRANSPORT_INDICATION}:
            written = association.transport_connected()
        elif event is Evt.DATA_REQUEST:
            written = b"".join(association.send_data(1, b"abcd", is_command=False, is_last=True))
        elif event is Evt.ARTIM_EXPIRED:
            association.timer_expired()
        elif event in SENT:
            written = association.send(SENT[event])
        elif event is Evt.TRANSPORT_CLOSED:
            association.receive_eof()
            events += drain(association)
        else:
            data, position = RECEIVED[event], 0
            while data[position:]:
                size = sizes[position % len(sizes)]
                association.receive_data(data[position : position + size])
                position += size
                events += drain(association)
    except (LocalProtocolError, RemoteProtocolError) as caught:
        error = caught
        written = association.abort_pdu()
    return Outcome(pdu_types(written), events, error)


def drain(association: Association) -> list[object]:
    """Take all the events there are."""
    return list(iter(association.next_event, None))


def pdu_types(data: bytes) -> list[int]:
    """Return the types of the PDUs in *data*."""
    types = []
    while data:
        types.append(data[0])
        (length,) = struct.unpack_from(">I", data, 2)
        data = data[6 + length :]
    return types


# What each action sends, indicates and leads to, read from PS3.8 tables 9-6 to 9-9 (0: stays; -1: by role).
MEANING: dict[str, tuple[int | None, type | None, int]] = {
    "AE-1": (None, None, 4),
    "AE-2": (1, None, 5),
    "AE-3": (None, AssociateAccepted, 6),
    "AE-4": (None, AssociateRejected, 1),
    "AE-5": (None, None, 2),
    "AE-6": (None, AssociateRequested, 3),
    "AE-7": (2, None, 6),
    "AE-8": (3, None, 13),
    "DT-1": (4, None, 6),
    "DT-2": (None, PDataReceived, 6),
    "AR-1": (5, None, 7),
    "AR-2": (None, ReleaseRequested, 8),
    "AR-3": (None, ReleaseConfirmed, 1),
    "AR-4": (6, None, 13),
    "AR-5": (None, TransportClosed, 1),
    "AR-6": (None, PDataReceived, 7),
    "AR-7": (4, None, 8),
    "AR-8": (None, ReleaseRequested, -1),
    "AR-9": (6, None, 11),
    "AR-10": (None, ReleaseConfirmed, 12),
    "AA-1": (7, None, 13),
    "AA-2": (None, None, 1),
    "AA-3": (None, Aborted, 1),
    "AA-4": (None, TransportClosed, 1),
    "AA-5": (None, TransportClosed, 1),
    "AA-6": (None, None, 13),
    "AA-7": (7, None, 13),
    "AA-8": (7, None, 13),
}
PEER_AT_FAULT = {"AA-1", "AA-7", "AA-8"}

sizes_of_pieces = st.lists(st.integers(1, 200), min_size=1, max_size=5).map(tuple) | st.just(BYTE_BY_BYTE)


def is_ours(event: Evt, role: Role) -> bool:
    """Leave out the one pair the API cannot express: the other role's transport event."""
    return event is not (Evt.TRANSPORT_INDICATION if role is Role.REQUESTOR else Evt.TRANSPORT_CONFIRMED)


@pytest.mark.parametrize("event", list(Evt), ids=lambda event: event.name)
@pytest.mark.parametrize(("state", "role"), REACHABLE)
@settings(max_examples=5, deadline=None)
@given(sizes=sizes_of_pieces)
def test_every_event_in_every_state(state, role, event, sizes):
    """Each cell sends, indicates and leads to what the standard says; an empty one raises and changes nothing."""
    if not is_ours(event, role):
        return
    association = reach(state, role)
    action = TRANSITIONS[State(state)].get(event)
    if event is Evt.ASSOCIATE_REQUEST and role is Role.ACCEPTOR:
        action = None
    outcome = apply(association, event, sizes)

    if action is None:
        assert isinstance(outcome.error, LocalProtocolError)
        assert (association.state.value, outcome.sent, outcome.events) == (state, [], [])
        return
    sent, indicated, next_state = MEANING[action.value]
    if next_state == -1:
        next_state = 9 if role is Role.REQUESTOR else 10
    assert association.state.value == next_state
    assert outcome.sent == ([] if sent is None else [sent])
    assert [type(item) for item in outcome.events] == ([] if indicated is None else [indicated])
    assert association.closing == (next_state == 1)
    assert association.artim_running == (next_state in {2, 13})
    at_fault = action.value in PEER_AT_FAULT and event is not Evt.ABORT_REQUEST
    assert isinstance(outcome.error, RemoteProtocolError) == at_fault


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REACHABLE), st.lists(st.sampled_from(list(Evt)), max_size=12))
def test_any_sequence_of_events_follows_the_table(start, events):
    """However events follow each other, the state is the table's, and nothing else than the two errors is raised."""
    state, role = start
    association = reach(state, role)
    deaf = False
    for event in filter(lambda event: is_ours(event, role), events):
        before = association.state
        ended = association.closing
        apply(association, event)
        remote = event in RECEIVED
        action = TRANSITIONS[before].get(event)
        if ended or (remote and deaf) or action is None:
            assert association.state is before
            continue
        if event is Evt.ASSOCIATE_REQUEST and role is Role.ACCEPTOR:
            assert association.state is before
            continue
        expected = MEANING[action.value][2]
        if expected == -1:
            expected = 9 if role is Role.REQUESTOR else 10
        assert association.state.value == expected
        deaf = deaf or event is Evt.INVALID_PDU


# -------------------------------------------------------------------------------------------------- feeding and fuzzing
A_WHOLE_CONVERSATION = (
    RECEIVED[Evt.RQ_PDU],
    b"".join(
        [
            *encode_data(1, b"command!", is_command=True, is_last=True, max_pdu_length=4096),
            *encode_data(3, bytes(range(256)) * 90, is_command=False, is_last=True, max_pdu_length=5000),
            *encode_data(3, b"", is_command=False, is_last=True, max_pdu_length=5000),
        ]
    )
    + RECEIVED[Evt.RELEASE_RQ_PDU],
)


def listen(sizes, *, zero_copy: bool) -> list[object]:
    """Feed a whole conversation in pieces to an acceptor; return its events with the views made bytes."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    for part in A_WHOLE_CONVERSATION:
        position = turn = 0
        while position < len(part):
            size = sizes[turn % len(sizes)]
            end.receive(part[position : position + size], zero_copy=zero_copy)
            position += size
            turn += 1
        if end.state is State.AWAITING_ASSOCIATE_RESPONSE:
            end.send(ACCEPT)
    return [
        [(*pdv[:3], bytes(pdv.data)) for pdv in event.values] if isinstance(event, PDataReceived) else event
        for event in end.events
    ]


@pytest.mark.parametrize("zero_copy", [True, False])
@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=6) | st.just(BYTE_BY_BYTE))
def test_the_pieces_do_not_matter(zero_copy, sizes):
    """Whole, byte by byte or in any other pieces: the same events come out."""
    assert listen(sizes, zero_copy=zero_copy) == listen(WHOLE, zero_copy=False)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REACHABLE), st.lists(st.binary(max_size=40) | st.sampled_from(list(RECEIVED.values()))))
def test_anything_received_gives_an_event_or_a_protocol_error(start, pieces):
    """No bytes in any connected state lead to another exception (I6)."""
    state, role = start
    if state in {1, 4}:
        return
    association = reach(state, role)
    for piece in pieces:
        association.receive_data(piece)
        for _ in range(len(piece) + 2):
            with contextlib.suppress(RemoteProtocolError):
                if association.next_event() is None:
                    break
        else:
            pytest.fail("next_event does not come to an end")
    association.receive_eof()
    with contextlib.suppress(RemoteProtocolError):
        drain(association)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_request_gives_an_event_or_a_protocol_error(data):
    """A request with some bytes changed is either understood or answered with A-ABORT or A-ASSOCIATE-RJ (T16)."""
    damaged = bytearray(RECEIVED[Evt.RQ_PDU])
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(6, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(bytes(damaged))

    if end.errors:
        assert end.outgoing[0] in {3, 7}
        assert (end.state, end.association.artim_running) == (State.AWAITING_TRANSPORT_CLOSE, True)
    else:
        assert [type(event) for event in end.events] == [AssociateRequested]


# ----------------------------------------------------------------------------------------------------------- hostile peers
@pytest.mark.parametrize("pdu_type", [1, 2, 4])
def test_a_pdu_of_4_gib_ends_with_its_header(pdu_type):
    """The sixth byte is enough to abort, and whatever follows is thrown away without being kept (T13)."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(struct.pack(">BxI", pdu_type, 0xFFFF_FFFF))
    abort = bytes(end.outgoing)
    for _ in range(64):
        end.receive(bytes(65_536))

    assert [type(error) for error in end.errors] == [PduTooLarge]
    assert abort == end.outgoing == encode(Abort(2, AbortReason.INVALID_PDU_PARAMETER_VALUE))
    assert len(end.association._buffer.data) <= 8192


def test_a_stranger_cannot_make_us_allocate():
    """Before an association there is only as much buffer as bytes came, whatever length was announced."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(struct.pack(">BxI", 1, 131_072) + bytes(100))

    assert len(end.association._buffer.data) == 4096


def test_a_pdu_longer_than_announced_is_aborted():
    """What was announced in the association counts, not the general limit."""
    wire = established(SUPPORTED, acceptor_limits=Limits(max_pdu_length=4096))
    wire.acceptor.receive(struct.pack(">BxI", 4, 4097))

    assert isinstance(wire.acceptor.errors[0], PduTooLarge)
    assert wire.acceptor.errors[0].max_pdu_length == 4096


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (RECEIVED[Evt.INVALID_PDU], AbortReason.UNRECOGNIZED_PDU),
        (RECEIVED[Evt.DATA_PDU], AbortReason.UNEXPECTED_PDU),
        (RECEIVED[Evt.RQ_PDU].replace(b"\x10\0\0\x15", b"\x10\0\xff\xff"), AbortReason.INVALID_PDU_PARAMETER_VALUE),
    ],
)
def test_an_abort_says_why(received, reason):
    """The peer's log shall show what was wrong, also before an association."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(received)

    assert end.outgoing == encode(Abort(2, reason))


def test_data_before_an_association_is_refused_without_waiting_for_it():
    """The header of a P-DATA-TF PDU is enough in a state that takes none (D01)."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(DATA_PDU[:6])

    assert isinstance(end.errors[0], PduError)


def test_data_for_a_refused_context_aborts():
    """A PDV for a context that was proposed but not accepted ends the association (D01)."""
    wire = established({VERIFICATION: Support((IMPLICIT,))})
    wire.acceptor.receive(DATA_PDU[:10] + b"\x03" + DATA_PDU[11:])

    assert isinstance(wire.acceptor.errors[0], PduError)
    assert wire.acceptor.outgoing == encode(Abort(2, AbortReason.INVALID_PDU_PARAMETER_VALUE))


@pytest.mark.parametrize("announced", [0, 0xFFFF_FFFF])
def test_no_limit_means_our_limit(announced):
    """A peer that takes anything gets PDUs of our own size (T17)."""
    wire = established(SUPPORTED, a_request(max_pdu_length=16_384))
    accepting = reach(2, Role.ACCEPTOR)
    accepting.receive_data(encode(a_request(max_pdu_length=announced)))
    accepting.next_event()
    accepting.send(ACCEPT)
    buffers = accepting.send_data(1, bytes(300_000), is_command=False, is_last=True)

    assert wire.acceptor.association.max_pdv_length == 16_378
    assert accepting.max_pdv_length == 131_066
    assert max(map(len, buffers)) == 131_066


@pytest.mark.parametrize("announced", [1, 7, 127])
def test_a_limit_too_small_is_rejected(announced):
    """A requestor that takes a byte at a time is rejected permanently (T17)."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(encode(a_request(max_pdu_length=announced)))

    assert isinstance(end.errors[0], AssociationRefused)
    assert end.outgoing == encode(AssociateReject(1, 2, 1))
    assert (end.events, end.state) == ([], State.AWAITING_TRANSPORT_CLOSE)


@pytest.mark.parametrize("announced", [1, 7, 127])
def test_an_acceptor_with_a_limit_too_small_is_aborted(announced):
    """Nor do we send bytes one at a time to an acceptor (T17)."""
    end = End(Role.REQUESTOR, Limits())
    end.send(REQUEST)
    end.association.transport_connected()
    end.receive(encode(negotiate(REQUEST, SUPPORTED, max_pdu_length=announced)))

    assert isinstance(end.errors[0], PduError)
    assert (end.events, end.state) == ([], State.AWAITING_TRANSPORT_CLOSE)


def test_the_smallest_limit_we_take_works():
    """At the limit itself data still arrives whole."""
    wire = established(SUPPORTED, a_request(max_pdu_length=128))
    wire.acceptor.send_data(1, bytes(range(250)), is_command=False, is_last=True)
    wire.pump()

    assert b"".join(pdv.data for event in wire.requestor.events for pdv in event.values) == bytes(range(250))


def test_another_application_context_is_rejected():
    """Who does not speak DICOM is told so: A-ASSOCIATE-RJ, application context not supported."""
    end = End(Role.ACCEPTOR, Limits())
    end.association.transport_connected()
    end.receive(encode(a_request(application_context="1.2.3")))

    assert isinstance(end.errors[0], AssociationRefused)
    assert end.outgoing == encode(AssociateReject(1, 1, 2))


def test_an_answer_to_what_was_not_proposed_aborts():
    """An acceptor cannot talk us into a transfer syntax we did not propose."""
    end = End(Role.REQUESTOR, Limits())
    end.send(a_request([(VERIFICATION, (EXPLICIT,))]))
    end.association.transport_connected()
    end.receive(encode(ACCEPT))

    assert isinstance(end.errors[0], PduError)
    assert not end.association.accepted_contexts


def test_a_reader_that_does_not_drain_is_stopped():
    """The receive buffer is bounded even if whoever drives the association forgets to take its events."""
    association = reach(6, Role.ACCEPTOR)

    def read_on() -> None:
        for _ in range(1000):
            association.buffer_updated(len(association.get_buffer()))

    with pytest.raises(LocalProtocolError, match="drained"):
        read_on()


# ------------------------------------------------------------------------------------------------------------ our mistakes
@pytest.mark.parametrize(
    "accept",
    [
        negotiate(a_request([(VERIFICATION, (IMPLICIT,))]), SUPPORTED),
        negotiate(a_request([(VERIFICATION, (EXPLICIT,))] * 2), {VERIFICATION: Support((EXPLICIT,))}),
        negotiate(REQUEST, SUPPORTED, max_pdu_length=0),
        negotiate(REQUEST, SUPPORTED, max_pdu_length=131_073),
    ],
)
def test_a_wrong_answer_of_ours_goes_nowhere(accept):
    """An answer that leaves contexts out, invents some, or announces more than we take raises and changes nothing."""
    association = reach(3, Role.ACCEPTOR)
    with pytest.raises(LocalProtocolError):
        association.send(accept)

    assert (association.state.value, dict(association.accepted_contexts)) == (3, {})


def test_data_on_a_context_that_was_not_accepted_is_our_mistake():
    """We do not send on a context that was refused."""
    wire = established({VERIFICATION: Support((IMPLICIT,))})
    with pytest.raises(LocalProtocolError, match="context 3"):
        wire.requestor.association.send_data(3, b"x", is_command=True, is_last=True)


@pytest.mark.parametrize("role", Role)
def test_bytes_without_a_connection_are_our_mistake(role):
    """Before the transport is there, nothing can be received."""
    for feed in (lambda a: a.receive_data(b"x"), lambda a: a.get_buffer(), lambda a: a.receive_eof()):
        with pytest.raises(LocalProtocolError):
            feed(Association(role))


def test_the_timer_must_run_to_expire():
    """Expiry of a timer that does not run is a mistake of whoever keeps the clock."""
    with pytest.raises(LocalProtocolError):
        reach(6, Role.ACCEPTOR).timer_expired()


# ------------------------------------------------------------------------------------------------------- both ends of a wire
link_sizes = pytest.mark.parametrize("sizes", [WHOLE, BYTE_BY_BYTE, (7, 131_072, 1, 4096)])


@link_sizes
def test_an_association_from_beginning_to_end(sizes):
    """Establish, send both ways, release: each side sees what the other did, and both transports end."""
    wire = established(SUPPORTED, sizes=sizes)
    wire.requestor.send_data(1, b"ping", is_command=True, is_last=True)
    wire.pump()
    wire.acceptor.send_data(1, b"pong", is_command=True, is_last=True)
    wire.requestor.send(ReleaseRequest())
    wire.pump()
    wire.acceptor.send(ReleaseResponse())
    wire.pump()

    ping, release = wire.acceptor.events[:2]
    pong, confirmed = wire.requestor.events
    assert (bytes(ping.values[0].data), bytes(pong.values[0].data)) == (b"ping", b"pong")
    assert (release, confirmed) == (ReleaseRequested(), ReleaseConfirmed())
    assert wire.acceptor.events[2:] == [TransportClosed(orderly=True)]
    assert wire.requestor.association.closing
    assert wire.acceptor.association.closing


def test_data_goes_on_while_the_release_is_waiting():
    """The side asked to release may finish sending, and the asker still hears it (AR-6, AR-7)."""
    wire = established(SUPPORTED)
    wire.requestor.send(ReleaseRequest())
    wire.pump()
    wire.acceptor.send_data(1, b"last words", is_command=True, is_last=True)
    wire.acceptor.send(ReleaseResponse())
    wire.pump()

    assert [type(event) for event in wire.requestor.events] == [PDataReceived, ReleaseConfirmed]


@link_sizes
def test_a_release_collision(sizes):
    """Both ask at once: the requestor answers first, the acceptor after its own confirmation (PS3.8 §7.2.2.7)."""
    wire = established(SUPPORTED, sizes=sizes)
    requestor, acceptor = wire.requestor, wire.acceptor
    requestor.send(ReleaseRequest())
    acceptor.send(ReleaseRequest())
    wire.pump()

    assert requestor.events == acceptor.events == [ReleaseRequested(collision=True)]
    with pytest.raises(LocalProtocolError):
        acceptor.send(ReleaseResponse())

    requestor.send(ReleaseResponse())
    wire.pump()
    assert acceptor.events[1:] == [ReleaseConfirmed()]

    acceptor.send(ReleaseResponse())
    wire.pump()
    assert requestor.events[1:] == [ReleaseConfirmed()]
    assert acceptor.events[2:] == [TransportClosed(orderly=True)]
    assert (requestor.association.closing, acceptor.association.closing) == (True, True)


@link_sizes
def test_a_rejection(sizes):
    """A rejected requestor learns result, source and reason, and closes."""
    wire = Wire(sizes=sizes)
    wire.connect(REQUEST)
    wire.acceptor.send(REJECT)
    wire.pump()

    assert wire.requestor.events == [AssociateRejected(1, 1, 7)]
    assert wire.requestor.association.closing
    assert wire.acceptor.events[1:] == [TransportClosed(orderly=True)]


def test_an_abort_reaches_the_other_side():
    """A-ABORT ends the association at once, in both directions."""
    wire = established(SUPPORTED)
    wire.requestor.send(Abort())
    wire.pump()

    assert wire.acceptor.events == [Aborted(0, 0)]
    assert wire.requestor.events == [TransportClosed(orderly=True)]


def test_a_lost_connection_is_told_apart_from_an_orderly_end():
    """The end of the transport in the middle of a PDU is an A-P-ABORT, after everything complete was delivered."""
    wire = established(SUPPORTED)
    wire.acceptor.association.receive_data(DATA_PDU + DATA_PDU[:-1])
    wire.acceptor.receive_eof()

    assert [type(event) for event in wire.acceptor.events] == [PDataReceived, TransportClosed]
    assert not wire.acceptor.events[-1].orderly


def test_artim_ends_a_silent_connection():
    """Who connects and says nothing is closed when the timer runs out, without a word."""
    association = reach(2, Role.ACCEPTOR)
    association.timer_expired()

    assert (association.closing, association.artim_running) == (True, False)


# ----------------------------------------------------------------------------------------------------- memory and copying
def test_image_data_lies_where_the_transport_put_it():
    """After the first PDU every fragment is a view into the very memory `get_buffer` handed out."""
    wire = established(SUPPORTED)
    association = wire.acceptor.association
    stream = b"".join(wire.requestor.association.send_data(3, bytes(526_000), is_command=False, is_last=True))
    reads = 0
    while stream:
        room = association.get_buffer(-1)
        memory, taken = room.obj, min(len(room), len(stream))
        room[:taken] = stream[:taken]
        del room
        association.buffer_updated(taken)
        stream = stream[taken:]
        reads += 1
        while (event := association.next_event()) is not None:
            assert event.values[0].data.obj is memory
            assert event.values[0].data.readonly
            del event

    assert reads == 6  # five PDUs, and the small read that began the first one


def test_fragments_outlive_the_next_reads():
    """A consumer that is slower than the transport still finds its fragments unchanged."""
    wire = established(SUPPORTED)
    image = bytes(range(256)) * 2000
    wire.requestor.send_data(3, image, is_command=False, is_last=True)
    wire.pump()

    assert b"".join(pdv.data for event in wire.acceptor.events for pdv in event.values) == image


def test_an_idle_association_is_small_again():
    """After an image `shrink` leaves 4 KiB; the association goes on as if nothing had happened."""
    wire = established(SUPPORTED)
    wire.requestor.send_data(3, bytes(300_000), is_command=False, is_last=True)
    wire.pump()
    wire.acceptor.association.shrink()

    assert len(wire.acceptor.association._buffer.data) == 4096
    wire.requestor.send(ReleaseRequest())
    wire.pump()
    assert wire.acceptor.events[-1] == ReleaseRequested()


def test_a_request_is_what_arrives():
    """The acceptor sees the request as it was made, and both sides agree on the same contexts."""
    wire = Wire()
    wire.connect(REQUEST)
    wire.acceptor.send(ACCEPT)
    sent = bytes(wire.acceptor.outgoing)
    wire.pump()

    assert wire.acceptor.events == [AssociateRequested(REQUEST)]
    assert wire.requestor.events == [AssociateAccepted(decode(sent, limit=0)[0])]
    assert wire.requestor.association.accepted_contexts == wire.acceptor.association.accepted_contexts
    assert list(wire.acceptor.association.accepted_contexts) == [1, 3]
