"""A clock that jumps a second, an hour and a year, both ways, while images come in (fault 19)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from archive.world import EVERYTHING, aio, deposited, opened, returned, uid

JUMPS = [
    timedelta(**jump)
    for jump in ({}, {"hours": 1}, {"hours": -1}, {"days": 365}, {"days": -365}, {"seconds": -1}, {"days": 3650}, {})
]


@aio
async def test_a_clock_that_jumps_loses_and_deletes_nothing(tmp_path: Path) -> None:
    """
    The trail's order is that of its sequence whatever the clock said, nothing is deleted by a clock that is years ahead, every
    image comes back, also after a restart with the clock put back; check and the trail are clean.
    """
    sent = {}
    async with opened(tmp_path / "home") as world:
        true = world.parts.clock
        session = await world.device()
        for number, jump in enumerate(JUMPS, 1):
            world.parts.clock = lambda jump=jump: true() + jump
            data, _ = await deposited(session, number)
            sent[uid(number)] = data
        world.parts.clock = lambda: true() - timedelta(days=365)
        assert sent == await returned(session, EVERYTHING)
        assert [] == await world.proof()
    async with opened(tmp_path / "home") as world:
        reader = await world.device("CT2")

        assert sent == await returned(reader, EVERYTHING)
        assert [] == await world.findings()
        assert [] == await world.proof()
        entries = world.trail()
        assert [entry.sequence for entry in entries] == sorted(entry.sequence for entry in entries)
        times = [entry.message.time for entry in entries]
        assert times != sorted(times)
        status = await world.status()
        assert (len(JUMPS), 0, 0) == (status["instances"], status["conflicts"], status["quarantine"])
