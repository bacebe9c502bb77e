"""`check`: what is missing, damaged or unknown is named, and nothing else (I2, SECURITY 1c P2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.world import LONG_PIXELS, World, aio, data_set, deposit, deposited, opened, uid


def flip(home: Path, pack: int, offset: int) -> None:
    """Flip one bit in a pack."""
    (path,) = (home / "vault").glob(f"{pack:08d}.*")
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 2]))


def kinds(findings: list[dict]) -> set[str]:
    """What kinds of findings there are."""
    return {finding["kind"] for finding in findings}


@pytest.mark.parametrize("read", [False, True])
@aio
async def test_an_archive_in_order_has_no_findings(tmp_path: Path, read: bool) -> None:
    """Rows, conflicts, quarantine, dead bytes, long and short instances: all is known."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(5):
            await deposited(session, number)
        await deposited(session, 1, pixels=b"\x05" * 50)
        await deposit(session, data_set(9, pixels=LONG_PIXELS), number=9)
        coming = session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="1.2.840.10008.1.2.1")
        coming.feed(memoryview(data_set(10))[:500])
        await coming.ready()
        await coming.abandon("test")
        with pytest.raises(Exception, match=r"."):
            await deposit(session, data_set(11)[:-5], number=11)

        assert [] == await world.findings(read=read)
    async with opened(tmp_path / "home") as world:
        assert [] == await world.findings(read=read)


@pytest.mark.parametrize("long", [False, True])
@aio
async def test_every_flipped_bit_is_found(tmp_path: Path, long: bool) -> None:
    """One bit anywhere in a record, wherever it stands: header, first and last sealed bytes, label, checksum."""
    home = tmp_path / "home"
    async with opened(home) as world:
        session = await world.device()
        await deposit(session, data_set(1, pixels=LONG_PIXELS if long else b"\x01\x02" * 5000))
        await deposited(session, 2)
        place = world.row(uid(1)).location
        end = place.offset + 64 + place.length + 300
        for offset in (place.offset + 5, place.offset + 70, place.offset + 64 + place.length // 2, end):
            flip(home, place.pack, offset)
            findings = await world.findings()
            flip(home, place.pack, offset)

            assert findings, offset - place.offset
            assert any(f"pack {place.pack}" in finding["where"] for finding in findings)
        assert [] == await world.findings()


@aio
async def test_a_row_without_its_record_is_named(tmp_path: Path) -> None:
    """A catalogue row that points to nothing (I2)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2)
        with world.parts.database.transaction() as connection:
            connection.execute("UPDATE instance SET pack_offset = 51200 WHERE sop_instance_uid = ?", (uid(1),))
        findings = await world.findings()

        assert ["damaged-record"] == [one["kind"] for one in findings if one["where"].startswith("instance 1,")]
        assert not any(one["where"].startswith("instance 2,") for one in findings)


@aio
async def test_a_record_without_its_row_is_named(tmp_path: Path) -> None:
    """A blob that no row, conflict or quarantine entry knows is an orphan."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        with world.parts.database.transaction() as connection:
            connection.execute("DELETE FROM fragment_due")
            connection.execute("DELETE FROM instance")

        assert {"orphan"} == kinds(await world.findings())


@aio
async def test_another_digest_is_named(tmp_path: Path) -> None:
    """A blob that opens but is not what was received."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        with world.parts.database.transaction() as connection:
            connection.execute("UPDATE instance SET digest = zeroblob(32)")

        assert {"wrong-digest"} == kinds(await world.findings())
        assert [] == await world.findings(read=False)


@aio
async def test_what_comes_in_meanwhile_is_no_finding(tmp_path: Path) -> None:
    """Instances stored while a check runs are neither orphans nor missing."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(250):
            await deposited(session, number)
        steps = (await world.custodian()).check(read=True)
        found: list[dict] = []
        number = 1000
        async for reply in steps:
            await deposited(session, number)
            number += 1
            found = reply.get("result", {}).get("findings", found)

        assert number > 1001
        assert [] == found


@aio
async def test_findings_are_alerted(tmp_path: Path) -> None:
    """A check with findings leaves a Security Alert; a clean one none."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        assert [] == await world.findings()
        assert [] == alerts(world)
        place = world.row(uid(1)).location
        flip(tmp_path / "home", place.pack, place.offset + 80)
        assert await world.findings()

        assert 1 == len(alerts(world))


def alerts(world: World) -> list:
    """Integrity alerts in the trail."""
    return [entry for entry in world.trail() if "integrity" in entry.message.types]
