"""
Sealing: authenticated encryption of long blobs in segments, and of short values in one piece.

Long blobs use the wire format of Tink's AES256-GCM-HKDF streaming AEAD with segments of 64 KiB
(docs/formats/seal.md): any range opens without the rest, and a flipped bit, a cut, a swapped or repeated segment,
another blob's bytes or another label are refused.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.errors import IntegrityError

KEY = 32  # bytes of every key here
SEGMENT = 65_536  # sealed bytes of every segment but the last, the first one's header included
HEADER = 40  # length byte, salt, nonce prefix
TAG = 16
WINDOW = 16 * SEGMENT  # how much a reader opens at a time unless told otherwise

_SALT = 32
_NO_SALT = bytes(32)  # RFC 5869 2.2
_PREFIX = 7
_FIRST = SEGMENT - HEADER - TAG  # plain bytes in the first segment
_NEXT = SEGMENT - TAG  # and in each further one
_NONCE = struct.Struct(">7sIB")
_LABEL = struct.Struct(">4sBBxx16s16s")

_SMALL_VERSION = 1
_SMALL_NONCE = 12
_SMALL_INFO = b"strongroom small seal 1"
SMALL_OVERHEAD = 1 + _SMALL_NONCE + TAG

Randomness = Callable[[int], bytes]
Buffer = bytes | bytearray | memoryview


@unique
class Slot(IntEnum):
    """What a sealed value of a blob is; part of its associated data, so that one cannot stand in for another."""

    DATA_SET = 0
    LABEL = 1
    FRAGMENT = 2
    WRAPPING = 3  # of a Part 10 file: preamble and meta information, kept where it is worth keeping
    FRAMES = 4  # where the frames of an image lie
    MERGED = 5  # metadata fragments of a series, joined and compressed


def associated_data(blob_id: bytes, key_id: bytes, slot: Slot) -> bytes:
    """Return the 40 bytes a sealed value is bound to: format version, slot, blob id and key id (invariant I8)."""
    if len(blob_id) != 16 or len(key_id) != 16:
        raise ValueError("blob id and key id are 16 bytes each")
    return _LABEL.pack(b"SRbl", 1, slot, blob_id, key_id)


def derive(key: bytes, *, salt: bytes = b"", info: bytes) -> bytes:
    """
    Derive 32 bytes from *key* by HKDF-SHA256 (RFC 5869): extract, then the one block of expand that 32 bytes are.

    Two calls of the library's HMAC: its HKDF takes ten times as long, twice for every image.
    """
    return hmac.digest(hmac.digest(salt or _NO_SALT, key, "sha256"), info + b"\x01", "sha256")


def sealed_length(plain: int) -> int:
    """Return how many bytes *plain* bytes are when sealed."""
    further = max(0, plain - _FIRST + _NEXT - 1) // _NEXT
    return HEADER + plain + TAG * (1 + further)


def plain_length(sealed: int) -> int:
    """
    Return how many bytes are sealed in *sealed* bytes. Raises IntegrityError for a length that cannot come from
    sealing.
    """
    segments = -(-sealed // SEGMENT)
    last = sealed - (segments - 1) * SEGMENT
    if sealed < HEADER + TAG or (segments > 1 and last <= TAG):
        raise IntegrityError(f"{sealed} bytes cannot be a sealed blob: it was cut")
    return sealed - HEADER - TAG * segments


@final
@dataclass(frozen=True, slots=True)
class Cover:
    """
    The whole segments that hold a plain range.

    The sealed bytes *sealed_start* to *sealed_stop* are to be read; opened, the range begins after *skip* bytes and
    is *length* bytes long.
    """

    segment: int
    sealed_start: int
    sealed_stop: int
    skip: int
    length: int


def plain_range(start: int, stop: int, plain: int) -> Cover:
    """Return what covers the bytes *start* to *stop* of a blob of *plain* bytes, clipped to its ends."""
    start = min(max(start, 0), plain)
    stop = min(max(stop, start), plain)
    first = _segment_of(start, plain)
    last = _segment_of(max(start, stop - 1), plain)
    begins = 0 if first == 0 else _FIRST + (first - 1) * _NEXT
    sealed_stop = min((last + 1) * SEGMENT, sealed_length(plain))
    return Cover(first, first * SEGMENT, sealed_stop, start - begins, stop - start)


def _segment_of(position: int, plain: int) -> int:
    """Return the segment of the plain byte at *position*; the last one for the position just behind the end."""
    position = min(position, plain - 1)
    return 0 if position < _FIRST else 1 + (position - _FIRST) // _NEXT


@final
class Sealer:
    """
    Seals one blob as its bytes come; never holds back more than one segment.

    `update` any number of times, `finish` once; `take` hands over what is ready, in order. Needs about 15 µs for 128
    KiB. A sealer is used by one thread at a time.
    """

    __slots__ = (
        "_cipher",
        "_count",
        "_filled",
        "_header",
        "_held",
        "_prefix",
        "_ready",
        "_room",
        "plain_length",
        "sealed_length",
    )

    def __init__(self, key: bytes, associated: bytes, *, randomness: Randomness = os.urandom) -> None:
        """Derive this blob's own key from *key* (32 bytes), a fresh salt and *associated* (see `associated_data`)."""
        salt = randomness(_SALT)
        self._prefix = randomness(_PREFIX)
        self._header = bytes((HEADER,)) + salt + self._prefix
        self._cipher = AESGCM(_blob_key(key, salt, associated))
        self._held = bytearray(_NEXT)
        self._filled = 0
        self._room = _FIRST
        self._count = 0
        self._ready: list[bytearray] = []
        self.plain_length = 0
        self.sealed_length = 0  # of what was made ready so far; the whole blob's after `finish`

    def update(self, data: Buffer) -> None:
        """Take the next bytes of the blob; *data* may be reused by the caller afterwards."""
        view = memoryview(data)
        length = len(view)
        if not length:
            return
        self.plain_length += length
        start = 0
        filled = self._filled
        if filled:
            start = min(self._room - filled, length)
            self._held[filled : filled + start] = view[:start]
            if start == length:
                self._filled = filled + start  # perhaps full: it waits, since the last segment is sealed as the last
                return
            self._seal(memoryview(self._held)[: self._room], last=0)
        while length - start > self._room:
            room = self._room
            self._seal(view[start : start + room], last=0)
            start += room
        self._held[: length - start] = view[start:]
        self._filled = length - start

    def finish(self) -> None:
        """Seal what is left as the last segment; nothing can be added afterwards."""
        self._seal(memoryview(self._held)[: self._filled], last=1)
        self._held = bytearray()
        self._room = -1

    def take(self) -> list[bytearray]:
        """Hand over the sealed segments that became ready since the last call; they are the caller's."""
        ready, self._ready = self._ready, []
        return ready

    def _seal(self, plain: memoryview, *, last: int) -> None:
        if self._room < 0:
            raise ValueError("this blob is finished")
        number = self._count
        nonce = _NONCE.pack(self._prefix, number, last)
        # A fresh buffer for each segment stays below the allocator's threshold for mapping new pages: one big
        # buffer for the whole blob costs a page fault for every 4 KiB.
        if number:
            sealed = bytearray(len(plain) + TAG)
            self._cipher.encrypt_into(nonce, plain, None, sealed)
        else:
            sealed = bytearray(HEADER + len(plain) + TAG)
            sealed[:HEADER] = self._header
            self._cipher.encrypt_into(nonce, plain, None, memoryview(sealed)[HEADER:])
        self._ready.append(sealed)
        self.sealed_length += len(sealed)
        self._count = number + 1
        self._room = _NEXT


