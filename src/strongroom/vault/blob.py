"""What the vault takes and gives: sealed bytes, under a random id, at a place; unreadable without a key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType, final

BlobId = NewType("BlobId", bytes)
Buffer = bytes | bytearray | memoryview

ID_LENGTH = 16


def new_blob_id(randomness: Callable[[int], bytes] = os.urandom) -> BlobId:
    """Return a fresh id; it says nothing about the blob, and no path or name is ever made of it."""
    return BlobId(randomness(ID_LENGTH))


@final
@dataclass(frozen=True, slots=True)
class Location:
    """
    Where a blob lies: the record at *offset* of pack number *pack*.

    *length* is that of the sealed blob, *plain_length* of what is sealed in it.
    """

    pack: int
    offset: int
    length: int
    plain_length: int


@final
@dataclass(frozen=True, slots=True)
class SealedRecord:
    """One blob to be appended: *sealed* in pieces (as `Sealer.take` gives them) and its sealed label, the *trailer*."""

    blob_id: bytes
    key_id: bytes
    sealed: Sequence[Buffer]
    trailer: bytes


@final
@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record found in a pack, structurally whole; its trailer as it stands there."""

    blob_id: BlobId
    key_id: bytes
    location: Location
    trailer: bytes
