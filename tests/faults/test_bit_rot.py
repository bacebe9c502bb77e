"""
Faults 10 to 12 of SECURITY section 5: bits that flip, and writes that land in the wrong place. All of it is found, none of it is
served.

Places are drawn with a seed that is printed; `STRONGROOM_SEED` draws the same ones again.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from archive.world import LONG_PIXELS, STUDY, World, aio, data_set, deposit, deposited, new_home, opened, returned, uid
from strongroom.archive import Target
from strongroom.dicom.model import Level
from strongroom.errors import StrongroomError

SEED = int(os.environ.get("STRONGROOM_SEED", random.SystemRandom().randrange(1 << 32)))
FLIPS = 60
INSTANCES = 12


@pytest.fixture(autouse=True)
def seed(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """The seed, printed with whatever fails."""
    print(f"STRONGROOM_SEED={SEED}")
    return random.Random(SEED)


async def filled(home: Path) -> tuple[bytes, dict[str, bytes]]:
    """A home with short and long instances, a conflict, and dead bytes; its device's certificate and what it holds."""
    held = {}
    async with opened(home) as world:
        certificate = await world.enrol("CT1", "deposit,query,retrieve")
        session = await world.admit("CT1", certificate)
        for number in range(INSTANCES):
            held[uid(number)], _ = await deposited(session, number)
        long = data_set(50, pixels=LONG_PIXELS)
        await deposit(session, long, number=50)
        held[uid(50)] = long
        await deposited(session, 1, pixels=b"\x05" * 90)
    return certificate, held


async def served(world: World, certificate: bytes, held: dict[str, bytes]) -> int:
    """Ask for every instance by itself: each is what was received, or an error; how many were errors."""
    session = await world.admit("CT1", certificate)
    errors = 0
    for one, data in held.items():
        target = Target(Level.IMAGE, study_instance_uids=(STUDY,), sop_instance_uids=(one,))
        try:
            got = await returned(session, target)
        except StrongroomError:
            errors += 1
        else:
            assert got == {one: data}
    return errors


def flip(path: Path, position: int, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ (1 << bit)]))


def written(path: Path) -> int:
    """Bytes of a file in front of the zeros written ahead, which nobody reads."""
    return len(path.read_bytes().rstrip(b"\0"))


@aio
async def test_every_flip_in_a_pack_is_found_and_none_is_served(tmp_path: Path) -> None:
    """Anywhere: headers, sealed bytes, labels, footers, the zeros between; one at a time."""
    home, draw = tmp_path / "home", random.Random(SEED)
    certificate, held = await filled(home)
    async with opened(home) as world:
        packs = sorted((home / "vault").iterdir())
        for _ in range(FLIPS):
            path = draw.choice(packs)
            position, bit = draw.randrange(written(path)), draw.randrange(8)
            flip(path, position, bit)
            found = await world.findings()
            await served(world, certificate, held)
            flip(path, position, bit)

            assert found, (SEED, path.name, position, bit)
        assert [] == await world.findings()
        assert 0 == await served(world, certificate, held)


@aio
async def test_many_flips_at_once_are_all_found(tmp_path: Path) -> None:
    """K damaged blobs are k findings, each with its place."""
    home, draw = tmp_path / "home", random.Random(SEED)
    certificate, held = await filled(home)
    async with opened(home) as world:
        rows = [world.row(one) for one in held]
        hurt = draw.sample([row for row in rows if row is not None], 7)
        for row in hurt:
            (path,) = (home / "vault").glob(f"{row.location.pack:08d}.*")
            flip(
                path, row.location.offset + 64 + draw.randrange(24, min(row.location.length, 4_000)), draw.randrange(8)
            )
        found = {(one["pack"], one["offset"]) for one in await world.findings()}

        assert {(row.location.pack, row.location.offset) for row in hurt} == found
        assert len(hurt) == await served(world, certificate, held)


@aio
async def test_a_misdirected_write_is_found(tmp_path: Path) -> None:
    """Fault 12: one blob's record over another's, and an older state of a whole pack."""
    home = tmp_path / "home"
    certificate, held = await filled(home)
    async with opened(home) as world:
        one, other = world.row(uid(2)), world.row(uid(3))
        assert one is not None
        assert other is not None
        (path,) = (home / "vault").glob(f"{one.location.pack:08d}.*")
        content = path.read_bytes()
        record = content[one.location.offset : one.location.offset + 64 + one.location.length + 600]
        with path.open("r+b") as file:
            file.seek(other.location.offset)
            file.write(record)
        assert await world.findings()
        assert 1 <= await served(world, certificate, held)
        path.write_bytes(content)
        assert [] == await world.findings()

        older = content[: other.location.offset].ljust(len(content), b"\0")
        path.write_bytes(older)
        assert await world.findings()
        assert 1 <= await served(world, certificate, held)


async def _opens(home: Path, certificate: bytes, held: dict[str, bytes]) -> tuple[list[Any], int]:
    async with opened(home) as world:
        errors = await served(world, certificate, held)
        found = await world.findings() + await world.proof()
        notices = list(world.parts.keyring.notices)
        return [*found, *notices], errors


@pytest.mark.parametrize("part", ["archive.db", "keyring.db", "keyring/*.chain", "trail/*.chain"])
def test_every_flip_in_database_keyring_and_trail_is_found(tmp_path: Path, part: str) -> None:
    """It is named, or healed out of the other copy with a notice, or nothing opens; no wrong byte comes out."""
    draw = random.Random(SEED)
    home = tmp_path / "home"
    certificate, held = asyncio.run(filled(home))
    for number in range(8):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(home, copy)
        path = next(iter(sorted(copy.glob(part))))
        position, bit = draw.randrange(written(path)), draw.randrange(8)
        flip(path, position, bit)
        try:
            found, errors = asyncio.run(_opens(copy, certificate, held))
        except StrongroomError:
            continue  # it does not open, and says so
        assert found or errors, (SEED, part, position, bit)


def test_a_new_home_has_nothing_to_find(tmp_path: Path) -> None:
    """The other side of it: what is whole is not called damaged."""
    home = new_home(tmp_path / "home")

    async def look() -> None:
        async with opened(home) as world:
            assert [] == await world.findings()

    asyncio.run(look())
