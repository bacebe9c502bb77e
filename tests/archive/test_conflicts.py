"""What was kept aside because something else was there first: kept once, listed, decided by a person, turned round by another decision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from archive.test_deletion import custodian
from archive.world import (
    EVERYTHING,
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
from strongroom.archive import Outcome
from strongroom.archive.decisions import AT_ONCE
from strongroom.audit.codes import Event, EventType
from strongroom.errors import AccessDenied, ConflictError, NotFound

WHY = "the worklist had the wrong patient"
OTHER = bytes(1024)


async def listed(world: World, *, decided: bool = False) -> list[dict[str, Any]]:
    """What the host is shown."""
    found: list[dict[str, Any]] = await world.archive.conflicts(await world.host()).listed(decided=decided)
    return found


async def resolve(world: World, keep: str, number: int = 1, reason: str | None = WHY) -> dict[str, Any]:
    """Decide, as the host."""
    found: dict[str, Any] = {}
    async for reply in world.archive.conflicts(await world.host(reason)).resolve(number, keep):
        found = reply.get("result", found)
    return found


async def two_contents(world: World) -> tuple[Any, bytes, bytes]:
    """A device, what it sent first, and what it sent then under the same UID."""
    session = await world.device()
    first, _ = await deposited(session, 1)
    second, receipt = await deposited(session, 1, pixels=OTHER)
    assert Outcome.CONFLICT == receipt.outcome
    return session, first, second


async def patients(session: Any) -> list[str]:
    """The Patient IDs of the study, as a search answers them."""
    found = await answers(session, t0020000D=STUDY, t00100020="")
    return [match["00100020"]["Value"][0] for match in found]


def decided_records(world: World, kind: EventType = EventType.CONFLICT_DECIDED) -> list[Any]:
    """The records of decisions."""
    return [entry.message for entry in world.trail() if kind in entry.message.types]


# ---------------------------------------------------------------------- one UID, two contents


@aio
async def test_the_first_is_kept_and_the_other_goes_to_the_deletions(tmp_path: Path) -> None:
    """Nothing of the catalogue changes; the other content is listed as deleted, with who, why and what was decided."""
    async with opened(tmp_path / "home") as world:
        session, first, _ = await two_contents(world)
        (waiting,) = await listed(world)
        done = await resolve(world, "first")

        assert ("content", 1, uid(1), None) == tuple(
            waiting[key] for key in ("kind", "instances", "sop_instance_uid", "decision")
        )
        assert (0, 0) == (done["came_in"], done["left"])
        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert [] == await listed(world)
        (told,) = await listed(world, decided=True)
        assert ("first", "host:uid 0", WHY) == tuple(told["decision"][key] for key in ("outcome", "who", "reason"))
        (deletion,) = await (await world.custodian()).deletions()
        assert (WHY, 1) == (deletion["reason"], deletion["instances"])
        assert 0 == (await world.status())["conflicts"]
        (record,) = decided_records(world)
        details = [detail for one in record.objects for detail in one.details]
        assert ("Decision", "first") in details
        assert ("Written reason", WHY) in details
        assert EventType.HOST_ACCESS not in record.types
        assert [] == await world.findings()


@aio
async def test_the_second_takes_the_place_and_gives_it_back(tmp_path: Path) -> None:
    """Bit for bit either way, in one transaction; each decision is in the trail; check finds nothing in between."""
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_contents(world)
        await resolve(world, "second")
        assert {uid(1): second} == await returned(session, EVERYTHING)
        assert [] == await world.findings()
        await resolve(world, "first")
        assert {uid(1): first} == await returned(session, EVERYTHING)
        await resolve(world, "second")

        assert {uid(1): second} == await returned(session, EVERYTHING)
        assert [] == await world.findings()
        assert 3 == len(decided_records(world))
        assert 1 == (await world.status())["instances"]
        deleted = [entry.message for entry in world.trail() if entry.message.event == Event.STUDY_DELETED]
        assert 3 == len(deleted)
    async with opened(tmp_path / "home") as world:
        assert {uid(1): second} == await returned(await world.device("CT2"), EVERYTHING)


@aio
async def test_what_is_decided_is_not_decided_again(tmp_path: Path) -> None:
    """The same once more is refused and changes nothing; so is both, a number that is not there, and no reason."""
    async with opened(tmp_path / "home") as world:
        await two_contents(world)
        with pytest.raises(ConflictError, match="one can be kept"):
            await resolve(world, "both")
        await resolve(world, "first")
        with pytest.raises(ConflictError, match="decided so already"):
            await resolve(world, "first")
        with pytest.raises(NotFound):
            await resolve(world, "first", 7)
        for reason in (None, "no"):
            with pytest.raises(AccessDenied, match="written reason"):
                await resolve(world, "second", reason=reason)

        assert 1 == len(decided_records(world))


@aio
async def test_what_is_on_hold_does_not_leave_the_catalogue(tmp_path: Path) -> None:
    """Keeping the first changes nothing of it and is allowed; the second has to wait for the hold's release."""
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_contents(world)
        holding = world.archive.holding(await world.host(WHY))
        (number,) = await holding.add([STUDY], reason="court order 4711", until=None)
        with pytest.raises(ConflictError, match="legal hold"):
            await resolve(world, "second")
        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert [] == decided_records(world)
        await resolve(world, "first")
        await holding.release(number["id"], reason="the case is over")
        await resolve(world, "second")

        assert {uid(1): second} == await returned(session, EVERYTHING)


