"""
The variable part of A-ASSOCIATE-RQ and -AC: items and sub-items (PS3.8 §9.3.2, §9.3.3, annex D; PS3.7 annex D.3.3).

Unknown items are skipped, as PS3.8 §9.3.1 demands; a mandatory item missing, an item twice that may stand once, or a
length that does not fit is refused. Text is sanitised here, once: what leaves this module is printable and safe to
show.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, TypeVar, final

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer.events import (
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsyncOperationsWindow,
    ContextResult,
    PresentationContext,
    PresentationResult,
    RejectResult,
    RejectSource,
    RoleSelection,
    SopClassCommonExtended,
    SopClassExtended,
    UserIdentity,
)
from strongroom.upper_layer.faults import AssociationRefused, PduError

_FIXED: Final = struct.Struct(">H2x16s16s32x")  # protocol version, called and calling AE title (tables 9-11, 9-17)
_ITEM: Final = struct.Struct(">BBH")
_SHORT: Final = struct.Struct(">H")
_LONG: Final = struct.Struct(">I")

_VERSION_1: Final = 1  # bit 0 (PS3.8 table 9-11)
_MAX_ITEMS: Final = 1024  # 128 contexts with two negotiation items each, three times over
_MAX_TRANSFER_SYNTAXES: Final = 128  # the standard has about 60; 200 are nobody's honest proposal (SECURITY T16)
_MAX_LENGTH_UNSAID: Final = 16_384  # the sub-item is mandatory; who leaves it out gets what old toolkits announce

_UID: Final = re.compile(rb"[0-9.]{1,64}")
_PRINTABLE: Final = re.compile(
    rb"[ -\[\]-~]{1,16}"
)  # ISO 646 without control characters and backslash (PS3.5 table 6.2-1)
_SAFE: Final = bytes(byte if 0x20 <= byte < 0x7F else 0x5C for byte in range(256))

_APPLICATION_CONTEXT: Final = 0x10
_CONTEXT_RQ: Final = 0x20
_CONTEXT_AC: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_MAX_LENGTH: Final = 0x51
_CLASS_UID: Final = 0x52
_ASYNC_WINDOW: Final = 0x53
_ROLE: Final = 0x54
_VERSION_NAME: Final = 0x55
_EXTENDED: Final = 0x56
_COMMON_EXTENDED: Final = 0x57
_IDENTITY_RQ: Final = 0x58
_IDENTITY_AC: Final = 0x59

_ONCE: Final = frozenset({_MAX_LENGTH, _CLASS_UID, _ASYNC_WINDOW, _VERSION_NAME, _IDENTITY_RQ, _IDENTITY_AC})


# ------------------------------------------------------------------------------------------------------------- decoding
def decode_request(body: bytes) -> AssociateRequest:
    """
    Decode the body of an A-ASSOCIATE-RQ PDU, at least 68 bytes (PS3.8 §9.3.2).

    Raises PduError, or AssociationRefused for a protocol version that is not ours; nothing else.
    """
    version, called, calling = _FIXED.unpack_from(body)
    if not version & _VERSION_1:
        raise AssociationRefused(
            f"protocol version {version:#06x}",
            AssociateReject(RejectResult.PERMANENT, RejectSource.SERVICE_PROVIDER_ACSE, 2),
        )
    uids: dict[bytes, str] = {}
    application_context, contexts, user = _split(body, _CONTEXT_RQ, uids)
    return AssociateRequest(
        called_ae_title=_text(called),
        calling_ae_title=_text(calling),
        presentation_contexts=_unique([_proposed_context(value, uids) for value in contexts]),
        implementation_class_uid=user.implementation_class_uid,
        implementation_version_name=user.implementation_version_name,
        max_pdu_length=user.max_pdu_length,
        application_context=application_context,
        async_window=user.async_window,
        role_selections=tuple(user.roles),
        sop_class_extended=tuple(user.extended),
        sop_class_common_extended=tuple(user.common_extended),
        user_identity=user.identity,
    )


def decode_accept(body: bytes) -> AssociateAccept:
    """Decode the body of an A-ASSOCIATE-AC PDU, at least 68 bytes (PS3.8 §9.3.3); raises PduError and nothing else."""
    version, called, calling = _FIXED.unpack_from(body)
    if not version & _VERSION_1:
        raise _invalid(f"protocol version {version:#06x} in an A-ASSOCIATE-AC PDU")
    uids: dict[bytes, str] = {}
    application_context, contexts, user = _split(body, _CONTEXT_AC, uids)
    return AssociateAccept(
        called_ae_title=_text(called),
        calling_ae_title=_text(calling),
        presentation_contexts=_unique([_answered_context(value, uids) for value in contexts]),
        implementation_class_uid=user.implementation_class_uid,
        implementation_version_name=user.implementation_version_name,
        max_pdu_length=user.max_pdu_length,
        application_context=application_context,
        async_window=user.async_window,
        role_selections=tuple(user.roles),
        sop_class_extended=tuple(user.extended),
        user_identity_response=user.identity_response,
    )


def _split(body: bytes, context_type: int, uids: dict[bytes, str]) -> tuple[str, list[bytes], _UserInformation]:
    """Sort the items of an A-ASSOCIATE PDU: one application context, presentation contexts, one user information."""
    application_context: str | None = None
    contexts: list[bytes] = []
    user: _UserInformation | None = None
    for item_type, _, value in _items(body, _FIXED.size):
        if item_type == context_type:
            contexts.append(value)
        elif item_type == _APPLICATION_CONTEXT:
            if application_context is not None:
                raise _invalid("a second application context item")
            application_context = _uid(value, uids)
        elif item_type == _USER_INFORMATION:
            if user is not None:
                raise _invalid("a second user information item")
            user = _UserInformation(value, uids)
    if application_context is None or user is None or not contexts:
        raise _invalid("an application context, a presentation context or the user information is missing")
    return application_context, contexts, user


_Context = TypeVar("_Context", PresentationContext, PresentationResult)


def _unique(contexts: list[_Context]) -> tuple[_Context, ...]:
    """Ids are odd and stand once (PS3.8 §9.3.2.2), which also makes 128 the most there can be."""
    ids = {context.id for context in contexts}
    if len(ids) != len(contexts) or any(number % 2 == 0 for number in ids):
        raise _invalid(f"{len(contexts)} presentation contexts with even or repeated ids")
    return tuple(contexts)


def _proposed_context(value: bytes, uids: dict[bytes, str]) -> PresentationContext:
    if len(value) < 4:
        raise _invalid(f"a presentation context item of {len(value)} bytes")
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    for item_type, _, uid in _items(value, 4):
        if item_type == _ABSTRACT_SYNTAX:
            abstract_syntaxes.append(_uid(uid, uids))
        elif item_type == _TRANSFER_SYNTAX:
            transfer_syntaxes.append(_uid(uid, uids))
    if len(abstract_syntaxes) != 1 or not 1 <= len(transfer_syntaxes) <= _MAX_TRANSFER_SYNTAXES:
        raise _invalid(
            f"presentation context {value[0]} with {len(abstract_syntaxes)} abstract and "
            f"{len(transfer_syntaxes)} transfer syntaxes"
        )
    return PresentationContext(value[0], abstract_syntaxes[0], tuple(transfer_syntaxes))


def _answered_context(value: bytes, uids: dict[bytes, str]) -> PresentationResult:
    if len(value) < 4:
        raise _invalid(f"a presentation context item of {len(value)} bytes")
    try:
        result = ContextResult(value[2])
    except ValueError:
        raise _invalid(f"presentation context {value[0]} with result {value[2]}") from None
    if result is not ContextResult.ACCEPTANCE:  # the sub-item is not significant then; some peers leave it empty
        return PresentationResult(value[0], result)
    transfer_syntaxes = [_uid(uid, uids) for item_type, _, uid in _items(value, 4) if item_type == _TRANSFER_SYNTAX]
    if len(transfer_syntaxes) != 1:
        raise _invalid(f"presentation context {value[0]} accepted with {len(transfer_syntaxes)} transfer syntaxes")
    return PresentationResult(value[0], result, transfer_syntaxes[0])


@final
class _UserInformation:
    """The sub-items of the user information item (PS3.8 annex D, PS3.7 D.3.3)."""

    __slots__ = (
        "async_window",
        "common_extended",
        "extended",
        "identity",
        "identity_response",
        "implementation_class_uid",
        "implementation_version_name",
        "max_pdu_length",
        "roles",
    )

    def __init__(self, value: bytes, uids: dict[bytes, str]) -> None:
        self.max_pdu_length = _MAX_LENGTH_UNSAID
        self.implementation_class_uid = ""
        self.implementation_version_name = ""
        self.async_window: AsyncOperationsWindow | None = None
        self.roles: list[RoleSelection] = []
        self.extended: list[SopClassExtended] = []
        self.common_extended: list[SopClassCommonExtended] = []
        self.identity: UserIdentity | None = None
        self.identity_response: bytes | None = None
        seen: set[int] = set()
        for item_type, version, part in _items(value, 0):
            if item_type in _ONCE:
                if item_type in seen:
                    raise _invalid(f"a second user information sub-item {item_type:#04x}")
                seen.add(item_type)
            self._take(item_type, version, part, uids)

    def _take(self, item_type: int, version: int, value: bytes, uids: dict[bytes, str]) -> None:
        match item_type:
            case 0x51:
                (self.max_pdu_length,) = _LONG.unpack(_exactly(value, 4))
            case 0x52:
                self.implementation_class_uid = _text(value)
            case 0x53:
                _exactly(value, 4)
                self.async_window = AsyncOperationsWindow(int.from_bytes(value[:2]), int.from_bytes(value[2:]))
            case 0x54:
                uid, position = _prefixed(value, 0)
                scu, scp = _exactly(value[position:], 2)
                self.roles.append(RoleSelection(_uid(uid, uids), scu != 0, scp != 0))
            case 0x55:
                self.implementation_version_name = _text(value)
            case 0x56:
                uid, position = _prefixed(value, 0)
                self.extended.append(SopClassExtended(_uid(uid, uids), value[position:]))
            case 0x57:
                self.common_extended.append(_common_extended(value, version, uids))
            case 0x58:
                self.identity = _identity(value)
            case 0x59:
                self.identity_response, position = _prefixed(value, 0)
                _exactly(value[position:], 0)


def _common_extended(value: bytes, version: int, uids: dict[bytes, str]) -> SopClassCommonExtended:
    sop_class, position = _prefixed(value, 0)
    service_class, position = _prefixed(value, position)
    related, position = _prefixed(value, position)  # fields added by a later version may follow (PS3.7 D.3.3.6)
    related_uids: list[str] = []
    inner = 0
    while inner < len(related):
        uid, inner = _prefixed(related, inner)
        related_uids.append(_uid(uid, uids))
    return SopClassCommonExtended(_uid(sop_class, uids), _uid(service_class, uids), tuple(related_uids), version)


def _identity(value: bytes) -> UserIdentity:
    if len(value) < 6:
        raise _invalid(f"a user identity sub-item of {len(value)} bytes")
    primary, position = _prefixed(value, 2)
    secondary, position = _prefixed(value, position)
    _exactly(value[position:], 0)
    return UserIdentity(value[0], primary, secondary, value[1] != 0)


def _items(data: bytes, position: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, second byte and value of each item from *position* to the end."""
    stop = len(data)
    count = 0
    while position < stop:
        if stop - position < _ITEM.size:
            raise _invalid(f"{stop - position} bytes where an item header should be")
        item_type, second, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if length > stop - position:
            raise _invalid(f"item {item_type:#04x} of {length} bytes with {stop - position} bytes left")
        count += 1
        if count > _MAX_ITEMS:
            raise _invalid(f"more than {_MAX_ITEMS} items")
        yield item_type, second, data[position : position + length]
        position += length


