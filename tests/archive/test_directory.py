"""The register in memory: names, destinations of C-MOVE, scopes; rebuilt after each change."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.world import EVERYTHING, World, aio, answers, deposited, opened, returned, uid
from strongroom.archive import Recipient
from strongroom.archive.acts import Change
from strongroom.errors import AccessDenied, NotFound
from strongroom.register import devices


async def change(world: World, name: str, **fields: Any) -> None:
    """Change an entry as the register's tools will; the next decision knows it."""

    def make(connection: Any) -> None:
        found = devices.find(connection, name)
        assert found is not None
        devices.change(connection, replace(found, **fields))

    await world.core.committer.submit(Change(make, ()))
    world.archive.directory.reload()


@aio
async def test_a_move_goes_to_enrolled_devices_with_an_address_only(tmp_path: Path) -> None:
    """The destination's address and certificate come from the register; unknown and address-less ones are the same NotFound (C37)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("WORK1", "query,retrieve")
        await world.enrol("DEST1", "retrieve", move=("dest.example", 11112))
        await world.enrol("PLAIN", "retrieve")
        destination = await session.destination("DEST1")

        assert ("DEST1", "dest.example", 11112) == (destination.ae_title, destination.host, destination.port)
        assert 1 == len(destination.certificate_fingerprints)
        texts = set()
        for name in ("PLAIN", "NOBODY"):
            with pytest.raises(NotFound) as refused:
                await session.destination(name)
            texts.add(str(refused.value))
        assert 1 == len(texts)
        assert 2 == sum(entry.message.failed for entry in world.trail())


@aio
async def test_a_recipient_needs_the_right_itself(tmp_path: Path) -> None:
    """What may be sent is what both may have: a destination that may only deposit gets nothing."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("WORK1")
        await deposited(session)
        await world.enrol("DEST1", "deposit", move=("dest.example", 11112))
        with pytest.raises(NotFound):
            await session.destination("DEST1")
        with pytest.raises(AccessDenied):
            await session.retrieve(EVERYTHING, to=Recipient("DEST1", "DEST1", "dest.example:11112"))


@aio
async def test_a_scope_bounds_what_is_found_and_got(tmp_path: Path) -> None:
    """A device whose scope is one sender's images finds and gets those; the others are as if they were not there (D19)."""
    async with opened(tmp_path / "home") as world:
        one, two = await world.device("CT1"), await world.device("CT2")
        first, _ = await deposited(one, 1)
        await deposited(two, 2, study="1.2.9")
        certificate = await world.enrol("READER", "query,retrieve")
        await change(world, "READER", scope={"sending_devices": ["CT1"]})
        reader = await world.admit("READER", certificate)

        found = [match["0020000D"]["Value"] for match in await answers(reader, t0020000D="")]
        assert [["1.2.3"]] == found
        assert {uid(1): first} == await returned(reader, EVERYTHING)
        other = type(EVERYTHING)(EVERYTHING.level, study_instance_uids=("1.2.9",))
        absent = type(EVERYTHING)(EVERYTHING.level, study_instance_uids=("1.2.77",))
        assert {} == await returned(reader, other) == await returned(reader, absent)


@pytest.mark.parametrize("scope", [{}, {"departments": ["X"]}, {"everything": "yes"}, {"studies": "1.2.3"}])
@aio
async def test_a_scope_that_says_nothing_usable_reaches_nothing(tmp_path: Path, scope: dict) -> None:
    """Empty, about labels that do not exist yet, or malformed: refused or nothing found, rather than too much."""
    async with opened(tmp_path / "home") as world:
        await deposited(await world.device("CT1"))
        certificate = await world.enrol("READER", "query,retrieve")
        await change(world, "READER", scope=scope)
        reader = await world.admit("READER", certificate)

        found: list[object] = []
        with contextlib.suppress(AccessDenied):
            found += await answers(reader, t0020000D="")
        with contextlib.suppress(AccessDenied):
            found += await returned(reader, EVERYTHING)
        assert [] == found


@aio
async def test_what_the_entry_says_is_known_to_the_session(tmp_path: Path) -> None:
    """Private SOP classes and the answer to conflicts are the entry's, at once after a change."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT1", private_classes=["1.3.12.2.1107.5.9.1"])

        assert {"1.3.12.2.1107.5.9.1"} == session.private_sop_classes
        assert not session.duplicate_is_success
        await change(world, "CT1", duplicates=devices.Duplicates.SUCCESS, idle_seconds=30)
        assert session.duplicate_is_success
        assert 30.0 == world.archive.directory.idle_seconds("CT1")
        assert 1 == world.archive.directory.count
