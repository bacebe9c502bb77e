"""
Proof of a chain: every record is there, unchanged, in its place, up to the head somebody else remembers.

1. The segments are numbered from 1 without a gap; each header is authentic and of the same chain. 2. Each header
names the hash of the last record of the segment before it, and the next sequence number. 3. In a segment the frames
stand one behind the other; each names the hash of the one before and the next sequence number. 4. Each frame opens
under the segment's key: it was written by a holder of the key, for this place. 5. Behind the last frame of the last
segment stand zeros, nothing, or a record a crash tore; behind any other segment's, nothing. 6. The expected head's
record is there and has the expected hash. (Only this finds a chain cut at a record's end.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import final

from strongroom.errors import IntegrityError
from strongroom.ground._chain_files import NOTHING, Head, Torn, file_name, load, segments, start_of
from strongroom.ground._segment import (
    HEADER,
    End,
    Frame,
    Secrets,
    SegmentHeader,
    decode_header,
    ending,
    frame_at,
)
from strongroom.ground.medium import Medium

MOST_FINDINGS = 100  # a chain that is broken throughout is broken; nobody reads more


@unique
class Kind(Enum):
    """What was done to a chain."""

    EDITED = "edited"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"  # a segment of another chain, or sealed under another key
    TORN_TAIL = "torn-tail"  # by a crash; not tampering


@final
@dataclass(frozen=True, slots=True)
class ChainFinding:
    """One thing that does not fit: in the file *where*, at the record *sequence* (0: the segment itself)."""

    kind: Kind
    where: str
    sequence: int
    detail: str


@final
@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` saw: the head reached, how many records opened, and what does not fit."""

    head: Head
    records: int
    findings: tuple[ChainFinding, ...]
    torn: Torn | None

    @property
    def tampered(self) -> bool:
        """Whether anything but a torn tail was found."""
        return any(finding.kind is not Kind.TORN_TAIL for finding in self.findings)


def verify(medium: Medium, root: str, name: str, key: bytes, *, expected: Head | None = None) -> Verification:
    """
    Read the whole chain *name* and prove it (see the list above); never raises for what it finds, it lists it.

    Without *expected*, the loss of the newest records and a torn tail cannot be told from a crash.
    """
    return _Verifier(medium, root, name, key, expected).run()


