"""Compaction: what is wanted of a pack lies elsewhere byte for byte, and the pack goes; whoever reads meanwhile reads on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from archive.test_deletion import WHY, custodian
from archive.test_erasing import STUDY, erased
from archive.world import EVERYTHING, LONG_PIXELS, World, aio, data_set, deposit, deposited, opened, returned, uid
from strongroom.archive.blobs import found_again
from strongroom.archive.compaction import Compaction, RetireAct
from strongroom.archive.record import Record
from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.register import retired

OTHER = "1.2.88"


async def filled(world: World) -> tuple[Any, dict[str, bytes]]:
    """Short and long instances, a conflict and a deletion; what a retrieve gives."""
    session = await world.device()
    for number in (1, 2, 3):
        await deposited(session, number)
    await deposit(session, data_set(4, pixels=LONG_PIXELS * 2), number=4)
    await deposit(session, data_set(1, pixels=b"\x07\x08" * 512), number=1)
    return session, await returned(session, EVERYTHING)


@aio
async def test_records_are_the_same_in_another_pack(tmp_path: Path) -> None:
    """Blob id, key id, sealed bytes and trailer; check finds nothing, not after a restart either."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session, before = await filled(world)
        vault = world.parts.vault
        old = {bytes(one.blob_id): one for number in vault.packs() for one in vault.records(number)}
        sealed = {key: vault.read(one.location) for key, one in old.items()}
        gone = vault.packs()

        for number in gone:
            await Compaction(world.core).compact(number, "test")

        new = {bytes(one.blob_id): one for number in vault.packs() for one in vault.records(number)}
        assert set(gone).isdisjoint(vault.packs())
        assert {key: (one.key_id, one.trailer) for key, one in old.items()} == {
            key: (one.key_id, one.trailer) for key, one in new.items()
        }
        assert sealed == {key: vault.read(one.location) for key, one in new.items()}
        assert before == await returned(session, EVERYTHING)
        assert [] == await world.findings()
    async with opened(home) as world:
        assert [] == await world.findings()
        assert before == await returned(await world.device("CT2"), EVERYTHING)
        await deposited(await world.device("CT3"), 9)
        assert max(gone) < max(world.parts.vault.packs())
        assert set(gone).isdisjoint(world.parts.vault.packs())


@aio
async def test_whoever_holds_an_old_place_reads_on(tmp_path: Path) -> None:
    """A disclosure that was prepared before, and one in the middle of its bytes."""
    async with opened(tmp_path / "home") as world:
        session, before = await filled(world)
        got: dict[str, bytes] = {}
        async with await session.retrieve(EVERYTHING) as early:
            first = early.instances[-1]
            pieces = early.open(first)
            parts = [bytes(await anext(pieces))]
            for number in world.parts.vault.packs():
                await Compaction(world.core).compact(number, "test")
            world.parts.vault._files.clear()
            parts += [bytes(piece) async for piece in pieces]
            got[first.sop_instance_uid] = b"".join(parts)
            for instance in early.instances[:-1]:
                got[instance.sop_instance_uid] = b"".join([bytes(piece) async for piece in early.open(instance)])

        assert before == got


