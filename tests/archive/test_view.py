"""Views: metadata, frames, bulk data and entity tags of what a session reaches, each after its record (I5)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from archive.world import (
    BIG_ENDIAN,
    EVERYTHING,
    EXPLICIT,
    IMPLICIT,
    RLE,
    STUDY,
    World,
    aio,
    data_set,
    deposit,
    deposited,
    encoded,
    opened,
    uid,
)
from strongroom.archive import Disclosure, Instance, Session, Target
from strongroom.audit.codes import Event
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, DataSetError, LocalProtocolError, NotFound
from strongroom.ground.seal import SEGMENT

DEFLATED = "1.2.840.10008.1.2.1.99"
HEADERS = 1_024
"""What is read of a record beside its sealed bytes: its header, each time, and that of the blob."""


async def taken(disclosure: Disclosure, instance: Instance, first: int, last: int) -> bytes:
    """The bytes of a range."""
    return b"".join([bytes(piece) async for piece in disclosure.open(instance, first, last)])


async def frame(disclosure: Disclosure, instance: Instance, number: int) -> bytes:
    """One frame."""
    index = await disclosure.frames(instance)
    return b"".join([await taken(disclosure, instance, *part) for part in index.range_of(number)])


def accesses(world: World) -> list[Any]:
    """The records of views, oldest first."""
    return [entry.message for entry in world.trail() if entry.message.event == Event.INSTANCES_ACCESSED]


async def all_of(session: Session, target: Target = EVERYTHING) -> dict[str, dict[str, Any]]:
    """The metadata of everything, by SOP Instance UID."""
    async with await session.view(target) as disclosure:
        objects = [json.loads(text) async for text in disclosure.all_metadata()]
    return {one["00080018"]["Value"][0]: one for one in objects}


@aio
async def test_nothing_is_shown_before_the_record(tmp_path: Path) -> None:
    """A view is closed until it is entered, and then the trail says who saw which study of which patient (I5)."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        disclosure = await session.view(EVERYTHING)
        (instance,) = disclosure.instances
        for asked in (
            disclosure.metadata(instance),
            disclosure.frames(instance),
            disclosure.bulk(instance, "7FE00010"),
        ):
            with pytest.raises(LocalProtocolError):
                await asked
        with pytest.raises(LocalProtocolError):
            await anext(disclosure.all_metadata())
        assert [] == accesses(world)

        async with disclosure:
            (record,) = accesses(world)
            await disclosure.metadata(instance)

        assert 1 == len(accesses(world))
        assert ["device:CT1"] == [one.user_id for one in record.participants]
        assert (["P1"], [STUDY]) == (list(record.patient_ids()), list(record.study_instance_uids()))