@final
class _Verifier:
    def __init__(self, medium: Medium, root: str, name: str, key: bytes, expected: Head | None) -> None:
        self._medium = medium
        self._root = root
        self._name = name
        self._secrets = Secrets(key, name)
        self._expected = expected
        self._findings: list[ChainFinding] = []
        self._missing: dict[int, ChainFinding] = {}
        self._torn: Torn | None = None
        self._chain_id: bytes | None = None
        self._sequence = 0
        self._hash = NOTHING  # of the record before, as headers name it
        self._previous = NOTHING  # and as the next frame has to name it
        self._records = 0
        self._vouched = True  # whether the frame before was opened
        self._seen_expected = expected is None or expected.sequence == 0

    def run(self) -> Verification:
        numbers = segments(self._medium, self._root, self._name)
        awaited = 1
        for number in numbers:
            if number != awaited:
                where = file_name(self._root, self._name, awaited)
                self._note(Kind.REMOVED, where, 0, f"segments {awaited} to {number - 1} are not there")
                self._vouched = False
            self._segment(number, last=number == numbers[-1])
            awaited = number + 1
        self._check_expected()
        self._findings.extend(finding for _, finding in sorted(self._missing.items()))
        head = Head(self._name, self._sequence, self._hash)
        return Verification(head, self._records, tuple(self._findings[:MOST_FINDINGS]), self._torn)

    def _note(self, kind: Kind, where: str, sequence: int, detail: str) -> None:
        self._findings.append(ChainFinding(kind, where, sequence, detail))

    def _segment(self, number: int, *, last: bool) -> None:
        where = file_name(self._root, self._name, number)
        try:
            data = load(self._medium, self._root, self._name, number)
        except IntegrityError as unreadable:
            self._note(Kind.EDITED, where, 0, str(unreadable))
            return
        if last and (len(data) < HEADER or not any(data)):
            self._tear(where, 0, len(data))
            return
        try:
            header = decode_header(bytes(data[:HEADER]), self._secrets)
        except IntegrityError as wrong:
            self._note(Kind.FOREIGN, where, 0, str(wrong))
            self._vouched = False
            return
        self._check_header(header, where, number)
        self._frames(data, header, where, last=last)

    def _check_header(self, header: SegmentHeader, where: str, number: int) -> None:
        if self._chain_id is None:
            self._chain_id = header.chain_id
        if header.number != number:
            self._note(Kind.REORDERED, where, 0, f"this is segment {header.number}")
        elif header.chain_id != self._chain_id:
            self._note(Kind.FOREIGN, where, 0, "this segment belongs to another chain")
        elif header.first_sequence > self._sequence + 1:
            detail = f"records {self._sequence + 1} to {header.first_sequence - 1} before this segment are not there"
            self._note(Kind.REMOVED, where, self._sequence + 1, detail)
        elif self._vouched and header.previous != self._hash:
            self._note(Kind.EDITED, where, self._sequence, "the record before this segment is not the one it follows")

    def _frames(self, data: memoryview, header: SegmentHeader, where: str, *, last: bool) -> None:
        seal = self._secrets.seal_of(header)
        self._previous = start_of(bytes(data[:HEADER]))
        self._sequence = header.first_sequence - 1
        self._hash = header.previous
        self._vouched = True
        position = HEADER
        while True:
            frame = frame_at(data, position)
            if frame is None:
                end, following = ending(data, position, self._sequence + 1)
                if end is End.CLEAN:
                    return
                if end is End.TORN and last and self._seen_expected_by(self._sequence):
                    self._tear(where, position, len(bytes(data[position:]).rstrip(b"\0")))
                    return
                detail = f"the record at {position} is damaged"
                self._note(Kind.EDITED, where, self._sequence + 1, detail)
                self._vouched = False
                if following is None:
                    return
                frame = following
                # The damaged bytes are one record that was named; only further ones are missing.
                self._sequence = min(self._sequence + 1, frame.sequence - 1)
            try:
                frame.open(seal)
                opened = True
            except IntegrityError:
                opened = False
            self._place(frame, where, opened=opened)
            position = frame.stop

    def _seen_expected_by(self, sequence: int) -> bool:
        return self._expected is None or sequence >= self._expected.sequence

    def _place(self, frame: Frame, where: str, *, opened: bool) -> None:
        """Judge one whole frame against what was to come."""
        awaited = self._sequence + 1
        if not opened:
            self._note(Kind.EDITED, where, awaited, f"the record at {frame.start} does not open")
            self._vouched = False
            self._sequence = awaited
            self._previous = self._hash = frame.hash
            return
        self._records += 1
        if frame.sequence > awaited:
            for sequence in range(awaited, min(frame.sequence, awaited + MOST_FINDINGS)):
                self._missing[sequence] = ChainFinding(Kind.REMOVED, where, sequence, "this record is not there")
        elif frame.sequence < awaited:
            self._missing.pop(frame.sequence, None)
            self._note(Kind.REORDERED, where, frame.sequence, f"this record stands where {awaited} belongs")
        elif self._vouched and frame.previous != self._previous:
            self._note(Kind.EDITED, where, awaited - 1, f"not the record that record {awaited} follows")
        if self._expected is not None and frame.sequence == self._expected.sequence:
            self._seen_expected = True
            if frame.hash != self._expected.hash:
                self._note(Kind.EDITED, where, frame.sequence, "not the record whose hash was kept elsewhere")
        self._vouched = frame.sequence >= awaited
        self._sequence = max(frame.sequence, self._sequence)
        self._previous = self._hash = frame.hash

    def _tear(self, where: str, offset: int, length: int) -> None:
        self._torn = Torn(where, offset, length)
        self._note(Kind.TORN_TAIL, where, self._sequence + 1, f"{length} bytes half written by a crash at {offset}")

    def _check_expected(self) -> None:
        if self._expected is None or self._seen_expected or self._expected.sequence <= self._sequence:
            return
        detail = f"the chain ends with record {self._sequence}, record {self._expected.sequence} was durable"
        self._note(Kind.TRUNCATED, self._root, self._expected.sequence, detail)