def _prefixed(data: bytes, position: int) -> tuple[bytes, int]:
    """Read a two-byte length and as many bytes; return them and the position behind."""
    if len(data) - position < _SHORT.size:
        raise _invalid(f"{len(data) - position} bytes where a length should be")
    (length,) = _SHORT.unpack_from(data, position)
    start = position + _SHORT.size
    if length > len(data) - start:
        raise _invalid(f"a field of {length} bytes with {len(data) - start} bytes left")
    return data[start : start + length], start + length


def _exactly(value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise _invalid(f"{len(value)} bytes where {length} belong")
    return value


def _uid(raw: bytes, uids: dict[bytes, str]) -> str:
    """
    Decode a UID, padded or not; *uids* makes equal ones one object.

    Leading zeros, which PS3.5 §9.1 forbids, pass: devices send them, and such a UID merely matches nothing we know.
    """
    uid = uids.get(raw)
    if uid is None:
        stripped = raw.strip(b"\0 ")
        if _UID.fullmatch(stripped) is None:
            raise _invalid(f"{len(raw)} bytes that are no UID")
        uid = uids[raw] = stripped.decode("ascii")
    return uid


def _text(raw: bytes) -> str:
    """Decode text for people: stripped, at most 64 characters, and whatever is not printable ISO 646 as a backslash."""
    return raw.strip(b"\0 ")[:64].translate(_SAFE).decode("ascii")


def _invalid(message: str) -> PduError:
    return PduError(message, AbortReason.INVALID_PDU_PARAMETER_VALUE)


# ------------------------------------------------------------------------------------------------------------- encoding
def encode_request(request: AssociateRequest) -> bytes:
    """
    Encode the body of an A-ASSOCIATE-RQ PDU; raises LocalProtocolError for what the standard does not allow us to
    say.
    """
    contexts = request.presentation_contexts
    _check_ids([context.id for context in contexts])
    parts = [
        _FIXED.pack(_VERSION_1, _ae_title(request.called_ae_title), _ae_title(request.calling_ae_title)),
        _item(_APPLICATION_CONTEXT, _uid_bytes(request.application_context)),
    ]
    for context in contexts:
        if not 1 <= len(context.transfer_syntaxes) <= _MAX_TRANSFER_SYNTAXES:
            raise LocalProtocolError(f"context {context.id} with {len(context.transfer_syntaxes)} transfer syntaxes")
        value = bytes((context.id, 0, 0, 0)) + _item(_ABSTRACT_SYNTAX, _uid_bytes(context.abstract_syntax))
        value += b"".join(_item(_TRANSFER_SYNTAX, _uid_bytes(uid)) for uid in context.transfer_syntaxes)
        parts.append(_item(_CONTEXT_RQ, value))
    user = _common_user_information(request)
    user += [_common_extended_item(item) for item in request.sop_class_common_extended]
    identity = request.user_identity
    if identity is not None:
        user.append(
            _item(
                _IDENTITY_RQ,
                _number(identity.type, 1)
                + bytes((identity.positive_response_requested,))
                + _with_length(identity.primary)
                + _with_length(identity.secondary),
            )
        )
    parts.append(_item(_USER_INFORMATION, b"".join(user)))
    return b"".join(parts)


def encode_accept(accept: AssociateAccept) -> bytes:
    """
    Encode the body of an A-ASSOCIATE-AC PDU; raises LocalProtocolError for what the standard does not allow us to
    say.
    """
    contexts = accept.presentation_contexts
    _check_ids([context.id for context in contexts])
    parts = [
        _FIXED.pack(_VERSION_1, _echo(accept.called_ae_title), _echo(accept.calling_ae_title)),
        _item(_APPLICATION_CONTEXT, _uid_bytes(accept.application_context)),
    ]
    for context in contexts:
        # Not significant in a refusal, but older peers crash on an absent sub-item: send it, empty if need be.
        accepted = context.result is ContextResult.ACCEPTANCE
        uid = _uid_bytes(context.transfer_syntax) if accepted or context.transfer_syntax else b""
        parts.append(_item(_CONTEXT_AC, bytes((context.id, 0, context.result, 0)) + _item(_TRANSFER_SYNTAX, uid)))
    user = _common_user_information(accept)
    if accept.user_identity_response is not None:
        user.append(_item(_IDENTITY_AC, _with_length(accept.user_identity_response)))
    parts.append(_item(_USER_INFORMATION, b"".join(user)))
    return b"".join(parts)


def _common_user_information(primitive: AssociateRequest | AssociateAccept) -> list[bytes]:
    """Encode the sub-items 51 to 56, which look the same in both directions, in ascending order."""
    parts = [
        _item(_MAX_LENGTH, _number(primitive.max_pdu_length, 4)),
        _item(_CLASS_UID, _uid_bytes(primitive.implementation_class_uid)),
    ]
    window = primitive.async_window
    if window is not None:
        parts.append(_item(_ASYNC_WINDOW, _number(window.invoked, 2) + _number(window.performed, 2)))
    parts += [
        _item(_ROLE, _with_length(_uid_bytes(role.sop_class_uid)) + bytes((role.scu, role.scp)))
        for role in primitive.role_selections
    ]
    if primitive.implementation_version_name:
        parts.append(_item(_VERSION_NAME, _sixteen(primitive.implementation_version_name, "a version name")))
    return parts + [
        _item(_EXTENDED, _with_length(_uid_bytes(item.sop_class_uid)) + item.application_information)
        for item in primitive.sop_class_extended
    ]


def _common_extended_item(item: SopClassCommonExtended) -> bytes:
    related = b"".join(_with_length(_uid_bytes(uid)) for uid in item.related_general_sop_class_uids)
    value = _with_length(_uid_bytes(item.sop_class_uid)) + _with_length(_uid_bytes(item.service_class_uid))
    return _item(_COMMON_EXTENDED, value + _with_length(related), item.version)


def _item(item_type: int, value: bytes, second: int = 0) -> bytes:
    return _ITEM.pack(item_type, second, _checked_length(value)) + value


def _with_length(value: bytes) -> bytes:
    return _SHORT.pack(_checked_length(value)) + value


def _checked_length(value: bytes) -> int:
    if len(value) > 0xFFFF:
        raise LocalProtocolError(f"{len(value)} bytes do not fit a two-byte length")
    return len(value)


def _check_ids(ids: list[int]) -> None:
    if not ids or len(set(ids)) != len(ids) or any(number % 2 == 0 or not 0 < number < 256 for number in ids):
        raise LocalProtocolError(f"{len(ids)} presentation contexts; ids have to be odd, unique and at most 255")


def _uid_bytes(uid: str) -> bytes:
    raw = uid.encode("ascii", "replace")
    if _UID.fullmatch(raw) is None:
        raise LocalProtocolError(f"{len(uid)} characters that are no UID")
    return raw


def _ae_title(title: str) -> bytes:
    return _sixteen(title, "an AE title").ljust(16)


def _sixteen(text: str, what: str) -> bytes:
    raw = text.encode("ascii", "backslashreplace")
    if _PRINTABLE.fullmatch(raw) is None or not raw.strip():
        raise LocalProtocolError(f"{what} is 1 to 16 characters of ISO 646, without backslash")
    return raw


def _number(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size)
    except OverflowError:
        raise LocalProtocolError(f"{value} does not fit {size} bytes") from None


def _echo(title: str) -> bytes:
    """Send an AE title back; nobody tests it (PS3.8 table 9-17), so a strange one must not make us fail."""
    return title.encode("ascii", "replace")[:16].ljust(16)
