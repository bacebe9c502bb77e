"""Erasing for good: asked for by one, confirmed by another; afterwards nothing of it is anywhere, and it stays so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from archive.test_deletion import custodian, records
from archive.world import (
    EVERYTHING,
    LONG_PIXELS,
    STUDY,
    World,
    aio,
    answers,
    data_set,
    deposit,
    deposited,
    opened,
    returned,
    uid,
)
from strongroom.access.policy import EVERYTHING as ALL
from strongroom.access.policy import Actor
from strongroom.access.roles import ActorKind
from strongroom.app.founding import MASTER_KEY_FILE
from strongroom.archive import Outcome, Session, Target, erasing
from strongroom.archive.erase_keeping import Erasing
from strongroom.archive.erasing import Erasures
from strongroom.archive.holding import Holding
from strongroom.audit.codes import Event, EventType
from strongroom.dicom.model import Level
from strongroom.errors import (
    AccessDenied,
    ConfigurationError,
    ConflictError,
    DataSetError,
    ErasedError,
    IntegrityError,
    NotFound,
)
from strongroom.ground.master import MasterKey
from strongroom.ground.tombstone_file import Tombstone
from strongroom.register import erasures, tombstones

WHY = "the patient asked for it"
OTHER = "1.2.77"
OTHERS = Target(Level.STUDY, study_instance_uids=(OTHER,))
NAME = "Zzyzxqua^Erasable"


def host(world: World, name: str = "uid 0") -> Session:
    """The command line of that user."""
    return Session(world.core, world.archive.directory, Actor(ActorKind.HOST, name, scope=ALL))


def tools(world: World, name: str = "uid 0") -> Erasing:
    """Erasing, by that user of the machine."""
    return Erasing(world.core, host(world, name))


async def erased(world: World, *studies: str) -> dict[str, Any]:
    """Ask as one, confirm as another."""
    asked = await tools(world).request(studies or (STUDY,), reason=WHY)
    return await confirmed(world, asked["id"], "uid 1")


async def confirmed(world: World, number: int, name: str) -> dict[str, Any]:
    """Confirm, and wait for the end."""
    last: dict[str, Any] = {}
    async for reply in tools(world, name).confirm(number):
        last = reply.get("result", last)
    return last


async def filled(world: World) -> Session:
    """A study with a bit of everything, and another that stays."""
    session = await world.device()
    for number in (1, 2, 3):
        await deposited(session, number, PatientName=NAME)
    await deposit(session, data_set(4, pixels=LONG_PIXELS, PatientName=NAME), number=4)
    await deposit(session, data_set(1, pixels=b"\x07\x08" * 512, PatientName=NAME), number=1)  # a conflict
    with pytest.raises(DataSetError):
        await deposit(session, data_set(5, PatientName=NAME)[:-100], number=5)  # quarantine
    for number in (21, 22):
        await deposited(session, number, study=OTHER, PatientID="P2", PatientName="Stays^Here")
    await world.core.fragments.merge()
    await custodian(world).delete(
        Target(Level.IMAGE, study_instance_uids=(STUDY,), sop_instance_uids=(uid(3),)), "a first step"
    )
    return session


def plain_pages(path: Path, key: bytes) -> bytes:
    """Every page of an encrypted database, opened: the free ones and what is free inside of them too."""
    copy = path.with_name("plain.db")
    shutil.copy(path, copy)
    for suffix in ("-wal",):
        if path.with_name(path.name + suffix).exists():
            shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
    connection = apsw.Connection(str(copy))
    connection.execute("PRAGMA cipher = 'chacha20'").fetchall()
    connection.execute(f"PRAGMA key = 'raw:{key.hex()}'").fetchall()
    connection.execute("PRAGMA journal_mode = delete").fetchall()
    connection.execute("PRAGMA rekey = ''").fetchall()
    connection.close()
    data = copy.read_bytes()
    copy.unlink()
    return data


def files(home: Path) -> Iterator[Path]:
    """Every file of a home."""
    return (path for path in home.rglob("*") if path.is_file())


@aio
async def test_nothing_of_an_erased_study_is_anywhere(tmp_path: Path) -> None:
    """No row, fragment, name, key or record: in the pages of both databases, their logs, the keyring and the packs."""
    home = tmp_path / "home"
    master = None
    async with opened(home) as world:
        await filled(world)
        parts = world.parts
        rows = [world.row(uid(number)) for number in (1, 2, 4)]
        assert all(rows)
        (key_id,) = parts.keyring.of_study(STUDY)
        key = parts.keyring.get(key_id)
        with parts.database.reader() as connection:
            blob_ids = [
                bytes(row[0])
                for row in connection.execute(
                    "SELECT blob_id FROM conflict UNION SELECT blob_id FROM quarantine UNION SELECT blob_id FROM deleted_instance"
                    " UNION SELECT blob_id FROM instance WHERE key_id = ?",
                    (key_id,),
                )
            ]
        with parts.keyring._database.reader() as connection:
            (wrapped,) = connection.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,)).fetchone()
        before = plain_pages(home / "archive.db", MasterKey.load(home / "keys" / MASTER_KEY_FILE).derive("database 1"))
        assert 6 == len(blob_ids)
        assert any(blob_ids[0] in path.read_bytes() for path in files(home / "vault"))
        assert b"ZZYZXQUA" in before.upper()

        done = await erased(world)

        assert "done" == done["state"]
        with pytest.raises(NotFound):
            parts.keyring.get(key_id)
        assert parts.keyring.find(STUDY) is None
        assert 64 * 1024 > (home / "archive.db-wal").stat().st_size, "that it is done stands there, and nothing else"
        assert 0 == (home / "keyring.db-wal").stat().st_size
        with parts.database.reader() as connection:
            assert 0 == sum(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("conflict", "quarantine", "deleted_instance", "deletion")
            )
        assert [] == await world.findings()
        assert [] == await world.proof()
        master = MasterKey.load(home / "keys" / MASTER_KEY_FILE)
        assert key.secret
    for name, purpose in (("archive.db", "database 1"), ("keyring.db", "keyring database 1")):
        pages = plain_pages(home / name, master.derive(purpose)).upper()
        assert b"ZZYZXQUA" not in pages
        assert bytes(wrapped).upper() not in pages
        assert not [one for one in blob_ids if one.upper() in pages]
    for path in files(home):
        data = path.read_bytes()
        assert bytes(wrapped) not in data, path
        assert not [one for one in blob_ids if one in data], path
    async with opened(home) as world:
        (row,) = await answers(await world.device("CT2"), t0020000D="")
        assert OTHER == row["0020000D"]["Value"][0]
        assert 2 == len(await returned(await world.device("CT3"), OTHERS))
        assert [] == await world.findings()


@aio
async def test_what_was_erased_is_refused_when_it_comes_again(tmp_path: Path) -> None:
    """Every instance of it, with one alert for all; another study of the same patient is taken; nothing is kept."""
    async with opened(tmp_path / "home") as world:
        session = await filled(world)
        await erased(world)
        keys = len(list(world.parts.keyring._rows()))

        for number in (1, 2, 9):
            with pytest.raises(ErasedError):
                await deposited(session, number)
        with pytest.raises(ErasedError):
            await deposit(session, data_set(10, pixels=LONG_PIXELS), number=10)
        with pytest.raises(ErasedError):
            await deposit(session, data_set(11)[:-100], number=11)

        alerts = [one for one in records(world, Event.SECURITY_ALERT) if EventType.ERASED_SENT_AGAIN in one.types]
        assert 1 == len(alerts)
        failed = [one for one in records(world, Event.INSTANCES_TRANSFERRED) if one.reason == "erased"]
        assert 4 == len(failed)
        assert keys == len(list(world.parts.keyring._rows()))
        status = await world.status()
        assert (2, 0, 0, 1) == (status["instances"], status["quarantine"], status["conflicts"], status["erased"])
        assert Outcome.STORED is (await deposited(session, 1, study="1.2.78"))[1].outcome


@aio
async def test_a_released_study_is_taken_as_a_new_one(tmp_path: Path) -> None:
    """Under another key; it can be erased again, and a restart remembers that it was released."""
    home = tmp_path / "home"
    async with opened(home) as world:
        await filled(world)
        await erased(world)
        with pytest.raises(NotFound):
            await tools(world).release("1.2.99", reason=WHY)
        await tools(world).release(STUDY, reason="it was the wrong study")
    async with opened(home) as world:
        session = await world.device("CT2")
        await deposited(session, 1)
        assert 1 == len(await returned(session, EVERYTHING))
        await erased(world)
        assert {} == await returned(session, EVERYTHING)
        assert 2 == len((await tools(world).listed())["tombstones"])
        assert [] == await world.findings()


@aio
async def test_the_trail_holds_the_proof_and_no_patient(tmp_path: Path) -> None:
    """Asked, confirmed, removed, gone: who, when, which keys, how many; the proof is that of the tombstone."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        await erased(world)

        found = [one for one in records(world, Event.STUDY_DELETED) if EventType.ERASED in one.types]
        (grave,) = (await tools(world).listed())["tombstones"]
        assert 6 == grave["instances"]
        details = [dict(one.objects[0].details) for one in found]
        assert [grave["proof"]] * 2 == [one["Proof"] for one in details]
        assert "6" == details[0]["Instances"]
        assert all([] == list(one.patient_ids()) for one in found)
        asked = [one for one in records(world, Event.SECURITY_ALERT) if EventType.ERASURE in one.types]
        assert ["host:uid 0", "host:uid 1"] == [one.participants[0].user_id for one in asked]


