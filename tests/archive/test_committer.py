"""Groups: what shares a flush, what fails alone, and what a medium that fails does to everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archive.world import (
    EVERYTHING,
    World,
    aio,
    answers,
    data_set,
    deposit,
    deposited,
    opened,
    returned,
    uid,
    until,
)
from strongroom.archive import Outcome
from strongroom.archive.acts import Change, Note
from strongroom.archive.committer import MAX_GROUP
from strongroom.errors import ConflictError, OutOfResources
from strongroom.register import heads


class Crowd:
    """While it lasts, the committer takes nobody for a lone sender: acts go through its thread."""

    def __init__(self, world: World) -> None:
        self._committer = world.core.committer

    def __enter__(self) -> None:
        self._committer.busy_senders += 2

    def __exit__(self, *_: object) -> None:
        self._committer.busy_senders -= 2


def alert(world: World, text: str) -> Any:
    """A message for the trail."""
    parts = world.parts
    return parts.reporter.alert(parts.clock(), "integrity", "urn:strongroom:test", text)


def recorded(world: World) -> list[str]:
    """The descriptions of the alerts in the trail."""
    return [
        value
        for entry in world.trail()
        for thing in entry.message.objects
        for _, value in thing.details
        if thing.id == "urn:strongroom:test"
    ]


@pytest.mark.parametrize("together", [1, 5, MAX_GROUP + 10])
@aio
async def test_whatever_comes_together_is_stored(tmp_path: Path, together: int) -> None:
    """One, a few, and more deposits than one group takes: each has its receipt, its row and its bytes."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sent = {uid(number): data_set(number) for number in range(together)}
        receipts = await asyncio.gather(*(deposit(session, sent[uid(n)], number=n) for n in range(together)))

        assert {Outcome.STORED} == {receipt.outcome for receipt in receipts}
        assert sent == await returned(session, EVERYTHING)
        assert ([], []) == (await world.findings(), await world.proof())


@aio
async def test_deposits_of_one_group_share_a_record(tmp_path: Path) -> None:
    """Thirty images of one study that come together are far fewer records than thirty, and each image is named in one."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 99)
        before = len(world.trail())
        with Crowd(world):
            await asyncio.gather(*(deposited(session, number) for number in range(30)))
        records = [entry.message for entry in world.trail()[before:] if list(entry.message.study_instance_uids())]
        named = [
            instance.sop_instance_uid
            for record in records
            for thing in record.objects
            for sop_class in thing.sop_classes
            for instance in sop_class.instances
        ]

        assert len(records) < 30
        assert sorted(uid(number) for number in range(30)) == sorted(named)


@pytest.mark.parametrize("crowded", [False, True])
@aio
async def test_an_act_that_fails_alone_fails_alone(tmp_path: Path, crowded: bool) -> None:
    """A change of the register that contradicts is refused and rolled back; its neighbours in the group are kept."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()

        def contradict(connection: Any) -> None:
            connection.execute("INSERT INTO setting (name, value) VALUES ('half', '1')")
            raise ConflictError("taken")

        acts = [
            Note((alert(world, "before"),)),
            Change(contradict, (alert(world, "no"),)),
            Note((alert(world, "after"),)),
        ]
        with Crowd(world) if crowded else _nothing():
            results = await asyncio.gather(
                *(world.core.committer.submit(act) for act in acts), deposited(session), return_exceptions=True
            )
        with world.parts.database.reader() as connection:
            half = connection.execute("SELECT count(*) FROM setting WHERE name = 'half'").fetchall()

        assert [(0,)] == half
        assert isinstance(results[1], ConflictError)
        assert not any(isinstance(results[number], BaseException) for number in (0, 2, 3))
        assert ["before", "after"] == recorded(world)
        assert world.row(uid(1)) is not None


@pytest.mark.parametrize("crowded", [False, True])
@aio
async def test_a_vault_that_fails_refuses_the_whole_group(tmp_path: Path, crowded: bool) -> None:
    """Nothing of a group whose packs could not be flushed is visible; reading what was kept before goes on (P5)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1)
        before = await world.status()
        world.medium.fail("vault")
        with Crowd(world) if crowded else _nothing():
            results = await asyncio.gather(*(deposited(session, n) for n in range(2, 6)), return_exceptions=True)

        assert [OutOfResources] * 4 == [type(result) for result in results]
        with world.parts.database.reader() as connection:
            assert [(1,)] == connection.execute("SELECT count(*) FROM instance").fetchall()
        assert all(world.row(uid(number)) is None for number in range(2, 6))
        assert 1 == before["instances"]
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT2")
        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert Outcome.STORED == (await deposited(session, 2))[1].outcome
        assert [] == await world.proof()
        assert {"orphan"} >= {finding["kind"] for finding in await world.findings()}


@pytest.mark.parametrize("crowded", [False, True])
@aio
async def test_a_full_database_refuses_the_whole_group(tmp_path: Path, crowded: bool) -> None:
    """No room for the rows: out of resources for everybody, nothing visible; with room again the same is taken."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        world.fill_database()
        sent = {number: data_set(number) for number in range(2, 400)}
        stored: list[int] = []
        refused: list[int] = []
        for start in range(2, 400, 4):
            with Crowd(world) if crowded else _nothing():
                results = await asyncio.gather(
                    *(deposit(session, sent[n], number=n) for n in range(start, start + 4) if n in sent),
                    return_exceptions=True,
                )
            for number, result in enumerate(results, start):
                (refused if isinstance(result, OutOfResources) else stored).append(number)
            if refused:
                break

        assert refused
        assert all((world.row(uid(number)) is None) == (number in refused) for number in (*stored, *refused))
        world.make_room()
        for number in refused:
            assert Outcome.STORED == (await deposit(session, sent[number], number=number)).outcome
        kept = await returned(session, EVERYTHING)
        assert all(sent[number] == kept[uid(number)] for number in (*stored, *refused))
        assert [] == await world.proof()