@aio
async def test_a_device_decides_nothing(tmp_path: Path) -> None:
    """Custody is the host's and a custodian's; the refusal is recorded."""
    async with opened(tmp_path / "home") as world:
        session, *_ = await two_contents(world)
        tools = world.archive.conflicts(session)
        with pytest.raises(AccessDenied):
            await tools.listed(decided=False)
        with pytest.raises(AccessDenied):
            await tools.shown(1)
        with pytest.raises(AccessDenied):
            async for _ in tools.resolve(1, "second"):
                pass

        refused = [entry for entry in world.trail() if EventType.AUTHORIZATION_DECISION in entry.message.types]
        assert 3 == len(refused)


@aio
async def test_three_contents_are_decided_one_after_the_other(tmp_path: Path) -> None:
    """What is not in the catalogue any more cannot give its place back; the newest decision has to go first."""
    async with opened(tmp_path / "home") as world:
        session, first, _ = await two_contents(world)
        third, _ = await deposited(session, 1, pixels=b"\x07" * 1024)
        await resolve(world, "second", 1)
        await resolve(world, "second", 2)
        assert {uid(1): third} == await returned(session, EVERYTHING)
        with pytest.raises(ConflictError, match="decide on that conflict first"):
            await resolve(world, "first", 1)
        await resolve(world, "first", 2)
        await resolve(world, "first", 1)

        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert [] == await world.findings()


@aio
async def test_a_study_that_is_deleted_and_restored_does_not_bring_back_what_lost(tmp_path: Path) -> None:
    """A restore gives what was in the catalogue, not what a decision had taken out of it."""
    async with opened(tmp_path / "home") as world:
        session, _, second = await two_contents(world)
        other, _ = await deposited(session, 2)
        await resolve(world, "second")
        assert 2 == await custodian(world).delete(EVERYTHING, "by mistake")
        assert 2 == await custodian(world).restore(EVERYTHING)

        assert {uid(1): second, uid(2): other} == await returned(session, EVERYTHING)
        assert [] == await world.findings()


@aio
async def test_decided_content_sent_again_is_not_kept_twice(tmp_path: Path) -> None:
    """Whoever lost stays what lost: the sender gets the same answer, and nothing grows."""
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_contents(world)
        await resolve(world, "second")
        assert Outcome.DUPLICATE == (await deposit(session, second)).outcome
        assert Outcome.CONFLICT == (await deposit(session, first)).outcome
        assert Outcome.CONFLICT == (await deposit(session, first)).outcome

        assert 2 == len(await listed(world, decided=True))
        assert {uid(1): second} == await returned(session, EVERYTHING)


