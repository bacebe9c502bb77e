"""STOW-RS with metadata and bulk data (PS3.18 §8.6.1.2, §10.5.1.4; SECURITY C35, W04, W07, W08)."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from archive.world import CT, EVERYTHING, EXPLICIT, STUDY, World, aio, data_set, opened, returned, uid
from dicomweb.asked import BOUNDARY, Part, ask, cut, failed, multipart, others, related, stored
from strongroom.dicom.json import to_json
from strongroom.dicom.xml import to_xml
from strongroom.dicom.xml_reader import from_xml
from strongroom.dicomweb.assembly import MAX_BULK_TEXT, MAX_BULK_VALUES
from strongroom.dicomweb.held import Held
from strongroom.dicomweb.store_metadata import MAX_BULK_HELD, MAX_METADATA_LENGTH

KIND = "application/dicom+json"
PIXELS = b"\x01\x02" * 256


def metadata(*data_sets: dict[str, Any]) -> Part:
    """The first part."""
    return f"Content-Type: {KIND}\r\n", json.dumps(data_sets).encode()


def described(number: int = 1, *, pixels: str | None = "px", **changes: Any) -> dict[str, Any]:
    """The metadata of `world.data_set`, with a reference in place of its pixel data."""
    model: dict[str, Any] = dict(to_json(data_set(number, pixels=b"", PatientName="Dö^Jörg"), EXPLICIT))
    if pixels is not None:
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": pixels}
    return model | changes


def bulk(name: str, content: bytes, kind: str = "application/octet-stream", header: str = "Content-Location") -> Part:
    """A part of bulk data."""
    return f"Content-Type: {kind}\r\n{header}: {name}\r\n", content


async def read(world: World, number: int = 1) -> pydicom.Dataset:
    """What was stored."""
    data = (await returned(await world.device("READER"), EVERYTHING))[uid(number)]
    return pydicom.dcmread(BytesIO(data), force=True)


@pytest.mark.parametrize("piece", [3, 100_000])
@aio
async def test_metadata_and_bulk_data_become_the_instance(tmp_path: Path, piece: int) -> None:
    """Everything the metadata says, in UTF-8, and the pixels bit for bit."""
    body = multipart(metadata(described()), bulk("px", PIXELS))
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), cut(body, piece), related(KIND))
        found = await read(world)

    assert (200, [uid(1)]) == (response.status_code, stored(response))
    assert (PIXELS, "Dö^Jörg", "ISO_IR 192", 16) == (
        found.PixelData,
        str(found.PatientName),
        found.SpecificCharacterSet,
        found.Rows,
    )


@aio
async def test_bulk_data_may_come_in_any_order_and_anywhere(tmp_path: Path) -> None:
    """Two instances, a value in a sequence, a long text, names by Content-ID: each part finds its element."""
    wave = {"vr": "SQ", "Value": [{"54001010": {"vr": "OW", "BulkDataURI": "cid:wave@x"}}]}
    first = described(1, pixels="p1") | {"54000100": wave, "00204000": {"vr": "LT", "BulkDataURI": "text"}}
    second = described(2, pixels="p2")
    body = multipart(
        metadata(first, second),
        bulk("p2", PIXELS[::-1]),
        bulk("p1", PIXELS),
        bulk("text", "Größe".encode()),
        bulk("<wave@x>", b"\1\2\3\4", header="Content-ID"),
    )
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body, related(KIND))
        one, two = (
            await read(world, 1),
            pydicom.dcmread(BytesIO((await returned(await world.device("R2"), EVERYTHING))[uid(2)]), force=True),
        )

    assert [uid(1), uid(2)] == stored(response)
    assert (PIXELS, "Größe", b"\1\2\3\4") == (one.PixelData, one.ImageComments, one.WaveformSequence[0].WaveformData)
    assert PIXELS[::-1] == two.PixelData


@aio
async def test_an_instance_without_bulk_data_needs_one_part(tmp_path: Path) -> None:
    """A report, or pixel data inline; also as a body of its own, and without the list around it."""
    inline = described(2, pixels=None) | {"7FE00010": {"vr": "OW", "InlineBinary": base64.b64encode(PIXELS).decode()}}
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first = await ask(session, json.dumps([described(1, pixels=None)]).encode(), KIND)
        second = await ask(session, json.dumps(inline).encode(), KIND)
        found = await read(world, 2)

    assert (200, [uid(1)]) == (first.status_code, stored(first))
    assert (200, PIXELS) == (second.status_code, found.PixelData)


@aio
async def test_metadata_may_be_xml(tmp_path: Path) -> None:
    """A part with a Native DICOM Model for each instance, then the bulk data."""
    parts = [
        ("Content-Type: application/dicom+xml\r\n", "".join(to_xml(described(number, pixels=f"p{number}"))).encode())
        for number in (1, 2)
    ]
    body = multipart(*parts, bulk("p2", PIXELS[::-1]), bulk("p1", PIXELS))
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body, related("application/dicom+xml"))
        found = await read(world)

    assert (200, [uid(1), uid(2)]) == (response.status_code, stored(response))
    assert (PIXELS, "Dö^Jörg", 16) == (found.PixelData, str(found.PatientName), found.Rows)


@aio
async def test_xml_with_an_entity_is_refused(tmp_path: Path) -> None:
    """400, and no file of the machine is looked at (C35)."""
    text = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><NativeDicomModel>&a;</NativeDicomModel>'
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), text, "application/dicom+xml")

    assert (400, "application/problem+json") == (response.status_code, response.media_type)


@aio
async def test_the_answer_is_xml_where_only_that_is_accepted(tmp_path: Path) -> None:
    """The same module as a Native DICOM Model; what cannot be answered is 406 before anything is stored."""
    body = json.dumps([described(pixels=None)]).encode()
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        refused = await ask(session, body, KIND, accept="text/html")
        response = await ask(session, body, KIND, accept="application/dicom+xml")

    assert (406, 200, "application/dicom+xml") == (refused.status_code, response.status_code, response.media_type)
    assert uid(1) == from_xml(bytes(response.body))["00081199"]["Value"][0]["00081155"]["Value"][0]  # type: ignore[index] # the module


@aio
async def test_file_meta_information_in_the_metadata_is_left_out(tmp_path: Path) -> None:
    """Group 0002 belongs to a file, not to a data set."""
    body = multipart(
        metadata(described() | {"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]}}), bulk("px", PIXELS)
    )
    async with opened(tmp_path / "home") as world:
        assert 200 == (await ask(await world.device(), body, related(KIND))).status_code
        assert 0x00020010 not in await read(world)


@aio
async def test_what_does_not_fit_fails_alone(tmp_path: Path) -> None:
    """A dangling name, another place, pixels too short or too long, another study; the good one stays (W04, W08)."""
    study = {"0020000D": {"vr": "UI", "Value": ["1.2.99"]}}
    body = multipart(
        metadata(
            described(1, pixels="p1"),
            described(2, pixels="nowhere"),
            described(3, pixels="http://169.254.169.254/x"),
            described(4, pixels="p4"),
            described(5, pixels="p5"),
            described(6, pixels="p6") | study,
            described(7, pixels="p1"),
        ),
        bulk("p4", PIXELS[:-2]),
        bulk("p5", PIXELS + b"xx"),
        bulk("p6", PIXELS),
        bulk("p1", PIXELS),
        bulk("unknown", PIXELS),
    )
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body, related(KIND), study=STUDY)

        assert (202, [uid(1)]) == (response.status_code, stored(response))
        assert {uid(number): 0xA900 for number in (2, 3, 4, 5, 6, 7)} == failed(response)
        assert [0xC000] == others(response)
        assert {uid(1)} == (await returned(await world.device("READER"), EVERYTHING)).keys()
        assert 0 == world.core.committer.busy_senders


@aio
async def test_all_requests_together_hold_no_more_than_one_budget(tmp_path: Path) -> None:
    """A request that finds no room is told to come again (503), and what was held is given back, however it ended."""
    shared = Held(8 * 1024)
    shared.take(4 * 1024)
    body = multipart(metadata(described(pixels=None) | {"00204000": {"vr": "LT", "BulkDataURI": "t"}}), bulk("t", b"x"))
    longer = multipart(metadata(described(2)), bulk("t", b"x" * 8192), bulk("px", PIXELS))
    two = {"vr": "LT", "BulkDataURI": "t"}
    waiting = multipart(metadata(described(pixels="px") | {"00204000": two}), bulk("t", b"x" * 8192))
    async with opened(tmp_path / "home") as world:
        device = await world.device()
        full = await ask(device, waiting, related(KIND), held=shared)
        assert 4 * 1024 == shared.length
        statuses = [(await ask(device, one, related(KIND), held=shared)).status_code for one in (body, longer)]

    assert (503, [200, 202]) == (full.status_code, statuses)
    assert 4 * 1024 == shared.length


@pytest.mark.parametrize("vr", ["US", "DS", "UI", "SQ", "LT"])
@aio
async def test_values_that_would_swell_in_memory_are_bounded(tmp_path: Path, vr: str) -> None:
    """Bulk data of numbers, names, items or text beyond its measure is refused before a value of it is made (C33)."""
    content = b"1\\" * ((MAX_BULK_TEXT if vr == "LT" else MAX_BULK_VALUES) // 2 + 1)
    model = described(1, pixels=None) | {"00283006": {"vr": vr, "BulkDataURI": "table"}}
    async with opened(tmp_path / "home") as world:
        device = await world.device()
        body, kind = multipart(metadata(model), bulk("table", content)), related(KIND)
        tracemalloc.start()
        try:
            response = await ask(device, body, kind)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert (409, {uid(1): 0xC000}) == (response.status_code, failed(response))
        assert peak < 4 * len(content)
        assert 0 == world.core.committer.busy_senders


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"", 400),
        (b"[", 400),
        (b"[1]", 400),
        (b"[" * 3000, 400),
        (b'[{"00100010": {"vr": "SQ", "Value": ' + b"[" * 3000 + b"]" * 3000 + b"}}]", 400),
        (b'[{"00100020": {"vr": "LO"}, "00100020": {"vr": "LO"}}]', 400),
        (b'[{"00280010": {"vr": "US", "Value": [1e400]}}]', 400),
        (b'[{"00280010": {"vr": "US", "Value": ["x"]}}]', 400),
        (b'[{"7FE00010": {"vr": "OW", "InlineBinary": "!"}}]', 400),
        (b'[{"00100020": {"vr": "LO", "Value": ["\\ud800"]}}]', 400),
        (b" " * (MAX_METADATA_LENGTH + 1), 413),
        (b"[" + b"{}," * 10_000 + b"{}]", 413),
        (b'[{"00100020": {"vr": "LO"}}, {"00100020": {"vr": "ZZ"}}]', 400),
    ],
    ids=[
        "empty",
        "cut",
        "number",
        "deep",
        "deep value",
        "twice",
        "1e400",
        "type",
        "Base64",
        "surrogate",
        "long",
        "many",
        "second",
    ],
)
@aio
async def test_metadata_that_is_none_is_refused_as_a_whole(tmp_path: Path, text: bytes, status: int) -> None:
    """Before anything is stored; no value of it comes back (W07)."""
    body = multipart((f"Content-Type: {KIND}\r\n", text))
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), cut(body, 1 << 20), related(KIND))

        assert (status, "application/problem+json") == (response.status_code, response.media_type)


@pytest.mark.parametrize(
    "parts", [[bulk("px", PIXELS)], [metadata(), metadata(described())], []], ids=["no metadata", "twice", "nothing"]
)
@aio
async def test_metadata_stands_first_and_once(tmp_path: Path, parts: list[Part]) -> None:
    """RFC 2387: the root is the first part."""
    async with opened(tmp_path / "home") as world:
        assert 400 == (await ask(await world.device(), multipart(*parts), related(KIND))).status_code


@aio
async def test_bulk_data_that_waits_is_bounded(tmp_path: Path) -> None:
    """More than 128 MiB in memory for one request: 413, and the instances that were complete stay."""
    piece = bytes(1 << 20)

    def pieces() -> Iterator[bytes]:
        mark = f"--{BOUNDARY}\r\n".encode()
        waits = described(2, pixels="p2") | {"00091010": {"vr": "OB", "BulkDataURI": "long"}}
        yield multipart(metadata(described(1), waits), bulk("px", PIXELS), end=b"\r\n")
        yield b"Content-Location: long\r\n\r\n"
        for _ in range((MAX_BULK_HELD >> 20) + 1):
            yield piece
        yield b"\r\n" + mark

    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), pieces(), related(KIND))

        assert (202, [uid(1)], {uid(2): 0xA900}) == (response.status_code, stored(response), failed(response))


@aio
async def test_native_pixel_data_goes_through(tmp_path: Path) -> None:
    """256 MiB of pixels that an instance waits for are not held: its description says how long they are."""
    size, frames = 1024 * 1024 * 2, 128
    model = described(1) | {
        "00280010": {"vr": "US", "Value": [1024]},
        "00280011": {"vr": "US", "Value": [1024]},
        "00280008": {"vr": "IS", "Value": [frames]},
        "FFFCFFFC": {"vr": "OB", "InlineBinary": "AAAA"},
    }

    def pieces() -> Iterator[bytes]:
        yield multipart(metadata(model), end=b"\r\n")
        yield b"Content-Location: px\r\n\r\n"
        for _ in range(frames):
            yield bytes(size)
        yield f"\r\n--{BOUNDARY}--".encode()

    async with opened(tmp_path / "home") as world:
        session = await world.device()
        tracemalloc.start()
        try:
            response = await ask(session, pieces(), related(KIND))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert (200, [uid(1)]) == (response.status_code, stored(response))
        assert peak < 64 << 20
        row = world.row(uid(1))
        assert row is not None
        assert row.sop_class_uid == CT


@aio
async def test_a_connection_lost_in_bulk_data_keeps_what_was_complete(tmp_path: Path) -> None:
    """The instance whose pixels were coming fails, the one before it stays."""
    body = multipart(
        metadata(described(1, pixels="p1"), described(2, pixels="p2")), bulk("p1", PIXELS), bulk("p2", PIXELS)
    )
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body[:-200], related(KIND), lost=True)

        assert ([uid(1)], {uid(2): 0xA900}) == (stored(response), failed(response))
        assert 0 == world.core.committer.busy_senders
        assert [] == await world.findings()
