"""DELETE: with a reason, by a person; out of sight and not gone. A token never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.test_deletion import custodian
from archive.world import EVERYTHING, aio, deposited
from dicomweb.place import Place, running
from strongroom.archive import Session
from strongroom.audit.codes import Event

WHY = "sent twice by mistake"


def person(place: Place) -> Session:
    """A custodian, who will sign in at the console."""
    return custodian(place.world)


def signed_in(place: Place) -> None:
    """Let every request be that person's."""

    async def admit(_credential: object) -> Session:
        return person(place)

    place.world.archive.gate.admit = admit  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("given", ["field", "parameter"])
@aio
async def test_what_is_deleted_is_out_of_sight(tmp_path: Path, given: str) -> None:
    """204, recorded; afterwards absent, and it can be brought back."""
    async with running(tmp_path / "home") as place:
        await deposited(await place.world.host())
        assert 200 == (await place.ask("/studies/1.2.3")).status_code
        admit = place.world.archive.gate.admit
        signed_in(place)
        if given == "field":
            answer = await place.ask("/studies/1.2.3", method="DELETE", Strongroom_Reason=WHY)
        else:
            answer = await place.ask("/studies/1.2.3?reason=sent+twice+by+mistake", method="DELETE")
        assert (204, b"") == (answer.status_code, answer.content)
        assert 404 == (await place.ask("/studies/1.2.3", method="DELETE", Strongroom_Reason=WHY)).status_code
        assert place.messages(Event.STUDY_DELETED)

        place.world.archive.gate.admit = admit  # type: ignore[method-assign]
        assert 404 == (await place.ask("/studies/1.2.3")).status_code
        await person(place).restore(EVERYTHING)
        assert 200 == (await place.ask("/studies/1.2.3")).status_code


@aio
async def test_a_reason_is_needed(tmp_path: Path) -> None:
    """None, an empty one, two, one that is too long or no sentence: 400, and nothing happens."""
    async with running(tmp_path / "home") as place:
        await deposited(await place.world.host())
        admit = place.world.archive.gate.admit
        signed_in(place)
        for query, fields in (
            ("", {}),
            ("", {"Strongroom_Reason": "  "}),
            ("", {"Strongroom_Reason": "x" * 300}),
            ("", {"Strongroom_Reason": "x"}),
            ("?reason=one+reason", {"Strongroom_Reason": "another reason"}),
            ("?reason=a%0Ab+c+d", {}),
        ):
            assert 400 == (await place.ask(f"/studies/1.2.3{query}", method="DELETE", **fields)).status_code

        place.world.archive.gate.admit = admit  # type: ignore[method-assign]
        assert 200 == (await place.ask("/studies/1.2.3")).status_code


@aio
async def test_a_token_never_deletes(tmp_path: Path) -> None:
    """The same answer as for what is not there, recorded as a refusal."""
    async with running(tmp_path / "home") as place:
        await deposited(await place.world.host())
        there = await place.ask("/studies/1.2.3", method="DELETE", Strongroom_Reason=WHY)
        absent = await place.ask("/studies/1.9", method="DELETE", Strongroom_Reason=WHY)

        assert 404 == there.status_code == absent.status_code
        assert len(there.content) == len(absent.content)
        assert place.world.trail()[-1].message.failed
        assert 200 == (await place.ask("/studies/1.2.3")).status_code
