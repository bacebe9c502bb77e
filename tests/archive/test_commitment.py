"""Storage commitment inside the archive: what is answered for and what is not, once, across restarts, and to whom (C51, D20)."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from archive.test_deletion import WHY, custodian
from archive.test_inspection import flip
from archive.world import CT, EVERYTHING, World, aio, data_set, deposit, deposited, opened, uid, until
from strongroom.archive import Commitment, CommitmentInbox, Outcome, Reference
from strongroom.audit.codes import Event, EventType
from strongroom.errors import (
    AccessDenied,
    ConfigurationError,
    ConflictError,
    NotFound,
    OutOfResources,
    RemoteProtocolError,
)
from strongroom.register import commitments as register
from strongroom.register import jobs
from strongroom.register.commitments import State

ADDRESS = ("localhost", 11112)


class Peer:
    """The devices at their addresses."""

    def __init__(self, *, broken: int = 0) -> None:
        self.broken = broken
        """Calls that fail before one succeeds."""
        self.told: list[tuple[str, Commitment]] = []
        self.asked: list[tuple[str, Commitment]] = []
        self.result: Commitment | None = None

    async def report(self, destination: Any, result: Commitment) -> None:
        self._call()
        self.told.append((f"{destination.name} {destination.host}:{destination.port}", result))

    async def ask(self, destination: Any, request: Commitment, take: Any) -> None:
        self._call()
        self.asked.append((destination.name, request))
        if self.result is not None:
            await take(self.result)

    def _call(self) -> None:
        if self.broken:
            self.broken -= 1
            raise ConnectionRefusedError


def references(*numbers: int, sop_class: str = CT) -> tuple[Reference, ...]:
    """References to images of the world."""
    return tuple(Reference(sop_class, uid(number)) for number in numbers)


async def asked(
    world: World, session: Any, *numbers: int, transaction: str = "2.25.1", inbox: CommitmentInbox | None = None
) -> None:
    """A request of *session*."""
    box = inbox or CommitmentInbox()
    if inbox is None:
        box.close()  # the association is gone
    await session.commit(Commitment(transaction, references(*numbers)), box)


async def settled(world: World, peer: Peer | None = None) -> None:
    """Do what there is to do."""
    if peer is not None:
        world.core.commitments.peer = peer
    await world.core.jobs.start()
    await world.core.jobs.idle()


def reasons(peer: Peer) -> dict[str, int]:
    """What was told last: SOP instance to reason."""
    _, result = peer.told[-1]
    return dict(zip((one.sop_instance_uid for one in result.references), result.reasons, strict=True))


def rows(world: World) -> list[register.Commitment]:
    """The transactions, the newest first."""
    with world.parts.database.reader() as connection:
        return register.every(connection, limit=100)


def work(world: World, state: jobs.State) -> list[jobs.Job]:
    """Jobs of storage commitment in a state."""
    with world.parts.database.reader() as connection:
        return [one for one in jobs.every(connection, state=state) if one.kind.startswith("commitment")]


def records(world: World, kind: EventType = EventType.COMMITMENT) -> list[Any]:
    """Records of the trail about storage commitment, oldest first."""
    return [one.message for one in world.trail() if kind in one.message.types]


@aio
async def test_what_is_kept_is_answered_for(tmp_path: Path) -> None:
    """To the address of the entry, with one record for the patient, and the blobs count as checked."""
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        for number in (1, 2, 3):
            await deposited(session, number)
        await asked(world, session, 1, 2, 3)
        peer = Peer()
        await settled(world, peer)
        await until(lambda: rows(world)[0].state is State.OVER)

        assert {uid(1): 0, uid(2): 0, uid(3): 0} == reasons(peer)
        assert ("CT1 localhost:11112", "2.25.1") == (peer.told[0][0], peer.told[0][1].transaction_uid)
        (record,) = records(world)
        assert (Event.INSTANCES_ACCESSED, ["P1"], False) == (record.event, list(record.patient_ids()), record.failed)
        with world.parts.database.reader() as connection:
            assert [(0,)] == connection.execute("SELECT count(*) FROM instance WHERE checked_at IS NULL").fetchall()
        assert [] == await world.proof()


@aio
async def test_each_instance_that_is_not_kept_has_its_reason(tmp_path: Path) -> None:
    """
    Never sent, deleted, another device's: 0112, all alike. Other class: 0119. Damaged, or other than what was sent: 0110.
    """
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        other = await world.device("CT2", may="deposit")
        for number in (1, 2, 3, 4):
            await deposited(session, number, pixels=bytes([number, 0]) * 4096)
        await deposited(other, 5)
        assert Outcome.CONFLICT is (await deposit(session, data_set(3, pixels=b"\x07\x08" * 512), number=3)).outcome
        await custodian(world).delete(
            EVERYTHING.__class__(EVERYTHING.level.__class__["IMAGE"], sop_instance_uids=(uid(4),)), WHY
        )
        place = world.row(uid(2)).location  # type: ignore[union-attr]
        flip(tmp_path / "home", place.pack, place.offset + place.length // 2)
        request = Commitment("2.25.1", (*references(1, 2, 3, 4, 5, 6), Reference("1.2.840.10008.5.1.4.1.1.4", uid(1))))
        box = CommitmentInbox()
        box.close()
        await session.commit(request, box)
        peer = Peer()
        await settled(world, peer)
        await until(lambda: peer.told)

        _, told = peer.told[0]
        assert [0, 0x0110, 0x0110, 0x0112, 0x0112, 0x0112, 0x0119] == list(told.reasons)
        assert request.references == told.references
        kept, not_kept = records(world)
        assert (False, True) == (kept.failed, not_kept.failed)
        details = [text for one in not_kept.objects for _, text in one.details]
        assert "0110: 2, 0112: 3, 0119: 1" in details
        assert 1 <= len(records(world, EventType.INTEGRITY))


@aio
async def test_who_may_search_hears_of_what_others_sent(tmp_path: Path) -> None:
    """A device that may query or retrieve is answered for its whole scope; it could ask anyway."""
    async with opened(tmp_path / "home") as world:
        await deposited(await world.device("CT1", may="deposit"), 1)
        reader = await world.device("WS1", may="deposit,query", move=ADDRESS)
        await asked(world, reader, 1)
        peer = Peer()
        await settled(world, peer)
        await until(lambda: peer.told)

        assert {uid(1): 0} == reasons(peer)


@aio
async def test_the_association_that_asked_comes_first(tmp_path: Path) -> None:
    """While it stands it is given the result; only when it does not take it, the address is called."""
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        await deposited(session, 1)
        peer, box = Peer(), CommitmentInbox()
        world.core.commitments.peer = peer
        await world.core.jobs.start()
        for number, takes in ((1, True), (2, False)):
            await asked(world, session, 1, transaction=f"2.25.{number}", inbox=box)
            await box.wait()
            coming = box.take()
            assert coming is not None
            assert f"2.25.{number}" == coming[0].transaction_uid
            coming[1].set_result(takes)
            await until(lambda: rows(world)[0].state is State.OVER)
            assert None is box.take()

        assert ["2.25.2"] == [one.transaction_uid for _, one in peer.told]


@aio
async def test_a_request_that_comes_again_is_answered_once_or_again(tmp_path: Path) -> None:
    """The same while it is open: once. The same when it was over: again. Another list under that UID: refused."""
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        await deposited(session, 1)
        for _ in range(3):
            await asked(world, session, 1)
        box = CommitmentInbox()
        await asked(world, session, 1, inbox=box)
        with pytest.raises(ConflictError):
            await asked(world, session, 1, 2, inbox=box)
        assert {"2.25.1"} == box.expected  # what was asked first is still to come here
        box.close()
        peer = Peer()
        await settled(world, peer)
        await until(lambda: rows(world)[0].state is State.OVER)
        assert 1 == len(peer.told)
        with pytest.raises(ConflictError):
            await asked(world, session, 1, 2)
        await asked(world, session, 1)
        await until(lambda: len(peer.told) == 2)
        await world.core.jobs.idle()

        assert [(0,), (0,)] == [one.reasons for _, one in peer.told]
        assert 1 == len(rows(world))


@aio
async def test_a_request_outlives_restarts_and_a_device_that_is_away(tmp_path: Path) -> None:
    """Durable before it is answered; examined by the next process; told when the device is back; read once only."""
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        await deposited(session, 1)
        await asked(world, session, 1)
    async with opened(tmp_path / "home") as world:
        await settled(world, Peer(broken=1))
        await until(lambda: rows(world)[0].state is State.KNOWN and work(world, jobs.State.WAITING))
        (waiting,) = work(world, jobs.State.WAITING)
        assert ("commitment-report", "RemoteProtocolError: the device could not be reached") == (
            waiting.kind,
            waiting.problem,
        )
    async with opened(tmp_path / "home") as world:
        peer = Peer()
        world.core.commitments.peer = peer
        with world.parts.database.transaction() as connection:
            jobs.retry(connection, waiting.id, at=0.0)
        await settled(world)
        await until(lambda: rows(world)[0].state is State.OVER)

        assert {uid(1): 0} == reasons(peer)
        assert 1 == len(records(world))


@aio
async def test_a_result_that_nobody_can_be_told_is_a_dead_letter(tmp_path: Path) -> None:
    """No address, and the association is gone; or the device was revoked: a Security Alert, and no endless attempts."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT1", may="deposit")
        revoked = await world.device("CT2", may="deposit", move=ADDRESS)
        await deposited(session, 1)
        for one in (session, revoked):
            await asked(world, one, 1)
        await (await world.custodian()).revoke("CT2")
        peer = Peer()
        await settled(world, peer)
        await until(lambda: len(work(world, jobs.State.FAILED)) == 2)

        assert [] == peer.told
        assert 2 == len(records(world, EventType.JOB_FAILED))


