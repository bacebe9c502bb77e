"""Merged metadata: the same texts from fewer reads, whatever comes in before, meanwhile and afterwards."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.world import EVERYTHING, STUDY, World, aio, deposited, opened, uid
from strongroom.archive import Session, fragments, merging
from strongroom.archive.merging import Opened, pack
from strongroom.catalogue import extracts
from strongroom.catalogue.instances import instances
from strongroom.catalogue.scope import EVERYTHING as EVERY_SCOPE
from strongroom.errors import IntegrityError
from strongroom.ground.seal import Slot, associated_data, open_small


async def shown(session: Session) -> list[bytes]:
    """The metadata of everything, in order."""
    async with await session.view(EVERYTHING) as disclosure:
        return [text async for text in disclosure.all_metadata()]


def counted(world: World) -> tuple[int, int, int]:
    """Merged blobs, fragments beside them, series that are due."""
    with world.parts.database.reader() as connection:
        return tuple(  # type: ignore[return-value]
            connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in ("merged", "fragment", "merge_due")
        )


def ranges(world: World) -> list[tuple[int, int]]:
    """The instances at both ends of each merged blob."""
    with world.parts.database.reader() as connection:
        return [(row[0], row[1]) for row in connection.execute("SELECT first, last FROM merged ORDER BY series, first")]


@aio
async def test_merged_metadata_is_what_the_fragments_were(tmp_path: Path) -> None:
    """Byte for byte, in the same order; the fragments are gone from the catalogue."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(1, 8):
            await deposited(session, number, series=f"{STUDY}.{number % 2}")
        await world.core.fragments.settle()
        before = await shown(session)
        await world.core.fragments.merge()

        assert (2, 0, 0) == counted(world)
        assert before == await shown(session)
        async with await session.view(EVERYTHING) as disclosure:
            assert before == [await disclosure.metadata(instance) for instance in disclosure.instances]


@aio
async def test_a_series_that_grows_is_merged_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes later is served from its fragment first, and joins the last blob until that is full."""
    monkeypatch.setattr(merging, "MAX_PLAIN", 4_000)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(1, 12):
            await deposited(session, number)
            if number % 2:
                await world.core.fragments.settle()
            else:
                await world.core.fragments.merge()
            texts = await shown(session)
            assert [uid(one) for one in range(1, number + 1)] == [
                json.loads(text)["00080018"]["Value"][0] for text in texts
            ]
        await world.core.fragments.merge()

        assert (0, 0) == counted(world)[1:]
        found = ranges(world)
        assert found == sorted(found)
        assert all(one[1] < other[0] for one, other in pairwise(found))
        assert 1 < len(found) < 11
        assert texts == await shown(session)


@aio
async def test_a_fragment_that_comes_late_finds_its_place(tmp_path: Path) -> None:
    """One made after its neighbours were merged goes between them, and the order stays that of the instances."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(1, 6):
            await deposited(session, number)
        await world.core.fragments.settle()
        expected = await shown(session)
        late = world.row(uid(3))
        assert late is not None
        with world.parts.database.transaction() as connection:
            connection.execute("DELETE FROM fragment WHERE instance = ?", (late.id,))
            connection.execute("INSERT INTO fragment_due VALUES (?)", (late.id,))
        while await world.core.fragments._merging.step():
            pass
        between = await shown(session)
        world.core.fragments.look_again()
        await world.core.fragments.settle()
        beside = await shown(session)
        await world.core.fragments.merge()

        assert (1, 0, 0) == counted(world)
        assert [expected] * 3 == [between, beside, await shown(session)]


@aio
async def test_the_scope_cuts_merged_metadata_too(tmp_path: Path) -> None:
    """A target inside a merged blob gets its own and nothing else of it."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(1, 6):
            await deposited(session, number)
        await world.core.fragments.merge()
        target = type(EVERYTHING)(EVERYTHING.level, sop_instance_uids=(uid(2), uid(4)))
        async with await session.view(target) as disclosure:
            texts = [json.loads(text) async for text in disclosure.all_metadata()]

        assert [uid(2), uid(4)] == [one["00080018"]["Value"][0] for one in texts]


@aio
async def test_merged_metadata_is_bound_to_its_own_id(tmp_path: Path) -> None:
    """It opens as what it is and under its own id, not in another's place (I8)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        await world.core.fragments.merge()
        with world.parts.database.reader() as connection:
            (row,) = instances(connection, EVERYTHING, EVERY_SCOPE)
            merged = extracts.find_merged(connection, row.id)
        assert merged is not None
        key = world.parts.keyring.get(merged.key_id).secret
        assert open_small(key, merged.sealed, associated_data(merged.merged_id, merged.key_id, Slot.MERGED))
        for blob_id, slot in ((row.blob_id, Slot.MERGED), (merged.merged_id, Slot.FRAGMENT)):
            with pytest.raises(IntegrityError):
                open_small(key, merged.sealed, associated_data(blob_id, merged.key_id, slot))


@aio
async def test_a_damaged_blob_is_made_again(tmp_path: Path) -> None:
    """Nothing is lost with it: its instances' metadata come out of the packs once more."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2, 3):
            await deposited(session, number)
        await world.core.fragments.merge()
        expected = await shown(session)
        with world.parts.database.transaction() as connection:
            connection.execute("UPDATE merged SET sealed = zeroblob(200)")
        await deposited(session, 4)
        await world.core.fragments.merge()
        world.core.fragments.look_again()
        await world.core.fragments.merge()

        assert (1, 0, 0) == counted(world)
        assert expected == (await shown(session))[:3]


@aio
async def test_it_happens_in_quiet_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the fragments, in the background, without being asked."""
    monkeypatch.setattr(fragments, "MERGE_SECONDS", 0.05)
    async with opened(tmp_path / "home") as world:
        world.core.fragments.start()
        session = await world.device()
        await deposited(session)
        async with asyncio.timeout(10):
            while counted(world) != (1, 0, 0):  # noqa: ASYNC110 -- somebody else's task
                await asyncio.sleep(0.01)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20), st.integers(1, 1 << 40))
def test_what_is_packed_is_unpacked(texts: list[bytes], first: int) -> None:
    """Every text comes back by its instance, and no other instance has one."""
    numbered = [(first + 3 * at, text) for at, text in enumerate(texts)]
    found = Opened.unpacked(pack(numbered))

    assert numbered == found.items()
    assert found.last == numbered[-1][0]
    assert found.text(first + 1) is None


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_anything_else_is_an_integrity_error(noise: bytes, at: int, byte: int) -> None:
    """Noise, a changed byte or a cut one: told, never a wrong text of a wrong length or another exception."""
    good = bytearray(pack([(1, b"{}"), (2, b'{"00080018":{}}')]))
    good[at % len(good)] = byte
    for data in (noise, bytes(good), bytes(good[:-1])):
        try:
            Opened.unpacked(data)
        except IntegrityError:
            continue
