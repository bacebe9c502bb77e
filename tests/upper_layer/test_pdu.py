"""PDUs as bytes: what goes out comes back, and nothing but RemoteProtocolError comes of bad bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import LocalProtocolError, RemoteProtocolError
from strongroom.upper_layer import (
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsyncOperationsWindow,
    ContextResult,
    PduError,
    PduTooLarge,
    PresentationContext,
    PresentationResult,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    SopClassCommonExtended,
    SopClassExtended,
    UserIdentity,
)
from strongroom.upper_layer.pdu import MAX_ASSOCIATE_LENGTH, PData, decode, decode_values, encode, encode_data
from wire import a_request

LIMIT = 131_072

uids = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){0,9}", fullmatch=True)
ae_titles = st.from_regex(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", fullmatch=True)
names = st.from_regex(r"[!-\[\]-~]{0,16}", fullmatch=True)
some_bytes = st.binary(max_size=40)
numbers = st.integers(0, 0xFFFF_FFFF)
windows = st.none() | st.builds(AsyncOperationsWindow, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
roles = st.lists(st.builds(RoleSelection, uids, st.booleans(), st.booleans()), max_size=4).map(tuple)
extended = st.lists(st.builds(SopClassExtended, uids, some_bytes), max_size=4).map(tuple)
related = st.lists(uids, max_size=3).map(tuple)
common = st.lists(st.builds(SopClassCommonExtended, uids, uids, related, st.integers(0, 255)), max_size=4).map(tuple)
identities = st.builds(UserIdentity, st.integers(0, 255), some_bytes, some_bytes, st.booleans())
ids = st.lists(st.integers(0, 127).map(lambda number: 2 * number + 1), min_size=1, max_size=9, unique=True)
short_lists = st.lists(uids, min_size=1, max_size=4).map(tuple)


@st.composite
def requests(draw):
    """Any request the standard allows us to send."""
    contexts = tuple(PresentationContext(number, draw(uids), draw(short_lists)) for number in draw(ids))
    return AssociateRequest(
        called_ae_title=draw(ae_titles),
        calling_ae_title=draw(ae_titles),
        presentation_contexts=contexts,
        implementation_class_uid=draw(uids),
        implementation_version_name=draw(names),
        max_pdu_length=draw(numbers),
        application_context=draw(uids),
        async_window=draw(windows),
        role_selections=draw(roles),
        sop_class_extended=draw(extended),
        sop_class_common_extended=draw(common),
        user_identity=draw(st.none() | identities),
    )


@st.composite
def accepts(draw):
    """Any answer the standard allows us to send."""
    results = tuple(
        PresentationResult(number, result, draw(uids) if result is ContextResult.ACCEPTANCE else "")
        for number, result in [(number, draw(st.sampled_from(ContextResult))) for number in draw(ids)]
    )
    return AssociateAccept(
        called_ae_title=draw(ae_titles),
        calling_ae_title=draw(ae_titles),
        presentation_contexts=results,
        implementation_class_uid=draw(uids),
        implementation_version_name=draw(names),
        max_pdu_length=draw(numbers),
        application_context=draw(uids),
        async_window=draw(windows),
        role_selections=draw(roles),
        sop_class_extended=draw(extended),
        user_identity_response=draw(st.none() | some_bytes),
    )


bytes_of_one = st.integers(0, 255)
primitives = st.one_of(
    requests(),
    accepts(),
    st.builds(AssociateReject, bytes_of_one, bytes_of_one, bytes_of_one),
    st.just(ReleaseRequest()),
    st.just(ReleaseResponse()),
    st.builds(Abort, bytes_of_one, bytes_of_one),
)


@given(primitives, some_bytes)
def test_every_primitive_survives_the_wire(primitive, behind):
    """Encoding and decoding gives an equal primitive and takes its own bytes only."""
    encoded = encode(primitive)

    assert decode(encoded + behind, limit=LIMIT) == (primitive, len(encoded))


@given(primitives, st.data())
def test_part_of_a_pdu_is_not_yet_a_pdu(primitive, data):
    """Any true beginning of a PDU means "more", never an error."""
    encoded = encode(primitive)
    cut = data.draw(st.integers(0, len(encoded) - 1))

    assert decode(encoded[:cut], limit=LIMIT) is None


@given(primitives, st.data())
def test_a_damaged_pdu_gives_a_pdu_or_a_protocol_error(primitive, data):
    """Bytes changed, cut out or put in lead to a PDU, "more", or RemoteProtocolError (I6)."""
    damaged = bytearray(encode(primitive))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 3))
        damaged[position : position + length] = data.draw(st.binary(max_size=3))
        if not damaged:
            return

    with contextlib.suppress(RemoteProtocolError):
        decode(damaged, limit=LIMIT)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_pdu_or_a_protocol_error(data):
    """Arbitrary bytes, also as the body of every PDU type, lead to nothing else either (I6)."""
    for pdu_type in range(9):
        with contextlib.suppress(RemoteProtocolError):
            decode(struct.pack(">BxI", pdu_type, len(data)) + data, limit=LIMIT)
    with contextlib.suppress(RemoteProtocolError):
        decode(data, limit=LIMIT)


@given(st.binary(max_size=2000), st.integers(8, 400), st.booleans(), st.booleans())
def test_data_survives_the_wire(data, max_pdu_length, is_command, is_last):
    """A message of any length comes back whole, in PDUs within the limit, the last flag on the last one only."""
    wire = b"".join(encode_data(3, data, is_command=is_command, is_last=is_last, max_pdu_length=max_pdu_length))
    values = []
    while wire:
        received, taken = decode(wire, limit=max_pdu_length)
        assert isinstance(received, PData)
        values += received.values
        wire = wire[taken:]

    assert b"".join(value.data for value in values) == data
    assert {(value.context_id, value.is_command) for value in values} == {(3, is_command)}
    assert [value.is_last for value in values] == [False] * (len(values) - 1) + [is_last]
    assert all(len(value.data) % 2 == 0 for value in values[:-1])


def test_large_data_is_not_copied_on_the_way_out():
    """The payload buffers are views of what was given, whatever its type."""
    data = bytearray(300_000)
    buffers = encode_data(1, data, is_command=False, is_last=True, max_pdu_length=LIMIT)

    assert [len(buffer) for buffer in buffers] == [12, 131_066, 12, 131_066, 12, 37_868]
    assert all(buffer.obj is data for buffer in buffers[1::2])


def test_an_answer_is_one_buffer():
    """A command set goes out in one piece, so that one write carries it."""
    assert len(encode_data(1, bytes(150), is_command=True, is_last=True, max_pdu_length=LIMIT)) == 1


@pytest.mark.parametrize("length", [LIMIT + 1, 0xFFFF_FFFF])
@pytest.mark.parametrize("pdu_type", [1, 2, 4])
def test_a_long_pdu_is_refused_by_its_header(pdu_type, length):
    """Six bytes are enough to refuse what is longer than announced or allowed; the error carries both numbers (T13)."""
    with pytest.raises(PduTooLarge) as caught:
        decode(struct.pack(">BxI", pdu_type, length), limit=LIMIT)

    assert (caught.value.pdu_length, caught.value.max_pdu_length) == (length, LIMIT)


@pytest.mark.parametrize(
    ("pdu_type", "length", "reason"),
    [
        (0, 4, AbortReason.UNRECOGNIZED_PDU),
        (8, 4, AbortReason.UNRECOGNIZED_PDU),
        (255, 0, AbortReason.UNRECOGNIZED_PDU),
        (1, 67, AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (3, 5, AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (4, 0, AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (4, 5, AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (5, 3, AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (7, 0, AbortReason.INVALID_PDU_PARAMETER_VALUE),
    ],
)
def test_an_impossible_header_is_refused(pdu_type, length, reason):
    """Unknown types and lengths a PDU cannot have are refused with the standard's reason."""
    with pytest.raises(PduError) as caught:
        decode(struct.pack(">BxI", pdu_type, length), limit=LIMIT)

    assert caught.value.reason is reason


