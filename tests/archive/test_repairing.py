"""`repair` makes right what can be made right without guessing, says so first, and leaves the rest with a reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from archive.test_inspection import flip
from archive.world import STUDY, World, aio, data_set, deposit, deposited, opened, returned, uid
from strongroom.archive import Target
from strongroom.dicom.model import Level
from strongroom.errors import IntegrityError
from strongroom.ground.disk import DiskMedium
from strongroom.vault.heal import DirectoryPacks

ONE = Target(Level.IMAGE, study_instance_uids=(STUDY,), sop_instance_uids=(uid(1),))


async def repaired(
    world: World, *, apply: bool = True, read: bool = True, source: Path | None = None
) -> dict[str, Any]:
    """What `repair` says."""
    sources = [] if source is None else [DirectoryPacks(DiskMedium(source), "vault")]
    result: dict[str, Any] = {}
    async for reply in world.archive.upkeep(await world.host()).repair(apply=apply, read=read, sources=sources):
        result = reply.get("result", result)
    return result


def lose_row(world: World, number: int) -> None:
    """Take an instance out of the catalogue behind its back."""
    from strongroom.catalogue.removal import take_out

    row = world.row(uid(number))
    assert row is not None
    with world.parts.database.transaction() as connection:
        take_out(connection, [row])
    world.parts.recorder.forget()


def alerts(world: World) -> list[Any]:
    """Integrity alerts in the trail."""
    return [entry.message for entry in world.trail() if "integrity" in entry.message.types]


@aio
async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It says what --apply would do; then --apply does that, and nothing is left to do."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session, 1)
        lose_row(world, 1)
        said = await repaired(world, apply=False)
        assert world.row(uid(1)) is None

        done = await repaired(world)
        assert [one["action"] for one in said["done"]] == ["index"] == [one["action"] for one in done["done"]]
        assert {uid(1): data} == await returned(session, ONE)
        assert [] == await world.findings()
        assert {"applied": True, "done": [], "left": []} == await repaired(world)


@aio
async def test_an_orphan_whose_uid_is_taken(tmp_path: Path) -> None:
    """The same content is left, another is a conflict, what is deleted stays deleted."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2):
            await deposited(session, number)
            lose_row(world, number)
        await deposited(session, 1)
        await deposited(session, 2, pixels=b"\x07\x08" * 99)
        done = await repaired(world)

        assert ["conflict"] == [one["action"] for one in done["done"]]
        assert ["the same content is kept already"] == [one["why"] for one in done["left"]]
        assert 1 == (await world.status())["conflicts"]


@aio
async def test_a_damaged_orphan_is_left(tmp_path: Path) -> None:
    """What does not open is not indexed."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        await deposited(session, 1)
        row = world.row(uid(1))
        assert row is not None
        lose_row(world, 1)
        flip(home, row.location.pack, row.location.offset + 64 + 200)
        done = await repaired(world)

        assert [] == done["done"]
        assert 1 == len(done["left"])
        assert world.row(uid(1)) is None


@aio
async def test_a_refused_data_set_goes_back_to_quarantine(tmp_path: Path) -> None:
    """Its label says what it is."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        with pytest.raises(Exception, match=r"."):
            await deposit(session, data_set(1)[:-5], number=1)
        with world.parts.database.transaction() as connection:
            connection.execute("DELETE FROM quarantine")
        done = await repaired(world)

        assert ["quarantine"] == [one["action"] for one in done["done"]]
        assert 1 == (await world.status())["quarantine"]


@aio
async def test_healed_from_a_backup(tmp_path: Path) -> None:
    """Records of an open pack too: it is closed first."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        data, _ = await deposited(session, 1)
        await deposited(session, 2)
    shutil.copytree(home / "vault", tmp_path / "backup" / "vault")
    (tmp_path / "backup").chmod(0o700)
    async with opened(home) as world:
        session = await world.device("CT2")
        row = world.row(uid(1))
        assert row is not None
        flip(home, row.location.pack, row.location.offset + 64 + 200)
        left = await repaired(world)
        assert 1 == len(left["left"])
        with pytest.raises(IntegrityError):
            await returned(session, ONE)

        done = await repaired(world, source=tmp_path / "backup")
        assert ["heal"] == [one["action"] for one in done["done"]]
        assert {uid(1): data} == await returned(session, ONE)
        assert [] == await world.findings()
        assert any("made right" in str(message) for message in alerts(world))


@aio
async def test_a_damaged_blob_is_read_from_the_second_vault(tmp_path: Path) -> None:
    """What is served is what was received; the trail names the instance once, and a healing job waits."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        data, _ = await deposited(session, 1)
    shutil.copytree(home / "vault", tmp_path / "second" / "vault")
    (tmp_path / "second").chmod(0o700)
    async with opened(home) as world:
        world.parts.second = DirectoryPacks(DiskMedium(tmp_path / "second"), "vault")
        session = await world.device("CT2")
        row = world.row(uid(1))
        assert row is not None
        for offset in (70, 300, 10):
            flip(home, row.location.pack, row.location.offset + offset)
            for _ in range(3):
                assert {uid(1): data} == await returned(session, ONE)
        await world.core.damage.settle()

        named = [message for message in alerts(world) if uid(1) in str(message)]
        assert 1 == len(named)
        with world.parts.database.reader() as connection:
            assert [("heal",)] == connection.execute("SELECT kind FROM job WHERE kind = 'heal'").fetchall()
        await world.core.jobs.start()
        await world.core.jobs.idle()
        assert [] == await world.findings()


@aio
async def test_a_damaged_blob_without_a_copy_is_never_served(tmp_path: Path) -> None:
    """A clear error each time, one alert."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        await deposited(session, 1)
        row = world.row(uid(1))
        assert row is not None
        flip(home, row.location.pack, row.location.offset + 300)
        for _ in range(3):
            with pytest.raises(IntegrityError, match="not what was written"):
                await returned(session, ONE)
        await world.core.damage.settle()

        assert 1 == len([message for message in alerts(world) if uid(1) in str(message)])


@aio
async def test_the_scrub_finds_damage_and_remembers_what_is_whole(tmp_path: Path) -> None:
    """Every blob that is due is opened; the damaged one is named once, however often it comes by."""
    from strongroom.archive import scrub
    from strongroom.archive.proving import Proving

    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        for number in range(5):
            await deposited(session, number)
        await deposited(session, 1, pixels=b"\x05" * 50)
        row = world.row(uid(3))
        assert row is not None
        flip(home, row.location.pack, row.location.offset + 300)
        world.core.jobs.handle("scrub", scrub.handler(world.core, days=-1, bytes_per_second=1 << 30))
        await world.core.jobs.enqueue("scrub", {})
        world.core.committer.last_write = -100.0
        await world.core.jobs.start()
        await world.core.jobs.idle()

        assert 1 == len([message for message in alerts(world) if uid(3) in str(message)])
        waiting = list(Proving(world.parts, before=world.parts.clock().timestamp() - 3_600).blobs())
        assert [] == waiting
        with world.parts.database.reader() as connection:
            rows = connection.execute("SELECT sop_instance_uid FROM instance WHERE checked_at IS NULL").fetchall()
            assert [(uid(3),)] == rows
            assert [(0,)] == connection.execute("SELECT count(*) FROM conflict WHERE checked_at IS NULL").fetchall()
