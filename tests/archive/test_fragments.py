"""Metadata fragments: made of every instance, sealed under its study's key, openable, and known as missing until made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pydicom
import pytest

from archive.world import BIG_ENDIAN, EXPLICIT, IMPLICIT, World, aio, data_set, deposit, deposited, opened, uid
from strongroom.archive import fragments as module
from strongroom.catalogue import instances as catalogue
from strongroom.errors import IntegrityError
from strongroom.ground.seal import Slot, associated_data, open_small


def missing(world: World) -> int:
    """Rows without a fragment."""
    with world.parts.database.reader() as connection:
        return len(catalogue.without_fragment(connection, 1000))


def opened_fragments(world: World) -> dict[str, dict]:
    """The JSON of each instance."""
    with world.parts.database.reader() as connection:
        found = list(catalogue.fragments(connection, "1.2.3", "1.2.3.4"))
    return {
        one.sop_instance_uid: json.loads(
            open_small(
                world.parts.keyring.get(one.key_id).secret,
                one.sealed,
                associated_data(one.blob_id, one.key_id, Slot.FRAGMENT),
            )
        )
        for one in found
    }


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@aio
async def test_a_fragment_says_what_the_data_set_says(tmp_path: Path, syntax: str) -> None:
    """The JSON of a fragment agrees with pydicom's reading of the data set, without pixels."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1, syntax)
        await world.core.fragments.settle()
        made = opened_fragments(world)[uid(1)]
    expected = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data_set(pixels=b"")), force=True).to_json_dict()

    assert {tag: element for tag, element in made.items() if tag != "7FE00010"} == expected
    assert "InlineBinary" not in made.get("7FE00010", {})


@aio
async def test_many_are_made_in_batches(tmp_path: Path) -> None:
    """More instances than a batch holds all get theirs."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        for number in range(module.BATCH * 2 + 3):
            await deposited(session, number)
        await world.core.fragments.settle()

        assert 0 == missing(world)
        assert {uid(number) for number in range(module.BATCH * 2 + 3)} == set(opened_fragments(world))


@aio
async def test_what_was_not_made_is_made_after_a_restart(tmp_path: Path) -> None:
    """A stop before they were made loses nothing: they are made from the packs, the same as from memory."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await world.core.fragments.settle()
        made = opened_fragments(world)[uid(1)]
        for number in (2, 3, 4):
            await deposited(session, number, [EXPLICIT, IMPLICIT, BIG_ENDIAN][number - 2])
        waiting = missing(world)
    async with opened(tmp_path / "home") as world:
        left = missing(world)
        await world.core.fragments.settle()
        found = opened_fragments(world)

        assert (3, 3, 0) == (waiting, left, missing(world))
        assert {uid(number) for number in (1, 2, 3, 4)} == set(found)
        for number in (2, 3, 4):
            differs = {tag for tag in found[uid(number)] if found[uid(number)][tag] != made.get(tag)}
            assert {"00080018", "00200013"} >= differs - {"7FE00010"}
        assert [] == await world.findings()


@aio
async def test_they_are_made_in_quiet_moments(tmp_path: Path) -> None:
    """With the background work running nobody has to ask for them."""
    async with opened(tmp_path / "home") as world:
        world.core.fragments.start()
        session = await world.device()
        await deposited(session, 1)
        while missing(world):  # noqa: ASYNC110 -- somebody else's task
            await asyncio.sleep(0.01)

        assert {uid(1)} == set(opened_fragments(world))


@aio
async def test_a_fragment_is_bound_to_its_blob(tmp_path: Path) -> None:
    """Another instance's fragment, or a data set in its place, does not open (I8)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        await deposited(session, 2)
        await world.core.fragments.settle()
        with world.parts.database.reader() as connection:
            one, two = catalogue.fragments(connection, "1.2.3", "1.2.3.4")
        key = world.parts.keyring.get(one.key_id).secret
        for blob_id, slot in ((two.blob_id, Slot.FRAGMENT), (one.blob_id, Slot.LABEL)):
            with pytest.raises(IntegrityError):
                open_small(key, one.sealed, associated_data(blob_id, one.key_id, slot))


@aio
async def test_a_header_that_no_json_can_show_does_not_stop_the_others(tmp_path: Path) -> None:
    """An instance with values that contradict their VR is stored all the same, and settling ends."""
    odd = data_set(1).replace(b"IS\x02\x001 ", b"IS\x02\x00\xff\xfe")
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, odd)
        await deposited(session, 2)
        await world.core.fragments.settle()

        assert 0 == missing(world)
        assert {uid(1), uid(2)} == set(opened_fragments(world))
