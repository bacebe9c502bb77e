"""What was refused and kept: once, listed, released when only a policy stood in its way, discarded without being lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archive.test_file_deposit import file, filed
from archive.world import EVERYTHING, LONG_PIXELS, STUDY, World, aio, data_set, deposit, opened, returned, uid
from strongroom.audit.codes import EventType
from strongroom.errors import AccessDenied, ConflictError, DataSetError, MismatchError, NotFound, UnsupportedClassError

WHY = "asked for by the cardiology department"
PRIVATE = "1.2.3.4.5.6"


async def tools(world: World, reason: str | None = WHY) -> Any:
    """The host's."""
    return world.archive.quarantine(await world.host(reason))


async def listed(world: World, *, decided: bool = False) -> list[dict[str, Any]]:
    """What the host is shown."""
    found: list[dict[str, Any]] = await (await tools(world)).listed(decided=decided)
    return found


async def refused(world: World, session: Any, content: bytes, **options: object) -> None:
    """Send a file that is refused."""
    with pytest.raises((DataSetError, MismatchError)):
        await filed(session, content, piece=100_000, **options)


@pytest.mark.parametrize("pixels", [b"\1\2" * 512, LONG_PIXELS], ids=["short", "long"])
@aio
async def test_a_fault_of_the_request_is_released(tmp_path: Path, pixels: bytes) -> None:
    """Another study than asked for, or a class that is not stored: whole data sets, taken bit for bit under their sender's name."""
    data = data_set(pixels=pixels)
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await world.device()
        await refused(world, session, file(data), study_instance_uid="1.2.9")
        with pytest.raises(UnsupportedClassError):
            await filed(session, file(data_set(2, SOPClassUID=PRIVATE), sop_class=PRIVATE), sop_classes={"1.2"})
        assert ["MismatchError", "UnsupportedClassError"] == [one["fault"] for one in await listed(world)]
        done = await (await tools(world)).release(1)
        await (await tools(world)).release(2)

        assert ("stored", uid(1), STUDY) == (done["outcome"], done["sop_instance_uid"], done["study_instance_uid"])
        assert data == (await returned(session, EVERYTHING))[uid(1)]
        assert {uid(1), uid(2)} == (await returned(session, EVERYTHING)).keys()
        row = world.row(uid(1))
        assert row is not None
        assert "CT1" == row.device
        assert [] == await listed(world)
        decided = await listed(world, decided=True)
        assert ["released", "released"] == [one["decision"]["outcome"] for one in decided]
        assert (WHY, "host:uid 0") == (decided[0]["decision"]["reason"], decided[0]["decision"]["who"])
        assert 2 == len([one for one in world.trail() if EventType.QUARANTINE_DECIDED in one.message.types])
        assert [] == await world.findings()


@aio
async def test_what_is_cut_cannot_be_released(tmp_path: Path) -> None:
    """The sentence says why and what to do; trying adds nothing to the quarantine, and the entry stays on the list."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await refused(world, session, file(data_set())[:-9])
        for _ in range(2):
            with pytest.raises(ConflictError, match="have it sent again"):
                await (await tools(world)).release(1)

        assert 1 == len(await listed(world, decided=True))
        assert [None] == [one["decision"] for one in await listed(world)]
        assert {} == await returned(session, EVERYTHING)
        assert [] == await world.findings()


@aio
async def test_the_same_broken_file_is_kept_once(tmp_path: Path) -> None:
    """However often it comes; other bytes, or another fault, are another entry."""
    broken = file(data_set())[:-9]
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for _ in range(3):
            await refused(world, session, broken)
        assert 1 == len(await listed(world))
        await refused(world, session, broken[:-1])
        for study in ("1.2.8", "1.2.9"):
            await refused(world, session, file(data_set()), study_instance_uid=study)

        assert ["StructureFault", "StructureFault", "MismatchError"] == [one["fault"] for one in await listed(world)]
        failed = [one for one in world.trail() if EventType.QUARANTINED in one.message.types]
        assert 6 == len(failed)


@aio
async def test_two_instances_cut_to_the_same_bytes_stay_two(tmp_path: Path) -> None:
    """Each was sent under a UID of its own, and each is listed with it."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2, 1, 2):
            with pytest.raises(DataSetError):
                await deposit(session, data_set()[:3], number=number)

        assert [uid(1), uid(2)] == [one["sop_instance_uid"] for one in await listed(world)]


@aio
async def test_what_is_discarded_stays_sealed_and_can_still_be_released(tmp_path: Path) -> None:
    """Off the list, not out of the vault: nothing is dropped."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await refused(world, session, file(data_set()), study_instance_uid="1.2.9")
        await (await tools(world)).discard(1)
        assert [] == await listed(world)
        assert 0 == (await world.status())["quarantine"]
        assert [] == await world.findings()
        assert "discarded" == (await (await tools(world)).shown(1))["decision"]["outcome"]
        await (await tools(world)).release(1)

        assert {uid(1)} == (await returned(session, EVERYTHING)).keys()


@aio
async def test_a_file_in_disguise_is_released_as_its_data_set(tmp_path: Path) -> None:
    """The beginning is looked at and dropped: what was taken already is a duplicate, and nothing is served of the file."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await filed(session, file(data_set(), b"MZ"))
        (entry,) = await listed(world)
        done = await (await tools(world)).release(entry["id"])

        assert ("preamble-executable", True, uid(1)) == (
            entry["fault"],
            entry["whole_file"],
            entry["sop_instance_uid"],
        )
        assert "duplicate" == done["outcome"]
        assert {uid(1): data_set()} == await returned(session, EVERYTHING)


@aio
async def test_deciding_wants_custody_and_a_reason(tmp_path: Path) -> None:
    """A device may neither look nor decide; the host not without a word why."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await refused(world, session, file(data_set()), study_instance_uid="1.2.9")
        theirs, bare = world.archive.quarantine(session), await tools(world, None)
        for asked in (theirs.listed(decided=True), theirs.shown(1), theirs.release(1), theirs.discard(1)):
            with pytest.raises(AccessDenied):
                await asked
        for asked in (bare.release(1), bare.discard(1)):
            with pytest.raises(AccessDenied, match="written reason"):
                await asked
        with pytest.raises(NotFound):
            await (await tools(world)).release(9)

        assert {} == await returned(session, EVERYTHING)
