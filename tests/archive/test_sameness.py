"""A second deposit of the same SOP Instance UID: the same, or a conflict (I3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archive.world import (
    BIG_ENDIAN,
    EVERYTHING,
    EXPLICIT,
    IMPLICIT,
    RLE,
    aio,
    data_set,
    deposit,
    deposited,
    opened,
    returned,
    uid,
)
from strongroom.archive import Outcome


@aio
async def test_the_same_bytes_again_are_not_written_again(tmp_path: Path) -> None:
    """Success, one row, one record in the packs, and the trail says that it was held already."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        again = await deposit(session, data)
        records = sum(1 for pack in world.parts.vault.packs() for _ in world.parts.vault.records(pack))

        assert again.outcome == Outcome.DUPLICATE
        assert records == 1
        assert ((await world.status())["instances"], (await world.status())["conflicts"]) == (1, 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (IMPLICIT, EXPLICIT),
        (EXPLICIT, IMPLICIT),
        (EXPLICIT, BIG_ENDIAN),
        (BIG_ENDIAN, EXPLICIT),
        (IMPLICIT, BIG_ENDIAN),
        (BIG_ENDIAN, IMPLICIT),
    ],
)
@aio
async def test_the_same_content_in_another_native_syntax_is_the_same(tmp_path: Path, first: str, second: str) -> None:
    """What only the encoding tells apart is a duplicate; the first stays as it was sent."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session, 1, first)
        _, receipt = await deposited(session, 1, second)

        assert receipt.outcome == Outcome.DUPLICATE
        assert {uid(1): data} == await returned(session, EVERYTHING)


@pytest.mark.parametrize("change", [{"pixels": b"\x01\x03" * 512}, {"PatientID": "P2"}, {"AccessionNumber": "A"}])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@aio
async def test_other_content_is_a_conflict_and_the_first_stays(tmp_path: Path, change: dict, syntax: str) -> None:
    """One changed pixel, one other or added element: kept aside, alerted, never served instead of the first."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        data, _ = await deposited(session)
        _, receipt = await deposited(session, 1, syntax, **change)

        assert receipt.outcome == Outcome.CONFLICT
        assert {uid(1): data} == await returned(session, EVERYTHING)
        assert ((await world.status())["instances"], (await world.status())["conflicts"]) == (1, 1)
        assert any("conflict-version" in entry.message.types for entry in world.trail())
        assert await world.findings() == []


@aio
async def test_a_conflict_that_is_sent_again_is_kept_once(tmp_path: Path) -> None:
    """A sender that tries the same other content again gets the same answer and fills no disk."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        outcomes = [(await deposited(session, 1, pixels=b"\x09" * 64))[1].outcome for _ in range(3)]
        third = (await deposited(session, 1, pixels=b"\x08" * 64))[1].outcome

        assert [*outcomes, third] == [Outcome.CONFLICT] * 4
        assert (await world.status())["conflicts"] == 2
        assert await world.findings() == []


@aio
async def test_compressed_content_is_compared_by_its_bytes(tmp_path: Path) -> None:
    """Where a syntax is not native, only equal bytes in the same syntax are the same; nothing is decoded to find out."""
    encapsulated = data_set(pixels=b"") + bytes.fromhex(
        "e07f1000 4f42 0000 ffffffff feff00e0 00000000 feff00e0 04000000 01020304 feffdde0 00000000"
    )
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, encapsulated, syntax=RLE)

        assert (await deposit(session, encapsulated, syntax=RLE)).outcome == Outcome.DUPLICATE
        assert (await deposit(session, data_set(), syntax=EXPLICIT)).outcome == Outcome.CONFLICT


@aio
async def test_many_at_once_are_one_blob(tmp_path: Path) -> None:
    """Forty parallel deposits of one instance, in three syntaxes: all succeed, one is written (SECURITY D08)."""
    async with opened(tmp_path / "home") as world:
        sessions = [await world.device(f"CT{number}") for number in range(4)]
        syntaxes = [EXPLICIT, IMPLICIT, BIG_ENDIAN, EXPLICIT]
        receipts = await asyncio.gather(
            *(deposit(sessions[n % 4], data_set(1, syntaxes[n % 4]), syntax=syntaxes[n % 4]) for n in range(40))
        )
        outcomes = [receipt.outcome for receipt in receipts]
        records = sum(1 for pack in world.parts.vault.packs() for _ in world.parts.vault.records(pack))

        assert (outcomes.count(Outcome.STORED), outcomes.count(Outcome.DUPLICATE)) == (1, 39)
        assert records == 1
        assert await world.findings() == []


@aio
async def test_many_different_at_once_leave_one_first(tmp_path: Path) -> None:
    """Of twenty contents under one UID at the same time exactly one is kept, the others are conflicts; none is lost."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        sent = [data_set(pixels=bytes([n, 0]) * 300) for n in range(20)]
        receipts = await asyncio.gather(*(deposit(session, data) for data in sent))
        outcomes = [receipt.outcome for receipt in receipts]
        kept = (await returned(session, EVERYTHING))[uid(1)]

        assert (outcomes.count(Outcome.STORED), outcomes.count(Outcome.CONFLICT)) == (1, 19)
        assert sent[outcomes.index(Outcome.STORED)] == kept
        assert (await world.status())["conflicts"] == 19
        assert await world.findings() == []


@aio
async def test_a_damaged_first_is_not_replaced(tmp_path: Path) -> None:
    """When the first cannot be opened any more, another syntax of it is a conflict: a person decides (I3)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        place = world.row(uid(1)).location
        (pack,) = (tmp_path / "home" / "vault").glob("*.open")
        content = bytearray(pack.read_bytes())
        content[place.offset + 200] ^= 1
        pack.write_bytes(content)

        assert (await deposited(session, 1, IMPLICIT))[1].outcome == Outcome.CONFLICT