@aio
async def test_one_alone_does_not_erase(tmp_path: Path) -> None:
    """Not the same person ever, the host not before a day is over; the refusal is in the trail."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        number = (await tools(world).request([STUDY], reason=WHY))["id"]

        with pytest.raises(AccessDenied, match="second-person-missing"):
            await confirmed(world, number, "uid 0")
        assert [] != [one for one in records(world, Event.SECURITY_ALERT) if one.reason == "second-person-missing"]
        assert 3 == (await world.status())["instances"] - 2
        now = datetime.now(UTC)
        world.parts.clock = lambda: now + timedelta(hours=23, minutes=59)
        with pytest.raises(AccessDenied):
            await confirmed(world, number, "uid 0")
        world.parts.clock = lambda: now + timedelta(hours=24, minutes=1)
        assert "done" == (await confirmed(world, number, "uid 0"))["state"]


@aio
async def test_a_person_with_custody_asks_by_purge(tmp_path: Path) -> None:
    """The same request through the session; a second confirms it, the first may not."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        vera = custodian(world)
        number = await vera.purge(EVERYTHING, WHY)

        with pytest.raises(AccessDenied):
            async for _ in Erasing(world.core, vera).confirm(number):
                pass
        assert "done" == (await confirmed(world, number, "uid 0"))["state"]


