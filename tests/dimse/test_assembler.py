"""From presentation data values to messages (PS3.7 §6.3.1, PS3.8 Annex E)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dimse import messages
from strongroom.dimse.assembler import Assembler, DataFragment, MessageReceived
from strongroom.errors import RemoteProtocolError

STORE = messages.CStoreRequest(message_id=3, affected_sop_class_uid="1.2", affected_sop_instance_uid="1.2.3")
STORE_BYTES = messages.encode(STORE, has_data_set=True)
ECHO = messages.CEchoRequest(message_id=4, affected_sop_class_uid="1.2.840.10008.1.1")
ECHO_BYTES = messages.encode(ECHO)


@dataclass(frozen=True)
class Value:
    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


def command(raw: bytes, context_id: int = 1, *, last: bool = True) -> Value:
    """A command fragment."""
    return Value(context_id, True, last, memoryview(raw))


def data(raw: bytes, context_id: int = 1, *, last: bool = False) -> Value:
    """A data set fragment."""
    return Value(context_id, False, last, memoryview(raw))


def test_a_message_without_data_set() -> None:
    """A C-ECHO-RQ is one event, and the next message may follow."""
    assembler = Assembler()

    assert [MessageReceived(1, ECHO, False)] == list(assembler.feed(command(ECHO_BYTES)))
    assert [MessageReceived(1, ECHO, False)] == list(assembler.feed(command(ECHO_BYTES)))
    assert not assembler.in_message


def test_a_data_set_passes_through_as_the_views_it_came_in() -> None:
    """Data fragments are handed on without a copy."""
    assembler = Assembler()
    value = data(b"abcd", last=True)

    assert [MessageReceived(1, STORE, True)] == list(assembler.feed(command(STORE_BYTES)))
    assert assembler.in_message
    (fragment,) = assembler.feed(value)
    assert isinstance(fragment, DataFragment)
    assert fragment.data is value.data
    assert fragment.last
    assert not assembler.in_message


@given(st.lists(st.integers(0, len(STORE_BYTES)), max_size=6), st.lists(st.binary(max_size=5), max_size=6))
def test_any_fragmenting_gives_the_same(cuts: list[int], pieces: list[bytes]) -> None:
    """A command cut anywhere and a data set in any pieces give one message and all the bytes."""
    assembler = Assembler({1})
    edges = [0, *sorted(cuts), len(STORE_BYTES)]
    parts = [STORE_BYTES[a:b] for a, b in itertools.pairwise(edges)]
    events = []
    for index, part in enumerate(parts):
        events += assembler.feed(command(part, last=index == len(parts) - 1))
    for piece in pieces:
        events += assembler.feed(data(piece))
    events += assembler.feed(data(b"", last=True))

    assert MessageReceived(1, STORE, True) == events[0]
    assert b"".join(pieces) == b"".join(bytes(event.data) for event in events[1:])
    assert [False] * (len(events) - 2) + [True] == [event.last for event in events[1:]]


def test_an_empty_fragment_in_the_middle_gives_no_event() -> None:
    """Nothing is woken for nothing."""
    assembler = Assembler()
    assembler.feed(command(STORE_BYTES))

    assert assembler.feed(data(b"")) == ()


@pytest.mark.parametrize(
    ("before", "value", "says"),
    [
        ([], data(b"x"), "no command announced"),
        ([command(ECHO_BYTES)], data(b"x"), "no command announced"),
        ([command(STORE_BYTES), data(b"x", last=True)], data(b"x"), "no command announced"),
        ([command(STORE_BYTES)], command(ECHO_BYTES), "before the data set had ended"),
        ([command(STORE_BYTES)], command(ECHO_BYTES, 3), "before the data set had ended"),
        ([command(STORE_BYTES)], data(b"x", 3), "inside one on 1"),
        ([command(STORE_BYTES[:20], last=False)], data(b"x"), "before the command had ended"),
        ([command(STORE_BYTES[:20], last=False)], command(ECHO_BYTES, 3), "inside one on 1"),
        ([], command(ECHO_BYTES, 5), "5, which was not accepted"),
        ([command(b"\0" * 60_000, last=False)], command(b"\0" * 6_000, last=False), "66000 bytes, the limit is 65536"),
    ],
)
def test_interleaving_and_stray_fragments_are_refused(before: list[Value], value: Value, says: str) -> None:
    """D01: each broken rule is the peer's protocol error."""
    assembler = Assembler({1, 3})
    for earlier in before:
        assembler.feed(earlier)

    with pytest.raises(RemoteProtocolError, match=says):
        assembler.feed(value)


def test_an_endless_command_is_bounded() -> None:
    """A command set that never ends is refused once it passes the limit, in many small pieces too (D02)."""
    assembler = Assembler()

    for _ in range(655):
        assembler.feed(command(b"\0" * 100, last=False))
    with pytest.raises(RemoteProtocolError, match="65600 bytes"):
        assembler.feed(command(b"\0" * 100, last=False))


@given(
    st.lists(
        st.builds(
            Value, st.sampled_from([1, 3, 5]), st.booleans(), st.booleans(), st.binary(max_size=80).map(memoryview)
        )
    )
)
def test_any_values_give_events_or_a_protocol_error(values: list[Value]) -> None:
    """Nothing but RemoteProtocolError leaves the assembler (I6)."""
    assembler = Assembler({1, 3})
    try:
        for value in values:
            for event in assembler.feed(value):
                assert isinstance(event, MessageReceived | DataFragment)
    except RemoteProtocolError:
        return
