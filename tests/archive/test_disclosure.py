"""Bytes going out: the record comes first, ranges, what was sent and what was not, damage is never served (I5, I8, I10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.world import EVERYTHING, STUDY, World, aio, data_set, deposit, deposited, opened, returned, uid
from strongroom.archive import Recipient, Target, committer
from strongroom.archive.disclosure import READ_AHEAD
from strongroom.audit.codes import Event
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, IntegrityError, LocalProtocolError, OutOfResources


def one_image(number: int) -> Target:
    """That image alone."""
    return Target(
        Level.IMAGE,
        study_instance_uids=(STUDY,),
        series_instance_uids=(f"{STUDY}.4",),
        sop_instance_uids=(uid(number),),
    )


def messages(world: World, event: Event) -> list:
    """The records of that kind, oldest first."""
    return [entry.message for entry in world.trail() if entry.message.event == event]


@aio
async def test_nothing_is_read_before_the_record(tmp_path: Path) -> None:
    """A closed disclosure gives no byte; inside `async with` the record is in the trail before the first one."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        disclosure = await session.retrieve(EVERYTHING)
        with pytest.raises(LocalProtocolError):
            await anext(aiter(disclosure.open(disclosure.instances[0])))
        assert [] == messages(world, Event.BEGIN_TRANSFERRING)

        async with disclosure:
            (begun,) = messages(world, Event.BEGIN_TRANSFERRING)
            assert data == b"".join([bytes(piece) async for piece in disclosure.open(disclosure.instances[0])])
            disclosure.sent(disclosure.instances[0])
        with pytest.raises(LocalProtocolError):
            await anext(aiter(disclosure.open(disclosure.instances[0])))
        (ended,) = messages(world, Event.INSTANCES_TRANSFERRED)[-1:]

        assert "device:CT1" in {one.user_id for one in begun.participants}
        assert (["P1"], ["1.2.3"]) == (list(begun.patient_ids()), list(begun.study_instance_uids()))
        assert (begun.act, False) == (ended.act, ended.failed)


@aio
async def test_each_patient_has_records_of_its_own(tmp_path: Path) -> None:
    """A retrieve of two patients' studies is begun twice and ended twice (PS3.15 A.5.2)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2, study="1.2.9", PatientID="P2")
        await returned(session, Target(Level.STUDY, study_instance_uids=("1.2.3", "1.2.9")))

        assert [["P1"], ["P2"]] == [list(one.patient_ids()) for one in messages(world, Event.BEGIN_TRANSFERRING)]


@pytest.mark.parametrize("broken", [("trail",), ("trail", "vault")])
@aio
async def test_no_record_no_bytes(tmp_path: Path, broken: tuple[str, ...]) -> None:
    """When the trail cannot be made durable no disclosure opens (I10); what was not disclosed is not lost."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        world.medium.fail(*broken)
        opened_anyway = 0
        for _ in range(3):
            disclosure = await session.retrieve(EVERYTHING)
            try:
                async with disclosure:
                    opened_anyway += 1
            except OutOfResources:
                continue
        disclosure = await session.retrieve(EVERYTHING)
        with pytest.raises(OutOfResources):
            await disclosure.__aenter__()
        with pytest.raises(LocalProtocolError):
            await anext(aiter(disclosure.open(disclosure.instances[0])))
        begun = opened_anyway
    async with opened(tmp_path / "home") as world:
        # a disclosure that opened had its record in the outbox: the next start puts it into the chain
        assert begun <= len(messages(world, Event.BEGIN_TRANSFERRING))
        assert {uid(1): data} == await returned(await world.device("CT2"), EVERYTHING)


