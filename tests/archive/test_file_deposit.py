"""A file on its way in: its data set, its preamble, and what it only pretends to be (PS3.10 §7.5, SECURITY C30, F01, F02)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from archive.world import CT, EVERYTHING, EXPLICIT, STUDY, aio, data_set, opened, returned, uid
from strongroom.archive import FileDeposit, Outcome, Receipt, Session
from strongroom.audit.codes import Event, EventType
from strongroom.dicom.part10 import encode_header
from strongroom.errors import (
    DataSetError,
    DisguisedFileError,
    MismatchError,
    StrongroomError,
    UnsupportedClassError,
    UnsupportedSyntaxError,
)
from strongroom.register import quarantine

DIRECTORY = "1.2.840.10008.1.3.10"
PRIVATE = "1.2.3.4.5.6"
PROGRAMS = {
    "PE": b"MZ\x90\0",
    "ELF": b"\x7fELF\2\1\1",
    "script": b"#!/bin/sh\n",
    "ZIP": b"PK\x03\x04",
    "PDF": b"%PDF-1.7",
    "HTML": b"\n<html><script>",
    "Mach-O": b"\xcf\xfa\xed\xfe",
}


def file(data: bytes, preamble: bytes = b"", *, sop_class: str = CT, syntax: str = EXPLICIT) -> bytes:
    """A data set as a file."""
    return preamble.ljust(128, b"\0") + encode_header(sop_class, uid(1), syntax)[128:] + data


async def filed(session: Session, content: bytes, *, piece: int = 1000, **options: object) -> Receipt:
    """Send a file in pieces."""
    return await whole(FileDeposit(session, **options), content, piece)  # type: ignore[arg-type] # passed on


async def whole(coming: FileDeposit, content: bytes, piece: int = 1000) -> Receipt:
    """Feed a file to its end."""
    try:
        for start in range(0, len(content), piece):
            await coming.feed(memoryview(content)[start : start + piece])
        return await coming.finish()
    finally:
        await coming.abandon("interrupted")


@pytest.mark.parametrize("piece", [1, 130, 100_000])
@aio
async def test_the_data_set_of_a_file_is_stored_bit_for_bit(tmp_path: Path, piece: int) -> None:
    """However it is cut; the receipt names where the instance went, a second time it is a duplicate."""
    data = data_set()
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        receipt = await filed(session, file(data, b"II*\0" + bytes(60)), piece=piece)

        assert (Outcome.STORED, CT, uid(1), STUDY, f"{STUDY}.4", len(data)) == (
            receipt.outcome,
            receipt.sop_class_uid,
            receipt.sop_instance_uid,
            receipt.study_instance_uid,
            receipt.series_instance_uid,
            receipt.length,
        )
        assert Outcome.DUPLICATE == (await filed(session, file(data), piece=piece)).outcome
        assert {uid(1): data} == await returned(session, EVERYTHING)


@pytest.mark.parametrize("beginning", PROGRAMS.values(), ids=PROGRAMS)
@aio
async def test_a_program_as_preamble_is_quarantined_with_an_alert(tmp_path: Path, beginning: bytes) -> None:
    """The file is refused, kept whole and sealed, listed, and a person is told; nothing of it is served."""
    content = file(data_set(), beginning)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        with pytest.raises(DisguisedFileError):
            await filed(session, content)

        assert {} == await returned(session, EVERYTHING)
        with world.parts.database.reader() as connection:
            (kept,) = quarantine.listed(connection)
        told = [entry.message for entry in world.trail() if EventType.QUARANTINED in entry.message.types]

        assert ("DisguisedFileError", hashlib.sha256(content).digest()) == (kept.fault, bytes(kept.kept.digest))
        assert [Event.INSTANCES_TRANSFERRED, Event.SECURITY_ALERT] == sorted(message.event for message in told)
        assert [] == await world.findings()


@pytest.mark.parametrize(
    ("content", "options", "error", "begun", "kept"),
    [
        (b"<html>" * 100, {}, DataSetError, False, 0),
        (b"", {}, DataSetError, False, 0),
        (file(b""), {}, DataSetError, False, 0),
        (file(data_set())[:-9], {}, DataSetError, True, 1),
        (file(data_set(), sop_class=DIRECTORY), {}, UnsupportedClassError, True, 0),
        (file(data_set(), syntax="1.2.3"), {}, UnsupportedSyntaxError, True, 0),
        (file(data_set()), {"study_instance_uid": "1.2.4"}, MismatchError, True, 1),
        (file(data_set()), {"sop_classes": {PRIVATE}}, UnsupportedClassError, True, 1),
    ],
    ids=["HTML", "nothing", "no data set", "cut", "DICOMDIR", "syntax", "another study", "class"],
)
@aio
async def test_what_is_refused_and_what_of_it_is_kept(
    tmp_path: Path, content: bytes, options: dict[str, object], error: type[StrongroomError], begun: bool, kept: int
) -> None:
    """What is no DICOM leaves nothing; a data set that is not good goes to quarantine."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        coming = FileDeposit(session, **options)  # type: ignore[arg-type] # passed on
        with pytest.raises(error):
            await whole(coming, content)

        assert begun == coming.begun
        with world.parts.database.reader() as connection:
            assert kept == quarantine.count(connection)
        assert [] == await world.findings()


@aio
async def test_a_refused_instance_is_named_by_its_data_set(tmp_path: Path) -> None:
    """Who answers for a refusal can say which instance it was, also where the file says another."""
    async with opened(tmp_path / "home") as world:
        coming = FileDeposit(await world.device(), study_instance_uid="1.2.4")
        await coming.feed(memoryview(file(data_set(7))))
        with pytest.raises(MismatchError):
            await coming.finish()

        assert coming.identity is not None
        assert ((CT, uid(1)), uid(7)) == (coming.stated, coming.identity.sop_instance_uid)
