"""A-ASSOCIATE as it really arrives: malformed (SECURITY T16), hostile, or merely sloppy."""

from __future__ import annotations

import struct

import pytest

from strongroom.errors import RemoteProtocolError
from strongroom.upper_layer import (
    AbortReason,
    AssociationRefused,
    AsyncOperationsWindow,
    ContextResult,
    PduError,
    RoleSelection,
    SopClassCommonExtended,
    SopClassExtended,
    UserIdentity,
    UserIdentityType,
)
from strongroom.upper_layer.items import decode_accept, decode_request
from wire import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT

APPLICATION = b"1.2.840.10008.3.1.1.1"


def item(item_type: int, value: bytes = b"", *, declared: int | None = None, second: int = 0) -> bytes:
    """Return an item whose length may lie."""
    return struct.pack(">BBH", item_type, second, len(value) if declared is None else declared) + value


def prefixed(value: bytes, *, declared: int | None = None) -> bytes:
    """Return a field with a two-byte length that may lie."""
    return struct.pack(">H", len(value) if declared is None else declared) + value


def context(number: int = 1, abstract: bytes = CT_IMAGE_STORAGE.encode(), transfer: tuple[bytes, ...] = ()) -> bytes:
    """Return a presentation context item of a request."""
    transfer = transfer or (EXPLICIT.encode(),)
    return item(0x20, bytes((number, 0, 0, 0)) + item(0x30, abstract) + b"".join(item(0x40, uid) for uid in transfer))


def user(*sub_items: bytes) -> bytes:
    """Return a user information item with a maximum length and *sub_items*."""
    return item(0x50, item(0x51, struct.pack(">I", 16_384)) + b"".join(sub_items))


def body(*parts: bytes, version: int = 1, called: bytes = b"STRONGROOM", calling: bytes = b"CT1") -> bytes:
    """Return the body of an A-ASSOCIATE PDU."""
    return struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16)) + b"".join(parts)


def request(*sub_items: bytes, **fields: object) -> bytes:
    """Return the body of a correct request with *sub_items* in its user information."""
    return body(item(0x10, APPLICATION), context(), user(*sub_items), **fields)