@aio
async def test_an_answer_of_unchanged_is_an_access(tmp_path: Path) -> None:
    """Who is told that nothing changed has learnt something: it is recorded as a view is."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session)
        await (await session.view(EVERYTHING)).unchanged()

        assert [STUDY] == [uid for one in accesses(world) for uid in one.study_instance_uids()]


@aio
async def test_who_may_only_deposit_sees_nothing(tmp_path: Path) -> None:
    """Neither view nor retrieve is in its entry: refused, and recorded."""
    async with opened(tmp_path / "home") as world:
        session = await world.device(may="deposit")
        await deposited(session)
        with pytest.raises(AccessDenied):
            await session.view(EVERYTHING)

        assert [] == accesses(world)
        assert world.trail()[-1].message.failed


@pytest.mark.parametrize("settled", [True, False], ids=["fragments", "on the spot"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
@aio
async def test_metadata_is_what_pydicom_makes_of_the_data_set(tmp_path: Path, syntax: str, *, settled: bool) -> None:
    """Whether the fragment is made or not; Pixel Data is a relative BulkDataURI."""
    data = data_set(1, EXPLICIT if syntax == DEFLATED else syntax)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, deflated(data) if syntax == DEFLATED else data, syntax=syntax)
        if settled:
            await world.core.fragments.settle()
        (made,) = (await all_of(session)).values()
        async with await session.view(EVERYTHING) as disclosure:
            one = json.loads(await disclosure.metadata(disclosure.instances[0]))
    expected = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data_set(pixels=b"")), force=True).to_json_dict()

    assert expected | {"7FE00010": {"vr": "OW", "BulkDataURI": "7FE00010"}} == made == one


def deflated(data: bytes) -> bytes:
    """The data set as a deflated one."""
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
@aio
async def test_frames_of_native_pixel_data(tmp_path: Path, syntax: str) -> None:
    """Each frame is its part of Pixel Data, in whatever native syntax."""
    frames = [bytes([number]) * 512 for number in range(1, 6)]
    data = data_set(1, EXPLICIT if syntax == DEFLATED else syntax, pixels=b"".join(frames), NumberOfFrames="5")
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, deflated(data) if syntax == DEFLATED else data, syntax=syntax)
        for _ in range(2):  # found by a look at the record, then out of what was kept of it
            async with await session.view(EVERYTHING) as disclosure:
                (instance,) = disclosure.instances
                index = await disclosure.frames(instance)
                got = [await frame(disclosure, instance, number) for number in range(1, 6)]
                with pytest.raises(NotFound):
                    index.range_of(6)

            assert (5, frames) == (index.number_of_frames, got)


@pytest.mark.parametrize("when", ["at deposit", "lazily"])
@aio
async def test_frames_of_encapsulated_pixel_data(tmp_path: Path, when: str) -> None:
    """Fragments are noted while the deposit passes, or found by one pass over the record."""
    frames = [bytes([number]) * (100 + number * 2) for number in range(1, 21)]
    data = encapsulated(frames, has_offset_table=True)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, data, syntax=RLE)
        if when == "at deposit":
            await world.core.fragments.settle()
        async with await session.view(EVERYTHING) as disclosure:
            (instance,) = disclosure.instances
            got = [await frame(disclosure, instance, number) for number in range(1, 21)]
            whole = await disclosure.bulk(instance, "7FE00010")

        assert frames == got
        assert "OB" == whole[2]
        assert data[whole[0] : whole[1]] + bytes.fromhex("feffdde000000000") == data[whole[0] :]


def encapsulated(frames: list[bytes], *, has_offset_table: bool = False) -> bytes:
    """A data set whose Pixel Data are these fragments."""
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data_set(pixels=b"")), force=True)
    made.NumberOfFrames = str(len(frames))
    made.PixelData = pydicom.encaps.encapsulate(frames, has_bot=has_offset_table)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return encoded(made, EXPLICIT)


@aio
async def test_offset_tables_that_lie_are_refused(tmp_path: Path) -> None:
    """A table that points elsewhere gives no frame, stored or not (F17); the whole is still there."""
    frames = [bytes([number]) * 100 for number in range(1, 4)]
    data = encapsulated(frames, has_offset_table=True).replace(
        (108).to_bytes(4, "little") + (216).to_bytes(4, "little"), b"\xff\xff\xff\x7f" + (216).to_bytes(4, "little")
    )
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, data, syntax=RLE)
        for _ in range(2):
            async with await session.view(EVERYTHING) as disclosure:
                with pytest.raises(DataSetError):
                    await disclosure.frames(disclosure.instances[0])
                assert json.loads(await disclosure.metadata(disclosure.instances[0]))["7FE00010"]
            await world.core.fragments.settle()


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE], ids=["native", "encapsulated"])
@aio
async def test_one_frame_of_many_costs_little_more_than_itself(tmp_path: Path, syntax: str) -> None:
    """Of 500 frames one is read: its own bytes and at most two chunks of the pack beside them (PERFORMANCE section 2)."""
    size = 16 * 16 * 2 if syntax == EXPLICIT else 40_000
    frames = [number.to_bytes(2, "little") * (size // 2) for number in range(500)]
    if syntax == EXPLICIT:
        data = data_set(1, pixels=b"".join(frames), NumberOfFrames="500")
    else:
        data = encapsulated(frames, has_offset_table=True)
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await world.device()
        await deposit(session, data, syntax=syntax)
        await world.core.fragments.settle()
        for number in (1, 2, 250, 499, 500):
            before = world.medium.bytes_read
            async with await session.view(EVERYTHING) as disclosure:
                got = await frame(disclosure, disclosure.instances[0], number)

            assert frames[number - 1] == got
            assert world.medium.bytes_read - before <= size + 2 * SEGMENT + HEADERS


@aio
async def test_bulk_data_is_found_by_its_path(tmp_path: Path) -> None:
    """Every BulkDataURI of the metadata leads to its bytes, inside items and behind Pixel Data too."""
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.add_new(0x7FE00010, "OB", b"icon" * 4)
    item = Dataset()
    item.add_new(0x00091002, "OB", b"private!" * 200)
    items = Sequence([Dataset(), item])
    elements = {"IconImageSequence": Sequence([icon]), "ReferencedImageSequence": items}
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data_set(1, **elements)), force=True)
    made.add_new(0xFFFCFFFC, "OB", b"\0\1" * 1000)
    data = encoded(made, EXPLICIT)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, data)
        await world.core.fragments.settle()
        async with await session.view(EVERYTHING) as disclosure:
            (instance,) = disclosure.instances
            shown = json.loads(await disclosure.metadata(instance))
            uris = {
                shown["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"]: b"icon" * 4,
                shown["00081140"]["Value"][1]["00091002"]["BulkDataURI"]: b"private!" * 200,
                shown["7FE00010"]["BulkDataURI"]: b"\x01\x02" * 512,
                shown["FFFCFFFC"]["BulkDataURI"]: b"\0\1" * 1000,
            }
            for path, expected in uris.items():
                first, last, vr = await disclosure.bulk(instance, path)
                assert (expected, path) == (await taken(disclosure, instance, first, last), path)
                assert vr in ("OB", "OW")
            for path in (
                "00100010/0/00100010",
                "7FE00011",
                "../etc",
                "",
                "00880200/1/7FE00010",
                "00880200",
                "x" * 9999,
            ):
                with pytest.raises(NotFound):
                    await disclosure.bulk(instance, path)


@aio
async def test_the_entity_tag_is_that_of_the_content_in_scope(tmp_path: Path) -> None:
    """The same while nothing changes; another with another instance, another target, after a restart still the same."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposited(session, 1)
        first = (await session.view(EVERYTHING)).etag
        await world.core.fragments.settle()
        again = (await session.view(EVERYTHING)).etag
        await deposited(session, 2)
        more = (await session.view(EVERYTHING)).etag
        one = (await session.view(Target(Level.IMAGE, sop_instance_uids=(uid(2),)))).etag
    async with opened(tmp_path / "home") as world:
        later = (await (await world.host("a reason")).view(EVERYTHING)).etag

    assert (first, more) == (again, later)
    assert 3 == len({first, more, one})
    assert first.startswith('"')
    assert first.endswith('"')


@aio
async def test_what_blinds_viewers_is_left_out_of_metadata_only(tmp_path: Path) -> None:
    """A pixel spacing of zero is not shown, in items neither; the data set keeps it."""
    measures = Dataset()
    measures.PixelSpacing = ["0", "0"]
    elements = {
        "PixelSpacing": ["0.000", "0.000"],
        "ImagerPixelSpacing": ["0.5", "0.5"],
        "RescaleSlope": "0",
        "WindowCenter": ["40", "50"],
        "WindowWidth": ["0", "400"],
        "PixelMeasuresSequence": Sequence([measures]),
    }
    data = data_set(1, **elements)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, data)
        (shown,) = (await all_of(session)).values()
        async with await session.retrieve(EVERYTHING) as disclosure:
            kept = b"".join([bytes(piece) async for piece in disclosure.open(disclosure.instances[0])])

    assert data == kept
    assert set() == {"00280030", "00281053"} & set(shown)
    assert ([0.5, 0.5], [50], [400], [{}]) == tuple(
        shown[key]["Value"] for key in ("00181164", "00281050", "00281051", "00289110")
    )
