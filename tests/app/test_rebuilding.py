"""
`rebuild`: the catalogue out of packs and keyring, with the same answers as before (P4, faults 13 and 14 of SECURITY section 5).

Every question is asked of the whole shipped corpus, before and after.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from archive.test_repairing import repaired
from archive.world import STUDY, World, aio, data_set, deposit, deposited, opened, returned, uid
from dicom.shipped import ROOT
from strongroom.app import importing, rebuilding
from strongroom.app.home import open_home
from strongroom.app.rebuilding import rebuild
from strongroom.archive import Query, Root, Target
from strongroom.dicom.dictionary import vr_of
from strongroom.dicom.model import Level
from strongroom.errors import HomeInUseError, IntegrityError, OutOfResources

EVERYTHING = Target(Level.STUDY, study_instance_uids=(STUDY,))
TABLES = ("patient", "study", "series", "instance", "series_source", "study_source", "study_modality", "study_name")
MOST_VALUES = 400
"""Values of one attribute that are asked for one by one."""


async def rebuilt(home: Path, **options: Any) -> dict[str, Any]:
    """Rebuild a home; what was said."""
    result: dict[str, Any] = {}
    given = {"without_register": False, "passphrase_file": None} | options
    async for reply in rebuild(open_home(home), **given):
        result = reply.get("result", result)
    return result


async def asked(world: World, session: Any, level: Level, keys: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers to one question, in their order."""
    query = Query(root=Root.STUDY, level=level, keys=keys, relational=True)
    return [dict(match) async for match in await session.query(query)]


async def every_answer(world: World) -> dict[str, Any]:
    """Every level with every attribute of it, then every value of each attribute asked for alone."""
    session = await world.device("ASK")
    found: dict[str, Any] = {}
    for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
        with world.parts.database.reader() as connection:
            table = {Level.STUDY: "study", Level.SERIES: "series", Level.IMAGE: "instance"}[level]
            tags = [
                row[0]
                for row in connection.execute(
                    f"SELECT DISTINCT key FROM {table}, json_each({table}.attributes) ORDER BY key"
                )
            ]
        wanted = {tag: {"vr": vr_of(int(tag, 16)) or "UN"} for tag in tags}
        wanted |= {tag: {"vr": "UI"} for tag in ("0020000D", "0020000E", "00080018")}
        whole = await asked(world, session, level, wanted)
        found[level.name] = whole
        for tag in tags:
            values = {
                str(value)
                for one in whole
                for value in one.get(tag, {}).get("Value", [])
                if not isinstance(value, dict)
            }
            for value in sorted(values)[:MOST_VALUES]:
                key = {"00080018": {"vr": "UI"}, tag: {"vr": wanted[tag]["vr"], "Value": [value]}}
                try:
                    found[f"{level.name} {tag} {value}"] = await asked(world, session, level, key)
                except Exception as error:  # noqa: BLE001 -- a question that is refused is refused again
                    found[f"{level.name} {tag} {value}"] = type(error).__name__
    return found


def tables(world: World) -> dict[str, list[Any]]:
    """All rows of the catalogue but for their numbers."""
    found = {}
    with world.parts.database.reader() as connection:
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [
                one
                for one in columns
                if one not in ("id", "patient", "study", "series", "checked_at", "content_digest")
            ]
            found[table] = sorted(map(repr, connection.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall()))
        found["totals"] = connection.execute(
            "SELECT patients, studies, series, instances, bytes FROM totals"
        ).fetchall()
    return found


@aio
async def test_every_answer_is_the_same_after_the_index_was_deleted(tmp_path: Path) -> None:
    """Fault 13: `rm archive.db*`; starting says what to do and makes no empty one."""
    home = tmp_path / "home"
    async with opened(home) as world:
        async for _ in importing.import_path(await world.host(), str(ROOT)):
            pass
        rows = tables(world)
        before = await every_answer(world)
        status = await world.status()
    assert len(before) > 500
    for path in home.glob("archive.db*"):
        path.unlink()
    with pytest.raises(IntegrityError, match="strongroom rebuild"):
        async with opened(home):
            pass
    assert not (home / "archive.db").exists()

    said = await rebuilt(home)
    assert said["register"] == "lost"
    assert said["findings"] == []
    async with opened(home) as world:
        assert rows == tables(world)
        assert before == await every_answer(world)
        now = await world.status()
        assert {key: status[key] for key in ("instances", "bytes", "conflicts", "quarantine")} == {
            key: now[key] for key in ("instances", "bytes", "conflicts", "quarantine")
        }
        assert [] == await world.findings()
        assert [] == await world.proof()