@aio
async def test_a_full_database_lets_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record goes through the database's outbox: no room there, no bytes (I10)."""
    monkeypatch.setattr(committer, "TRAIL_SECONDS", 3600.0)  # on a slow disk the outbox would be tidied in time
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        world.fill_database()
        refused = 0
        for _ in range(300):
            disclosure = await session.retrieve(EVERYTHING)
            before = len(messages(world, Event.BEGIN_TRANSFERRING))
            try:
                await disclosure.__aenter__()
            except OutOfResources:
                refused += 1
                with pytest.raises(LocalProtocolError):
                    await anext(aiter(disclosure.open(disclosure.instances[0])))
                break
            assert before + 1 == len(messages(world, Event.BEGIN_TRANSFERRING))

        assert 1 == refused


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 1),
        (0, 65_480),
        (65_479, 65_482),
        (1_000_000, 1_000_001),
        (READ_AHEAD - 3, READ_AHEAD + 3),
        (2_999_000, None),
    ],
)
@aio
async def test_any_range_opens_without_the_rest(tmp_path: Path, first: int, last: int | None) -> None:
    """Bytes first to last are those of the data set, wherever segments and windows begin."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data = data_set(pixels=bytes(range(250)) * 12_000)
        await deposit(session, data)
        async with await session.retrieve(EVERYTHING) as disclosure:
            (instance,) = disclosure.instances
            got = b"".join([bytes(piece) async for piece in disclosure.open(instance, first, last)])

    assert data[first:last] == got


@aio
async def test_a_flipped_bit_is_never_served(tmp_path: Path) -> None:
    """One bit of the sealed bytes changed: nothing of that segment comes out, the failure stands in the trail, check names it."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        await deposit(session, data_set(pixels=b"\x01\x02" * 100_000))
        await deposited(session, 2)
        place = world.row(uid(1)).location
        (pack,) = (home / "vault").glob("*.open")
        with pack.open("r+b") as file:
            file.seek(place.offset + 64 + 70_000)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 4]))
        got = bytearray()

        async def collect() -> None:
            async for piece in disclosure.open(instance):
                got.extend(piece)

        async with await session.retrieve(one_image(1)) as disclosure:
            (instance,) = disclosure.instances
            with pytest.raises(IntegrityError):
                await collect()
            disclosure.failed(instance, "integrity")
        findings = await world.findings()

        assert b"" == got
        assert any(one.failed and one.reason == "integrity" for one in messages(world, Event.INSTANCES_TRANSFERRED))
        assert 1 <= len(findings)
        assert any(f"pack {place.pack} at {place.offset}" in finding["where"] for finding in findings)
        assert uid(2) in await returned(session, one_image(2))


@aio
async def test_bytes_of_another_blob_are_refused(tmp_path: Path) -> None:
    """Two sealed blobs of equal length exchanged, or a row that names another blob, key or place: refused (I8)."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2)
        await deposited(session, 3, study="1.2.9")
        one, two = (world.row(uid(number)).location for number in (1, 2))
        assert one.length == two.length
    (pack,) = (home / "vault").glob("*.open")
    original = pack.read_bytes()
    sealed = [original[place.offset + 64 : place.offset + 64 + place.length] for place in (one, two)]
    whole = [original[place.offset : place.offset + 64 + place.length] for place in (one, two)]
    swaps = {
        "bytes": [(one.offset + 64, sealed[1]), (two.offset + 64, sealed[0])],
        "records": [(one.offset, whole[1]), (two.offset, whole[0])],
        "replay": [(one.offset + 64, sealed[1])],
        "cut": [(one.offset + 64 + one.length - 40, bytes(40))],
    }
    for name, writes in swaps.items():
        changed = bytearray(original)
        for offset, data in writes:
            changed[offset : offset + len(data)] = data
        pack.write_bytes(changed)
        async with opened(home) as world:
            session = await world.device(f"X{name}", "retrieve")
            async with await session.retrieve(EVERYTHING) as disclosure:
                first = disclosure.instances[0]
                with pytest.raises(IntegrityError):
                    [piece async for piece in disclosure.open(first)]
            assert await world.findings(), name
        pack.write_bytes(original)
    async with opened(home) as world:
        assert 2 == len(await returned(await world.device("XLAST"), EVERYTHING))


@pytest.mark.parametrize("column", ["blob_id", "key_id", "pack_offset", "sealed_length", "pack"])
@aio
async def test_a_relabelled_row_is_refused(tmp_path: Path, column: str) -> None:
    """A row that names another instance's blob id, key id or place gets nothing: they are authenticated with the bytes (I8)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2, study="1.2.9", pixels=b"\x05\x06" * 700)
        with world.parts.database.transaction() as connection:
            ((value,),) = connection.execute(
                f"SELECT {column} FROM instance WHERE sop_instance_uid = ?", (uid(2),)
            ).fetchall()
            if column == "blob_id":
                connection.execute("UPDATE instance SET blob_id = randomblob(16) WHERE sop_instance_uid = ?", (uid(2),))
            if column == "pack":
                value += 1
            connection.execute(f"UPDATE instance SET {column} = ? WHERE sop_instance_uid = ?", (value, uid(1)))
        async with await session.retrieve(EVERYTHING) as disclosure:
            with pytest.raises(Exception, match=r".") as caught:
                [piece async for piece in disclosure.open(disclosure.instances[0])]

        assert type(caught.value).__name__ in {"IntegrityError", "NotFound"}
        assert await world.findings()


