"""Bytes coming in: keys, leases, quarantine, and what a receipt promises."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from archive.world import (
    CT,
    EVERYTHING,
    EXPLICIT,
    IMPLICIT,
    LONG_PIXELS,
    STUDY,
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
from strongroom.archive.deposit import MAX_HELD, MAX_SEALED_HELD
from strongroom.errors import AccessDenied, DataSetError, MismatchError
from strongroom.register import quarantine


@pytest.mark.parametrize("piece", [7, 1000, 1_000_000])
@aio
async def test_a_data_set_comes_back_bit_for_bit(tmp_path: Path, piece: int) -> None:
    """However it is cut into fragments, what was deposited is what is retrieved, and the receipt names it."""
    data = data_set()
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        receipt = await deposit(session, data, piece=piece)

        assert (Outcome.STORED, uid(1), STUDY, len(data)) == (
            receipt.outcome,
            receipt.sop_instance_uid,
            receipt.study_instance_uid,
            receipt.length,
        )
        assert {uid(1): data} == await returned(session, EVERYTHING)
        row = world.row(uid(1))

    assert row is not None
    assert hashlib.sha256(data).digest() == row.digest


@aio
async def test_instances_of_a_study_share_its_key(tmp_path: Path) -> None:
    """Two instances of one study are sealed under one key, an instance of another study under another."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number, study in ((1, "1.2.3"), (2, "1.2.3"), (3, "1.2.9")):
            await deposited(session, number, study=study)
        keys = [world.row(uid(number)).key_id for number in (1, 2, 3)]

    assert keys[0] == keys[1] != keys[2]


@aio
async def test_a_late_study_uid_gets_a_key_that_is_assigned(tmp_path: Path) -> None:
    """Where more bytes come before the Study Instance UID than are held, a new key is used and becomes the study's."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1, late_study=MAX_HELD + 50_000)
        late = world.row(uid(1)).key_id
        # the study owns that key now: what comes later is sealed under it as well
        await deposited(session, 2)

        assert late == world.row(uid(2)).key_id == world.parts.keyring.for_study(STUDY).key_id
        assert first == (await returned(session, EVERYTHING))[uid(1)]
        assert await world.findings() == []


@aio
async def test_a_study_uid_within_what_is_held_needs_no_key_of_its_own(tmp_path: Path) -> None:
    """Bytes before the Study Instance UID are held until it comes; one key serves the whole study."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        data, _ = await deposited(session, 2, late_study=MAX_HELD - 60_000)

        assert world.row(uid(1)).key_id == world.row(uid(2)).key_id
        assert data == (await returned(session, EVERYTHING))[uid(2)]


@aio
async def test_a_late_study_uid_of_a_known_study_keeps_both_keys(tmp_path: Path) -> None:
    """A study that has a key comes to own the late one too; both instances open."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, _ = await deposited(session, 1)
        second, _ = await deposited(session, 2, late_study=MAX_HELD + 50_000)

        assert world.row(uid(1)).key_id != world.row(uid(2)).key_id
        assert {uid(1): first, uid(2): second} == await returned(session, EVERYTHING)
    async with opened(tmp_path / "home") as world:
        assert {uid(1): first, uid(2): second} == await returned(await world.device("CT2"), EVERYTHING)


@aio
async def test_a_long_instance_goes_through_a_leased_pack(tmp_path: Path) -> None:
    """Beyond 4 MiB sealed the bytes go to a pack of their own while they come in; nothing of them is visible before the end."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data = data_set(pixels=LONG_PIXELS)
        coming = session.deposit(sop_class_uid=CT, sop_instance_uid=uid(1), transfer_syntax_uid=EXPLICIT)
        free = world.parts.vault.free_leases
        for start in range(0, len(data), 100_000):
            coming.feed(memoryview(data)[start : start + 100_000])
            await coming.ready()

        assert len(data) > MAX_SEALED_HELD
        assert free - 1 == world.parts.vault.free_leases
        assert await answers(session) == []

        await coming.finish()

        assert free == world.parts.vault.free_leases
        assert {uid(1): data} == await returned(session, EVERYTHING)
        assert await world.findings() == []