@pytest.mark.parametrize("length", [0, 1, 5, 0xFFFF, 0xFFFF_FFFF])
def test_a_pdv_that_does_not_fit_is_refused(length):
    """A PDV length of 0, 1 or more than the PDU holds ends the association (D01)."""
    body = struct.pack(">IBB", length, 1, 0) + b"ab"

    with pytest.raises(PduError, match="PDV item length"):
        decode_values(memoryview(body))


def test_bytes_behind_the_last_pdv_are_refused():
    """A PDU ends where its last PDV ends."""
    body = struct.pack(">IBB", 4, 1, 0) + b"ab" + b"\0\0\0"

    with pytest.raises(PduError):
        decode_values(memoryview(body))


def test_a_pdv_for_a_context_nobody_accepted_is_refused():
    """The context id is checked against those agreed on (D01)."""
    body = struct.pack(">IBB", 4, 5, 0) + b"ab"

    with pytest.raises(PduError, match="context 5"):
        decode_values(memoryview(body), {1, 3})


@pytest.mark.parametrize(
    "changes",
    [
        {"called_ae_title": ""},
        {"called_ae_title": "   "},
        {"called_ae_title": "SEVENTEEN_LETTERS"},
        {"calling_ae_title": "A\\B"},
        {"calling_ae_title": "MÜNCHEN"},
        {"calling_ae_title": "A\n"},
        {"implementation_class_uid": ""},
        {"application_context": "1.2.x"},
        {"presentation_contexts": ()},
        {"presentation_contexts": (PresentationContext(2, "1.2", ("1.2",)),)},
        {"presentation_contexts": (PresentationContext(257, "1.2", ("1.2",)),)},
        {"presentation_contexts": (PresentationContext(1, "1.2", ("1.2",)),) * 2},
        {"presentation_contexts": (PresentationContext(1, "1.2", ()),)},
        {"presentation_contexts": (PresentationContext(1, "", ("1.2",)),)},
        {"user_identity": UserIdentity(3, bytes(65_536))},
        {"user_identity": UserIdentity(300, b"")},
        {"sop_class_extended": (SopClassExtended("1.2", bytes(60_000)),) * 3},
        {"max_pdu_length": -1},
        {"max_pdu_length": 1 << 32},
        {"async_window": AsyncOperationsWindow(65_536, 1)},
        {"implementation_version_name": "Ü"},
        {"implementation_version_name": "SEVENTEEN_LETTERS"},
    ],
)
def test_we_do_not_send_what_the_standard_forbids(changes):
    """A primitive that cannot be said correctly is our mistake, found before a byte goes out."""
    with pytest.raises(LocalProtocolError):
        encode(a_request(**changes))


def test_the_largest_honest_request_fits():
    """128 contexts with 15 transfer syntaxes of full length are within the limit of 128 KiB."""
    uid = "1.2.840.10008.5.1.4.1.1.481.1"
    contexts = tuple(PresentationContext(2 * n + 1, uid, (uid,) * 15) for n in range(128))
    encoded = encode(dataclasses.replace(a_request(), presentation_contexts=contexts))

    assert len(encoded) <= MAX_ASSOCIATE_LENGTH
    assert len(decode(encoded, limit=LIMIT)[0].presentation_contexts) == 128


@pytest.mark.parametrize("primitive", [Abort(256, 0), AssociateReject(-1, 1, 1)])
def test_a_code_of_more_than_a_byte_is_our_mistake(primitive):
    """Reject and abort codes are single bytes."""
    with pytest.raises(LocalProtocolError):
        encode(primitive)
