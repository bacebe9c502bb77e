"""The command set (PS3.7 §6.3, Annex E.1)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from strongroom.dimse import command
from strongroom.errors import LocalProtocolError, RemoteProtocolError

# C-ECHO-RQ, message 7, written out by hand from PS3.7 Annex E.1 and PS3.5 §7.1.3.
ECHO = bytes.fromhex(
    "00000000 04000000 38000000"
    "00000200 12000000 312e322e3834302e31303030382e312e3100"
    "00000001 02000000 3000"
    "00001001 02000000 0700"
    "00000008 02000000 0101",
)


def element(number: int, raw: bytes, *, group: int = 0, length: int | None = None) -> bytes:
    """One element, whose length may lie."""
    return struct.pack("<HHL", group, number, len(raw) if length is None else length) + raw


def test_decodes_an_echo_request_byte_by_byte_known() -> None:
    """A C-ECHO-RQ written by hand gives its fields."""
    expected = {
        "command_group_length": 56,
        "affected_sop_class_uid": "1.2.840.10008.1.1",
        "command_field": 0x0030,
        "message_id": 7,
        "command_data_set_type": 0x0101,
    }

    assert expected == command.decode(ECHO)


def test_encodes_the_same_bytes() -> None:
    """The same fields give the hand-written bytes, group length included."""
    values = [(0x0002, "1.2.840.10008.1.1"), (0x0100, 0x0030), (0x0110, 7), (0x0800, 0x0101)]

    assert command.encode(values) == ECHO


def test_agrees_with_pydicom_on_every_kind() -> None:
    """Another implementation writes the same bytes for texts, numbers, titles and tags."""
    theirs = Dataset()
    theirs.CommandGroupLength = 0
    theirs.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    theirs.MoveDestination = "READER1"
    theirs.Status = 0xC000
    theirs.OffendingElement = [0x00080018, 0x7FE00010]
    theirs.ErrorComment = "odd"
    stream = DicomBytesIO()
    stream.is_little_endian = True
    stream.is_implicit_VR = True
    write_dataset(stream, theirs)
    body = stream.getvalue()[12:]

    ours = command.encode(
        [
            (0x0002, "1.2.840.10008.5.1.4.1.1.2"),
            (0x0600, "READER1"),
            (0x0900, 0xC000),
            (0x0901, (0x00080018, 0x7FE00010)),
            (0x0902, "odd"),
        ],
    )

    assert body == ours[12:]
    assert struct.pack("<L", len(body)) == ours[8:12]


def test_a_wrong_group_length_is_not_believed() -> None:
    """Devices that count wrongly are understood all the same."""
    assert (
        command.decode(ECHO)["message_id"] == command.decode(ECHO[:8] + b"\xff\xff\xff\xff" + ECHO[12:])["message_id"]
    )


def test_padding_is_taken_off() -> None:
    """Trailing NUL and spaces go, for a UID padded with a space too."""
    raw = element(0x0002, b"1.2 ") + element(0x0600, b"  READER1   ") + element(0x1000, b"1.2.3\0")

    assert command.decode(raw) == {
        "affected_sop_class_uid": "1.2",
        "move_destination": "READER1",
        "affected_sop_instance_uid": "1.2.3",
    }


def test_control_characters_never_travel_on() -> None:
    """A title that would forge a log line comes out harmless (D25)."""
    value = command.decode(element(0x0600, b'A\r\n{"a":\x1b[31m\xe9'))["move_destination"]

    assert value == 'A??{"a":?[31m?'


def test_retired_and_unknown_elements_are_passed_over() -> None:
    """Length to End (0000,0001) and what we do not know change nothing."""
    raw = element(0x0001, b"\0\0\0\0") + element(0x0110, b"\x05\0") + element(0x5110, b"xx")

    assert command.decode(raw) == {"message_id": 5}


def test_an_empty_element_is_absent() -> None:
    """An element without a value is as good as none."""
    assert command.decode(element(0x0110, b"") + element(0x0002, b"")) == {}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (ECHO[:-1], "2 bytes, 1 are left"),
        (ECHO[:5], "inside an element header"),
        (element(0x0110, b"\1\0", group=8), "group 0008"),
        (element(0x0110, b"\1\0") * 2, "twice"),
        (element(0x0110, b"\1\0\0\0"), "instead of 2"),
        (element(0x0000, b"\1\0"), "instead of 4"),
        (element(0x0901, b"\1\0\0"), "multiple of 4"),
        (element(0x0002, b"", length=0xFFFFFFFF), "4294967295"),
        (b"\0" * (command.MAX_COMMAND_LENGTH + 1), "the limit is 65536"),
    ],
)
def test_what_is_broken_is_the_peers_fault(raw: bytes, says: str) -> None:
    """Broken bytes raise RemoteProtocolError and the sentence carries the number."""
    with pytest.raises(RemoteProtocolError, match=says):
        command.decode(raw)


@given(st.binary(max_size=400))
def test_any_bytes_give_fields_or_a_protocol_error(raw: bytes) -> None:
    """Whatever comes in, nothing but RemoteProtocolError comes out (I6)."""
    try:
        values = command.decode(raw)
    except RemoteProtocolError:
        return
    assert all(isinstance(value, int | str | tuple) for value in values.values())


@given(st.integers(0, len(ECHO)), st.binary(min_size=1, max_size=4))
def test_any_change_of_a_true_one_gives_fields_or_a_protocol_error(at: int, patch: bytes) -> None:
    """Bytes patched into a true command set never leak another exception."""
    try:
        command.decode(ECHO[:at] + patch + ECHO[at + len(patch) :])
    except RemoteProtocolError:
        return


@pytest.mark.parametrize(
    "pair",
    [(0x0110, 0x10000), (0x0110, -1), (0x0110, "7"), (0x0002, "1" * 65), (0x0902, "a\nb"), (0x0901, 7), (0x0110, (1,))],
)
def test_a_value_that_does_not_fit_is_our_fault(pair: tuple[int, command.Value]) -> None:
    """We never send what a receiver would have to guess at."""
    with pytest.raises(LocalProtocolError):
        command.encode([pair])


def test_elements_must_ascend() -> None:
    """PS3.7 §6.3.1: the elements of a command set ascend."""
    with pytest.raises(LocalProtocolError, match="out of order"):
        command.encode([(0x0110, 1), (0x0100, 1)])
