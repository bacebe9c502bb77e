"""STOW-RS with files (PS3.18 §10.5; SECURITY C30, C34, W01-W05, F01, F02)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.world import CT, EVERYTHING, EXPLICIT, STUDY, World, aio, data_set, opened, returned, uid
from dicomweb.asked import BASE, BOUNDARY, ask, cut, dicom, failed, file, multipart, others, related, said, stored
from strongroom.archive import Target
from strongroom.archive.acts import Change
from strongroom.dicom.model import Level
from strongroom.register import devices, quarantine

SECRET = "Kanarienvogel"


async def duplicates_are_success(world: World) -> None:
    """Change the entry of CT1."""

    def make(connection: Any) -> None:
        found = devices.find(connection, "CT1")
        assert found is not None
        devices.change(connection, replace(found, duplicates=devices.Duplicates.SUCCESS))

    await world.core.committer.submit(Change(make, ()))
    world.archive.directory.reload()


@pytest.mark.parametrize("piece", [1, 7, 1000, 1_000_000])
@aio
async def test_what_is_stored_comes_back_bit_for_bit(tmp_path: Path, piece: int) -> None:
    """However the body is cut: 200, and every instance is durable when the answer is given (I1)."""
    data = {uid(number): data_set(number) for number in (1, 2, 3)}
    body = multipart(*(dicom(file(one)) for one in data.values()))
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        response = await ask(session, cut(body, piece))

        assert (200, "application/dicom+json") == (response.status_code, response.media_type)
        assert list(data) == stored(response)
        assert data == await returned(session, EVERYTHING)


@aio
async def test_the_answer_names_each_instance(tmp_path: Path) -> None:
    """The Store Instances Response Module: the study's address and each instance's own (PS3.18 Table I.1-1)."""
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), multipart(dicom(file(data_set()))), study=STUDY)

    assert {
        "00081190": {"vr": "UR", "Value": [f"{BASE}/studies/{STUDY}"]},
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": [uid(1)]},
                    "00081190": {
                        "vr": "UR",
                        "Value": [f"{BASE}/studies/{STUDY}/series/{STUDY}.4/instances/{uid(1)}"],
                    },
                }
            ],
        },
    } == said(response)


@aio
async def test_a_single_part_body_is_an_instance(tmp_path: Path) -> None:
    """`Content-Type: application/dicom` and the file as the body."""
    data = data_set()
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        content = file(data)
        response = await ask(session, content, "application/dicom", content_length=str(len(content)))

        assert (200, [uid(1)]) == (response.status_code, stored(response))
        assert {uid(1): data} == await returned(session, EVERYTHING)


@aio
async def test_storing_again_is_success(tmp_path: Path) -> None:
    """A client that lost the answer sends everything once more (I3); nothing is written twice."""
    body = multipart(dicom(file(data_set(1))), dicom(file(data_set(2))))
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        first, second = await ask(session, body), await ask(session, body)

        assert (200, 200) == (first.status_code, second.status_code)
        assert said(first) == said(second)
        assert 2 == (await world.status())["instances"]


@pytest.mark.parametrize(("lenient", "status"), [(False, 409), (True, 200)])
@aio
async def test_other_content_under_a_known_uid_is_a_conflict(tmp_path: Path, lenient: bool, status: int) -> None:
    """0111, or success where the sender's entry says so; the first instance stays either way (I3)."""
    data = data_set()
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        if lenient:
            await duplicates_are_success(world)
        await ask(session, multipart(dicom(file(data))))
        response = await ask(session, multipart(dicom(file(data_set(pixels=bytes(512))))))

        assert status == response.status_code
        assert ({} if lenient else {uid(1): 0x0111}) == failed(response)
        assert {uid(1): data} == await returned(session, EVERYTHING)


