"""
The seven PDUs as bytes: framing, P-DATA-TF and the four short ones (PS3.8 §9.3); the A-ASSOCIATE items live in
`items.py`.

Every length is checked before anything is read or allocated by it. Decoding raises `RemoteProtocolError` and nothing
else (invariant I6), encoding `LocalProtocolError`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer import items
from strongroom.upper_layer.events import (
    PDV,
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Primitive,
    ReleaseRequest,
    ReleaseResponse,
)
from strongroom.upper_layer.faults import PduError, PduTooLarge

HEADER: Final = struct.Struct(">BxI")
"""PDU type, reserved, length of what follows (PS3.8 §9.3.1)."""

_PDV: Final = struct.Struct(">IBB")
_DATA_HEADER: Final = struct.Struct(">BxIIBB")
_FOUR: Final = struct.Struct(">4B")

MAX_ASSOCIATE_LENGTH: Final = 131_072
"""The longest A-ASSOCIATE PDU we read or write (SECURITY C12): 128 contexts of 30 transfer syntaxes each fit."""

_MIN_ASSOCIATE_LENGTH: Final = 68  # the fixed fields of tables 9-11 and 9-17
_SHORT_LENGTH: Final = 4
_COPY_BELOW: Final = 4096  # one small buffer is cheaper to write than two; image data never comes here
_PDV_OVERHEAD: Final = 6  # item length, context id, control header (PS3.8 §9.3.5.1)


@final
class PduType(enum.IntEnum):
    """First byte of a PDU (PS3.8 §9.3.2 to §9.3.8)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


@final
@dataclass(frozen=True, slots=True)
class PData:
    """One P-DATA-TF PDU."""

    values: tuple[PDV, ...]


Pdu: TypeAlias = Primitive | PData
Buffer: TypeAlias = bytes | bytearray | memoryview


def check_header(pdu_type: int, length: int, *, limit: int, associate_limit: int = MAX_ASSOCIATE_LENGTH) -> None:
    """
    Refuse a PDU by its first six bytes alone: unknown type, or a length it cannot or may not have.

    *limit* is the largest P-DATA-TF length we announced. Raises PduError, or PduTooLarge with both numbers.
    """
    if pdu_type == PduType.P_DATA_TF:
        if length > limit:
            raise PduTooLarge(length, limit)
        if length < _PDV_OVERHEAD:
            raise PduError(f"a P-DATA-TF PDU of {length} bytes holds no PDV", AbortReason.INVALID_PDU_PARAMETER_VALUE)
    elif pdu_type in (PduType.ASSOCIATE_RQ, PduType.ASSOCIATE_AC):
        if length > associate_limit:
            raise PduTooLarge(length, associate_limit)
        if length < _MIN_ASSOCIATE_LENGTH:
            raise PduError(f"an A-ASSOCIATE PDU of {length} bytes", AbortReason.INVALID_PDU_PARAMETER_VALUE)
    elif PduType.ASSOCIATE_RJ <= pdu_type <= PduType.ABORT:
        if length != _SHORT_LENGTH:
            raise PduError(f"PDU type {pdu_type} with {length} bytes", AbortReason.INVALID_PDU_PARAMETER_VALUE)
    else:
        raise PduError(f"unknown PDU type {pdu_type}", AbortReason.UNRECOGNIZED_PDU)


def decode(data: Buffer, *, limit: int, associate_limit: int = MAX_ASSOCIATE_LENGTH) -> tuple[Pdu, int] | None:
    """
    Decode one PDU from the front of *data*.

    Returns the PDU and the number of bytes it took, or None when *data* does not hold all of it yet. *limit* is the
    largest P-DATA-TF length we announced (bytes after the 6-byte header, PS3.8 §9.3.1); it is checked before anything
    is allocated.

    Raises RemoteProtocolError on anything the standard forbids, and nothing else.
    """
    if len(data) < HEADER.size:
        return None
    pdu_type, length = HEADER.unpack_from(data)
    check_header(pdu_type, length, limit=limit, associate_limit=associate_limit)
    total = HEADER.size + length
    if len(data) < total:
        return None
    return decode_body(pdu_type, memoryview(data)[HEADER.size : total]), total


def decode_body(pdu_type: int, body: memoryview) -> Pdu:
    """Decode what follows a header that `check_header` let pass."""
    if pdu_type == PduType.P_DATA_TF:
        return PData(decode_values(body))
    if pdu_type == PduType.ASSOCIATE_RQ:
        return items.decode_request(bytes(body))
    if pdu_type == PduType.ASSOCIATE_AC:
        return items.decode_accept(bytes(body))
    _, first, second, third = _FOUR.unpack(body)
    if pdu_type == PduType.ASSOCIATE_RJ:
        return AssociateReject(first, second, third)
    if pdu_type == PduType.RELEASE_RQ:
        return ReleaseRequest()
    if pdu_type == PduType.RELEASE_RP:
        return ReleaseResponse()
    return Abort(second, third)


