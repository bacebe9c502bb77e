"""Those who were turned away: recorded or counted, never lost, and slowed when they go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archive.world import World, aio, opened, until
from strongroom.archive import recording
from strongroom.archive.refusals import (
    FAILURE_SECONDS,
    FAILURES_WITHOUT_DELAY,
    MAX_DELAY_SECONDS,
    MAX_SLOWED,
    MAX_SOURCES,
    MAX_WAITING,
    Kind,
    Refusals,
    Throttle,
    noted,
    source_of,
)
from strongroom.audit.flood import FIRST
from strongroom.errors import OutOfResources
from strongroom.register import callers

SCAN = Kind("10.9.9.9", "web", "token-unknown")


def knocked(world: World) -> dict[str, int]:
    """How often each reason stands in the list of who knocked."""
    with world.parts.database.reader() as connection:
        return {one.reason: one.count for one in callers.refused(connection)}


def refused(world: World) -> list[int]:
    """For how many each record of a refusal speaks, oldest first."""
    found = []
    for entry in world.trail():
        if entry.message.failed:
            details = dict(pair for one in entry.message.objects for pair in one.details)
            found.append(int(details.get("Times", "1")))
    return found


def change(world: World, kind: Kind = SCAN) -> object:
    """The record of a refusal."""
    message = recording.turned_away(world.parts, kind.door, kind.address, kind.reason)
    return noted(kind, world.parts.clock(), message)


@aio
async def test_the_first_are_durable_and_the_rest_counted(tmp_path: Path) -> None:
    """Of a hundred thousand bad requests ten stand in the trail before they are answered, the others as one exact number (H02)."""
    async with opened(tmp_path / "home") as world:
        refusals = world.archive.gate.refusals
        for number in range(100_000):
            await refusals.refuse(SCAN, change(world))
            if number < FIRST:
                assert [1] * (number + 1) == refused(world)
        assert [1] * FIRST == refused(world)
        await refusals.stop()

        assert [1] * FIRST + [100_000 - FIRST] == refused(world)
        assert {"token-unknown": 100_000} == knocked(world)


@aio
async def test_who_came_to_no_credential_is_recorded_a_moment_later(tmp_path: Path) -> None:
    """The caller is not made to wait for it; a full queue loses no count."""
    async with opened(tmp_path / "home") as world:
        refusals = world.archive.gate.refusals
        for number in range(MAX_WAITING + 50):
            refusals.turned_away("web", f"10.0.{number // 250}.{number % 250}", 4000, "no-credential")
        assert [] == refused(world)
        refusals.start()
        await until(lambda: len(refused(world)) == MAX_WAITING)
        await refusals.stop()

        assert MAX_WAITING + 50 == sum(refused(world))


@aio
async def test_a_refusal_that_cannot_be_recorded_is_counted(tmp_path: Path) -> None:
    """While the database takes nothing the caller gets no answer about its credential; afterwards the count has it."""
    async with opened(tmp_path / "home") as world:
        refusals = world.archive.gate.refusals
        world.fill_database()

        async def many() -> None:
            for number in range(2000):
                await refusals.refuse(Kind(f"10.8.{number // 250}.{number % 250}", "web", "x" * 60), change(world))

        with pytest.raises(OutOfResources):
            await many()
        written = len(refused(world))
        await refusals.stop()
        assert written == len(refused(world))
        world.make_room()
        await refusals.stop()

        assert written + 1 == len(refused(world))


def test_a_source_that_keeps_failing_waits() -> None:
    """Ten failures at once, then a quarter of a second, doubled up to two; after a minute it begins anew."""
    throttle = Throttle()
    delays = [throttle.failed("10.9.9.9", 100.0) for _ in range(FAILURES_WITHOUT_DELAY + 6)]

    assert [0.0] * 10 + [0.25, 0.5, 1.0, 2.0, 2.0, 2.0] == delays
    assert MAX_DELAY_SECONDS == max(throttle.failed("10.9.9.9", 101.0) for _ in range(2000))
    assert throttle.failed("10.9.9.8", 100.0) == 0.0
    assert throttle.failed("10.9.9.9", 100.0 + FAILURE_SECONDS) == 0.0


def test_an_address_among_many_of_one_site_is_one_source() -> None:
    """Whoever has a /64 of IPv6 does not fail ten times with each address of it; the others are told apart."""
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:0:1::1")
    assert "10.1.2.3" == source_of("::ffff:10.1.2.3") == source_of("10.1.2.3")
    assert "fe80::/64" == source_of("fe80::1%eth0")
    assert "nonsense" == source_of("nonsense")


def test_sources_are_remembered_within_bounds() -> None:
    """However many addresses an attacker has, memory does not grow."""
    throttle = Throttle()
    for number in range(MAX_SOURCES * 2):
        throttle.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)

    assert MAX_SOURCES == len(throttle._sources)


@aio
async def test_only_so_many_are_made_to_wait(tmp_path: Path) -> None:
    """The waiting are bounded; who comes then is answered at once, and nobody waits for nothing."""
    async with opened(tmp_path / "home") as world:
        slept: list[float] = []
        over = asyncio.Event()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await over.wait()

        refusals = Refusals(world.core, sleep=sleep)
        for _ in range(FAILURES_WITHOUT_DELAY):
            await refusals.slow("10.9.9.9")
        assert [] == slept
        waiting = [asyncio.create_task(refusals.slow("10.9.9.9")) for _ in range(MAX_SLOWED + 5)]
        await until(lambda: len(slept) == MAX_SLOWED and sum(task.done() for task in waiting) == 5)
        over.set()
        await asyncio.gather(*waiting)
        await refusals.slow("10.9.9.9")

        assert MAX_SLOWED + 1 == len(slept)
        assert MAX_DELAY_SECONDS == max(slept)