@aio
async def test_an_old_place_of_what_was_erased_is_not_found(tmp_path: Path) -> None:
    """A clean error, and never other bytes."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        row = world.row(uid(1))
        assert row is not None
        await erased(world)

        with pytest.raises(NotFound):
            Record(world.parts, row)
        with pytest.raises(NotFound):
            found_again(world.parts, row)


@aio
async def test_deposits_deletions_and_restores_go_on(tmp_path: Path) -> None:
    """While every pack is compacted; what was read before it moved is recorded where it lies now."""
    async with opened(tmp_path / "home") as world:
        session, _ = await filled(world)
        vera = custodian(world)

        async def live() -> None:
            for number in range(20, 30):
                await deposited(session, number)
                await vera.delete(EVERYTHING, WHY)
                await vera.restore(EVERYTHING)

        async def compact() -> None:
            for _ in range(3):
                for number in world.parts.vault.packs():
                    await Compaction(world.core).compact(number, "test")

        await asyncio.gather(live(), compact())

        assert {uid(number) for number in (1, 2, 3, 4, *range(20, 30))} == set(await returned(session, EVERYTHING))
        assert [] == await world.findings()


@aio
async def test_a_pack_stays_as_long_as_something_wanted_in_it_is_damaged(tmp_path: Path) -> None:
    """Nothing is carried that would get a fresh checksum; a pack under which a row is lost is not retired."""
    home = tmp_path / "home"
    async with opened(home) as world:
        await filled(world)
        row = world.row(uid(2))
        assert row is not None
        place = row.location
        await Compaction(world.core)._core.committer.submit(_close(place.pack))
        path = home / "vault" / f"{place.pack:08d}.pack"
        for position in (place.offset + 200, place.offset):
            data = bytearray(path.read_bytes())
            data[position] ^= 1
            path.write_bytes(data)
            with pytest.raises(IntegrityError):
                await Compaction(world.core).compact(place.pack, "test")
            assert place.pack in world.parts.vault.packs()


def _close(number: int) -> Any:
    from strongroom.archive.compaction import CloseAct

    return CloseAct(number)


@aio
async def test_a_pack_that_a_long_instance_is_coming_into_waits(tmp_path: Path) -> None:
    """The lease ends first."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        lease = await world.core.lease(bytes(16), bytes(16))
        number = lease._pack.header.number

        with pytest.raises(OutOfResources):
            await Compaction(world.core).compact(number, "test")
        await world.core.end_lease(lease)
        await Compaction(world.core).compact(number, "test")

        assert number not in world.parts.vault.packs()


@aio
async def test_a_pack_is_not_retired_while_a_row_names_it(tmp_path: Path) -> None:
    """The last look is inside the transaction."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        row = world.row(uid(1))
        assert row is not None
        pack = row.location.pack
        wanted = await asyncio.to_thread(Compaction(world.core)._wanted, pack)

        assert not await world.core.committer.submit(RetireAct(world.core, pack, wanted, "test"))
        with world.parts.database.reader() as connection:
            assert frozenset() == retired.numbers(connection)


@aio
async def test_a_retired_pack_whose_file_a_crash_left_goes_at_start(tmp_path: Path) -> None:
    """And its number is never used again."""
    home = tmp_path / "home"
    told: list[int] = []
    async with opened(home) as world:
        await filled(world)
        world.core.on_retired.append(lambda _connection, number: told.append(number))
        numbers = world.parts.vault.packs()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(world.parts.vault), "remove", lambda *_: None)
            for number in numbers:
                await Compaction(world.core).compact(number, "test")
        assert set(numbers) <= set(world.parts.vault.packs())
    assert numbers == told
    async with opened(home) as world:
        assert set(numbers).isdisjoint(world.parts.vault.packs())
        assert [] == await world.findings()


@aio
async def test_packs_that_are_mostly_dead_go_for_the_room(tmp_path: Path) -> None:
    """One with an abandoned long record; a full one stays."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        coming = session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="1.2.840.10008.1.2.1")
        data = data_set(7, pixels=LONG_PIXELS * 2)
        for start in range(0, len(data) - 1000, 64_000):
            coming.feed(memoryview(data)[start : start + 64_000])
            await coming.ready()
        await coming.abandon("interrupted")
        await deposit(session, data_set(4, pixels=LONG_PIXELS * 2, study=OTHER), number=4)
        for number in world.parts.vault.packs():
            await world.core.committer.submit(_close(number))
        before = sum(path.stat().st_size for path in (tmp_path / "home" / "vault").iterdir())

        assert 1 <= await Compaction(world.core).worthwhile()

        after = sum(path.stat().st_size for path in (tmp_path / "home" / "vault").iterdir())
        assert after < before
        assert [] == await world.findings()
        assert STUDY != OTHER
