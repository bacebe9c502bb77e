"""The gate: who is let in, what is recorded, and that every refusal looks the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.world import World, aio, deposited, opened
from strongroom.access.identity import Rejected
from strongroom.archive import NoCredential, SystemCredential
from strongroom.audit.codes import Event
from strongroom.errors import AccessDenied
from strongroom.register import callers


def refusals(world: World) -> list[str]:
    """Why callers were turned away, oldest first."""
    return [entry.message.reason for entry in world.trail() if entry.message.failed]


@aio
async def test_an_enrolled_device_gets_a_session(tmp_path: Path) -> None:
    """Certificate, AE title and door together; what it may do is what its entry says."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("CT1", "deposit")

        assert ("CT1", "CT1") == (session.name, session.ae_title)
        assert [True, False, False] == [session.may(action) for action in ("deposit", "query", "retrieve")]
        assert not session.duplicate_is_success
        assert frozenset() == session.private_sop_classes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"calling_ae_title": "CT2"}, "ae-title-mismatch"),
        ({"calling_ae_title": "NOBODY"}, "ae-title-mismatch"),
        ({"called_ae_title": "ELSE"}, "called-ae-title"),
        ({"certificate": None}, "certificate-missing"),
        ({"certificate": b"not a certificate"}, "certificate-unknown"),
        ({"encrypted": False}, "door-not-encrypted"),
    ],
)
@aio
async def test_whatever_does_not_fit_is_refused_and_recorded(tmp_path: Path, change: dict, reason: str) -> None:
    """One refusal for the caller, the reason in the trail and in the list of who knocked, both before it is told."""
    async with opened(tmp_path / "home") as world:
        certificate = await world.enrol("CT1")
        await world.enrol("CT2")
        before = len(world.trail())
        with pytest.raises(AccessDenied):
            await world.admit("CT1", **({"certificate": certificate} | change))
        with world.parts.database.reader() as connection:
            (knocked,) = callers.refused(connection)

        assert before + 1 == len(world.trail())
        assert [reason] == refusals(world)
        assert (reason, "127.0.0.1", 1) == (knocked.reason, knocked.address, knocked.count)


@aio
async def test_a_network_binds(tmp_path: Path) -> None:
    """A device bound to a network is refused from elsewhere, let in from there."""
    async with opened(tmp_path / "home") as world:
        certificate = await world.enrol("CT1", networks=["10.0.0.0/8"])
        with pytest.raises(AccessDenied):
            await world.admit("CT1", certificate, address="192.168.1.1")

        assert "CT1" == (await world.admit("CT1", certificate, address="10.1.2.3")).name
        assert ["device-network"] == refusals(world)


@aio
async def test_revoking_ends_open_sessions(tmp_path: Path) -> None:
    """The next thing a revoked device asks is refused, on the session it has and on a new one; the trail names it (C39)."""
    async with opened(tmp_path / "home") as world:
        certificate = await world.enrol("CT1")
        session = await world.admit("CT1", certificate)
        await deposited(session)
        await (await world.custodian()).revoke("CT1")
        with pytest.raises(AccessDenied):
            await deposited(session, 2)
        with pytest.raises(AccessDenied):
            await world.admit("CT1", certificate)

        assert ["device-revoked"] == refusals(world)
    async with opened(tmp_path / "home") as world:
        with pytest.raises(AccessDenied):
            await world.admit("CT1", certificate)


@aio
async def test_a_closed_session_is_closed(tmp_path: Path) -> None:
    """Whatever is asked of it afterwards is refused."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        session.close()
        with pytest.raises(AccessDenied):
            await deposited(session)


@aio
async def test_the_system_has_its_own_tasks_only(tmp_path: Path) -> None:
    """A task that is in the table is admitted, anything else is not."""
    async with opened(tmp_path / "home") as world:
        assert "scrub" == (await world.archive.gate.admit(SystemCredential("scrub"))).name
        with pytest.raises(AccessDenied):
            await world.archive.gate.admit(SystemCredential("anything"))


@aio
async def test_who_never_said_a_name_is_recorded_too(tmp_path: Path) -> None:
    """A handshake that failed, and how often it failed again, stand in the trail with the address."""
    async with opened(tmp_path / "home") as world:
        refusals = world.archive.gate.refusals
        for _ in range(27):
            refusals.turned_away("dicom", "10.9.9.9", 1234, "tls")
        await refusals.stop()
        with world.parts.database.reader() as connection:
            (knocked,) = callers.refused(connection)

        assert 27 == knocked.count
        last = [entry.message for entry in world.trail()][-2:]

        assert all(message.failed for message in last)
        assert all(any("10.9.9.9" in one.address for one in message.participants) for message in last)
        assert Event.SECURITY_ALERT in {message.event for message in last}


@aio
async def test_a_door_nobody_configured_admits_nobody(tmp_path: Path) -> None:
    """A credential that names an unknown door is refused."""
    async with opened(tmp_path / "home") as world:
        with pytest.raises(AccessDenied):
            await world.admit("CT1", await world.enrol("CT1"), door="side")


@aio
async def test_who_shows_nothing_is_recorded_before_it_is_answered(tmp_path: Path) -> None:
    """A request without a credential stands in the trail when the door answers 401; a flood of them is counted."""
    async with opened(tmp_path / "home") as world:
        gate = world.archive.gate
        await gate.turned_away("web", "10.9.9.9", 1234, NoCredential.MISSING)
        assert ["no-credential"] == refusals(world)
        for _ in range(26):
            await gate.turned_away("web", "10.9.9.9", 1234, NoCredential.MISSING)
        assert 10 == len(refusals(world))
        await gate.refusals.stop()
        with world.parts.database.reader() as connection:
            (knocked,) = callers.refused(connection)

        assert (27, "web") == (knocked.count, knocked.door)
        assert 11 == len(refusals(world))


def test_reasons_of_front_doors_are_those_of_the_trail() -> None:
    """What a front door may say of a request without a credential is explained in the trail's page like the rest."""
    assert {one.value for one in NoCredential} <= {one.value for one in Rejected}
