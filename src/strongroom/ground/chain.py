"""
Chained records: an append-only file of sealed records, each of which names the hash of the one before
(docs/formats/trail.md).

The rule of the file: nothing that was flushed is ever taken away silently. What a crash left half written at the very
end is cut when the chain is opened and named in `Chain.torn`; anything else that does not fit raises, or is listed by
`verify`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import final

from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground._chain_files import (
    FILE,
    NOTHING,
    Head,
    Record,
    Torn,
    chains,
    file_name,
    load,
    load_header,
    segments,
    start_of,
    whole_length,
)
from strongroom.ground._segment import (
    HEADER,
    End,
    Frame,
    Secrets,
    SegmentHeader,
    decode_header,
    encode_frame,
    ending,
    frames,
)
from strongroom.ground.chain_check import ChainFinding, Kind, Verification, verify
from strongroom.ground.medium import File, Medium
from strongroom.ground.seal import Randomness, SmallSeal

__all__ = [
    "Chain",
    "ChainFinding",
    "Head",
    "Kind",
    "Record",
    "Torn",
    "Verification",
    "chains",
    "read",
    "verify",
    "whole_length",
]

SEGMENT_BYTES = 16 << 20  # a new segment is begun when one has grown to this
AHEAD = 1 << 20  # zeros written in front of the records, a flush into them costs half (PERFORMANCE section 3)


@final
class Chain:
    """
    The one writer of a chain. `append` writes, `flush` makes durable; one thread at a time.

    What was appended since the last flush may be lost, torn or kept by a crash; what was flushed stays.
    """

    def __init__(self, medium: Medium, root: str, name: str, key: bytes, *, randomness: Randomness) -> None:
        """Use `Chain.open`."""
        self._medium = medium
        self._root = root
        self._name = name
        self._secrets = Secrets(key, name)
        self._randomness = randomness
        self._segment_bytes = SEGMENT_BYTES
        self._file: File | None = None
        self._header: SegmentHeader
        self._seal: SmallSeal
        self._previous = NOTHING  # what the next record names as the hash before it
        self._end = 0  # where the next record goes
        self._allocated = 0
        self._group = 1  # sequence of the first record since the last flush
        self.head = Head(name, 0, NOTHING)
        self.torn: Torn | None = None

    @classmethod
    def open(
        cls,
        medium: Medium,
        root: str,
        name: str,
        key: bytes,
        *,
        expected: Head | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        randomness: Randomness = os.urandom,
    ) -> Chain:
        """
        Open the chain *name* in the folder *root* (made when absent) for appending; begin it when there is none.

        A torn tail is cut and named in `torn`. With *expected* (a head that is known to have been durable) a chain
        that ends before it, or does not contain it where the last segment covers it, raises IntegrityError, as does
        any damage in the last segment that is not a torn tail. Older segments are `verify`'s part.
        """
        if not FILE.fullmatch(f"{name}-00000001.chain"):
            raise ValueError(f"{name!r} is not a name for a chain")
        chain = cls(medium, root, name, key, randomness=randomness)
        chain._segment_bytes = segment_bytes
        medium.make_directory(root)
        numbers = segments(medium, root, name)
        if numbers:
            numbers = chain._without_stillborn(numbers)
        if numbers:
            chain._resume(numbers[-1], expected)
        if expected is not None and expected.sequence > chain.head.sequence:
            raise IntegrityError(
                f"the chain {name} ends with record {chain.head.sequence}, record {expected.sequence} was durable"
            )
        if not numbers:
            chain._begin(SegmentHeader(randomness(16), 1, 1, NOTHING))
        return chain

    def append(self, payloads: Sequence[bytes]) -> Head:
        """
        Write *payloads* as one record each, in order; return the head they make.

        Not durable before `flush`. Raises OutOfResources, and then none of them is part of the chain.
        """
        if self._end >= self._segment_bytes:
            self._rotate()
        assert self._file is not None
        sequence, previous = self.head.sequence, self._previous
        parts: list[bytes] = []
        digest = self.head.hash
        for payload in payloads:
            sequence += 1
            part, digest = encode_frame(payload, sequence, self._group, previous, self._seal, self._randomness)
            parts.append(part)
            previous = digest
        stop = self._end + sum(map(len, parts))
        if stop > self._allocated:
            self._allocate(stop + AHEAD)
        try:
            self._file.pwrite(parts, self._end)
        except OutOfResources:
            # What was written of a failed record is taken away, so that it is not found behind a shorter one later.
            with suppress(OutOfResources):
                self._file.truncate(self._end)
            self._allocated = self._file.size()
            raise
        self._end = stop
        self._previous = previous
        self.head = Head(self._name, sequence, digest)
        return self.head

    def flush(self) -> None:
        """Make what was appended durable. Raises OutOfResources; the chain takes nothing more then."""
        assert self._file is not None
        self._file.fdatasync()
        self._group = self.head.sequence + 1

    def close(self) -> None:
        """Let go of the file; what was not flushed is not promised."""
        if self._file is not None:
            self._file.close()

    def _allocate(self, upto: int) -> None:
        # Zeros ahead are for speed only: on a nearly full medium the record itself decides whether there is room.
        assert self._file is not None
        with suppress(OutOfResources):
            self._file.allocate(self._allocated, upto)
        if self._medium.suspect:
            raise OutOfResources(f"the chain {self._name} cannot be written after a failed flush")
        self._allocated = max(self._allocated, self._file.size())

    def _rotate(self) -> None:
        """
        Close the segment for good and begin the next: flushed first, so only a chain's last segment can have a torn
        tail.
        """
        assert self._file is not None
        self.flush()
        self._file.truncate(self._end)
        self._file.close()
        following = SegmentHeader(
            self._header.chain_id, self._header.number + 1, self.head.sequence + 1, self.head.hash
        )
        self._begin(following)

    def _begin(self, header: SegmentHeader) -> None:
        name = file_name(self._root, self._name, header.number)
        file = self._medium.open(name, create=True)
        encoded = header.encode(self._secrets)
        file.pwrite((encoded,), 0)
        file.fdatasync()
        self._medium.sync_directory(self._root)
        self._adopt(file, header, encoded)

    def _adopt(self, file: File, header: SegmentHeader, encoded: bytes) -> None:
        self._file = file
        self._header = header
        self._seal = self._secrets.seal_of(header)
        self._previous = start_of(encoded)
        self._end = HEADER
        self._allocated = file.size()

    def _without_stillborn(self, numbers: list[int]) -> list[int]:
        """Remove a last segment whose header a crash kept from being written: it never held a record."""
        name = file_name(self._root, self._name, numbers[-1])
        data = load(self._medium, self._root, self._name, numbers[-1])
        if len(data) >= HEADER and any(data):
            return numbers
        self._medium.unlink(name)
        self._medium.sync_directory(self._root)
        self.torn = Torn(name, 0, len(data))
        return numbers[:-1]

    def _resume(self, number: int, expected: Head | None) -> None:
        name = file_name(self._root, self._name, number)
        data = load(self._medium, self._root, self._name, number)
        header = decode_header(bytes(data[:HEADER]), self._secrets)
        if header.number != number:
            raise IntegrityError(f"{name} holds segment {header.number} of its chain")
        file = self._medium.open(name)
        self._adopt(file, header, bytes(data[:HEADER]))
        self.head = Head(self._name, header.first_sequence - 1, header.previous)
        last: Frame | None = None
        for frame in frames(data):
            if frame.sequence != self.head.sequence + 1 or frame.previous != self._previous:
                raise IntegrityError(f"{name}: record {frame.sequence} does not follow record {self.head.sequence}")
            if expected is not None and frame.sequence == expected.sequence and frame.hash != expected.hash:
                raise IntegrityError(f"{name}: record {frame.sequence} is not the one that was made durable")
            self._previous = frame.hash
            self.head = Head(self._name, frame.sequence, frame.hash)
            self._end = frame.stop
            last = frame
        if last is not None:
            last.open(self._seal)
        self._cut(file, data, expected)
        self._group = self.head.sequence + 1

    def _cut(self, file: File, data: memoryview, expected: Head | None) -> None:
        end, _ = ending(data, self._end, self.head.sequence + 1)
        if end is End.CLEAN:
            return
        if end is End.DAMAGED or (expected is not None and expected.sequence > self.head.sequence):
            raise IntegrityError(f"{file.name}: record {self.head.sequence + 1} at {self._end} was whole once")
        length = len(bytes(data[self._end :]).rstrip(b"\0"))
        self.torn = Torn(file.name, self._end, length)
        file.truncate(self._end)
        self._allocated = self._end


def read(
    medium: Medium, root: str, name: str, key: bytes, *, after: int = 0, newest_first: bool = False
) -> Iterator[Record]:
    """
    Yield the records of the chain *name* behind the sequence number *after*, oldest first unless told otherwise.

    One segment (16 MiB) is held at a time. A record that is being written meanwhile ends the reading. Raises
    NotFound, and IntegrityError at the first thing that does not fit.
    """
    secrets = Secrets(key, name)
    numbers = segments(medium, root, name)
    if not numbers:
        raise NotFound(f"there is no chain {name}")
    newest = numbers[-1]
    while len(numbers) > 1 and load_header(medium, root, name, numbers[1], secrets).first_sequence <= after + 1:
        del numbers[0]
    previous: bytes | None = None
    for number in reversed(numbers) if newest_first else numbers:
        data = load(medium, root, name, number)
        header = decode_header(bytes(data[:HEADER]), secrets)
        if previous is not None and not newest_first and header.previous != previous:
            raise IntegrityError(f"segment {number} of the chain {name} does not follow the one before")
        seal = secrets.seal_of(header)
        whole = list(_fitting(data, header, newest=number == newest))
        previous = whole[-1].hash if whole else header.previous
        for frame in reversed(whole) if newest_first else whole:
            if frame.sequence > after:
                yield Record(frame.sequence, frame.open(seal), frame.hash)


def _fitting(data: memoryview, header: SegmentHeader, *, newest: bool) -> Iterator[Frame]:
    previous = start_of(bytes(data[:HEADER]))
    sequence = header.first_sequence
    position = HEADER
    for frame in frames(data):
        if frame.sequence != sequence or frame.previous != previous:
            raise IntegrityError(f"record {frame.sequence} stands where record {sequence} belongs")
        previous = frame.hash
        sequence += 1
        position = frame.stop
        yield frame
    end, _ = ending(data, position, sequence)
    if end is End.DAMAGED or (end is End.TORN and not newest):
        raise IntegrityError(f"record {sequence} at {position} of segment {header.number} is damaged")