@pytest.mark.parametrize(("lenient", "status"), [(False, 202), (True, 200)])
@aio
async def test_a_study_of_another_patient_is_a_warning(tmp_path: Path, lenient: bool, status: int) -> None:
    """B000 and no address to retrieve it from, or plain success where the sender's entry says so; the study stays."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        if lenient:
            await duplicates_are_success(world)
        await ask(session, multipart(dicom(file(data_set(1)))))
        response = await ask(session, multipart(dicom(file(data_set(2, PatientID="P2"), 2))))
        (item,) = said(response)["00081199"]["Value"]

        assert status == response.status_code
        assert (None if lenient else [0xB000]) == item.get("00081196", {}).get("Value")
        assert lenient == ("Value" in item["00081190"])
        assert b"P2" not in response.body
        assert {uid(1)} == (await returned(session, EVERYTHING)).keys()


@aio
async def test_a_bad_instance_fails_alone(tmp_path: Path) -> None:
    """Cut, of another study, of a class or syntax that is not stored, no DICOM: 202, each with its reason, the good stay."""
    private = data_set(6, SOPClassUID="1.2.3.4.5.6.7")
    parts = [
        dicom(file(data_set(1), 1)),
        dicom(file(data_set(2), 2)[:-3]),
        dicom(file(data_set(3, study="1.2.99"), 3)),
        dicom(file(data_set(4), 4, syntax="1.2.840.10008.1.2.7.1")),
        dicom(b"<html>" * 50),
        dicom(file(private, 6)),
        ("Content-Type: text/plain\r\n", file(data_set(7), 7)),
        dicom(file(data_set(8), 8, preamble=b"MZ\x90\0")),
        dicom(b""),
        dicom(file(data_set(9), 9)),
    ]
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        response = await ask(session, multipart(*parts), study=STUDY)

        assert 202 == response.status_code
        assert [uid(1), uid(8), uid(9)] == stored(response)
        assert {uid(2): 0xC000, uid(3): 0xA900, uid(4): 0xC122, uid(6): 0x0122} == failed(response)
        assert [0xC000] * 3 == others(response)
        with world.parts.database.reader() as connection:
            assert 4 == quarantine.count(connection)
        assert {uid(1), uid(8), uid(9)} == (await returned(session, EVERYTHING)).keys()
        assert [] == await world.findings()


@aio
async def test_several_studies_in_one_request(tmp_path: Path) -> None:
    """Where the address names no study, each instance goes to its own; then there is no one address to name."""
    body = multipart(dicom(file(data_set(1, study="1.2.3"))), dicom(file(data_set(2, study="1.2.4"))))
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        response = await ask(session, body)

        assert (200, {"vr": "UR"}) == (response.status_code, said(response)["00081190"])
        assert {uid(2)} == (await returned(session, Target(Level.STUDY, study_instance_uids=("1.2.4",)))).keys()


@aio
async def test_nothing_good_is_a_conflict(tmp_path: Path) -> None:
    """409 with every reason, when the request was well-formed and nothing of it could be stored."""
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), multipart(dicom(file(data_set(study="1.2.9")))), study=STUDY)

    assert (409, {uid(1): 0xA900}, []) == (response.status_code, failed(response), stored(response))


@aio
async def test_a_lost_connection_keeps_what_was_complete(tmp_path: Path) -> None:
    """10 instances, the sixth bad, cut within the eighth: 1-5 and 7 are durable, and all can be sent again (W05)."""
    files = [file(data_set(number), number) for number in range(1, 11)]
    files[5] = files[5][:-1]
    body = multipart(*map(dicom, files))
    end = body.index(files[7]) + 900
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        response = await ask(session, cut(body[:end], 700), lost=True)

        expected = [uid(number) for number in (1, 2, 3, 4, 5, 7)]
        assert expected == stored(response)
        assert {uid(6): 0xC000, uid(8): 0xC000} == failed(response)
        assert set(expected) == (await returned(session, EVERYTHING)).keys()
        assert any(entry.message.reason == "interrupted" for entry in world.trail())
        files[5] = file(data_set(6), 6)
        assert 200 == (await ask(session, multipart(*map(dicom, files)))).status_code
        assert 10 == len(await returned(session, EVERYTHING))
        assert [] == await world.findings()


@aio
async def test_a_cancelled_request_keeps_what_was_complete(tmp_path: Path) -> None:
    """The server stops in the middle of a body: complete instances become durable, the one under way is forgotten."""
    body = multipart(dicom(file(data_set(1))), dicom(file(data_set(2))))
    stopped = asyncio.Event()

    def pieces() -> Iterator[bytes]:
        yield body[:-500]
        stopped.set()
        while True:
            yield b""

    async with opened(tmp_path / "home") as world:
        session = await world.device()
        task = asyncio.create_task(ask(session, pieces()))
        await stopped.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert {uid(1)} == (await returned(session, EVERYTHING)).keys()
        assert 0 == world.core.committer.busy_senders
        assert [] == await world.findings()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", None, 400),
        (multipart(end=b"--"), None, 400),
        (multipart(dicom(b"x")), "multipart/related; type=application/dicom", 400),
        (multipart(dicom(b"x")), f"multipart/related; boundary={'x' * 5000}", 415),
        (multipart(dicom(b"x")), "multipart/form-data; boundary=x", 415),
        (b"x", "text/plain", 415),
        (b"x", "", 415),
        (multipart(dicom(b"x")), related("image/png"), 415),
        (multipart(("Content-Encoding: gzip\r\n", b"x")), None, 415),
        (multipart(("Content-Type: multipart/related; boundary=x\r\n", b"x")), None, 415),
        (b"\r\n" * 40_000, None, 400),
    ],
    ids=["empty", "no part", "no boundary", "long", "form", "text", "no type", "other", "gzip", "nested", "preamble"],
)
@aio
async def test_what_is_not_understood_is_a_problem(
    tmp_path: Path, body: bytes, content_type: str | None, status: int
) -> None:
    """A problem with a status that says who has to change what, and nothing of the request in it (W02)."""
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body, content_type)

    assert (status, "application/problem+json") == (response.status_code, response.media_type)


@aio
async def test_a_syntax_error_after_good_parts_is_partial(tmp_path: Path) -> None:
    """A part with a bad header ends the request; what came before it stays and is named (C34)."""
    body = multipart(dicom(file(data_set(1))), ("no colon\r\n", b"x"), dicom(file(data_set(2))))
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body)

    assert (202, [uid(1)], "close") == (response.status_code, stored(response), response.headers["connection"])


@pytest.mark.parametrize(
    ("given", "status"), [({"content_length": "4294967295"}, 413), ({"content_length": "x"}, 400), ({}, 413)]
)
@aio
async def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, given: dict[str, str], status: int) -> None:
    """Before a byte of it is read where its length is said, and as soon as it is too long where it is not (W01)."""
    most = 3000
    read: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for piece in cut(multipart(dicom(file(data_set(pixels=bytes(100_000))))), 500):
            read.append(piece)
            yield piece

    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), pieces(), settings={"max_body_bytes": most}, **given)

        assert status == response.status_code
        assert len(read) <= (0 if given else most // 500 + 1)
        assert 0 == (await world.status())["instances"]


@pytest.mark.parametrize("headers", [{"content_encoding": "gzip"}, {"content_encoding": "deflate, gzip"}])
@aio
async def test_an_encoded_body_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """No inflating of what may be a bomb: 415 (C34)."""
    async with opened(tmp_path / "home") as world:
        assert 415 == (await ask(await world.device(), multipart(dicom(file(data_set()))), **headers)).status_code


@aio
async def test_a_body_shorter_than_said_is_no_instance(tmp_path: Path) -> None:
    """A single part whose length is not the one that was said is not whole, whatever its data set looks like."""
    content = file(data_set())
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        response = await ask(session, content, "application/dicom", content_length=str(len(content) + 2))

        assert (400, {uid(1): 0xC000}) == (response.status_code, failed(response))
        assert {} == await returned(session, EVERYTHING)


@aio
async def test_who_may_not_deposit_finds_nothing(tmp_path: Path) -> None:
    """The same answer as for a path that does not exist, recorded, and not a byte of the body is read."""
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device("WS1", "query,retrieve"), iter(()))

        assert 404 == response.status_code
        assert world.trail()[-1].message.failed


@aio
async def test_a_full_archive_asks_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After when nothing could be kept for want of room; earlier instances stay."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await ask(session, multipart(dicom(file(data_set(1)))))
        world.medium.fail("vault")
        response = await ask(session, multipart(dicom(file(data_set(2))), dicom(file(data_set(3)))))

        assert (503, "30") == (response.status_code, response.headers["retry-after"])
        assert {0xA700} == set(failed(response).values()) | set(others(response))


@pytest.mark.parametrize("broken", [b"", b"\0" * 9])
@aio
async def test_no_value_of_a_data_set_is_told(tmp_path: Path, broken: bytes) -> None:
    """Whatever goes wrong, the answer holds UIDs of instances and nothing else of them (I7)."""
    data = data_set(PatientName=SECRET, PatientID=SECRET)[: -9 if broken else None] + broken
    body = multipart(dicom(file(data)), ("Content-Type: " + SECRET + "\r\n", SECRET.encode()), end=b"")
    async with opened(tmp_path / "home") as world:
        response = await ask(await world.device(), body, study="1.2.3.99")

    assert SECRET.encode() not in bytes(response.body)
    assert SECRET not in str(response.headers)


@aio
async def test_a_long_instance_takes_bounded_memory(tmp_path: Path) -> None:
    """512 MiB in one part go through in pieces; what is held does not grow with them."""
    import tracemalloc

    long = 512 << 20
    head = data_set(pixels=b"")
    element = b"\xe0\x7f\x10\0OW\0\0" + long.to_bytes(4, "little")
    piece = bytes(1 << 20)

    def pieces() -> Iterator[bytes]:
        mark = f"--{BOUNDARY}".encode()
        yield mark + b"\r\nContent-Type: application/dicom\r\n\r\n" + file(head + element)
        for _ in range(long // len(piece)):
            yield piece
        yield b"\r\n" + mark + b"--"

    async with opened(tmp_path / "home") as world:
        session = await world.device()
        tracemalloc.start()
        try:
            response = await ask(session, pieces())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert (200, [uid(1)]) == (response.status_code, stored(response))
        assert peak < 48 << 20


@aio
async def test_instances_share_group_commits(tmp_path: Path) -> None:
    """While one instance is made durable the next is read: fewer trail records than instances."""
    body = multipart(*(dicom(file(data_set(number), number)) for number in range(1, 33)))
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        before = len(world.trail())
        response = await ask(session, cut(body, 65_536))

        assert [uid(number) for number in range(1, 33)] == stored(response)
        assert len(world.trail()) - before < 32
        assert EXPLICIT == world.row(uid(32)).transfer_syntax_uid  # type: ignore[union-attr] # it is there
