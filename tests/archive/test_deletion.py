"""Deleting in two steps: gone from every answer, kept sealed and listed, taken back whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archive.world import (
    EVERYTHING,
    EXPLICIT,
    IMPLICIT,
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
from strongroom.access.policy import Actor, Scope
from strongroom.access.roles import ActorKind
from strongroom.archive import Outcome, Session, Target
from strongroom.audit.codes import Event, EventType
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, NotFound, RemoteProtocolError

WHY = "sent to the wrong patient"


class Persons:
    """The directory once there are persons in it: everyone who has a session keeps it."""

    def __init__(self, directory: Any) -> None:
        self._directory = directory

    def still_admitted(self, _actor: Actor) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directory, name)


def custodian(world: World, *, roles: tuple[str, ...] = ("custodian",), scope: Scope = ALL) -> Session:
    """A person's session, as the gate will make it."""
    actor = Actor(ActorKind.PERSON, "vera", roles=frozenset(roles), scope=scope)
    return Session(world.core, Persons(world.archive.directory), actor)  # type: ignore[arg-type] # as good as one


def image(number: int) -> Target:
    """One image."""
    return Target(Level.IMAGE, study_instance_uids=(STUDY,), sop_instance_uids=(uid(number),))


def records(world: World, event: str) -> list[Any]:
    """The records of that kind, oldest first."""
    return [entry.message for entry in world.trail() if entry.message.event == event]


async def deletions(world: World) -> list[dict[str, Any]]:
    """What the custodian is shown."""
    found: list[dict[str, Any]] = await (await world.custodian()).deletions()
    return found


@aio
async def test_what_is_deleted_is_in_no_answer(tmp_path: Path) -> None:
    """Search, retrieve, view and counts know nothing of it; the list of deletions says who, when and why."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2, 3):
            await deposited(session, number)
        await world.core.fragments.merge()

        assert 3 == await custodian(world).delete(EVERYTHING, WHY)

        assert [] == await answers(session, t0020000D=STUDY)
        assert {} == await returned(session, EVERYTHING)
        assert () == (await session.view(EVERYTHING)).instances
        status = await world.status()
        assert [0] * 5 == [status[key] for key in ("patients", "studies", "series", "instances", "bytes")]
        (listed,) = await deletions(world)
        assert ("person:vera", WHY, [STUDY], 3) == tuple(
            listed[key] for key in ("who", "reason", "studies", "instances")
        )
        assert [] == await world.findings()


@aio
async def test_the_trail_says_what_was_deleted_and_why(tmp_path: Path) -> None:
    """A whole study as the standard's Study Deleted, a part of one as an access that deletes (A.5.3.6, A.5.3.8)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in (1, 2):
            await deposited(session, number)
        await custodian(world).delete(image(1), WHY)
        (partly,) = records(world, Event.INSTANCES_ACCESSED)
        assert [] == records(world, Event.STUDY_DELETED)
        await custodian(world).delete(EVERYTHING, "and the rest of it too")
        (whole,) = records(world, Event.STUDY_DELETED)

        for record, reason in ((partly, WHY), (whole, "and the rest of it too")):
            assert ("D", ["person:vera"]) == (record.action, [one.user_id for one in record.participants])
            assert ([STUDY], ["P1"]) == (list(record.study_instance_uids()), list(record.patient_ids()))
            assert ("Written reason", reason) in [detail for one in record.objects for detail in one.details]
            assert EventType.HOST_ACCESS not in record.types


