"""
The trail: audit messages in a hash-chained, sealed, append-only file (docs/formats/trail.md), one record per act.

What is appended is durable after `flush`, and not before; a group of acts is appended in one write and flushed once.
Reading goes newest first and holds one segment at a time.
"""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, final

import msgspec

from strongroom.audit.message import AuditMessage, Participant, decode, encode
from strongroom.errors import NotFound
from strongroom.ground import chain
from strongroom.ground.chain import Chain, Head, Torn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from strongroom.ground.medium import Medium

MAIN: Final = "archive"
"""The chain of the process that owns the archive; every other writing process has one of its own."""


@final
@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; what is not said does not matter."""

    since: datetime | None = None
    until: datetime | None = None
    """Up to, not including."""
    patient_id: str | None = None
    study_instance_uid: str | None = None
    actor: str | None = None
    """A name (CT1), a kind (host), or kind and name (device:CT1) of any participant."""
    events: frozenset[str] = frozenset()
    """Event ids or event types (`codes.Event`, `codes.EventType`); none means all."""
    failed: bool | None = None
    act: str | None = None

    def needles(self) -> tuple[bytes, ...]:
        """Bytes a record holds if it can match at all: most records are passed over without being decoded."""
        exact = (self.patient_id, self.study_instance_uid, self.act)
        return tuple(msgspec.json.encode(value) for value in exact if value)

    def matches(self, message: AuditMessage) -> bool:
        """Whether *message* is wanted."""
        return (
            (self.since is None or message.time >= self.since)
            and (self.until is None or message.time < self.until)
            and (self.failed is None or message.failed is self.failed)
            and (not self.events or message.event in self.events or not self.events.isdisjoint(message.types))
            and (self.act is None or message.act == self.act)
            and (self.patient_id is None or self.patient_id in message.patient_ids())
            and (self.study_instance_uid is None or self.study_instance_uid in message.study_instance_uids())
            and (self.actor is None or any(_is(self.actor, one) for one in message.participants))
        )


def _is(wanted: str, participant: Participant) -> bool:
    return wanted in {participant.name, participant.user_id, participant.user_id.partition(":")[0]}


EVERY: Final = Filter()


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it is read back: where it stands, and what it says."""

    chain: str
    sequence: int
    message: AuditMessage


@final
class Trail:
    """The trail of one writing process, open for appending; one thread appends at a time, any thread reads."""

    __slots__ = ("_chain", "_key", "_medium", "_root")

    def __init__(self, medium: Medium, root: str, key: bytes, own: Chain) -> None:
        """Use `Trail.open`."""
        self._medium = medium
        self._root = root
        self._key = key
        self._chain = own

    @classmethod
    def open(
        cls,
        medium: Medium,
        root: str,
        key: bytes,
        *,
        name: str = MAIN,
        expected: Head | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> Trail:
        """
        Open the chain *name* of the trail in the folder *root*, or begin it; *key* is 32 bytes derived for the trail.

        A tail torn by a crash is cut and named in `torn`: the caller records that (`Reporter.alert`). Raises
        IntegrityError on any other damage in the newest segment, and when the chain ends before *expected* (a head
        known to have been durable).
        """
        return cls(medium, root, key, Chain.open(medium, root, name, key, expected=expected, randomness=randomness))

    @property
    def head(self) -> Head:
        """The newest record: chain, sequence number and hash."""
        return self._chain.head

    @property
    def torn(self) -> Torn | None:
        """What a crash had left half written when the trail was opened."""
        return self._chain.torn

    def append(self, messages: Sequence[AuditMessage]) -> Head:
        """
        Write one record per message, in order; return the head to be kept in the register.

        Durable only after `flush`. Raises OutOfResources, and then none of them is part of the trail.
        """
        return self._chain.append([encode(message) for message in messages])

    def append_encoded(self, payloads: Sequence[bytes]) -> Head:
        """The same for records that are encoded already, such as those of an outbox."""
        return self._chain.append(payloads)

    def flush(self) -> None:
        """Make what was appended durable; raises OutOfResources, after which the trail takes nothing more (I10)."""
        self._chain.flush()

    def close(self) -> None:
        """Let go of the file; what was not flushed is not promised."""
        self._chain.close()

    def read(self, wanted: Filter = EVERY) -> Iterator[Entry]:
        """Yield the records that *wanted* names out of all chains, newest first. Raises IntegrityError on damage."""
        return read(self._medium, self._root, self._key, wanted)


def read(
    medium: Medium, root: str, key: bytes, wanted: Filter = EVERY, *, newest_first: bool = True
) -> Iterator[Entry]:
    """
    Yield the records of every chain in *root* that *wanted* names, ordered by time between chains.

    Within a chain the order is that of the chain, whatever the clock said. Holds one segment per chain. Raises
    IntegrityError at the first record that does not fit.
    """
    streams = [
        _one_chain(medium, root, name, key, wanted, newest_first=newest_first) for name in chain.chains(medium, root)
    ]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=lambda entry: entry.message.time, reverse=newest_first)


def _one_chain(
    medium: Medium, root: str, name: str, key: bytes, wanted: Filter, *, newest_first: bool
) -> Iterator[Entry]:
    needles = wanted.needles()
    try:
        for record in chain.read(medium, root, name, key, newest_first=newest_first):
            if any(needle not in record.payload for needle in needles):
                continue
            message = decode(record.payload)
            if wanted.matches(message):
                yield Entry(name, record.sequence, message)
    except NotFound:
        return