@aio
async def test_what_did_not_arrive_is_told_apart(tmp_path: Path) -> None:
    """Of three instances one was taken, one failed, one was never reached: two records, one of success and one of failure."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(3):
            await deposited(session, number)
        async with await session.retrieve(EVERYTHING) as disclosure:
            disclosure.sent(disclosure.instances[0])
            disclosure.failed(disclosure.instances[1], "refused-by-peer")
        good, bad = messages(world, Event.INSTANCES_TRANSFERRED)[-2:]

    assert (False, True) == (good.failed, bad.failed)
    assert "refused-by-peer" == bad.reason


@aio
async def test_a_retrieve_that_breaks_off_is_recorded(tmp_path: Path) -> None:
    """An exception inside leaves a record of what was not sent."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        with pytest.raises(ConnectionError):
            async with await session.retrieve(EVERYTHING):
                raise ConnectionError

        assert "interrupted" == messages(world, Event.INSTANCES_TRANSFERRED)[-1].reason


@aio
async def test_nothing_there_looks_like_out_of_scope(tmp_path: Path) -> None:
    """An empty disclosure opens and closes without a record; so does one outside the device's scope."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        before = len(world.trail())

        assert {} == await returned(session, Target(Level.STUDY, study_instance_uids=("9.9.9",)))
        assert before == len(world.trail())


@aio
async def test_who_may_not_retrieve_is_refused_and_recorded(tmp_path: Path) -> None:
    """A modality's retrieve is refused; so is one on behalf of a recipient nobody enrolled (SECURITY C37)."""
    async with opened(tmp_path / "home") as world:
        modality = await world.device("CT1", "deposit")
        reader = await world.device("READER", "query,retrieve")
        await deposited(modality)
        with pytest.raises(AccessDenied):
            await modality.retrieve(EVERYTHING)
        with pytest.raises(AccessDenied):
            await reader.retrieve(EVERYTHING, to=Recipient("NOBODY", "NOBODY", "127.0.0.1:1"))

        assert 2 <= sum(entry.message.failed for entry in world.trail())


@aio
async def test_the_host_retrieves_with_a_written_reason_only(tmp_path: Path) -> None:
    """The machine's own command line sees patient data when it says why, and the reason is recorded."""
    async with opened(tmp_path / "home") as world:
        data, _ = await deposited(await world.device())
        with pytest.raises(AccessDenied):
            await (await world.host()).retrieve(EVERYTHING)

        assert {uid(1): data} == await returned(await world.host("court order 17"), EVERYTHING)
        assert any("host-access" in entry.message.types for entry in world.trail())