@aio
async def test_an_abandoned_lease_leaves_dead_bytes_only(tmp_path: Path) -> None:
    """A long deposit that breaks off is in no list; `check` is clean, the lease is free, and the same can come again."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data = data_set(pixels=LONG_PIXELS)
        free = world.parts.vault.free_leases
        coming = session.deposit(sop_class_uid=CT, sop_instance_uid=uid(1), transfer_syntax_uid=EXPLICIT)
        for start in range(0, len(data) - 500_000, 100_000):
            coming.feed(memoryview(data)[start : start + 100_000])
            await coming.ready()
        await coming.abandon("interrupted")

        assert free == world.parts.vault.free_leases
        assert world.row(uid(1)) is None
        assert await world.findings() == []
        assert world.trail()[-2].message.failed or any(entry.message.reason == "interrupted" for entry in world.trail())
        assert (await deposit(session, data)).outcome == Outcome.STORED
        assert {uid(1): data} == await returned(session, EVERYTHING)
    async with opened(tmp_path / "home") as world:
        assert await world.findings() == []


@aio
async def test_more_long_instances_than_leases_wait_for_each_other(tmp_path: Path) -> None:
    """Twelve long instances at the same time all arrive: who finds no free pack waits (back-pressure)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sent = {uid(number): data_set(number, pixels=LONG_PIXELS) for number in range(12)}
        receipts = await asyncio.gather(
            *(deposit(session, sent[uid(number)], number=number, piece=500_000) for number in range(12))
        )

        assert {Outcome.STORED} == {receipt.outcome for receipt in receipts}
        assert sent == await returned(session, EVERYTHING)


@aio
async def test_a_cancelled_deposit_of_a_long_instance_spoils_nothing(tmp_path: Path) -> None:
    """However far its end had come when a sender was cut off: each row opens, every lease comes back, check is clean."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        free = world.parts.vault.free_leases
        for number in range(24):
            data = data_set(number, pixels=LONG_PIXELS)
            coming = session.deposit(sop_class_uid=CT, sop_instance_uid=uid(number), transfer_syntax_uid=EXPLICIT)
            for start in range(0, len(data), 1_000_000):
                coming.feed(memoryview(data)[start : start + 1_000_000])
                await coming.ready()
            world.core.committer.busy_senders += 1  # so that the committer's thread does it, and can be raced
            ending = asyncio.ensure_future(coming.finish())
            await asyncio.sleep(number * 0.0003)
            ending.cancel()
            await asyncio.wait({ending})
            world.core.committer.busy_senders -= 1
        await until(lambda: world.parts.vault.free_leases == free)
        findings = await world.findings()

        # an orphan is a record that nobody was promised; anything else would be damage
        assert {"orphan"} >= {finding["kind"] for finding in findings}
        assert world.core.leases._value == 8


@pytest.mark.parametrize("missing", [1, 100, 900])
@aio
async def test_a_cut_data_set_is_refused_and_kept_aside(tmp_path: Path, missing: int) -> None:
    """A data set whose end is missing is never stored with success; its bytes are in quarantine, listed and not found."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data = data_set()[:-missing]
        with pytest.raises(DataSetError):
            await deposit(session, data)
        with world.parts.database.reader() as connection:
            (kept,) = quarantine.listed(connection)

        assert kept.fault == "StructureFault"
        assert hashlib.sha256(data).digest() == kept.kept.digest
        assert await answers(session) == []
        assert await returned(session, EVERYTHING) == {}
        assert await world.findings() == []
        assert any("quarantined" in entry.message.types for entry in world.trail())
        assert (await deposit(session, data_set())).outcome == Outcome.STORED


