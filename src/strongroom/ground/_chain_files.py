"""Where the segments of chains lie on a medium, and the words for what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import final

from strongroom.ground._segment import HEADER, Secrets, SegmentHeader, decode_header, frames
from strongroom.ground.medium import File, Medium

NOTHING = bytes(32)
FILE = re.compile(r"([a-z0-9][a-z0-9.]{0,63})-([0-9]{8})\.chain")


@final
@dataclass(frozen=True, slots=True)
class Head:
    """
    The newest record of the chain called *chain*: its sequence number (0: none yet) and hash. Kept elsewhere, it
    anchors.
    """

    chain: str
    sequence: int
    hash: bytes


@final
@dataclass(frozen=True, slots=True)
class Record:
    """One opened record; *hash* covers it and everything before it."""

    sequence: int
    payload: bytes
    hash: bytes


@final
@dataclass(frozen=True, slots=True)
class Torn:
    """What a crash left half written: *length* bytes from *offset* of the file *where*."""

    where: str
    offset: int
    length: int


def file_name(root: str, name: str, number: int) -> str:
    """Return where segment *number* of the chain *name* lies."""
    return f"{root}/{name}-{number:08d}.chain"


def segments(medium: Medium, root: str, name: str) -> list[int]:
    """Return the numbers of the segments of the chain *name* that are there."""
    found = (FILE.fullmatch(item) for item in medium.listing(root))
    return sorted(int(matched[2]) for matched in found if matched and matched[1] == name)


def chains(medium: Medium, root: str) -> list[str]:
    """Return the names of the chains in *root*."""
    found = (FILE.fullmatch(item) for item in medium.listing(root))
    return sorted({matched[1] for matched in found if matched})


def load(medium: Medium, root: str, name: str, number: int) -> memoryview:
    """Read a whole segment. Raises NotFound."""
    file = medium.open(file_name(root, name, number), writable=False)
    try:
        return memoryview(file.pread(file.size(), 0))
    finally:
        file.close()


def load_header(medium: Medium, root: str, name: str, number: int, secrets: Secrets) -> SegmentHeader:
    """Read a segment's header alone. Raises NotFound, IntegrityError."""
    file = medium.open(file_name(root, name, number), writable=False)
    try:
        return decode_header(file.pread(HEADER, 0), secrets)
    finally:
        file.close()


def start_of(encoded_header: bytes) -> bytes:
    """Return what a segment's first record names as the hash before it: that of the segment's header."""
    return sha256(encoded_header).digest()


def whole_length(file: File) -> int:
    """
    Return where the last whole record of a segment ends: what a copy takes while others append. Needs no key.

    A record that is being written is left out; the owner's next flush makes it somebody's, not this copy's.
    """
    data = memoryview(file.pread(file.size(), 0))
    return max((frame.stop for frame in frames(data)), default=min(HEADER, len(data)))
