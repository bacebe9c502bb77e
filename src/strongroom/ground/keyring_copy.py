"""
The keyring's second copy: a chain of what was added, on a medium, in a format of its own.

A fault of the database cannot reach it, and it needs nothing but the master key to be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, final

import msgspec

from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.chain import Chain, Head, chains, read, verify
from strongroom.ground.medium import Medium
from strongroom.ground.seal import Randomness

ROOT = "keyring"
_BATCH = 500
_OVERWRITTEN_AT_ONCE = 1 << 20


@final
class KeyRow(NamedTuple):
    """One data key as both copies hold it; *study* is None until it is assigned."""

    key_id: bytes
    study: str | None
    wrapped: bytes
    commitment: bytes


_DECODER = msgspec.msgpack.Decoder(KeyRow)


@final
@dataclass(frozen=True, slots=True)
class CopyState:
    """
    How the second copy relates to what the first one noted.

    *same*: nothing to do. *readable*: its rows can be read. *continues*: it holds what was noted and goes on from
    there.
    """

    same: bool
    readable: bool
    continues: bool
    reason: str


@final
class KeyringCopy:
    """Chains `keys.N` in the folder `keyring`; the highest N is current, an older one goes once N is whole."""

    def __init__(self, medium: Medium, key: bytes, randomness: Randomness) -> None:
        self._medium = medium
        self._key = key
        self._randomness = randomness
        self._chain: Chain | None = None

    @property
    def head(self) -> Head:
        """The newest row's head."""
        return self._current.head

    @property
    def _current(self) -> Chain:
        if self._chain is None:
            raise ValueError("the second copy is not open")
        return self._chain

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return bool(self._names())

    def opens(self) -> bool:
        """Whether a row, or at least the front, of it opens under this key."""
        for name in self._names():
            with suppress(IntegrityError, NotFound):
                for _ in read(self._medium, ROOT, name, self._key):
                    return True
                return True
        return False

    def rows(self) -> Iterator[KeyRow]:
        """Yield each key as it was last written, of every generation that is there. Raises IntegrityError."""
        rows: dict[bytes, KeyRow] = {}
        for name in self._names():
            for record in read(self._medium, ROOT, name, self._key):
                row = _DECODER.decode(record.payload)
                rows[row.key_id] = row
        yield from rows.values()

    def open(self, noted: tuple[str, int, bytes] | None) -> CopyState:
        """Open the current chain for appending and say how it relates to the head the first copy noted."""
        self.close()
        names = self._names()
        if not names:
            return CopyState(same=False, readable=False, continues=False, reason="it is missing")
        name = names[-1] if noted is None or noted[0] not in names else noted[0]
        expected = None if noted is None else Head(*noted)
        try:
            chain = Chain.open(self._medium, ROOT, name, self._key, randomness=self._randomness)
        except IntegrityError as damaged:
            return CopyState(same=False, readable=self._is_readable(), continues=False, reason=str(damaged))
        self._chain = chain
        if len(names) == 1 and chain.head == expected:
            return CopyState(same=True, readable=True, continues=True, reason="")
        seen = verify(self._medium, ROOT, name, self._key, expected=expected)
        whole = not seen.findings and expected is not None and expected.chain == name and len(names) == 1
        reason = seen.findings[0].detail if seen.findings else "it was not the one the keyring had noted"
        return CopyState(same=False, readable=self._is_readable(), continues=whole, reason=reason)

    def append(self, rows: Iterable[KeyRow]) -> None:
        """Add *rows*, durably. Raises OutOfResources."""
        chain = self._current
        chain.append([msgspec.msgpack.encode(row) for row in rows])
        chain.flush()

    def rewrite(self, rows: Iterable[KeyRow], *, shred: bool = False) -> None:
        """
        Write all *rows* as a new generation, durably, then remove the older ones.

        With *shred* zeros are written over the older ones first: what is not among *rows* must not come back.
        """
        older = self._names()
        number = max((int(name.rpartition(".")[2]) for name in older), default=0) + 1
        self.close()
        chain = Chain.open(self._medium, ROOT, f"keys.{number}", self._key, randomness=self._randomness)
        batch: list[bytes] = []
        for row in rows:
            batch.append(msgspec.msgpack.encode(row))
            if len(batch) >= _BATCH:
                chain.append(batch)
                batch.clear()
        chain.append(batch)
        chain.flush()
        self._chain = chain
        for file in self._medium.listing(ROOT):
            if file.rpartition("-")[0] in older:
                if shred:
                    self._overwrite(f"{ROOT}/{file}")
                self._medium.unlink(f"{ROOT}/{file}")
        self._medium.sync_directory(ROOT)

    def _overwrite(self, name: str) -> None:
        file = self._medium.open(name)
        try:
            size = file.size()
            for start in range(0, size, _OVERWRITTEN_AT_ONCE):
                file.pwrite((bytes(min(_OVERWRITTEN_AT_ONCE, size - start)),), start)
            file.fdatasync()
        finally:
            file.close()

    def findings(self) -> list[str]:
        """Prove the whole copy; return what is wrong with it."""
        seen = verify(self._medium, ROOT, self.head.chain, self._key, expected=self.head)
        return [f"the keyring's second copy: {finding.detail}" for finding in seen.findings]

    def close(self) -> None:
        """Let go of the file."""
        if self._chain is not None:
            self._chain.close()
            self._chain = None

    def _names(self) -> list[str]:
        named = [name for name in chains(self._medium, ROOT) if name.startswith("keys.") and name[5:].isdigit()]
        return sorted(named, key=lambda name: int(name[5:]))

    def _is_readable(self) -> bool:
        try:
            for _ in self.rows():
                pass
        except (IntegrityError, NotFound, msgspec.MsgspecError):
            return False
        return True