@aio
async def test_a_long_cut_data_set_is_kept_aside_too(tmp_path: Path) -> None:
    """Also one that had a pack leased."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        free = world.parts.vault.free_leases
        with pytest.raises(DataSetError):
            await deposit(session, data_set(pixels=LONG_PIXELS)[:-1], piece=400_000)

        assert (await world.status())["quarantine"] == 1
        assert free == world.parts.vault.free_leases
        assert await world.findings() == []


@pytest.mark.parametrize("request_uids", [(CT, "1.2.3.4.99"), ("1.2.840.10008.5.1.4.1.1.4", uid(1))])
@aio
async def test_a_data_set_of_another_request_is_refused(tmp_path: Path, request_uids: tuple[str, str]) -> None:
    """SOP class or instance UID other than announced: A900, kept aside, stored under neither (SECURITY D05)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        coming = session.deposit(
            sop_class_uid=request_uids[0], sop_instance_uid=request_uids[1], transfer_syntax_uid=EXPLICIT
        )
        coming.feed(memoryview(data_set()))
        await coming.ready()
        with pytest.raises(MismatchError):
            await coming.finish()

        assert ((await world.status())["instances"], (await world.status())["quarantine"]) == (0, 1)
        assert world.row(uid(1)) is None
        assert world.row("1.2.3.4.99") is None


@pytest.mark.parametrize("lacking", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@aio
async def test_a_data_set_without_a_place_is_refused(tmp_path: Path, lacking: str) -> None:
    """Without Study, Series or SOP Instance UID nothing can be filed; the bytes are kept aside."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        with pytest.raises((DataSetError, MismatchError)):
            await deposit(session, data_set(**{lacking: ""}))

        assert (await world.status())["quarantine"] == 1
        assert await world.findings() == []


@aio
async def test_garbage_is_kept_aside(tmp_path: Path) -> None:
    """Bytes that are no data set at all do not disturb anybody: refused when finished, not when fed."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        coming = session.deposit(sop_class_uid=CT, sop_instance_uid=uid(1), transfer_syntax_uid=IMPLICIT)
        coming.feed(memoryview(b"\xff" * 300_000))
        await coming.ready()
        coming.feed(memoryview(b"\xff" * 300_000))
        await coming.ready()
        with pytest.raises(DataSetError):
            await coming.finish()

        assert (await world.status())["quarantine"] == 1


@aio
async def test_without_a_request_the_data_set_says_what_it_is(tmp_path: Path) -> None:
    """A file is deposited without announced UIDs; the receipt names those of the data set."""
    async with opened(tmp_path / "home") as world:
        receipt = await deposit(await world.host(), data_set(7), number=None)

        assert uid(7) == receipt.sop_instance_uid
        assert world.row(uid(7)).sop_class_uid == CT


@aio
async def test_who_may_not_deposit_cannot_begin(tmp_path: Path) -> None:
    """A reader's deposit is refused before it takes a byte."""
    async with opened(tmp_path / "home") as world:
        session = await world.device("READER", "query,retrieve")
        with pytest.raises(AccessDenied):
            await deposit(session, data_set())

        assert (await world.status())["instances"] == 0


@aio
async def test_an_abandoned_deposit_is_recorded_once(tmp_path: Path) -> None:
    """Breaking off twice is one failed transfer in the trail, with the study as far as it is known."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        coming = session.deposit(sop_class_uid=CT, sop_instance_uid=uid(1), transfer_syntax_uid=EXPLICIT)
        coming.feed(memoryview(data_set())[:600])
        await coming.ready()
        await coming.abandon("peer-aborted")
        await coming.abandon("peer-aborted")
        records = [entry.message for entry in world.trail() if entry.message.reason == "peer-aborted"]

        assert len(records) == 1
        assert tuple(records[0].study_instance_uids()) == (STUDY,)
        assert world.core.committer.busy_senders == 0