@aio
async def test_who_may_not_ask(tmp_path: Path) -> None:
    """A reader, the host, a device without a certificate, a session that is over: refused, and that is recorded."""
    async with opened(tmp_path / "home") as world:
        reader = await world.device("WS1", may="query,retrieve")
        host = await world.host()
        for one in (reader, host):
            assert not one.may_commit
            with pytest.raises(AccessDenied):
                await asked(world, one, 1)
            assert records(world, EventType.AUTHORIZATION_DECISION)
        session = await world.device("CT1", may="deposit")
        world.archive.directory.has_certificate = lambda _name: False  # as on the plaintext door
        assert not session.may_commit
        with pytest.raises(AccessDenied):
            await asked(world, session, 1)
        assert "commitment-without-certificate" == records(world, EventType.AUTHORIZATION_DECISION)[-1].reason
        session.close()
        with pytest.raises(AccessDenied):
            await asked(world, session, 1)
        assert [] == rows(world)


@aio
async def test_no_more_are_open_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One device cannot fill the register, with requests or with results that nobody takes; another is not held up."""
    monkeypatch.setattr(register, "MAX_OPEN", 3)
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        for number in range(3):
            await asked(world, session, 1, transaction=f"2.25.{number}")
        with pytest.raises(OutOfResources):
            await asked(world, session, 1, transaction="2.25.9")
        await asked(world, await world.device("CT2", may="deposit"), 1)
        await settled(world, Peer(broken=1_000))
        for number in range(10, 15):
            await asked(world, session, 1, transaction=f"2.25.{number}")
            await world.core.jobs.idle()
            await until(lambda: not [one for one in rows(world) if one.state is State.OPEN])

        assert 4 >= sum(one.state is State.KNOWN and one.device == "CT1" for one in rows(world))


@aio
async def test_ten_thousand_instances_are_examined_in_bounded_steps(tmp_path: Path) -> None:
    """Deposits go on meanwhile, and each reference has its reason."""
    many = tuple(Reference(CT, f"1.2.9.{number}") for number in range(10_000))
    async with opened(tmp_path / "home") as world:
        session = await world.device(move=ADDRESS, may="deposit")
        await deposited(session, 1)
        box = CommitmentInbox()
        box.close()
        await session.commit(Commitment("2.25.1", (*many, *references(1))), box)
        peer = Peer()
        await settled(world, peer)
        await deposited(session, 2)
        await until(lambda: peer.told)

        assert {0x0112: 10_000, 0: 1} == {
            reason: peer.told[0][1].reasons.count(reason) for reason in set(peer.told[0][1].reasons)
        }


# ------------------------------------------------------------------------------------------------------- we ask a device


@aio
async def test_a_device_is_asked_about_a_study_and_its_result_is_kept(tmp_path: Path) -> None:
    """What it does not mention it does not answer for; a second result of the same transaction is not taken."""
    async with opened(tmp_path / "home") as world:
        for number in (1, 2, 3):
            await deposited(await world.device(f"CT{number}", may="deposit"), number)
        theirs = await world.device("PACS2", may="retrieve", move=ADDRESS)
        keeper = world.archive.commitment_keeper(await world.host())
        made = await keeper.ask("PACS2", EVERYTHING.study_instance_uids[0])
        peer = Peer(broken=1)
        await settled(world, peer)
        await until(lambda: work(world, jobs.State.WAITING))
        with world.parts.database.transaction() as connection:
            jobs.retry(connection, work(world, jobs.State.WAITING)[0].id, at=0.0)
        world.core.jobs.wake()
        await until(lambda: peer.asked)
        await world.core.jobs.idle()
        ((name, request),) = peer.asked
        assert ("PACS2", {uid(1), uid(2), uid(3)}) == (name, {one.sop_instance_uid for one in request.references})
        result = Commitment(request.transaction_uid, (*references(1, 2), *references(9)), (0, 0x0112, 0))
        with pytest.raises(NotFound):
            await (await world.device("PACS3", may="retrieve", move=("localhost", 1))).committed(result)
        await theirs.committed(result)
        with pytest.raises(NotFound):
            await theirs.committed(result)

        shown = await keeper.shown(made["id"])
        assert ("over", 3, 2) == (shown["state"], shown["instances"], shown["failed"])
        assert {uid(2): "0112", uid(3): "0110"} == {one["sop_instance_uid"]: one["reason"] for one in shown["not_kept"]}
        assert [made["id"]] == [one["id"] for one in (await keeper.listed())["commitments"]]
        assert records(world)[-1].failed
        assert [] == await world.proof()


@aio
async def test_a_result_on_the_same_association_is_taken(tmp_path: Path) -> None:
    """It comes at once: over, and nothing waits."""
    async with opened(tmp_path / "home") as world:
        await deposited(await world.device("CT1", may="deposit"), 1)
        await world.device("PACS2", may="retrieve", move=ADDRESS)
        keeper = world.archive.commitment_keeper(await world.host())
        made = await keeper.ask("PACS2", EVERYTHING.study_instance_uids[0])
        peer = Peer()
        peer.result = Commitment(made["transaction"], references(1), (0,))
        await settled(world, peer)
        await until(lambda: rows(world)[0].state is State.OVER)

        assert 0 == (await keeper.shown(made["id"]))["failed"]
        assert not records(world)[-1].failed


@aio
async def test_only_a_keeper_asks_and_only_a_device_that_may_know(tmp_path: Path) -> None:
    """Unknown device, one without address, one that may not retrieve, unknown study: each is told; a device is refused."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT1", may="deposit", move=ADDRESS)
        await deposited(session, 1)
        await world.device("WS1", may="retrieve")
        study = EVERYTHING.study_instance_uids[0]
        keeper = world.archive.commitment_keeper(await world.host())
        for device, asked_for, error in (
            ("NOBODY", study, NotFound),
            ("CT1", study, ConfigurationError),
            ("WS1", study, NotFound),
            ("WS1", "1.9.9", NotFound),
        ):
            with pytest.raises(error):
                await keeper.ask(device, asked_for)
        theirs = world.archive.commitment_keeper(session)
        for call in (lambda: theirs.ask("WS1", study), theirs.listed, lambda: theirs.shown(1)):
            with pytest.raises(AccessDenied):
                await call()
        with pytest.raises(NotFound):
            await keeper.shown(1)

        assert [] == rows(world)


@aio
async def test_an_inbox_that_is_closed_or_late_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result goes elsewhere then; nobody waits for ever."""
    monkeypatch.setattr("strongroom.archive.committed.DELIVERY_SECONDS", 0.01)
    box = CommitmentInbox()
    result = Commitment("2.25.1", references(1), (0,))
    assert not await box.deliver(result)
    assert box.take() is None
    waiting = asyncio.ensure_future(box.deliver(result))
    await asyncio.sleep(0)
    box.close()

    assert not await waiting
    assert not await box.deliver(result)
    with contextlib.suppress(RemoteProtocolError):
        assert box.take() is None
