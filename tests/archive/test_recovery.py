"""
Start-up after a crash: a copy of the home, taken while the archive runs, is what kill -9 leaves; parts of it are exchanged for
what a power cut may leave.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archive.world import EVERYTHING, World, aio, deposited, opened, returned, uid
from strongroom.archive import Outcome
from strongroom.errors import IntegrityError


def crash(home: Path, name: str, *, database: Path | None = None, trail: Path | None = None) -> Path:
    """What is found after a crash of the running *home*; database or trail may be those of an earlier copy."""
    found = home.with_name(name)
    shutil.copytree(home, found)
    if database is not None:
        for path in (*found.glob("archive.db*"), *database.glob("archive.db*")):
            if path.parent == found:
                path.unlink()
            else:
                shutil.copy(path, found / path.name)
    if trail is not None:
        shutil.rmtree(found / "trail")
        shutil.copytree(trail / "trail", found / "trail")
    return found


def only_when_told(world: World) -> None:
    """Let no timer flush the chain: on a slow machine it would, between two steps of a test."""
    world.core.committer._trail_written = lambda: None


def newest_segment(home: Path) -> Path:
    """The trail's file that is written to."""
    return max(path for path in (home / "trail").rglob("*") if path.is_file())


def alerts(world: World) -> list[str]:
    """What start-up recorded about opening."""
    return [
        value
        for entry in world.trail()
        for thing in entry.message.objects
        if thing.id.startswith("urn:strongroom:")
        for _, value in thing.details
    ]


def deposits(world: World) -> set[str]:
    """Instances that a record of the trail names as deposited."""
    return {
        instance.sop_instance_uid
        for entry in world.trail()
        if not entry.message.failed
        for thing in entry.message.objects
        for sop_class in thing.sop_classes
        for instance in sop_class.instances
    }


@aio
async def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """Rows, bytes, keys and records of everything that was answered are there; nothing has to be said about it."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sent = {uid(number): (await deposited(session, number, study=f"1.2.{number}"))[0] for number in range(8)}
        home = crash(tmp_path / "home", "crashed")
    async with opened(home) as world:
        session = await world.device("CT2")
        got = {}
        for number in range(8):
            got |= await returned(session, type(EVERYTHING)(EVERYTHING.level, study_instance_uids=(f"1.2.{number}",)))

        assert sent == got
        assert set(sent) == deposits(world)
        assert ([], []) == (await world.findings(), await world.proof())


@aio
async def test_records_that_the_chain_lost_come_out_of_the_outbox(tmp_path: Path) -> None:
    """The chain's file ends before the last groups, as a power cut leaves it: their records are appended at start, and named."""
    async with opened(tmp_path / "home") as world:
        only_when_told(world)
        session = await world.device()
        await deposited(session, 1)
        world.core.committer._flush_trail()
        before = crash(tmp_path / "home", "before")
        await deposited(session, 2)
        await deposited(session, 3)
        expected = [entry.message for entry in world.trail()]
        home = crash(tmp_path / "home", "crashed", trail=before)
    async with opened(home) as world:
        messages = [entry.message for entry in world.trail()]

        assert expected == messages[: len(expected)]
        assert any("2 records were appended" in text for text in alerts(world))
        assert {uid(1), uid(2), uid(3)} == deposits(world)
        assert ([], []) == (await world.findings(), await world.proof())
    async with opened(home) as world:
        assert 1 == sum("were appended" in text for text in alerts(world))


@pytest.mark.parametrize("cut", [1, 20, 150])
@aio
async def test_a_torn_record_is_cut_and_written_again(tmp_path: Path, cut: int) -> None:
    """The last record of the chain is there in part: the part is cut, named apart from tampering, and the record is whole again."""
    async with opened(tmp_path / "home") as world:
        only_when_told(world)
        session = await world.device()
        await deposited(session, 1)
        world.core.committer._flush_trail()
        await deposited(session, 2)
        expected = [entry.message for entry in world.trail()]
        home = crash(tmp_path / "home", "crashed")
    segment = newest_segment(home)
    segment.write_bytes(segment.read_bytes().rstrip(b"\0")[:-cut])
    async with opened(home) as world:
        assert expected == [entry.message for entry in world.trail()][: len(expected)]
        assert any("unfinished record" in text for text in alerts(world))
        assert [] == await world.proof()


@aio
async def test_a_chain_that_lost_what_was_flushed_is_refused(tmp_path: Path) -> None:
    """The chain ends before what the register knows as flushed: that is no crash, and nothing is opened."""
    async with opened(tmp_path / "home") as world:
        only_when_told(world)
        session = await world.device()
        before = crash(tmp_path / "home", "before")
        await deposited(session, 1)
        world.core.committer._flush_trail()
        await deposited(session, 2)
        home = crash(tmp_path / "home", "crashed", trail=before)
    with pytest.raises(IntegrityError):
        async with opened(home):
            pytest.fail("opened a trail that was cut")


@aio
async def test_records_that_no_group_knows_are_named(tmp_path: Path) -> None:
    """The database is older than the chain (a copy put back): the chain goes on, and the extra records are named."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        world.core.committer._flush_trail()
        before = crash(tmp_path / "home", "before")
        await deposited(session, 2)
        await deposited(session, 3)
        home = crash(tmp_path / "home", "crashed", database=before)
    async with opened(home) as world:
        assert any("2 records that no group knows" in text for text in alerts(world))
        assert [] == await world.proof()
        assert {uid(1)} == set(await returned(await world.device("CT2"), EVERYTHING))
        # their images were never lost: packs describe themselves, check names them
        assert ["orphan"] * 2 == [finding["kind"] for finding in await world.findings()]
        assert Outcome.STORED == (await deposited(await world.device("CT3"), 2))[1].outcome


@aio
async def test_a_torn_tail_of_a_pack_is_named_and_stepped_over(tmp_path: Path) -> None:
    """An image that was half written when the current failed: named at start, what was answered is whole, the pack is closed."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1)
        before = crash(tmp_path / "home", "before")
        await deposited(session, 2, pixels=b"\x01\x02" * 20_000)
        place = world.row(uid(2)).location
        home = crash(tmp_path / "home", "crashed", database=before, trail=before)
    (pack,) = (home / "vault").glob("*.open")
    content = bytearray(pack.read_bytes())
    content[place.offset + 5120 : place.offset + 10_240] = bytes(5120)
    pack.write_bytes(content)
    async with opened(home) as world:
        session = await world.device("CT2")

        assert any("stay behind a crash" in text for text in alerts(world))
        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert Outcome.STORED == (await deposited(session, 2))[1].outcome
        assert [] == await world.proof()
        assert {"torn", "orphan"} >= {finding["kind"] for finding in await world.findings()}


@aio
async def test_a_lost_keyring_copy_is_made_anew(tmp_path: Path) -> None:
    """One of the keyring's two files is gone: the other has every key, the trail says what was healed, everything opens."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session, 1)
    (tmp_path / "home" / "keyring.db").unlink()
    async with opened(tmp_path / "home") as world:
        assert {uid(1): data} == await returned(await world.device("CT2"), EVERYTHING)
        assert any("integrity" in entry.message.types for entry in world.trail())
        assert ([], []) == (await world.findings(), await world.proof())
