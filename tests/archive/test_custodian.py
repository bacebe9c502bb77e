"""The keepers' tools: each asks the policy first and leaves a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from archive.world import aio, data_set, deposit, deposited, opened
from strongroom.errors import AccessDenied, ConfigurationError, ConflictError, DataSetError

ENROL: dict[str, Any] = {
    "name": "CT1", "ae_title": "CT1", "may": ["deposit"], "networks": [], "move": None, "private_classes": [],
    "legacy_door": None, "days": 30,
}  # fmt: skip


@aio
async def test_nobody_but_a_keeper_gets_anything(tmp_path: Path) -> None:
    """A device that may do all a device may is refused each of the tools, and each refusal is recorded."""
    async with opened(tmp_path / "home") as world:
        tools = world.archive.custodian(await world.device())
        before = sum(entry.message.failed for entry in world.trail())
        attempts = [
            tools.status(), tools.enrol(**(ENROL | {"name": "X", "ae_title": "X"})), tools.revoke("CT1"), tools.devices(),
            anext(tools.check(read=False)), anext(tools.trail(last=1, patient=None, actor=None, refused=False)), tools.verify_trail(),
        ]  # fmt: skip
        for attempt in attempts:
            with pytest.raises(AccessDenied):
                await attempt

        assert len(attempts) == sum(entry.message.failed for entry in world.trail()) - before


@aio
async def test_counts_are_those_of_what_was_sent(tmp_path: Path) -> None:
    """Patients, studies, series, instances, bytes, conflicts, quarantine, devices."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sizes = [len((await deposited(session, n, study=f"1.2.{n // 2}", PatientID=f"P{n // 4}"))[0]) for n in range(6)]
        await deposited(session, 0, study="1.2.0", PatientID="P0", pixels=b"\x07" * 100)
        with pytest.raises(DataSetError):
            await deposit(session, data_set(50)[:-1], number=50)
        found = await world.status()

        expected = {
            "patients": 2,
            "studies": 3,
            "series": 3,
            "instances": 6,
            "bytes": sum(sizes),
            "conflicts": 1,
            "quarantine": 1,
        }
        assert expected == {name: found[name] for name in expected}
        assert 1 == found["devices"]
        assert found["oldest_unchecked_blob"]


@aio
async def test_a_check_that_read_everything_is_remembered(tmp_path: Path) -> None:
    """After `check --read` the oldest unchecked blob is as young as the check."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        before = (await world.status())["oldest_unchecked_blob"]
        assert [] == await world.findings()
        after = (await world.status())["oldest_unchecked_blob"]

        assert before is not None
        assert after is None or after >= before


@aio
async def test_enrolment_gives_a_key_once_and_keeps_none(tmp_path: Path) -> None:
    """The bundle has key, certificate and CA; nothing under the home holds a private key in clear; the act is recorded."""
    async with opened(tmp_path / "home") as world:
        enrolled = await (await world.custodian()).enrol(**ENROL)
        certificate = x509.load_pem_x509_certificate(enrolled["files"]["device.crt"].encode())

        assert "PRIVATE KEY" in enrolled["files"]["device.key"]
        assert "CERTIFICATE" in enrolled["files"]["ca.crt"]
        assert enrolled["expires"] == certificate.not_valid_after_utc.date().isoformat()
        assert any(
            "device enrolled" in value
            for entry in world.trail()
            for one in entry.message.objects
            for _, value in one.details
        )
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or b"PRIVATE KEY-----" not in path.read_bytes().replace(b"ENCRYPTED PRIVATE KEY", b"")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"may": []}, ConfigurationError),
        ({"may": ["administer"]}, ConfigurationError),
        ({"may": ["view"]}, ConfigurationError),
        ({"legacy_door": "legacy", "may": ["deposit", "query"], "networks": ["10.0.0.0/8"]}, ConfigurationError),
        ({"legacy_door": "legacy"}, ConfigurationError),
        ({"ae_title": "CT2"}, ConflictError),
        ({"name": "CT2"}, ConflictError),
    ],
)
@aio
async def test_what_cannot_be_enrolled_is_refused(tmp_path: Path, change: dict, error: type[Exception]) -> None:
    """Rights that no device has, a plaintext door for more than storing or without a network, a name or title that is taken."""
    async with opened(tmp_path / "home") as world:
        await world.enrol("CT2")
        with pytest.raises(error):
            await (await world.custodian()).enrol(**(ENROL | change))

        assert ["CT2"] == [device["name"] for device in (await (await world.custodian()).devices())["devices"]]


@aio
async def test_the_list_of_devices_shows_who_knocked(tmp_path: Path) -> None:
    """A refused caller is listed with its reason; enrolling its AE title takes it off the list."""
    async with opened(tmp_path / "home") as world:
        certificate = await world.enrol("CT1")
        with pytest.raises(AccessDenied):
            await world.admit("MR1", certificate)
        tools = await world.custodian()
        refused = (await tools.devices())["refused"]
        await world.enrol("MR1")

        assert [("MR1", 1)] == [(one["ae_title"], one["count"]) for one in refused]
        assert [] == (await tools.devices())["refused"]


@aio
async def test_reading_the_trail_is_recorded_first(tmp_path: Path) -> None:
    """The newest record of what is shown is the reading itself; filters and the number of records hold."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2, study="1.2.9", PatientID="P2")
        tools = await world.custodian()

        async def shown(**given: Any) -> list[dict]:
            asked = {"last": 1000, "patient": None, "actor": None, "refused": False} | given
            return [record async for page in tools.trail(**asked) for record in page]

        everything = await shown()
        assert "audit log used" == everything[0]["event"]
        assert 3 == len(await shown(last=3))
        assert all("P2" in record["about"] for record in await shown(patient="P2"))
        assert {"device:CT1"} == {
            record["actor"] for record in await shown(actor="CT1") if "network" not in record["event"]
        }
        assert [] == await shown(refused=True)


@aio
async def test_a_changed_trail_is_found(tmp_path: Path) -> None:
    """One bit of a closed record changed on the disk: `trail verify` names it."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(5):
            await deposited(session, number)
        world.core.committer._flush_trail()
        assert [] == await world.proof()
        (segment,) = [path for path in (tmp_path / "home" / "trail").rglob("*") if path.is_file()]
        content = bytearray(segment.read_bytes())
        content[len(content.rstrip(b"\0")) // 2] ^= 1
        segment.write_bytes(content)

        assert await world.proof()