@aio
async def test_a_trail_that_takes_nothing_stops_everything(tmp_path: Path) -> None:
    """What cannot be recorded in the chain is not done: deposits are refused, and the next start has every record."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1)
        world.medium.fail("trail")
        results = [type(result) for result in await _one_after_the_other(session, range(2, 6))]

        # the one whose record reached the outbox was promised; whoever comes after it is refused
        assert OutOfResources in results
        assert {OutOfResources} == set(results[results.index(OutOfResources) :])
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT2")
        stored = 1 + results.index(OutOfResources)
        assert stored == (await world.status())["instances"]
        assert first == (await returned(session, EVERYTHING))[uid(1)]
        assert ([], []) == (await world.proof(), [f for f in await world.findings() if f["kind"] != "orphan"])
        named = {
            instance.sop_instance_uid
            for entry in world.trail()
            for thing in entry.message.objects
            for sop_class in thing.sop_classes
            for instance in sop_class.instances
        }
        assert {uid(number) for number in range(1, stored + 1)} <= named


@aio
async def test_a_caller_that_goes_away_does_not_undo_what_others_share(tmp_path: Path) -> None:
    """Of ten deposits waiting together three are cancelled: the others are stored, and whatever is visible opens."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 99)
        with Crowd(world):
            running = [asyncio.ensure_future(deposited(session, number)) for number in range(10)]
            await asyncio.sleep(0.002)
            for task in running[2:5]:
                task.cancel()
            await asyncio.wait(running)
        kept = await returned(session, EVERYTHING)

        for number in (0, 1, 5, 6, 7, 8, 9):
            assert data_set(number) == kept[uid(number)]
        assert ([], []) == (await world.findings(), await world.proof())


@aio
async def test_order_within_a_sender_is_kept_in_the_trail(tmp_path: Path) -> None:
    """Notes queued one behind the other stand in the trail in that order."""
    async with opened(tmp_path / "home") as world:
        with Crowd(world):
            await asyncio.gather(*(world.core.committer.submit(Note((alert(world, str(n)),))) for n in range(200)))

        assert [str(number) for number in range(200)] == recorded(world)


@aio
async def test_stopping_finishes_what_is_queued(tmp_path: Path) -> None:
    """What was queued before the end is durable; what comes after it is refused; the register knows where the trail ends."""
    async with opened(tmp_path / "home") as world:
        with Crowd(world):
            notes = [
                asyncio.ensure_future(world.core.committer.submit(Note((alert(world, str(n)),)))) for n in range(50)
            ]
            await asyncio.sleep(0)
            await world.core.committer.stop()
            await asyncio.gather(*notes)
        with pytest.raises(OutOfResources):
            await world.core.committer.submit(Note((alert(world, "late"),)))
        with world.parts.database.reader() as connection:
            (saved,) = heads.every(connection)

        assert [str(number) for number in range(50)] == recorded(world)
        assert world.parts.trail.head == saved.head == saved.flushed


@pytest.mark.parametrize("busy", [False, True])
@aio
async def test_the_chain_is_flushed_soon(tmp_path: Path, busy: bool) -> None:
    """What was recorded leaves the outbox by itself, also while a sender never comes to an end."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        if busy:
            endless = session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="1.2.840.10008.1.2")
            endless.feed(memoryview(b"\x08\x00"))
        await until(lambda: world.core.committer._flushed == world.parts.trail.head)

        assert world.core.committer._flushed.sequence >= 2


@aio
async def test_a_flush_that_is_due_waits_for_the_next_answer(tmp_path: Path) -> None:
    """While a data set comes in nothing is flushed for the chain; behind its answer it is."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        committer = world.core.committer
        await deposited(session, 1)
        sending = session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="1.2.840.10008.1.2.1")
        committer._flush_due()
        assert committer._flushed != world.parts.trail.head
        sending.feed(memoryview(data_set(2)))
        await sending.ready()
        await sending.finish()
        await until(lambda: committer._flushed == world.parts.trail.head)
        await until(lambda: not committer._flush_behind_answer)  # the thread flushes before the loop hears of it


@aio
async def test_a_query_meanwhile_sees_whole_groups(tmp_path: Path) -> None:
    """While a hundred instances come in, a search never finds a row whose bytes do not open."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 999)
        sending = asyncio.ensure_future(asyncio.gather(*(deposited(session, number) for number in range(100))))
        seen = []
        while not sending.done():
            kept = await returned(session, EVERYTHING)
            seen.append(len(kept))
            assert all(data == data_set(int(name.rpartition(".")[2])) for name, data in kept.items())
        await sending

        assert seen == sorted(seen)
        assert 101 == len(await returned(session, EVERYTHING))
        assert 1 == len(await answers(session))


async def _one_after_the_other(session: Any, numbers: Sequence[int]) -> list[Any]:
    results: list[Any] = []
    for number in numbers:
        try:
            results.append(await deposited(session, number))
        except OutOfResources as error:
            results.append(error)
    return results


class _nothing:  # noqa: N801 -- stands where a context manager stands
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