@final
class Opener:
    """
    Opens any range of one sealed blob of *total* sealed bytes; *header* is its first 40 bytes (more may be given).

    What comes out was sealed under this key, for these associated data, at this place of a blob that ends where
    *total* says: anything else is an IntegrityError. (That the end is the end is proven when the last segment is
    opened.)
    """

    __slots__ = ("_cipher", "_last", "_prefix", "plain_length", "sealed_length")

    def __init__(self, key: bytes, associated: bytes, total: int, header: Buffer) -> None:
        self.sealed_length = total
        self.plain_length = plain_length(total)
        if len(header) < HEADER or header[0] != HEADER:
            raise IntegrityError("the blob does not begin with a seal's header")
        salt = bytes(header[1 : 1 + _SALT])
        self._prefix = bytes(header[1 + _SALT : HEADER])
        self._cipher = AESGCM(_blob_key(key, salt, associated))
        self._last = (total - 1) // SEGMENT

    def cover(self, start: int = 0, stop: int | None = None) -> Cover:
        """Return what has to be read for the plain bytes *start* to *stop* (default: to the end)."""
        return plain_range(start, self.plain_length if stop is None else stop, self.plain_length)

    def windows(self, start: int = 0, stop: int | None = None, *, window: int = WINDOW) -> Iterator[Cover]:
        """Yield covers of at most *window* sealed bytes (a multiple of a segment), in order, for a plain range."""
        stop = self.plain_length if stop is None else min(stop, self.plain_length)
        while True:
            whole = plain_range(start, stop, self.plain_length)
            reach = whole.sealed_start + window
            upto = stop if whole.sealed_stop <= reach else _FIRST + (reach // SEGMENT - 1) * _NEXT
            yield plain_range(start, upto, self.plain_length)
            if upto >= stop:
                return
            start = upto

    def open(self, sealed: Buffer, cover: Cover) -> memoryview:
        """Open the bytes that *cover* asked for and return the plain range. Raises IntegrityError."""
        view = memoryview(sealed)
        if len(view) != cover.sealed_stop - cover.sealed_start:
            raise IntegrityError(f"{len(view)} bytes came where {cover.sealed_stop - cover.sealed_start} were sealed")
        plain = memoryview(bytearray(len(view)))
        number = cover.segment
        read = HEADER if number == 0 else 0
        written = 0
        boundary = SEGMENT
        try:
            while read < len(view):
                part = view[read:boundary]
                target = plain[written : written + len(part) - TAG]
                nonce = _NONCE.pack(self._prefix, number, number == self._last)
                self._cipher.decrypt_into(nonce, part, None, target)
                written += len(part) - TAG
                read = boundary
                boundary += SEGMENT
                number += 1
        except (InvalidTag, ValueError) as wrong:
            raise IntegrityError(f"segment {number} of the blob is not what was sealed there") from wrong
        return plain[cover.skip : cover.skip + cover.length]


def open_all(key: bytes, associated: bytes, sealed: Buffer) -> memoryview:
    """Open a whole blob at once. Raises IntegrityError."""
    opener = Opener(key, associated, len(sealed), sealed)
    return opener.open(sealed, opener.cover())


@final
class SmallSeal:
    """
    Seals short values under a key derived once from *key*: labels, fragments, records. Random nonces, 2^32 values at
    most.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(derive(_whole(key), info=_SMALL_INFO))

    def seal(self, plain: Buffer, associated: bytes, *, randomness: Randomness = os.urandom) -> bytes:
        """Return version, nonce, ciphertext and tag: `SMALL_OVERHEAD` bytes longer than *plain*."""
        nonce = randomness(_SMALL_NONCE)
        version = bytes((_SMALL_VERSION,))
        return version + nonce + self._cipher.encrypt(nonce, plain, version + associated)

    def open(self, sealed: Buffer, associated: bytes) -> bytes:
        """Return what was sealed. Raises IntegrityError."""
        view = memoryview(sealed)
        if len(view) < SMALL_OVERHEAD or view[0] != _SMALL_VERSION:
            raise IntegrityError(f"{len(view)} bytes are not a sealed value of version {_SMALL_VERSION}")
        try:
            return self._cipher.decrypt(
                view[1 : 1 + _SMALL_NONCE], view[1 + _SMALL_NONCE :], view[:1].tobytes() + associated
            )
        except InvalidTag as wrong:
            raise IntegrityError("a sealed value is not what was sealed, or stands in another's place") from wrong


def seal_small(key: bytes, plain: Buffer, associated: bytes, *, randomness: Randomness = os.urandom) -> bytes:
    """Seal a short value once; see `SmallSeal` where many go under one key."""
    return SmallSeal(key).seal(plain, associated, randomness=randomness)


def open_small(key: bytes, sealed: Buffer, associated: bytes) -> bytes:
    """Open what `seal_small` made. Raises IntegrityError."""
    return SmallSeal(key).open(sealed, associated)


def _whole(key: bytes) -> bytes:
    if len(key) != KEY:
        raise ValueError(f"a key is {KEY} bytes")
    return key


def _blob_key(key: bytes, salt: bytes, associated: bytes) -> bytes:
    return derive(_whole(key), salt=salt, info=associated)
