"""The bytes of a chain's segment file: header and frames (docs/formats/trail.md). Nothing is read or written here."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import final

from strongroom.errors import IntegrityError
from strongroom.ground.seal import SMALL_OVERHEAD, Randomness, SmallSeal, derive

HEADER = 128
MAX_PAYLOAD = 8 << 20  # bytes; the trail writes one record per act, the longest lists a study's digests
FORMAT_VERSION = 1
SECTOR = 512  # what a disk writes whole or not at all

_HEADER = struct.Struct(">4sB3x16sQQ32s24x")
_FRAME = struct.Struct(">4sIQQ32s")
_TAIL = struct.Struct(">IB")  # checksum, and a byte that is not zero: what ends there was written to its end
_LAST = 0xFF
_MAGIC = b"SRch"
_FRAME_MAGIC = b"SRrc"


@final
@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Where a segment stands in its chain; *previous* is the hash of the record before its first (zeros: none)."""

    chain_id: bytes
    number: int
    first_sequence: int
    previous: bytes

    def encode(self, secrets: Secrets) -> bytes:
        """Return the 128 bytes, authenticated."""
        body = _HEADER.pack(_MAGIC, FORMAT_VERSION, self.chain_id, self.number, self.first_sequence, self.previous)
        return body + hmac.digest(secrets.header, body, "sha256")


def decode_header(data: bytes, secrets: Secrets) -> SegmentHeader:
    """
    Read a segment's header. Raises IntegrityError when it is not one of this chain's name and key, or of a newer
    format.
    """
    if len(data) < HEADER or data[:4] != _MAGIC:
        raise IntegrityError("the file does not begin with a segment header")
    body, tag = data[: _HEADER.size], data[_HEADER.size : HEADER]
    if data[4] != FORMAT_VERSION:
        raise IntegrityError(f"the segment is of format {data[4]}, this program knows {FORMAT_VERSION}")
    if not hmac.compare_digest(tag, hmac.digest(secrets.header, body, "sha256")):
        raise IntegrityError("the segment header was changed, or belongs to another chain")
    _, _, chain_id, number, first_sequence, previous = _HEADER.unpack(body)
    return SegmentHeader(chain_id, number, first_sequence, previous)


@final
class Secrets:
    """The keys of the chain called *name*."""

    __slots__ = ("_key", "_name", "header")

    def __init__(self, key: bytes, name: str) -> None:
        self._key = key
        self._name = name.encode()
        self.header = derive(key, info=b"strongroom chain 1 header " + self._name)

    def seal_of(self, header: SegmentHeader) -> SmallSeal:
        """Return the seal of one segment's records; a key per segment keeps each far below its number of nonces."""
        info = b"strongroom chain 1 record " + header.number.to_bytes(8, "big") + self._name
        return SmallSeal(derive(self._key, salt=header.chain_id, info=info))


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One record as it stands in the file: structurally whole, its checksum right, not yet authenticated."""

    start: int
    stop: int
    sequence: int
    group: int
    previous: bytes
    bound: bytes
    sealed: memoryview
    hash: bytes

    def open(self, seal: SmallSeal) -> bytes:
        """Return the payload. Raises IntegrityError."""
        return seal.open(self.sealed, self.bound)


def encode_frame(
    payload: bytes, sequence: int, group: int, previous: bytes, seal: SmallSeal, randomness: Randomness
) -> tuple[bytes, bytes]:
    """Return the bytes of a record and its hash; *group* is the first sequence written since the last flush."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a record of {len(payload)} bytes; {MAX_PAYLOAD} is the longest")
    sealed_length = len(payload) + SMALL_OVERHEAD
    bound = _FRAME.pack(_FRAME_MAGIC, sealed_length, sequence, group, previous)
    body = bound + seal.seal(payload, bound, randomness=randomness)
    return body + _TAIL.pack(zlib.crc32(body), _LAST), hashlib.sha256(body).digest()


def frame_at(data: memoryview, position: int) -> Frame | None:
    """Return the frame at *position*, None when none stands there whole."""
    if position + _FRAME.size > len(data):
        return None
    magic, length, sequence, group, previous = _FRAME.unpack_from(data, position)
    stop = position + _FRAME.size + length + _TAIL.size
    if magic != _FRAME_MAGIC or length > MAX_PAYLOAD + SMALL_OVERHEAD or stop > len(data):
        return None
    body = data[position : stop - _TAIL.size]
    if (zlib.crc32(body), _LAST) != _TAIL.unpack_from(data, stop - _TAIL.size):
        return None
    bound = bytes(body[: _FRAME.size])
    return Frame(position, stop, sequence, group, previous, bound, body[_FRAME.size :], hashlib.sha256(body).digest())


def frames(data: memoryview, position: int = HEADER) -> Iterator[Frame]:
    """Yield the frames that stand one behind the other from *position*; ends where none does (see `ending`)."""
    while (frame := frame_at(data, position)) is not None:
        yield frame
        position = frame.stop


@unique
class End(Enum):
    """What stands behind the last whole frame."""

    CLEAN = "clean"  # nothing, or zeros that were written ahead
    TORN = "torn"  # a record a crash kept from being written whole
    DAMAGED = "damaged"  # a record that was whole once


def ending(data: memoryview, position: int, sequence: int) -> tuple[End, Frame | None]:
    """
    Say what stands at *position*, where the frame of *sequence* would be and is not; with the next whole frame behind
    it.

    1. Nothing but zeros: clean. 2. A whole frame behind it whose group began after *sequence*: a flush came in
    between, so this record was durable once. 3. The record reaches beyond the file, or a sector of it was never
    written: torn. 4. Anything else was whole once.
    """
    length = len(bytes(data[position:]).rstrip(b"\0"))
    if not length:
        return End.CLEAN, None
    following = _next_frame(data, position + 1)
    behind = following
    while behind is not None:
        if behind.group > sequence:
            return End.DAMAGED, following
        behind = frame_at(data, behind.stop) or _next_frame(data, behind.stop)
    if following is None and position + length < _intended_stop(data, position):
        return End.TORN, None
    if _has_unwritten_sector(data, position, position + length):
        return End.TORN, following
    return End.DAMAGED, following


def _next_frame(data: memoryview, position: int) -> Frame | None:
    raw = bytes(data[position:])
    found = raw.find(_FRAME_MAGIC)
    while found >= 0:
        frame = frame_at(data, position + found)
        if frame is not None:
            return frame
        found = raw.find(_FRAME_MAGIC, found + 1)
    return None


def _intended_stop(data: memoryview, position: int) -> int:
    """Return how far a frame that begins at *position* has to reach at least, as far as it still tells."""
    if position + _FRAME.size > len(data):
        return position + _FRAME.size
    magic: bytes
    length: int
    magic, length, *_ = _FRAME.unpack_from(data, position)
    plausible = magic == _FRAME_MAGIC and length <= MAX_PAYLOAD + SMALL_OVERHEAD
    return position + _FRAME.size + (length + _TAIL.size if plausible else 0)


def _has_unwritten_sector(data: memoryview, start: int, stop: int) -> bool:
    """Whether a sector, or the part of one that lies between *start* and *stop*, is all zeros."""
    while start < stop:
        boundary = min(stop, (start // SECTOR + 1) * SECTOR)
        if not any(data[start:boundary]):
            return True
        start = boundary
    return False
