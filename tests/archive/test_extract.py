"""What is drawn out of data sets that a header alone does not tell: long heads, elements behind Pixel Data, fragments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from archive.world import EVERYTHING, EXPLICIT, RLE, World, aio, data_set, deposit, encoded, opened, uid
from strongroom.archive import Session
from strongroom.archive.extract import of_header
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.limits import DEFAULT

DOCUMENT = 20 * 1024 * 1024
SOI = b"\xff\xd8\xff\xe0"


def with_elements(data: bytes, **elements: tuple[str, Any]) -> bytes:
    """The data set with more elements; tags as t00420011."""
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), force=True)
    for tag, (vr, value) in elements.items():
        made.add_new(int(tag[1:], 16), vr, value)
    return encoded(made, EXPLICIT)


async def shown(session: Session) -> dict[str, Any]:
    """The metadata of the only instance."""
    async with await session.view(EVERYTHING) as disclosure:
        found: dict[str, Any] = json.loads(await disclosure.metadata(disclosure.instances[0]))
    return found


async def settled(world: World, data: bytes, syntax: str = EXPLICIT) -> Session:
    """Deposited, and everything made that is made in quiet moments."""
    session = await world.device()
    await deposit(session, data, syntax=syntax, piece=1 << 20)
    await world.core.fragments.settle()
    return session


@aio
async def test_a_long_document_has_metadata(tmp_path: Path) -> None:
    """A PDF of 20 MiB in front of everything: shown by reference, and stepped over where metadata is made (F22)."""
    data = with_elements(data_set(1), t00420011=("OB", b"%PDF" * (DOCUMENT // 4)), t00420012=("LO", "application/pdf"))
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await settled(world, data)
        before = world.medium.bytes_read
        found = await shown(session)

        assert {"vr": "OB", "BulkDataURI": "00420011"} == found["00420011"]
        assert ["application/pdf"] == found["00420012"]["Value"]
        assert [uid(1)] == found["00080018"]["Value"]
        assert {"vr": "OW", "BulkDataURI": "7FE00010"} == found["7FE00010"]
        assert before == world.medium.bytes_read


@aio
async def test_long_values_are_stepped_over(tmp_path: Path) -> None:
    """Metadata on the spot, of an image with something behind 6 MiB of Pixel Data, reads a small part of it."""
    data = with_elements(data_set(1, pixels=b"\x01\x02" * (3 << 20)), tFFFCFFFC=("OB", b"\0\0"))
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await world.device()
        await deposit(session, data, piece=1 << 20)
        before = world.medium.bytes_read
        found = await shown(session)

        assert {"vr": "OB", "InlineBinary": "AAA="} == found["FFFCFFFC"]
        assert world.medium.bytes_read - before < 1 << 20


@pytest.mark.parametrize("late", [False, True])
@aio
async def test_frames_of_several_fragments_without_a_table(tmp_path: Path, *, late: bool) -> None:
    """Each begins where a codestream does; found in the quiet pass, or when somebody asks first."""
    frames = [SOI + bytes([number]) * 96 for number in range(1, 8)]
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data_set(1, pixels=b"")), force=True)
    made.NumberOfFrames = "7"
    made.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=3, has_bot=False)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await deposit(session, encoded(made, EXPLICIT), syntax=RLE)
        if not late:
            await world.core.fragments.settle()
        async with await session.view(EVERYTHING) as disclosure:
            (instance,) = disclosure.instances
            index = await disclosure.frames(instance)
            got = []
            for number in range(1, 8):
                parts = [disclosure.open(instance, *part) for part in index.range_of(number)]
                got.append(b"".join([bytes(piece) for part in parts async for piece in part]))

        assert frames == [one[:100] for one in got]


def test_a_header_tells_most_of_it() -> None:
    """Only what it does not hold makes the record be read again: the deposit's own pass is enough for an image."""
    for data, enough in (
        (data_set(1), True),
        (data_set(1, pixels=b""), True),
        (with_elements(data_set(1), tFFFCFFFC=("OB", b"\0\0")), False),
    ):
        reader = HeaderReader(EXPLICIT, limits=DEFAULT)
        reader.feed(data)
        found = of_header(reader.finish())

        assert enough == (found is not None)
        assert found is None or found.frames is None