def decode_values(body: memoryview, contexts: Container[int] | None = None) -> tuple[PDV, ...]:
    """
    Cut the body of a P-DATA-TF PDU into PDVs, which are views into *body* (PS3.8 §9.3.5).

    Called once per PDU of every image, so it makes one object per PDV and copies nothing. With *contexts* a PDV for
    any other context is refused (SECURITY D01).
    """
    values: list[PDV] = []
    append = values.append
    unpack = _PDV.unpack_from
    position, stop = 0, len(body)
    while position < stop:
        if stop - position < _PDV_OVERHEAD:
            raise _bad_pdv(stop - position, stop - position)
        length, context_id, control = unpack(body, position)
        following = position + 4 + length
        if length < 2 or following > stop:
            raise _bad_pdv(length, stop - position)
        if contexts is not None and context_id not in contexts:
            raise PduError(
                f"a PDV for presentation context {context_id}, which was not accepted",
                AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        append(PDV(context_id, control & 1 != 0, control & 2 != 0, body[position + _PDV_OVERHEAD : following]))
        position = following
    return tuple(values)


def _bad_pdv(length: int, left: int) -> PduError:
    return PduError(
        f"a PDV item length of {length} with {left} bytes left in its PDU", AbortReason.INVALID_PDU_PARAMETER_VALUE
    )


def encode(primitive: Primitive) -> bytes:
    """Encode everything but data as one PDU."""
    match primitive:
        case AssociateRequest():
            return _associate(PduType.ASSOCIATE_RQ, items.encode_request(primitive))
        case AssociateAccept():
            return _associate(PduType.ASSOCIATE_AC, items.encode_accept(primitive))
        case AssociateReject(result, source, reason):
            return _short(PduType.ASSOCIATE_RJ, result, source, reason)
        case ReleaseRequest():
            return _short(PduType.RELEASE_RQ)
        case ReleaseResponse():
            return _short(PduType.RELEASE_RP)
        case Abort(source, reason):
            return _short(PduType.ABORT, 0, source, reason)


def _associate(pdu_type: PduType, body: bytes) -> bytes:
    if len(body) > MAX_ASSOCIATE_LENGTH:
        raise LocalProtocolError(f"an A-ASSOCIATE PDU of {len(body)} bytes; the limit is {MAX_ASSOCIATE_LENGTH}")
    return HEADER.pack(pdu_type, len(body)) + body


def _short(pdu_type: PduType, first: int = 0, second: int = 0, third: int = 0) -> bytes:
    try:
        return HEADER.pack(pdu_type, _SHORT_LENGTH) + _FOUR.pack(0, first, second, third)
    except struct.error:
        raise LocalProtocolError(f"PDU type {pdu_type} with {first}, {second}, {third}: one byte each") from None


def max_pdv_length(max_pdu_length: int) -> int:
    """How many bytes of a message fit one PDU; even, as every fragment but the last has to be (PS3.8 annex E)."""
    return (max_pdu_length - _PDV_OVERHEAD) & ~1


def encode_data(
    context_id: int, data: Buffer, *, is_command: bool, is_last: bool, max_pdu_length: int
) -> list[bytes | memoryview]:
    """
    Encode *data* as P-DATA-TF PDUs of one PDV each, none longer than *max_pdu_length* after its header.

    Returns buffers to be written in order: 12 header bytes and a view of *data* in turn, so nothing is copied; what
    fits 4 KiB (commands and answers) becomes one bytes object. Without *is_last* the length of *data* should be even.
    """
    control = (1 if is_command else 0) | (2 if is_last else 0)
    size = len(data)
    room = max_pdv_length(max_pdu_length)
    pack = _DATA_HEADER.pack
    if size <= room and size <= _COPY_BELOW:
        return [pack(PduType.P_DATA_TF, size + _PDV_OVERHEAD, size + 2, context_id, control) + data]
    view = memoryview(data)
    not_last = control & 1
    full = pack(PduType.P_DATA_TF, room + _PDV_OVERHEAD, room + 2, context_id, not_last)
    buffers: list[bytes | memoryview] = []
    position = 0
    while size - position > room:
        buffers += (full, view[position : position + room])
        position += room
    rest = size - position
    buffers += (pack(PduType.P_DATA_TF, rest + _PDV_OVERHEAD, rest + 2, context_id, control), view[position:])
    return buffers


__all__ = [
    "HEADER",
    "MAX_ASSOCIATE_LENGTH",
    "Buffer",
    "PData",
    "Pdu",
    "PduType",
    "check_header",
    "decode",
    "decode_body",
    "decode_values",
    "encode",
    "encode_data",
    "max_pdv_length",
]