@pytest.mark.parametrize("merged", [True, False], ids=["merged", "fragments"])
@aio
async def test_what_is_restored_is_as_it_was(tmp_path: Path, *, merged: bool) -> None:
    """Bit for bit, with its metadata, its sender and its place; the list is empty again and check finds nothing."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sent = {}
        for number in (1, 2, 3, 4):
            sent[uid(number)], _ = await deposited(session, number, [EXPLICIT, IMPLICIT][number % 2])
        await (world.core.fragments.merge() if merged else world.core.fragments.settle())
        found, row = await answers(session, t0020000D=STUDY, t00201208=""), world.row(uid(2))
        async with await session.view(EVERYTHING) as disclosure:
            shown = {json.loads(text)["00080018"]["Value"][0]: text async for text in disclosure.all_metadata()}
        person = custodian(world)
        assert 2 == await person.delete(Target(Level.IMAGE, sop_instance_uids=(uid(2), uid(3))), WHY)
        assert {uid(1), uid(4)} == set(await returned(session, EVERYTHING))
        await world.core.fragments.merge()
        async with await session.view(EVERYTHING) as disclosure:
            left = [text async for text in disclosure.all_metadata()]
        assert left == [shown[uid(1)], shown[uid(4)]]
        assert 2 == await person.restore(EVERYTHING)
        await world.core.fragments.merge()

        assert sent == await returned(session, EVERYTHING)
        assert found == await answers(session, t0020000D=STUDY, t00201208="")
        async with await session.view(EVERYTHING) as disclosure:
            again = {json.loads(text)["00080018"]["Value"][0]: text async for text in disclosure.all_metadata()}
        assert shown == again
        back = world.row(uid(2))
        assert row is not None
        assert back is not None
        assert (row.blob_id, row.device, row.received_at, row.location) == (
            back.blob_id,
            back.device,
            back.received_at,
            back.location,
        )
        assert [] == await deletions(world)
        assert [] == await world.findings()
        assert "U" == records(world, Event.INSTANCES_ACCESSED)[-2].action


@aio
async def test_a_deletion_outlives_a_restart(tmp_path: Path) -> None:
    """It is in the register, not in memory; and so is the way back."""
    async with opened(tmp_path / "home") as world:
        data, _ = await deposited(await world.device())
        await custodian(world).delete(EVERYTHING, WHY)
    async with opened(tmp_path / "home") as world:
        assert {} == await returned(await world.host("a reason"), EVERYTHING)
        assert [] == await world.findings()
        await custodian(world).restore(EVERYTHING)

        assert {uid(1): data} == await returned(await world.host("a reason"), EVERYTHING)


@pytest.mark.parametrize("other", [False, True], ids=["same content", "other content"])
@aio
async def test_a_deleted_instance_that_is_sent_again_stays_deleted(tmp_path: Path, *, other: bool) -> None:
    """The sender hears of a conflict, a person is alerted; other content is kept aside once, the same not twice (I3)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        await custodian(world).delete(EVERYTHING, WHY)
        again = data_set(1, pixels=b"\x03\x04" * 512) if other else data
        outcomes = [(await deposit(session, again)).outcome for _ in range(2)]

        assert [Outcome.CONFLICT] * 2 == outcomes
        assert {} == await returned(session, EVERYTHING)
        assert int(other) == (await world.status())["conflicts"]
        alert = records(world, Event.SECURITY_ALERT)[-1]
        assert any("was deleted was sent again" in text for one in alert.objects for _, text in one.details)
        assert [] == await world.findings()
        assert 1 == await custodian(world).restore(EVERYTHING)
        assert {uid(1): data} == await returned(session, EVERYTHING)


@pytest.mark.parametrize("roles", [("reader",), ("radiologist",), ("administrator",), ("auditor",), ()])
@aio
async def test_nobody_else_deletes(tmp_path: Path, roles: tuple[str, ...]) -> None:
    """Reader, radiologist, administrator alone: refused and recorded, whatever they name; a device and the host too."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        for one in (custodian(world, roles=roles), session, await world.host("a good reason")):
            for call in (lambda one=one: one.delete(EVERYTHING, WHY), lambda one=one: one.restore(EVERYTHING)):
                with pytest.raises(AccessDenied):
                    await call()
                assert records(world, Event.SECURITY_ALERT)[-1].failed

        assert [uid(1)] == list(await returned(session, EVERYTHING))


@aio
async def test_the_scope_bounds_what_can_be_deleted_and_restored(tmp_path: Path) -> None:
    """Out of scope and absent are one and the same."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2, study="1.2.9")
        mine = custodian(world, scope=Scope(studies=frozenset({"1.2.9"})))
        both = Target(Level.STUDY, study_instance_uids=(STUDY, "1.2.9"))
        with pytest.raises(NotFound):
            await mine.delete(EVERYTHING, WHY)
        assert 1 == await mine.delete(both, WHY)
        await custodian(world).delete(EVERYTHING, WHY)
        with pytest.raises(NotFound):
            await mine.restore(EVERYTHING)
        assert 1 == await mine.restore(both)

        assert [uid(2)] == list(await returned(session, both))


@pytest.mark.parametrize("reason", ["", "  ", "x", "1234", "y" * 2000])
@aio
async def test_a_deletion_needs_a_reason(tmp_path: Path, reason: str) -> None:
    """A word at least, and no essay."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        with pytest.raises(RemoteProtocolError):
            await custodian(world).delete(EVERYTHING, reason)

        assert [uid(1)] == list(await returned(session, EVERYTHING))


@aio
async def test_one_alone_destroys_nothing_for_good(tmp_path: Path) -> None:
    """A purge only asks; whoever may not delete may not even ask, and what was deleted can still be taken back."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        person = custodian(world)
        await person.delete(EVERYTHING, WHY)
        with pytest.raises(AccessDenied):
            await session.purge(EVERYTHING, WHY)
        assert 1 == await person.purge(EVERYTHING, WHY)
        await person.restore(EVERYTHING)

        assert {uid(1): data} == await returned(session, EVERYTHING)


@aio
async def test_check_misses_the_record_of_what_was_deleted(tmp_path: Path) -> None:
    """A deletion can be taken back only while its bytes are there: check looks at them too."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        row = world.row(uid(1))
        assert row is not None
        await custodian(world).delete(EVERYTHING, WHY)
        with world.parts.database.transaction() as connection:
            connection.execute("UPDATE deleted_instance SET blob_id = zeroblob(16)")

        assert {"damaged-record", "orphan"} == {one["kind"] for one in await world.findings()}