MALFORMED = {
    "nothing": body(),
    "no application context": body(context(), user()),
    "two application contexts": body(item(0x10, APPLICATION), item(0x10, APPLICATION), context(), user()),
    "no presentation context": body(item(0x10, APPLICATION), user()),
    "no user information": body(item(0x10, APPLICATION), context()),
    "two user informations": body(item(0x10, APPLICATION), context(), user(), user()),
    "context relabelled FF": body(item(0x10, APPLICATION), b"\xff" + context()[1:], user()),
    "user information relabelled FF": body(item(0x10, APPLICATION), context(), b"\xff" + user()[1:]),
    "application context relabelled FF": body(item(0xFF, APPLICATION), context(), user()),
    "half an item header": request() + b"\x20\x00",
    "item longer than the PDU": body(item(0x10, APPLICATION), context(), item(0x50, b"", declared=8)),
    "item of 64 KiB declared": body(item(0x10, APPLICATION, declared=0xFFFF), context(), user()),
    "sub-item longer than its item": body(
        item(0x10, APPLICATION), item(0x20, b"\1\0\0\0" + item(0x30, b"1.2", declared=9)), user()
    ),
    "context of three bytes": body(item(0x10, APPLICATION), item(0x20, b"\1\0\0"), user()),
    "context item empty": body(item(0x10, APPLICATION), item(0x20), user()),
    "context id 0": body(item(0x10, APPLICATION), context(0), user()),
    "context id even": body(item(0x10, APPLICATION), context(2), user()),
    "context id twice": body(item(0x10, APPLICATION), context(3), context(3), user()),
    "129 contexts": body(item(0x10, APPLICATION), *(context(2 * n % 256 | 1) for n in range(129)), user()),
    "no abstract syntax": body(item(0x10, APPLICATION), item(0x20, b"\1\0\0\0" + item(0x40, b"1.2")), user()),
    "two abstract syntaxes": body(
        item(0x10, APPLICATION), item(0x20, b"\1\0\0\0" + item(0x30, b"1.2") * 2 + item(0x40, b"1.2")), user()
    ),
    "no transfer syntax": body(item(0x10, APPLICATION), item(0x20, b"\1\0\0\0" + item(0x30, b"1.2")), user()),
    "200 transfer syntaxes": body(item(0x10, APPLICATION), context(transfer=(b"1.2.3",) * 200), user()),
    "empty abstract syntax": body(item(0x10, APPLICATION), context(abstract=b""), user()),
    "abstract syntax of 65 characters": body(item(0x10, APPLICATION), context(abstract=b"1." * 32 + b"1"), user()),
    "abstract syntax with a newline": body(item(0x10, APPLICATION), context(abstract=b"1.2\n3"), user()),
    "transfer syntax of letters": body(item(0x10, APPLICATION), context(transfer=(b"JPEG",)), user()),
    "maximum length of 3 bytes": body(item(0x10, APPLICATION), context(), item(0x50, item(0x51, b"\0\0\1"))),
    "maximum length twice": request(item(0x51, b"\0\0\x40\0")),
    "class UID twice": request(item(0x52, b"1.2"), item(0x52, b"1.2")),
    "window of 3 bytes": request(item(0x53, b"\0\1\0")),
    "role without flags": request(item(0x54, prefixed(b"1.2"))),
    "role with a lying length": request(item(0x54, prefixed(b"1.2", declared=40) + b"\1\0")),
    "role of one byte": request(item(0x54, b"\0")),
    "extended with a lying length": request(item(0x56, prefixed(b"1.2", declared=4))),
    "common extended cut": request(item(0x57, prefixed(b"1.2") + prefixed(b"1.3"))),
    "common extended, related cut": request(
        item(0x57, prefixed(b"1.2") + prefixed(b"1.3") + prefixed(prefixed(b"1.4", declared=9)))
    ),
    "identity of 5 bytes": request(item(0x58, b"\1\0\0\0\0")),
    "identity with a lying length": request(item(0x58, b"\1\0" + prefixed(b"me", declared=9) + prefixed(b""))),
    "identity with a tail": request(item(0x58, b"\1\0" + prefixed(b"me") + prefixed(b"") + b"x")),
    "identity twice": request(*[item(0x58, b"\1\0" + prefixed(b"me") + prefixed(b""))] * 2),
    "2,000 sub-items": request(*[item(0x99)] * 2000),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_an_invalid_parameter(data):
    """Every way to break a request is told to the peer as an invalid PDU parameter value."""
    with pytest.raises(PduError) as caught:
        decode_request(data)

    assert caught.value.reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_every_cut_of_a_full_request_is_refused_or_read():
    """A request cut anywhere after its fixed part never leads to anything but RemoteProtocolError."""
    whole = request(item(0x54, prefixed(b"1.2") + b"\1\1"), item(0x58, b"\1\0" + prefixed(b"me") + prefixed(b"")))
    for end in range(68, len(whole)):
        with pytest.raises(RemoteProtocolError):
            decode_request(whole[:end])


def test_another_protocol_version_is_rejected_not_aborted():
    """Bit 0 of the version unset means A-ASSOCIATE-RJ with the reason "protocol version not supported"."""
    with pytest.raises(AssociationRefused) as caught:
        decode_request(request(version=2))

    assert (caught.value.reject.result, caught.value.reject.source, caught.value.reject.reason) == (1, 2, 2)
    assert decode_request(request(version=3)).called_ae_title == "STRONGROOM"


def test_unknown_items_are_skipped():
    """Items of unrecognized types are ignored wherever they stand (PS3.8 §9.3.1)."""
    odd = item(0xFF, b"whatever")
    spiced = item(0x20, b"\1\0\0\0" + item(0x30, b"1.2") + odd + item(0x40, b"1.3"))
    received = decode_request(body(odd, item(0x10, APPLICATION), odd, spiced, user(odd), odd))

    assert [(c.id, c.abstract_syntax, c.transfer_syntaxes) for c in received.presentation_contexts] == [
        (1, "1.2", ("1.3",))
    ]


def test_padded_uids_and_titles_are_stripped():
    """NUL and space padding, common in old devices, is taken off."""
    data = body(
        item(0x10, APPLICATION + b"\0"),
        context(abstract=b"1.2\0", transfer=(b"1.3 ", b"1.4\0\0")),
        user(item(0x52, b"1.5\0"), item(0x55, b"OLD 1\0")),
        called=b"  ARCHIVE",
        calling=b"CT\0\0\0\0",
    )
    received = decode_request(data)

    assert (received.called_ae_title, received.calling_ae_title) == ("ARCHIVE", "CT")
    assert received.presentation_contexts[0].abstract_syntax == "1.2"
    assert received.presentation_contexts[0].transfer_syntaxes == ("1.3", "1.4")
    assert (received.implementation_class_uid, received.implementation_version_name) == ("1.5", "OLD 1")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"../../etc/x", "../../etc/x"),
        (b"A\nB\x1b[2J", "A\\B\\[2J"),
        (b"A\\B", "A\\B"),
        ("MÜNCHEN".encode("latin-1"), "M\\NCHEN"),
        (b"CT1\0evil", "CT1\\evil"),
        (b"", ""),
    ],
)
def test_titles_are_safe_to_show_and_equal_no_one_else(raw, shown):
    """What is not printable ISO 646 becomes a backslash, which no AE title may have."""
    assert decode_request(request(calling=raw)).calling_ae_title == shown