@aio
async def test_the_register_is_kept(tmp_path: Path) -> None:
    """Devices, deletions and conflicts stay what they are; what was deleted is not back."""
    home = tmp_path / "home"
    async with opened(home) as world:
        certificate = await world.enrol("CT1", "deposit,query,retrieve")
        session = await world.admit("CT1", certificate)
        data, _ = await deposited(session, 1)
        await deposited(session, 2)
        await deposited(session, 1, pixels=b"\x01\x09" * 77)
        await deposited(session, 3, study="1.2.9")
        from strongroom.archive.deletion import DeleteAct
        from strongroom.catalogue.scope import EVERYTHING as ALL

        await world.core.committer.submit(
            DeleteAct(session.actor, Target(Level.STUDY, study_instance_uids=("1.2.9",)), ALL, "test")
        )
        rows = tables(world)
    said = await rebuilt(home)

    assert ("kept", 2, 2) == (said["register"], said["instances"], said["aside"])
    async with opened(home) as world:
        session = await world.admit("CT1", certificate)
        assert rows == tables(world)
        assert data == (await returned(session, EVERYTHING))[uid(1)]
        assert 1 == (await world.status())["conflicts"]
        assert [] == await world.findings()
        await deposited(session, 4)
    assert (home / "archive.db.before-rebuild-1").exists()


@aio
async def test_an_index_older_than_the_packs(tmp_path: Path) -> None:
    """Fault 14: yesterday's archive.db; the gap is named, and repair as well as rebuild bring every instance back."""
    home = tmp_path / "home"
    async with opened(home) as world:
        certificate = await world.enrol("CT1", "deposit,query,retrieve")
        await deposit(await world.admit("CT1", certificate), data_set(1), number=1)
    shutil.copy(home / "archive.db", tmp_path / "yesterday")
    sent = {uid(1): data_set(1)}
    async with opened(home) as world:
        session = await world.admit("CT1", certificate)
        for number in range(2, 9):
            sent[uid(number)], _ = await deposited(session, number)
    for way in ("repair", "rebuild"):
        copy = tmp_path / way
        shutil.copytree(home, copy)
        for path in copy.glob("archive.db*"):
            path.unlink()
        shutil.copy(tmp_path / "yesterday", copy / "archive.db")
        if way == "rebuild":
            assert 8 == (await rebuilt(copy))["instances"]
        async with opened(copy) as world:
            assert any("no group knows" in str(entry.message) for entry in world.trail())
            if way == "repair":
                assert {"orphan"} == {one["kind"] for one in await world.findings()}
                assert 7 == len((await repaired(world))["done"])
            assert sent == await returned(await world.admit("CT1", certificate), EVERYTHING)
            assert [] == await world.findings()


@aio
async def test_without_a_register_every_instance_is_back(tmp_path: Path) -> None:
    """Packs, keyring and master key are enough; conflicts and quarantine are told apart by labels and digests."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        data, _ = await deposited(session, 1)
        await deposited(session, 1, pixels=b"\x01\x09" * 77)
        with pytest.raises(Exception, match=r"."):
            await deposit(session, data_set(2)[:-5], number=2)
    said = await rebuilt(home, without_register=True)

    assert ("lost", 1, 1, 1) == (said["register"], said["instances"], said["conflicts"], said["quarantine"])
    async with opened(home) as world:
        assert {uid(1): data} == await returned(await world.device(), EVERYTHING)
        assert [] == await world.findings()


@aio
async def test_a_damaged_database_is_refused_until_somebody_decides(tmp_path: Path) -> None:
    """Its register cannot be read whole: nothing is guessed, nothing is lost."""
    home = tmp_path / "home"
    async with opened(home) as world:
        await deposited(await world.device(), 1)
    content = bytearray((home / "archive.db").read_bytes())
    content[100] ^= 1
    (home / "archive.db").write_bytes(content)
    with pytest.raises(IntegrityError, match="strongroom rebuild"):
        async with opened(home):
            pass
    with pytest.raises(IntegrityError, match="--without-register"):
        await rebuilt(home)
    assert bytes(content) == (home / "archive.db").read_bytes()

    assert 1 == (await rebuilt(home, without_register=True))["instances"]
    assert bytes(content) == (home / "archive.db.before-rebuild-1").read_bytes()


@aio
async def test_a_server_keeps_it_off(tmp_path: Path) -> None:
    """Who owns the home is asked to stop first."""
    home = tmp_path / "home"
    async with opened(home):
        with pytest.raises(HomeInUseError, match="stop the server"):
            await rebuilt(home)


@pytest.mark.parametrize("step", ["filling", "ready", "aside"])
@aio
async def test_cut_off_anywhere_one_of_them_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A crash while it is filled leaves the old one; once it is complete, whoever opens the home ends the switch."""
    home = tmp_path / "home"
    async with opened(home) as world:
        data, _ = await deposited(await world.device(), 1)

    def crash(*_: object) -> None:
        raise OutOfResources("cut off")

    if step == "filling":
        monkeypatch.setattr(rebuilding, "switch", crash)
    else:
        from strongroom.app import switching

        real, calls = switching.sync_directory, []

        def sync(folder: Path) -> None:
            calls.append(folder)
            real(folder)
            if len(calls) == {"ready": 1, "aside": 2}[step]:
                crash()

        monkeypatch.setattr(switching, "sync_directory", sync)
    with pytest.raises(OutOfResources):
        await rebuilt(home)
    monkeypatch.undo()
    assert (step == "aside") != (home / "archive.db").exists()

    async with opened(home) as world:
        assert {uid(1): data} == await returned(await world.device("CT2"), EVERYTHING)
        assert [] == await world.findings()
