"""The bytes of a pack (docs/formats/pack.md): header, records, chunk frames, index. Nothing is read or written here."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from hashlib import sha256
from typing import final

from cryptography.hazmat.primitives.poly1305 import Poly1305

from strongroom.errors import IntegrityError

FORMAT_VERSION = 1
ALIGNMENT = 512  # a record begins on a sector of its own, so that no write ever touches a sector of an earlier record
FIRST_RECORD = ALIGNMENT
PACK_HEADER = 64
RECORD_HEADER = 64
FRAME = 24
FOOTER = 24
END = 32
CHUNK = 1 << 20  # sealed bytes in every chunk of a leased record but the last
LONGEST_TRAILER = 65_536
LONGEST_BLOB = 1 << 40

# Poly1305 under a published key is a checksum here, and a fast one (526 KB: 44 µs; CRC-32: 122 µs). It finds accidents
# without any key; forgery is found by the seal.
CHECKSUM_KEY = sha256(b"strongroom pack checksum 1").digest()

_PACK = struct.Struct(">4sB3xQ16s28x")
_RECORD = struct.Struct(">4sBB2x16s16sQIQ")
_FRAME = struct.Struct(">4sIQ4x")
_FOOTER = struct.Struct(">16s4x4s")
_ENTRY = struct.Struct(">B3xI16s16sQQ")
_END = struct.Struct(">4sB3xQQ4x")
_CRC = struct.Struct(">I")

RECORD_MAGIC = b"SRrd"


@unique
class Kind(IntEnum):
    """What a record, or an entry of the index, is."""

    BLOB = 1
    CHUNKED = 2
    INDEX = 3
    DEAD = 4  # an abandoned lease; in the index only
    GAP = 5  # bytes that are no record: torn by a crash or damaged; in the index only


DATA, FINISH, ABANDON = b"SRck", b"SRfi", b"SRab"  # a chunk; the end of a leased record; the end of an abandoned one


@final
@dataclass(frozen=True, slots=True)
class PackHeader:
    """The first 64 bytes of a pack: its number, and a random id that tells a copy from a namesake."""

    number: int
    pack_id: bytes

    def encode(self) -> bytes:
        """Return the header's bytes."""
        body = _PACK.pack(b"SRpk", FORMAT_VERSION, self.number, self.pack_id)
        return body + _CRC.pack(zlib.crc32(body))


def decode_pack_header(data: bytes) -> PackHeader:
    """Read a pack's header. Raises IntegrityError, also for a newer format."""
    if len(data) < PACK_HEADER or zlib.crc32(data[: _PACK.size]) != _CRC.unpack_from(data, _PACK.size)[0]:
        raise IntegrityError("the header of the pack is damaged")
    magic, version, number, pack_id = _PACK.unpack_from(data)
    if magic != b"SRpk" or version != FORMAT_VERSION:
        raise IntegrityError(f"the pack is of format {version}, this program knows {FORMAT_VERSION}")
    return PackHeader(number, pack_id)


@final
@dataclass(frozen=True, slots=True)
class RecordHeader:
    """
    The first 64 bytes of a record.

    *group* is the offset of the first record written since the flush before: a record of a later group proves that
    everything in front of it was durable once. The lengths of a chunked record stand in its frames.
    """

    kind: Kind
    blob_id: bytes
    key_id: bytes
    sealed_length: int
    trailer_length: int
    group: int

    def encode(self) -> bytes:
        """Return the header's bytes."""
        body = _RECORD.pack(
            RECORD_MAGIC,
            FORMAT_VERSION,
            self.kind,
            self.blob_id,
            self.key_id,
            self.sealed_length,
            self.trailer_length,
            self.group,
        )
        return body + _CRC.pack(zlib.crc32(body))


def decode_record_header(data: bytes | memoryview, position: int = 0) -> RecordHeader | None:
    """Return the record header at *position* of *data*, None when none stands there."""
    if len(data) - position < RECORD_HEADER:
        return None
    magic, version, kind, blob_id, key_id, sealed, trailer, group = _RECORD.unpack_from(data, position)
    if magic != RECORD_MAGIC or version != FORMAT_VERSION:
        return None
    if zlib.crc32(data[position : position + _RECORD.size]) != _CRC.unpack_from(data, position + _RECORD.size)[0]:
        return None
    if kind not in (Kind.BLOB, Kind.CHUNKED, Kind.INDEX) or sealed > LONGEST_BLOB or trailer > LONGEST_TRAILER:
        return None
    return RecordHeader(Kind(kind), blob_id, key_id, sealed, trailer, group)