@aio
async def test_differences_are_named_and_shown_only_for_a_reason(tmp_path: Path) -> None:
    """Which attributes differ is no patient value; their values are, and are recorded as seen from the command line."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 1, PatientName="Canary^Bird", Rows=17)
        bare = await world.archive.conflicts(await world.host()).shown(1)
        seen = [entry for entry in world.trail() if EventType.HOST_ACCESS in entry.message.types]
        full = await world.archive.conflicts(await world.host(WHY)).shown(1)

        assert ["PatientName", "Rows"] == [one["keyword"] for one in bare["differences"]]
        assert "Canary" not in str(bare)
        assert [] == seen
        assert {"tag": "(0010,0010)", "keyword": "PatientName", "first": "Doe^Jane", "second": "Canary^Bird"} == full[
            "differences"
        ][0]
        (record,) = [entry.message for entry in world.trail() if EventType.HOST_ACCESS in entry.message.types]
        assert (Event.INSTANCES_ACCESSED, ["P1"]) == (record.event, list(record.patient_ids()))


@aio
async def test_only_the_pixels_differ(tmp_path: Path) -> None:
    """Then no attribute is named."""
    async with opened(tmp_path / "home") as world:
        await two_contents(world)

        assert [] == (await world.archive.conflicts(await world.host()).shown(1))["differences"]


# ---------------------------------------------------------------------- one study, two patients


@aio
async def test_a_study_sent_under_another_patient_is_kept_aside(tmp_path: Path) -> None:
    """The study stays as it is; one alert for what came together, none of its words the patient's; sent again it is not kept twice."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1)
        stranger = data_set(2, PatientID="CANARY", PatientName="Canary^Bird")
        outcomes = [(await deposit(session, stranger, number=2)).outcome for _ in range(2)]

        assert [Outcome.OTHER_PATIENT] * 2 == outcomes
        assert {uid(1): first} == await returned(session, EVERYTHING)
        assert ["P1"] == await patients(session)
        (waiting,) = await listed(world)
        assert ("patient", STUDY, 1) == tuple(waiting[key] for key in ("kind", "study_instance_uid", "instances"))
        assert "CANARY" not in str(waiting).upper()
        alerts = [entry.message for entry in world.trail() if EventType.OTHER_PATIENT in entry.message.types]
        assert 2 == len(alerts)
        assert f"urn:strongroom:study:{STUDY}" == alerts[0].objects[0].id
        assert "CANARY" not in str(alerts[0].objects[0]).upper()
        assert [] == await world.findings()


@pytest.mark.parametrize(
    ("earlier", "later", "apart"),
    [
        ({}, {"PatientID": "P2"}, True),
        ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}, True),
        ({}, {"IssuerOfPatientID": "B"}, False),
        ({"IssuerOfPatientID": "A"}, {}, False),
        ({}, {"PatientName": "Roe^Richard"}, False),
        ({}, {"PatientID": ""}, False),
        ({"PatientID": ""}, {"PatientID": "P2"}, False),
    ],
    ids=["ID", "issuer", "no issuer first", "no issuer then", "name", "no ID then", "no ID first"],
)
@aio
async def test_what_makes_two_patients(
    tmp_path: Path, earlier: dict[str, str], later: dict[str, str], apart: bool
) -> None:
    """Another Patient ID, or the same of another issuer; a name or a missing value does not."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1, **earlier)
        _, receipt = await deposited(session, 2, **later)

        assert (Outcome.OTHER_PATIENT if apart else Outcome.STORED) == receipt.outcome


@aio
async def test_two_patients_of_a_new_study_in_one_group(tmp_path: Path) -> None:
    """Whoever is recorded first has the study, also when both came at once; no success for what is not in it."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        names = ["P1", "P2"] * 8
        sent = [data_set(number, PatientID=name) for number, name in enumerate(names)]
        receipts = await asyncio.gather(*(deposit(session, one, number=number) for number, one in enumerate(sent)))
        stored = {number for number, one in enumerate(receipts) if one.outcome is Outcome.STORED}

        assert 1 == len({names[number] for number in stored})
        assert {Outcome.STORED, Outcome.OTHER_PATIENT} == {one.outcome for one in receipts}
        assert {uid(number) for number in stored} == (await returned(session, EVERYTHING)).keys()
        (waiting,) = await listed(world)
        assert 8 == waiting["instances"]
        assert [] == await world.findings()


