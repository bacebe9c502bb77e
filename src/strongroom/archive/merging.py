"""
Metadata fragments of a series, merged and compressed when it is quiet, so that the metadata of a study is a few reads
(DESIGN section 6, Metadata).

One merged blob holds neighbouring instances of one series, about MAX_PLAIN bytes of text, under the study's key;
fragments that are in it are taken out of the catalogue. docs/formats/metadata.md has its bytes.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, final

from strongroom.archive.acts import Change
from strongroom.catalogue import extracts
from strongroom.catalogue.extracts import Merged
from strongroom.errors import IntegrityError
from strongroom.ground.seal import Slot, associated_data, open_small, seal_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import apsw

    from strongroom.archive.core import Core, Parts
    from strongroom.ground.keyring import DataKey

__all__ = ["MAX_PLAIN", "Merging", "Opened", "open_merged", "pack"]

MAX_PLAIN: Final = 1 << 20
"""Text in one merged blob: it is opened whole for one instance too, which then costs 3 ms."""
LEVEL: Final = 6
_VERSION: Final = 1
_FRONT: Final = struct.Struct(">BxxxII")  # version, instances, bytes of text
_ENTRY: Final = struct.Struct(">QI")  # instance, bytes of its text


@final
class Opened:
    """A merged blob in memory."""

    __slots__ = ("_places", "_text", "last")

    def __init__(self, places: dict[int, tuple[int, int]], text: bytes) -> None:
        self._places = places
        self._text = text
        self.last = max(places)
        """The last instance in it."""

    def text(self, instance_id: int) -> bytes | None:
        """The text of an instance, None when it is not in it."""
        place = self._places.get(instance_id)
        return None if place is None else self._text[place[0] : place[1]]

    def items(self) -> list[tuple[int, bytes]]:
        """Every instance with its text, in order."""
        return [(number, self._text[start:stop]) for number, (start, stop) in self._places.items()]

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Read what `pack` made; raises IntegrityError."""
        try:
            version, count, length = _FRONT.unpack_from(data)
            if version != _VERSION:
                raise IntegrityError(f"merged metadata of version {version}")
            entries = [_ENTRY.unpack_from(data, _FRONT.size + at * _ENTRY.size) for at in range(count)]
            inflater = zlib.decompressobj()
            text = inflater.decompress(memoryview(data)[_FRONT.size + count * _ENTRY.size :], length)
        except (struct.error, zlib.error) as error:
            raise IntegrityError(f"{len(data)} bytes are no merged metadata") from error
        places, at = {}, 0
        for number, size in entries:
            places[number] = at, at + size
            at += size
        if not places or at != len(text) or at != length:
            raise IntegrityError(f"merged metadata of {len(text)} bytes has entries for {at}")
        return cls(places, text)


def pack(texts: Sequence[tuple[int, bytes]]) -> bytes:
    """Join the texts of instances, in order, and compress them."""
    joined = b"".join(text for _, text in texts)
    entries = b"".join(_ENTRY.pack(number, len(text)) for number, text in texts)
    return _FRONT.pack(_VERSION, len(texts), len(joined)) + entries + zlib.compress(joined, LEVEL)


def open_merged(parts: Parts, merged: Merged) -> Opened:
    """Open a merged blob; raises IntegrityError."""
    key = parts.keyring.get(merged.key_id)
    ad = associated_data(merged.merged_id, merged.key_id, Slot.MERGED)
    return Opened.unpacked(open_small(key.secret, merged.sealed, ad))


@final
@dataclass(frozen=True, slots=True)
class _Plan:
    """One step: blobs that are made, and what they are in place of."""

    series: int
    instances: list[int]
    made: list[Merged]
    in_place_of: Merged | None


@final
class Merging:
    """
    Merges what is there to be merged, some fragments of one series at each step; calls *missing* when there are
    fragments to be made again.
    """

    def __init__(self, core: Core, missing: Callable[[], None]) -> None:
        self._core = core
        self._missing = missing

    async def step(self) -> bool:
        """Do the next piece of work; False when there is none."""
        try:
            plan = await asyncio.to_thread(self._plan)
        except _DamagedError as damaged:
            merged = damaged.merged
            await self._submit(lambda connection: extracts.dissolve(connection, merged))
            self._missing()
            return True
        if plan is None:
            return False
        await self._submit(
            lambda connection: extracts.put_merged(
                connection, plan.series, plan.instances, plan.made, in_place_of=plan.in_place_of
            )
        )
        return True

    async def _submit(self, change: Callable[[apsw.Connection], Any]) -> None:
        await self._core.committer.submit(Change(change, ()))

    def _plan(self) -> _Plan | None:
        parts = self._core.parts
        with parts.database.reader() as connection:
            due = extracts.series_to_merge(connection)
            if due is None:
                return None
            series, study = due
            found = extracts.unmerged(connection, series)
            if not found:
                return _Plan(series, [], [], None)
            home = extracts.home_of(connection, series, found[0].instance_id)
        if home is not None and home.last < found[0].instance_id and home.plain_length >= MAX_PLAIN:
            home = None  # full, and nothing belongs into it
        texts = dict(_items(parts, home)) if home is not None else {}
        for one in found:
            ad = associated_data(one.blob_id, one.key_id, Slot.FRAGMENT)
            texts[one.instance_id] = open_small(parts.keyring.get(one.key_id).secret, one.sealed, ad)
        key = parts.keyring.find(study) or parts.keyring.get(found[0].key_id)
        made = [self._made(group, key) for group in _groups(sorted(texts.items()))]
        return _Plan(series, [one.instance_id for one in found], made, home)

    def _made(self, texts: list[tuple[int, bytes]], key: DataKey) -> Merged:
        entropy = self._core.parts.entropy
        merged_id = entropy(16)
        ad = associated_data(merged_id, key.key_id, Slot.MERGED)
        sealed = seal_small(key.secret, pack(texts), ad, randomness=entropy)
        length = sum(len(text) for _, text in texts)
        return Merged(0, texts[0][0], texts[-1][0], length, merged_id, key.key_id, sealed)


class _DamagedError(Exception):
    """A merged blob does not open."""

    def __init__(self, merged: Merged) -> None:
        super().__init__("a merged blob does not open")
        self.merged = merged


def _items(parts: Parts, merged: Merged) -> list[tuple[int, bytes]]:
    try:
        return open_merged(parts, merged).items()
    except IntegrityError as error:
        raise _DamagedError(merged) from error


def _groups(texts: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Divide what is merged into blobs: each ends with the text that makes it MAX_PLAIN bytes long."""
    group: list[tuple[int, bytes]] = []
    length = 0
    for number, text in texts:
        group.append((number, text))
        length += len(text)
        if length >= MAX_PLAIN:
            yield group
            group, length = [], 0
    if group:
        yield group
