"""The DIMSE messages (PS3.7 §9.3, §10.3)."""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dimse import command, messages
from strongroom.errors import LocalProtocolError, RemoteProtocolError

NUMBER = st.integers(0, 0xFFFF)
UID = st.from_regex(r"[1-9][0-9]{0,9}(\.[1-9][0-9]{0,9}){0,4}", fullmatch=True)
TITLE = st.from_regex(r"[A-Z0-9_]{0,16}", fullmatch=True)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple)
ALWAYS = (messages.CStoreRequest, messages.CFindRequest, messages.CGetRequest, messages.CMoveRequest)
NEVER = (messages.CEchoRequest, messages.CEchoResponse, messages.CCancelRequest, messages.CStoreResponse)


def build(cls: type[messages.Message]) -> st.SearchStrategy[messages.Message]:
    """Any message of one class."""
    arguments = {}
    for field in fields(cls):
        kind = command.ELEMENTS[command.NUMBERS[field.name]][1]
        strategy = {
            command.Kind.US: NUMBER,
            command.Kind.UI: UID | st.just(""),
            command.Kind.AE: TITLE,
            command.Kind.LO: TITLE,
            command.Kind.AT: TAGS,
        }[kind]
        if field.default is None:
            strategy = strategy | st.none()
        arguments[field.name] = strategy
    if cls in (messages.NRequest, messages.NResponse):
        bit = messages.RESPONSE_BIT if cls is messages.NResponse else 0
        arguments["command_field"] = st.sampled_from([0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150]).map(
            lambda n: n | bit
        )
    return st.builds(cls, **arguments)


ANY = st.one_of([build(cls) for cls in get_args(messages.Message)])


@given(ANY, st.booleans())
def test_every_message_survives_the_way_out_and_back(message: messages.Message, wanted: bool) -> None:
    """Encoding and decoding any message gives it back, with the data set flag."""
    has_data_set = type(message) in ALWAYS or (wanted and type(message) not in NEVER)

    assert (message, has_data_set) == messages.decode(messages.encode(message, has_data_set=has_data_set))


def test_command_fields_are_the_standards() -> None:
    """The numbers of PS3.7 Annex E.1, so that no two messages share one."""
    expected = {
        "CStoreRequest": 0x0001,
        "CStoreResponse": 0x8001,
        "CGetRequest": 0x0010,
        "CGetResponse": 0x8010,
        "CFindRequest": 0x0020,
        "CFindResponse": 0x8020,
        "CMoveRequest": 0x0021,
        "CMoveResponse": 0x8021,
        "CEchoRequest": 0x0030,
        "CEchoResponse": 0x8030,
        "CCancelRequest": 0x0FFF,
    }
    classes = [cls for cls in get_args(messages.Message) if hasattr(cls, "COMMAND_FIELD")]

    assert expected == {cls.__name__: cls.COMMAND_FIELD for cls in classes}


def test_any_data_set_type_but_0101_announces_a_data_set() -> None:
    """PS3.7 §9.3: every value other than 0101H says that a data set is there."""
    raw = bytearray(messages.encode(messages.CStoreRequest(message_id=1), has_data_set=True))
    at = raw.index(struct.pack("<HHL", 0, 0x0800, 2)) + 8
    raw[at : at + 2] = b"\x00\x00"

    assert messages.decode(raw)[1] is True


def test_a_store_request_without_its_uids_is_still_a_message() -> None:
    """The service can answer it with a status, so the decoder does not refuse it."""
    message, _ = messages.decode(messages.encode(messages.CStoreRequest(message_id=1), has_data_set=True))

    assert message == messages.CStoreRequest(message_id=1, affected_sop_class_uid="", affected_sop_instance_uid="")


def test_n_requests_name_their_sop_either_way() -> None:
    """N-CREATE names the affected SOP, N-ACTION the requested one: one property reads both."""
    create = messages.NRequest(
        command_field=0x0140, message_id=1, affected_sop_class_uid="1.2", affected_sop_instance_uid="3"
    )
    action = messages.NRequest(
        command_field=0x0130, message_id=1, requested_sop_class_uid="1.2", requested_sop_instance_uid="3"
    )

    assert (
        ("1.2", "3")
        == (create.sop_class_uid, create.sop_instance_uid)
        == (action.sop_class_uid, action.sop_instance_uid)
    )


def us(number: int, value: int) -> bytes:
    """One element that holds a number."""
    return struct.pack("<HHLH", 0, number, 2, value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (us(0x0110, 1) + us(0x0800, 0x0101), "without a command field"),
        (us(0x0100, 0x0666) + us(0x0110, 1) + us(0x0800, 0x0101), "0666 is not one"),
        (us(0x0100, 0x0030) + us(0x0110, 1), "data set follows"),
        (us(0x0100, 0x0030) + us(0x0800, 0x0101), "without message_id"),
        (us(0x0100, 0x8030) + us(0x0120, 1) + us(0x0800, 0x0101), "without status"),
        (us(0x0100, 0x0FFF) + us(0x0800, 0x0101), "without message_id_being_responded_to"),
    ],
)
def test_what_cannot_be_answered_is_a_protocol_error(raw: bytes, says: str) -> None:
    """Without command field, message ID or status there is no answer to give."""
    with pytest.raises(RemoteProtocolError, match=says):
        messages.decode(raw)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_after_a_true_beginning_give_a_message_or_a_protocol_error(tail: bytes, cut: int) -> None:
    """Nothing but RemoteProtocolError leaves the decoder (I6)."""
    whole = messages.encode(messages.CFindRequest(message_id=1, affected_sop_class_uid="1.2.3"), has_data_set=True)
    try:
        messages.decode(whole[:cut] + tail)
    except RemoteProtocolError:
        return


@pytest.mark.parametrize(
    ("message", "has_data_set"),
    [
        (messages.CEchoRequest(message_id=1), True),
        (messages.CCancelRequest(message_id_being_responded_to=1), True),
        (messages.CStoreResponse(message_id_being_responded_to=1, status=0), True),
        (messages.CStoreRequest(message_id=1), False),
        (messages.CMoveRequest(message_id=1), False),
    ],
)
def test_we_do_not_contradict_ourselves(message: messages.Message, has_data_set: bool) -> None:
    """A message that never has a data set is not sent with one, nor the reverse."""
    with pytest.raises(LocalProtocolError):
        messages.encode(message, has_data_set=has_data_set)