@aio
async def test_a_hold_stops_deleting_and_erasing(tmp_path: Path) -> None:
    """Before it is asked, before it is confirmed, and while it waits; until it is released or over."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        holding = Holding(world.core, host(world))
        (held,) = await holding.add([STUDY], reason="court order", until="2099-12-31")
        assert 1 == (await world.status())["holds"]

        with pytest.raises(ConflictError):
            await custodian(world).delete(EVERYTHING, WHY)
        with pytest.raises(ConflictError):
            await tools(world).request([STUDY], reason=WHY)
        assert 2 == len([one for one in records(world, Event.SECURITY_ALERT) if one.reason == "on-hold"])
        await holding.release(held["id"], reason="the case is over")
        with pytest.raises(NotFound):
            await holding.release(held["id"], reason="the case is over")
        number = (await tools(world).request([STUDY], reason=WHY))["id"]
        await holding.add([STUDY], reason="another court order", until=None)
        with pytest.raises(ConflictError):
            await confirmed(world, number, "uid 1")
        assert 5 == (await world.status())["instances"]
        assert ["active", "released"] == [one["state"] for one in await holding.listed()]


@aio
async def test_a_hold_between_confirming_and_removing_wins(tmp_path: Path) -> None:
    """The transaction that removes looks again; the request is cancelled."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        number = (await tools(world).request([STUDY], reason=WHY))["id"]
        with world.parts.database.transaction() as connection:
            erasures.set_state(connection, number, "confirmed", at=1.0, decided_by="host:uid 1")
        await Holding(world.core, host(world)).add([STUDY], reason="court order", until=None)

        await Erasures(world.core).carry_out(number)

        assert ["cancelled"] == [one["state"] for one in (await tools(world).listed())["requests"]]
        assert 5 == (await world.status())["instances"]


