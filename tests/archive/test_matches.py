"""Answers of a search: the record before the first answer, the count after the last, pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archive.world import World, aio, answers, deposited, opened
from strongroom.archive import Query, Root, committer
from strongroom.archive.matches import PAGE
from strongroom.audit.codes import Event
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, LocalProtocolError, MismatchError, OutOfResources


def queries(world: World) -> list:
    """The records of searches, oldest first."""
    return [entry.message for entry in world.trail() if entry.message.event == Event.QUERY]


STUDIES = Query(root=Root.STUDY, level=Level.STUDY, keys={"0020000D": {"vr": "UI"}, "00100020": {"vr": "LO"}})


@aio
async def test_a_search_is_recorded_before_its_first_answer(tmp_path: Path) -> None:
    """When the first answer is in hand the trail has the query, its keys, who asked and how many were found."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        matches = aiter(await session.query(STUDIES))
        assert [] == queries(world)
        first = await anext(matches)
        (record,) = queries(world)
        await matches.aclose()

        assert ["P1"] == first["00100020"]["Value"]
        assert any(one.query for one in record.objects)
        assert "device:CT1" in {one.user_id for one in record.participants}


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1])
@aio
async def test_every_answer_comes_however_many_pages(tmp_path: Path, count: int) -> None:
    """None, one, a page, and one more than a page; the last record holds the count."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(count):
            await deposited(session, number, study=f"1.2.{number}")
        found = await answers(session, t0020000D="")

        assert {f"1.2.{number}" for number in range(count)} == {match["0020000D"]["Value"][0] for match in found}
        assert count == len(found)
        assert any(str(count) in value for one in queries(world)[-1].objects for _, value in one.details)


@aio
async def test_no_record_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a database that takes no record a search gives nothing (I10)."""
    monkeypatch.setattr(committer, "TRAIL_SECONDS", 3600.0)  # on a slow disk the outbox would be tidied in time
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        world.fill_database()
        given = 0
        for _ in range(500):
            recorded = len(queries(world))
            matches = aiter(await session.query(STUDIES))
            try:
                await anext(matches)
            except OutOfResources:
                break
            given += 1
            assert recorded + 1 == len(queries(world))
            await matches.aclose()
        else:
            pytest.fail("the database was never full")
        assert given < 500


@aio
async def test_a_question_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    """A PATIENT level in the study root raises before anything is looked up."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        with pytest.raises(MismatchError):
            async for _ in await session.query(Query(root=Root.STUDY, level=Level.PATIENT, keys={})):
                pass


@aio
async def test_who_may_not_query_is_refused_and_recorded(tmp_path: Path) -> None:
    """A modality's search, and the host's: refused before the catalogue is asked."""
    async with opened(tmp_path / "home") as world:
        for session in (await world.device("CT1", "deposit"), await world.host()):
            with pytest.raises(AccessDenied):
                await session.query(STUDIES)

        assert 2 == sum(entry.message.failed for entry in world.trail())
        assert [] == queries(world)


@aio
async def test_a_limit_says_whether_there_is_more(tmp_path: Path) -> None:
    """Behind the last answer a limit lets through, an offset counted in; asked before the first answer it is a bug."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(3):
            await deposited(session, number, study=f"1.2.{number}")
        found = {}
        for offset, limit in ((0, 2), (0, 3), (1, 2), (0, 1), (3, 1), (0, None)):
            matches = await session.query(replace(STUDIES, offset=offset, limit=limit, relational=True))
            with pytest.raises(LocalProtocolError):
                await matches.go_on()
            count = len([match async for match in matches])
            found[offset, limit] = count, await matches.go_on()

        assert {
            (0, 2): (2, True),
            (0, 3): (3, False),
            (1, 2): (2, False),
            (0, 1): (1, True),
            (3, 1): (0, False),
            (0, None): (3, False),
        } == found