@final
@dataclass(frozen=True, slots=True)
class ChunkFrame:
    """What stands in front of each chunk, and of the trailer: *total* sealed bytes came before it."""

    mark: bytes
    length: int
    total: int

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        body = _FRAME.pack(self.mark, self.length, self.total)
        return body + _CRC.pack(zlib.crc32(body))


def decode_frame(data: bytes) -> ChunkFrame | None:
    """Return the frame *data* begins with, None when it is none."""
    if len(data) < FRAME or zlib.crc32(data[: _FRAME.size]) != _CRC.unpack_from(data, _FRAME.size)[0]:
        return None
    mark, length, total = _FRAME.unpack_from(data)
    return ChunkFrame(mark, length, total) if mark in (DATA, FINISH, ABANDON) else None


def encode_footer(checksum: Poly1305) -> bytes:
    """Return what ends a record: the checksum of all its bytes before, and a magic, whose last byte is not zero."""
    return _FOOTER.pack(checksum.finalize(), b"SRen")


def decode_footer(data: bytes) -> bytes | None:
    """Return the checksum out of a record's last bytes, None when they are no footer."""
    if len(data) < FOOTER:
        return None
    checksum, magic = _FOOTER.unpack_from(data)
    return bytes(checksum) if magic == b"SRen" else None


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a pack's index. *sealed_length* of a gap or a dead record is that of its bytes in the pack."""

    kind: Kind
    blob_id: bytes
    key_id: bytes
    offset: int
    sealed_length: int
    trailer_length: int


def encode_index(entries: Iterable[Entry]) -> bytes:
    """Return the index of a pack, in the order of its records."""
    return b"".join(
        _ENTRY.pack(e.kind, e.trailer_length, e.blob_id, e.key_id, e.offset, e.sealed_length) for e in entries
    )


def decode_index(data: bytes) -> list[Entry]:
    """Read an index whose record's checksum was found right."""
    return [
        Entry(Kind(kind), blob_id, key_id, offset, sealed, trailer)
        for kind, trailer, blob_id, key_id, offset, sealed in _ENTRY.iter_unpack(data)
    ]


def encode_end(index_offset: int, records: int) -> bytes:
    """Return the last 32 bytes of a closed pack."""
    body = _END.pack(b"SRpe", FORMAT_VERSION, index_offset, records)
    return body + _CRC.pack(zlib.crc32(body))


def decode_end(data: bytes) -> int | None:
    """Return where the index of a closed pack begins, None when *data* are not its last bytes."""
    if len(data) != END or zlib.crc32(data[: _END.size]) != _CRC.unpack_from(data, _END.size)[0]:
        return None
    magic, version, index_offset, _ = _END.unpack(data[: _END.size])
    return int(index_offset) if magic == b"SRpe" and version == FORMAT_VERSION else None


def aligned(position: int) -> int:
    """Return the next place at or behind *position* where a record may begin."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def encode_record(
    header: RecordHeader, sealed: Sequence[bytes | bytearray | memoryview], trailer: bytes
) -> list[bytes | bytearray | memoryview]:
    """Return the buffers of a whole record, up to the next place where one may begin; *sealed* is not copied."""
    encoded = header.encode()
    checksum = Poly1305(CHECKSUM_KEY)
    checksum.update(encoded)
    for piece in sealed:
        checksum.update(piece)
    checksum.update(trailer)
    length = RECORD_HEADER + header.sealed_length + header.trailer_length + FOOTER
    return [encoded, *sealed, trailer, encode_footer(checksum) + bytes(aligned(length) - length)]


def position_in(offset: int, kind: Kind, sealed: int) -> int:
    """Return where in the pack the sealed byte number *sealed* of the record at *offset* stands."""
    if kind is Kind.CHUNKED:
        return offset + RECORD_HEADER + sealed + FRAME * (sealed // CHUNK + 1)
    return offset + RECORD_HEADER + sealed