@aio
async def test_what_is_asked_is_looked_at_first(tmp_path: Path) -> None:
    """No study that is not here, no request twice, no confirmation of what was cancelled, no empty reason."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        for wrong in ([], [STUDY, "1.2.99"]):
            with pytest.raises((NotFound, ConfigurationError)):
                await tools(world).request(wrong, reason=WHY)
        with pytest.raises(ConfigurationError):
            await tools(world).request([STUDY], reason=" ")
        number = (await tools(world).request([STUDY], reason=WHY))["id"]
        with pytest.raises(ConflictError):
            await tools(world).request([STUDY], reason=WHY)
        await tools(world).cancel(number)
        with pytest.raises(ConflictError):
            await confirmed(world, number, "uid 1")
        with pytest.raises(ConflictError):
            await tools(world).cancel(number)
        with pytest.raises(NotFound):
            await confirmed(world, 99, "uid 1")


class KilledError(BaseException):
    """The process ends here."""


STEPS = [
    "tombstones.append",
    "keyring.shred",
    "keyring._copy.rewrite",
    "database.truncate_log",
    "vault.remove",
    "copy.rewrite-after",
]


@pytest.mark.parametrize("step", STEPS)
@aio
async def test_an_erasure_that_is_cut_short_goes_on(tmp_path: Path, step: str) -> None:
    """Killed right at each step, the next start carries it to its end, and nothing comes back."""
    home, image = tmp_path / "home", tmp_path / "image"
    async with opened(home) as world:
        await filled(world)
        number = (await tools(world).request([STUDY], reason=WHY))["id"]
        with world.parts.database.transaction() as connection:
            erasures.set_state(connection, number, "confirmed", at=1.0, decided_by="host:uid 1")
        (key_id,) = world.parts.keyring.of_study(STUDY)
        with pytest.MonkeyPatch.context() as patch:
            _break(
                patch,
                world,
                step,
                lambda: shutil.copytree(
                    home, image, ignore=lambda _f, names: {n for n in names if n.endswith(".sock")}
                ),
            )
            with pytest.raises(KilledError):
                await Erasures(world.core).carry_out(number)
    async with opened(image) as world:
        await Erasures(world.core).resume()

        assert ["done"] == [one["state"] for one in (await tools(world).listed())["requests"]]
        with pytest.raises(NotFound):
            world.parts.keyring.get(key_id)
        assert 2 == (await world.status())["instances"]
        assert [] == await world.findings()
        assert [] == await world.proof()
    assert not [path for path in files(image / "vault") if key_id in path.read_bytes()]


def _break(patch: pytest.MonkeyPatch, world: World, step: str, snapshot: Any) -> None:
    """Take an image of the home as it is on the disk at that step, and end."""
    parts = world.parts

    def kill(*_arguments: Any, **_named: Any) -> None:
        snapshot()
        raise KilledError

    if step == "copy.rewrite-after":
        real = parts.keyring._copy.rewrite

        def rewrite(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            kill()

        patch.setattr(type(parts.keyring._copy), "rewrite", lambda _self, *a, **n: rewrite(*a, **n))
        return
    *path, name = step.split(".")
    target = parts
    for one in path:
        target = getattr(target, one)
    patch.setattr(type(target), name, kill)


@aio
async def test_an_older_state_that_comes_back_is_erased_again(tmp_path: Path) -> None:
    """A home put back from before, with the tombstones of today: rows, keys and packs go at the next start."""
    home, older = tmp_path / "home", tmp_path / "older"
    async with opened(home) as world:
        await filled(world)
        (key_id,) = world.parts.keyring.of_study(STUDY)
    shutil.copytree(home, older)
    async with opened(home) as world:
        await erased(world)
    shutil.copytree(home / "tombstones", older / "tombstones")
    async with opened(older) as world:
        assert 2 == (await world.status())["instances"]
        with pytest.raises(NotFound):
            world.parts.keyring.get(key_id)
        await Erasures(world.core).resume()
        assert [] == await world.findings()
        with pytest.raises(ErasedError):
            await deposited(await world.device("CT2"), 1)
    assert not [path for path in files(older / "vault") if key_id in path.read_bytes()]


@aio
async def test_reapply_takes_only_what_lies_under_the_shredded_keys(tmp_path: Path) -> None:
    """A study that was released and sent again under another key stays."""
    async with opened(tmp_path / "home") as world:
        await filled(world)
        grave = Tombstone(bytes(16), STUDY, (bytes(16),), 1, 1.0, bytes(32), released_at=2.0)

        assert 0 == erasing.reapply(world.parts, [grave])
        assert 5 == (await world.status())["instances"]


@aio
async def test_damaged_tombstones_are_written_anew_and_reported(tmp_path: Path) -> None:
    """Out of the register; the alert says so."""
    home = tmp_path / "home"
    async with opened(home) as world:
        await filled(world)
        await erased(world)
    (file,) = (home / "tombstones").iterdir()
    data = bytearray(file.read_bytes())
    data[300] ^= 1
    file.write_bytes(data)
    async with opened(home) as world:
        assert 1 == len(world.parts.tombstones.read())
        assert {STUDY} == world.parts.erased
        assert [] != [
            one
            for one in records(world, Event.SECURITY_ALERT)
            if EventType.INTEGRITY in one.types and "tombstones" in one.objects[0].id
        ]
        with world.parts.database.reader() as connection:
            assert 1 == tombstones.count(connection)


def test_the_error_of_an_erased_study_is_a_refusal() -> None:
    """Doors answer it as any other: not authorised."""
    assert issubclass(ErasedError, AccessDenied)
    assert not issubclass(ErasedError, IntegrityError)