def test_a_request_without_the_user_information_it_should_have_is_read():
    """Missing sub-items are tolerated: no limit said counts as 16 KiB, names as empty."""
    received = decode_request(body(item(0x10, APPLICATION), context(), item(0x50)))

    assert (received.max_pdu_length, received.implementation_class_uid, received.user_identity) == (16_384, "", None)


def test_everything_a_requestor_may_negotiate_is_read():
    """Window, roles, both extended negotiations and the identity arrive as they were sent, in any order."""
    received = decode_request(
        request(
            item(0x58, b"\2\1" + prefixed(b"me") + prefixed(b"secret")),
            item(0x57, prefixed(b"1.2") + prefixed(b"1.3") + prefixed(prefixed(b"1.4") + prefixed(b"1.5")), second=7),
            item(0x57, prefixed(b"1.2") + prefixed(b"1.3") + prefixed(b"") + b"from a later version"),
            item(0x56, prefixed(b"1.2") + b"\1\1"),
            item(0x54, prefixed(b"1.2") + b"\0\1"),
            item(0x53, b"\0\5\0\0"),
        )
    )

    assert received.async_window == AsyncOperationsWindow(5, 0)
    assert received.role_selections == (RoleSelection("1.2", scu=False, scp=True),)
    assert received.sop_class_extended == (SopClassExtended("1.2", b"\1\1"),)
    assert received.sop_class_common_extended == (
        SopClassCommonExtended("1.2", "1.3", ("1.4", "1.5"), 7),
        SopClassCommonExtended("1.2", "1.3"),
    )
    assert received.user_identity == UserIdentity(
        UserIdentityType.USERNAME_AND_PASSCODE, b"me", b"secret", positive_response_requested=True
    )


@pytest.mark.parametrize("kind", [*UserIdentityType, 0, 6, 255])
def test_identities_of_every_type_are_read(kind):
    """Types 1 to 5 and unknown ones alike reach whoever decides; nothing is accepted or lost here (C11)."""
    received = decode_request(request(item(0x58, bytes((kind, 0)) + prefixed(b"x" * 5000) + prefixed(b""))))

    assert received.user_identity == UserIdentity(kind, b"x" * 5000)


def answered(number: int, result: int, *transfer: bytes) -> bytes:
    """Return a presentation context item of an answer."""
    return item(0x21, bytes((number, 0, result, 0)) + b"".join(item(0x40, uid) for uid in transfer))


@pytest.mark.parametrize("transfer", [(), (b"",), (IMPLICIT.encode(),), (b"\xff" * 9,)])
def test_the_transfer_syntax_of_a_refused_context_does_not_matter(transfer):
    """In a refusal the sub-item may be absent, empty or nonsense (PS3.8 §9.3.3.2)."""
    received = decode_accept(body(item(0x10, APPLICATION), answered(1, 3, *transfer), user()))

    assert received.presentation_contexts[0].result is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


@pytest.mark.parametrize(
    "parts",
    [
        (answered(1, 0), user()),
        (answered(1, 0, b"1.2", b"1.2"), user()),
        (answered(1, 0, b""), user()),
        (answered(1, 5, b"1.2"), user()),
        (answered(2, 0, b"1.2"), user()),
        (answered(1, 0, b"1.2"), answered(1, 0, b"1.2"), user()),
        (item(0x21, b"\1\0"), user()),
        (context(), user()),
        (answered(1, 0, b"1.2"),),
        (answered(1, 0, b"1.2"), user(item(0x59, b"\0"))),
        (answered(1, 0, b"1.2"), user(item(0x59, prefixed(b"a") + b"b"))),
    ],
)
def test_a_malformed_answer_is_refused(parts):
    """An answer that cannot be read is no acceptance."""
    with pytest.raises(PduError):
        decode_accept(body(item(0x10, APPLICATION), *parts))


def test_an_answer_in_another_protocol_version_is_refused():
    """There is only version 1 to answer in."""
    with pytest.raises(PduError):
        decode_accept(body(item(0x10, APPLICATION), answered(1, 0, b"1.2"), user(), version=2))
