"""
Compaction: what is still wanted of a pack is carried into others, then the pack goes (docs/decisions/0011).

One pack at a time, with `core.upkeep` held:
1. the pack is closed, so nothing more comes into it
2. each record is looked at: erased (its key was shredded), dead (its row names another place), or wanted; a record that
   no row knows is wanted as long as its key is there
3. wanted records are carried with their sealed bytes as they are, some at a time: appended, flushed, and in the same
   transaction every row that names the old place names the new one
4. every copy is read again and its checksum compared
5. one transaction makes sure that no row names the pack and says that it is retired; its file is removed after that
Cut short anywhere it begins again at 1: what was carried is not wanted there any more, what was retired is removed at
the next start. Whoever holds an old place looks the blob up again (`blobs.found_again`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.archive import places
from strongroom.archive.batch import from_thread
from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground.label import open_label
from strongroom.register import retired, tombstones
from strongroom.vault import compact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.archive.committer import Group
    from strongroom.archive.core import Core, Parts
    from strongroom.audit.message import AuditMessage
    from strongroom.vault.blob import Location, SealedRecord, StoredRecord
    from strongroom.vault.pack import Lease

BYTES_A_SECOND: Final = 64 << 20
"""Sealed bytes carried in a second at most: a disk does five times as much, and others want it too."""
CARRIED_AT_ONCE_BYTES: Final = 8 << 20
"""Sealed bytes appended by one act; deposits wait for these only."""
MAX_ROUNDS: Final = 4
"""Times a pack is gone through: more than one only when rows were moved back meanwhile."""
WORTH_PERCENT: Final = 30
"""Share of a closed pack that is dead before it is compacted for the room alone."""


UPKEEP_LOOK_SECONDS: Final = 1.0
"""How often it is looked whether a backup or a repair is over."""
MAX_FOR_ROOM: Final = 16
"""Packs compacted for the room alone in one go: 4 GiB."""
ROOM_SECONDS: Final = 604_800.0
"""How often packs are looked through for dead bytes."""

Report = Callable[[int, int], Awaitable[None]]


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """A record that has to be carried; *sop_instance_uid* is what its rows are found by."""

    record: StoredRecord
    sop_instance_uid: str


@final
class CarryAct:
    """Append records again, or end the lease of a long one, and let the rows follow."""

    __slots__ = ("_lease", "_places", "_records", "_wanted", "result", "size")

    def __init__(self, wanted: Sequence[Wanted], records: Sequence[SealedRecord], lease: Lease | None = None) -> None:
        self._wanted = wanted
        self._records = records
        self._lease = lease
        self._places: list[Location] = []
        self.size = sum(one.record.location.length for one in wanted) if lease is None else 0
        self.result: list[Location] = []
        """Where each lies now."""

    def write(self, group: Group) -> None:
        """Append."""
        group.appended = True
        if self._lease is not None:
            self._places = [self._lease.finish(self._wanted[0].record.trailer)]
        else:
            self._places = group.parts.vault.append(self._records)

    def index(self, group: Group) -> None:
        """Move the rows; a record that nobody names any more was deleted for good meanwhile, its copy is dead."""
        for one, new in zip(self._wanted, self._places, strict=True):
            places.move(group.connection, one.record.blob_id, one.sop_instance_uid, one.record.location, new)
        self.result = self._places

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """Nothing was done to what is kept."""
        return ()


@final
class CloseAct:
    """Close a pack that still takes records."""

    __slots__ = ("_number", "result")
    size = 0

    def __init__(self, number: int) -> None:
        self._number = number
        self.result = False
        """Whether it is closed; not while a long instance comes in."""

    def write(self, group: Group) -> None:
        """By the thread that appends."""
        self.result = group.parts.vault.close_pack(self._number)

    def index(self, group: Group) -> None:
        """Nothing for the database."""

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """Nothing."""
        return ()


@final
class RetireAct:
    """Say that a pack is gone on purpose, unless a row still names it."""

    __slots__ = ("_carried", "_core", "_number", "_reason", "result")
    size = 0

    def __init__(self, core: Core, number: int, carried: Sequence[Wanted], reason: str) -> None:
        self._core = core
        self._number = number
        self._carried = carried
        self._reason = reason
        self.result = False
        """Whether it is retired."""

    def write(self, group: Group) -> None:
        """Nothing for the vault: the file goes once this is durable."""

    def index(self, group: Group) -> None:
        """Look once more, then write it down."""
        for one in self._carried:
            place = places.find(group.connection, one.record.blob_id, one.sop_instance_uid)
            if place is not None and place.pack == self._number:
                return
        at = group.parts.clock().timestamp()
        retired.retire(group.connection, self._number, at=at, reason=self._reason)
        for told in self._core.on_retired:
            told(group.connection, self._number)
        self.result = True

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """Nothing was done to what is kept."""
        return ()


@final
class Compaction:
    """Takes packs out of the vault, slowly, while the archive goes on."""

    def __init__(self, core: Core, *, report: Report | None = None, bytes_a_second: float = BYTES_A_SECOND) -> None:
        """*report* is told records carried and records of the pack, now and then; what it raises ends the work."""
        self._core = core
        self._report = report
        self._bytes_a_second = bytes_a_second

    async def due(self) -> int:
        """Compact every pack that holds erased bytes; return how many. Raises what `compact` raises."""
        with self._core.parts.database.reader() as connection:
            numbers = retired.due(connection)
        for number in numbers:
            await self.compact(number, "erased")
        return len(numbers)

    async def worthwhile(self) -> int:
        """Compact closed packs of which a good part is dead; return how many there were."""
        found = 0
        still_open = set(self._core.parts.vault.open_packs())
        for number in self._core.parts.vault.packs():
            if found == MAX_FOR_ROOM:
                break
            await self._tell(0, 1)
            if number in still_open or not await asyncio.to_thread(self._is_worthwhile, number):
                continue
            await self.compact(number, "dead")
            found += 1
        return found

    async def compact(self, number: int, reason: str) -> None:
        """
        Take one pack out; nothing when it is gone already.

        Raises OutOfResources while a long instance is written to it or the disk takes no more, IntegrityError when
        something in it that is still wanted is damaged.
        """
        while self._core.upkeep.locked():
            await self._tell(0, 1)
            await asyncio.sleep(UPKEEP_LOOK_SECONDS)
        async with self._core.upkeep:
            if number not in self._core.parts.vault.packs():
                await self._core.committer.submit(RetireAct(self._core, number, (), reason))
                return
            if not await self._core.committer.submit(CloseAct(number)):
                raise OutOfResources(f"a long instance is coming into pack {number}")
            for _ in range(MAX_ROUNDS):
                wanted = await asyncio.to_thread(self._wanted, number)
                await self._carry(wanted)
                if await self._core.committer.submit(RetireAct(self._core, number, wanted, reason)):
                    await asyncio.to_thread(self._core.parts.vault.remove, number)
                    return
            raise OutOfResources(f"rows went on naming pack {number}")

    async def _tell(self, done: int, total: int) -> None:
        if self._report is not None:
            await self._report(done, total)

    async def _carry(self, wanted: Sequence[Wanted]) -> None:
        batch: list[Wanted] = []
        length = 0
        for done, one in enumerate(wanted):
            await self._tell(done, len(wanted))
            if one.record.location.length > compact.MAX_CARRIED:
                await self._carry_long(one)
                continue
            if batch and length + one.record.location.length > CARRIED_AT_ONCE_BYTES:
                await self._carry_batch(batch)
                batch, length = [], 0
            batch.append(one)
            length += one.record.location.length
        if batch:
            await self._carry_batch(batch)

    async def _carry_batch(self, batch: Sequence[Wanted]) -> None:
        vault = self._core.parts.vault
        records = await asyncio.to_thread(lambda: [compact.carried(vault, one.record) for one in batch])
        await self._prove(batch, await self._core.committer.submit(CarryAct(batch, records)))
        await asyncio.sleep(sum(one.record.location.length for one in batch) / self._bytes_a_second)

    async def _carry_long(self, one: Wanted) -> None:
        """Through a lease, as it came in."""
        core = self._core
        lease = await core.lease(one.record.blob_id, one.record.key_id)
        try:
            async with contextlib.aclosing(from_thread(compact.relayed(core.parts.vault, one.record, lease))) as steps:
                async for written in steps:
                    await self._tell(0, 1)
                    await asyncio.sleep(written / self._bytes_a_second)
            carried = await core.committer.submit(CarryAct((one,), (), lease))
        finally:
            await core.end_lease(lease)
        await self._prove((one,), carried)

    async def _prove(self, carried: Sequence[Wanted], there: Sequence[Location]) -> None:
        """Read every copy again: the pack it came from is about to go."""
        vault = self._core.parts.vault

        def look() -> None:
            for one, place in zip(carried, there, strict=True):
                compact.verify(vault, place, one.record.blob_id)

        await asyncio.to_thread(look)

    def _wanted(self, number: int) -> list[Wanted]:
        """The records of a pack that have to be carried. Raises IntegrityError when that cannot be told."""
        parts = self._core.parts
        with parts.database.reader() as connection:
            shredded = tombstones.key_ids(connection)
            wanted, named = [], 0
            for record in parts.vault.records(number):
                if record.key_id in shredded:
                    continue
                uid = sop_instance_uid_of(parts, record)
                place = places.find(connection, record.blob_id, uid)
                is_named = place is not None and (place.pack, place.offset) == (number, record.location.offset)
                named += is_named
                if place is None or is_named:
                    wanted.append(Wanted(record, uid))
            if compact.has_damage(parts.vault, number) and places.of_pack(connection, number) > named:
                raise IntegrityError(f"pack {number} is damaged where it is still wanted; `strongroom repair` first")
        return wanted

    def _is_worthwhile(self, number: int) -> bool:
        try:
            size = self._core.parts.vault.file(number)[0].size()
            live = sum(one.record.location.length + len(one.record.trailer) for one in self._wanted(number))
        except (IntegrityError, NotFound):
            return False  # damaged: `check` names it
        return (size - live) * 100 >= size * WORTH_PERCENT


def sop_instance_uid_of(parts: Parts, record: StoredRecord) -> str:
    """What the sealed label of a record says. Raises IntegrityError when the key is missing or does not open it."""
    try:
        key = parts.keyring.get(record.key_id)
    except NotFound as missing:
        where = f"pack {record.location.pack} at {record.location.offset}"
        raise IntegrityError(f"{where}: the keyring lacks the key, and nobody erased it") from missing
    return open_label(record.trailer, key.secret, record.blob_id, record.key_id).sop_instance_uid


def finish_retiring(parts: Parts) -> None:
    """At start: remove files of packs that are retired, and see to it that no new pack is called like one."""
    with parts.database.reader() as connection:
        numbers = retired.numbers(connection)
    parts.vault.never_again(numbers)
    for number in sorted(numbers & set(parts.vault.packs())):
        if number not in parts.vault.open_packs():
            parts.vault.remove(number)