@aio
async def test_one_instance_twice_in_the_group_that_finds_it_out(tmp_path: Path) -> None:
    """The same instance from two associations beside the study's first: neither hears success unless it is there."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        stranger = data_set(2, PatientID="P2")
        receipts = await asyncio.gather(
            deposit(session, data_set(1)),
            deposit(session, stranger, number=2),
            deposit(session, stranger, number=2),
        )
        there = (await returned(session, EVERYTHING)).keys()

        for receipt in receipts:
            good = receipt.outcome in (Outcome.STORED, Outcome.DUPLICATE)
            assert good == (receipt.sop_instance_uid in there)
        assert [] == await world.findings()


async def two_patients(world: World, count: int = 3) -> tuple[Any, dict[str, bytes], dict[str, bytes]]:
    """A device, the study it sent, and images of it that it sent under another patient."""
    session = await world.device()
    first = {uid(number): (await deposited(session, number))[0] for number in range(count)}
    second = {
        uid(number): (await deposited(session, number, PatientID="P2", PatientName="Roe^Richard"))[0]
        for number in range(100, 100 + count)
    }
    return session, first, second


@aio
async def test_the_second_patient_gets_the_study_and_gives_it_back(tmp_path: Path) -> None:
    """All of one patient leave, all of the other come in, bit for bit, in more than one transaction; and the other way round."""
    count = AT_ONCE + 3
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_patients(world, count)
        (waiting,) = await listed(world)
        done = await resolve(world, "second", waiting["id"])

        assert (count, count, count) == (done["conflicts"], done["came_in"], done["left"])
        assert second == await returned(session, EVERYTHING)
        assert ["P2"] == await patients(session)
        assert [] == await listed(world)
        assert [] == await world.findings()
        # whose it is now is the rule for what comes next
        assert Outcome.OTHER_PATIENT == (await deposited(session, 900))[1].outcome
        assert Outcome.STORED == (await deposited(session, 901, PatientID="P2"))[1].outcome

        await resolve(world, "first", waiting["id"])
        found = await returned(session, EVERYTHING)
        assert first.items() <= found.items()
        assert not second.keys() & found.keys()
        assert [] == await world.findings()


@aio
async def test_what_was_sent_under_the_wrong_patient_is_discarded(tmp_path: Path) -> None:
    """Keep first: everything of that patient goes to the deletions with one decision."""
    async with opened(tmp_path / "home") as world:
        session, first, _ = await two_patients(world)
        done = await resolve(world, "first")

        assert (3, 0, 0) == (done["conflicts"], done["came_in"], done["left"])
        assert first == await returned(session, EVERYTHING)
        (deletion,) = await (await world.custodian()).deletions()
        assert 3 == deletion["instances"]
        assert [] == await world.findings()


@aio
async def test_both_are_kept_where_only_the_id_was_mistyped(tmp_path: Path) -> None:
    """They come into the study as it is, which stays its patient's, bit for bit; first takes them out again."""
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_patients(world)
        await resolve(world, "both")

        assert first | second == await returned(session, EVERYTHING)
        assert ["P1"] == await patients(session)
        await resolve(world, "first")
        assert first == await returned(session, EVERYTHING)
        await resolve(world, "both")
        await resolve(world, "second")
        assert second == await returned(session, EVERYTHING)
        assert ["P2"] == await patients(session)
        assert [] == await world.findings()


@aio
async def test_a_study_sent_again_under_the_right_patient_is_decided_at_once(tmp_path: Path) -> None:
    """The same UIDs with the ID put right: conflicts of content by their answer, one decision by their patient."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first = {uid(number): (await deposited(session, number))[0] for number in range(3)}
        second = {}
        for number in range(3):
            second[uid(number)], receipt = await deposited(session, number, PatientID="P2")
            assert Outcome.CONFLICT == receipt.outcome
        (waiting,) = await listed(world)
        assert ("patient", 3) == (waiting["kind"], waiting["instances"])
        with pytest.raises(ConflictError, match="taken by the first"):
            await resolve(world, "both")
        await resolve(world, "second")

        assert second == await returned(session, EVERYTHING)
        assert ["P2"] == await patients(session)
        await resolve(world, "first")
        assert first == await returned(session, EVERYTHING)
        assert [] == await world.findings()


@aio
async def test_an_interrupted_decision_is_taken_up_again(tmp_path: Path) -> None:
    """Broken off between two transactions, it says so by being decided again; then all is there, and the way back as well."""
    count = AT_ONCE + 3
    async with opened(tmp_path / "home") as world:
        session, first, second = await two_patients(world, count)
        for keep, whole in (("second", second), ("first", first)):
            replies = world.archive.conflicts(await world.host(WHY)).resolve(1, keep)
            await anext(replies)
            await replies.aclose()
            assert AT_ONCE == len(await returned(session, EVERYTHING))
            assert [] == await world.findings()
            await resolve(world, keep)

            assert whole == await returned(session, EVERYTHING)
            assert [] == await world.findings()


@aio
async def test_the_patient_that_differs_is_named_by_its_attributes(tmp_path: Path) -> None:
    """Of two images only what says whose study it is is compared."""
    async with opened(tmp_path / "home") as world:
        await two_patients(world)
        shown = await world.archive.conflicts(await world.host()).shown(1)

        assert ["PatientName", "PatientID"] == [one["keyword"] for one in shown["differences"]]
        assert 3 == shown["instances"]


@aio
async def test_an_image_of_the_known_patient_asks_the_database_nothing_more(tmp_path: Path) -> None:
    """The second image of a series is judged from memory: the study is not looked up for its patient."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        asked: list[str] = []
        writer = world.parts.database.writer
        writer.set_exec_trace(lambda _cursor, statement, _values: asked.append(statement) or True)
        await deposited(session, 2)
        writer.set_exec_trace(None)

        assert any("INSERT INTO instance" in one for one in asked)
        assert [] == [one for one in asked if one.startswith("SELECT patient_id")]
