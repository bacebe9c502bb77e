"""
Tombstones: what was erased for good, in a sealed append-only file that outlives the database and travels with every
copy of the vault (docs/formats/tombstones.md).

The rule of the file: a tombstone is durable here before the first row or key of what it names is touched; whatever a
restore of an older copy brings back is erased again by it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

import msgspec

from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.chain import Chain, chains, read
from strongroom.ground.medium import Medium
from strongroom.ground.seal import Randomness

__all__ = ["PURPOSE", "ROOT", "Tombstone", "TombstoneFile"]

ROOT: Final = "tombstones"
"""The folder, in a home and in every copy."""
PURPOSE: Final = "tombstones 1"
"""What its key is derived from the master key for."""


@final
@dataclass(frozen=True, slots=True)
class Tombstone:
    """
    One erased study. Blobs under *key_ids* (16 bytes each) are gone; *at* is seconds since 1970 UTC.

    *proof* is SHA-256 over what was erased (`docs/formats/tombstones.md`). Once *released_at* is set the study may be
    sent again, under other keys; those named here stay shredded.
    """

    tombstone_id: bytes
    study_instance_uid: str
    key_ids: tuple[bytes, ...]
    instances: int
    at: float
    proof: bytes
    released_at: float | None = None


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """As it stands in the file; fields are added at the end, with a default."""

    tombstone_id: bytes
    study_instance_uid: str
    key_ids: tuple[bytes, ...]
    instances: int
    at: float
    proof: bytes
    released_at: float | None = None


_DECODER: Final = msgspec.msgpack.Decoder(_Record)


@final
class TombstoneFile:
    """The chain `tombstones.N` in the folder *root* of *medium*; the highest N is written to. One thread at a time."""

    def __init__(self, medium: Medium, root: str, key: bytes, *, randomness: Randomness = os.urandom) -> None:
        self._medium = medium
        self._root = root
        self._key = key
        self._randomness = randomness

    def append(self, tombstones: Sequence[Tombstone]) -> None:
        """Add *tombstones*, durably; a later one of the same id replaces the earlier. Raises OutOfResources."""
        if not tombstones:
            return
        names = self._names()
        self._write(names[-1] if names else "tombstones.1", self._key, tombstones)

    def read(self) -> dict[bytes, Tombstone]:
        """
        Return every tombstone by its id, of every generation that opens under the key.

        Raises IntegrityError when something in one that opens does not fit, or when none opens.
        """
        found: dict[bytes, Tombstone] = {}
        opened, wrong = 0, None
        names = self._names()
        for name in names:
            try:
                found |= {one.tombstone_id: one for one in self._of(name)}
                opened += 1
            except IntegrityError as damaged:
                wrong = damaged
        if wrong is not None and (not opened or len(names) == 1):
            raise IntegrityError("the tombstones do not open: another master key, or they are damaged") from wrong
        return found

    def rewrite(self, key: bytes, tombstones: Iterable[Tombstone]) -> None:
        """Write *tombstones* as a new generation under *key*, durably, and remove the older: for another master key."""
        older = self._names()
        number = max((int(name.rpartition(".")[2]) for name in older), default=0) + 1
        self._write(f"tombstones.{number}", key, list(tombstones))
        self._key = key
        for file in self._medium.listing(self._root):
            if file.rpartition("-")[0] in older:
                self._medium.unlink(f"{self._root}/{file}")
        self._medium.sync_directory(self._root)

    def _write(self, name: str, key: bytes, tombstones: Sequence[Tombstone]) -> None:
        self._medium.make_directory(self._root)
        chain = Chain.open(self._medium, self._root, name, key, randomness=self._randomness)
        try:
            chain.append([msgspec.msgpack.encode(_record(one)) for one in tombstones])
            chain.flush()
        finally:
            chain.close()

    def _of(self, name: str) -> Iterator[Tombstone]:
        try:
            for record in read(self._medium, self._root, name, self._key):
                one = _DECODER.decode(record.payload)
                yield Tombstone(
                    one.tombstone_id,
                    one.study_instance_uid,
                    one.key_ids,
                    one.instances,
                    one.at,
                    one.proof,
                    one.released_at,
                )
        except (NotFound, msgspec.MsgspecError) as damaged:
            raise IntegrityError(f"the tombstones {name} cannot be read") from damaged

    def _names(self) -> list[str]:
        named = []
        for name in chains(self._medium, self._root):
            with suppress(ValueError):
                if name.startswith("tombstones."):
                    named.append((int(name.rpartition(".")[2]), name))
        return [name for _, name in sorted(named)]


def _record(one: Tombstone) -> _Record:
    return _Record(
        one.tombstone_id, one.study_instance_uid, one.key_ids, one.instances, one.at, one.proof, one.released_at
    )
