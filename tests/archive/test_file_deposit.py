"""A file on its way in: its data set, its preamble, and what it only pretends to be (PS3.10 §7.5, SECURITY C30, F01, F02)."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from archive.world import CT, EVERYTHING, EXPLICIT, LONG_PIXELS, STUDY, aio, data_set, opened, returned, uid
from strongroom.archive import FileDeposit, Outcome, Receipt, Session
from strongroom.archive.core import MAX_ORIGINALS
from strongroom.archive.deletion import row_of
from strongroom.archive.record import Record
from strongroom.audit.codes import Event, EventType
from strongroom.dicom.part10 import encode_header
from strongroom.errors import (
    DataSetError,
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
async def test_a_program_as_preamble_is_neutralised_with_an_alert(tmp_path: Path, beginning: bytes) -> None:
    """The data set is taken as of any file; the file as it came is kept whole, sealed, with its instance; a person is told."""
    content = file(data_set(), beginning)
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        assert Outcome.STORED == (await filed(session, content)).outcome

        assert {uid(1): data_set()} == await returned(session, EVERYTHING)
        with world.parts.database.reader() as connection:
            (kept,) = quarantine.listed(connection)
        (told,) = [entry.message for entry in world.trail() if EventType.QUARANTINED in entry.message.types]

        assert ("preamble-executable", hashlib.sha256(content).digest()) == (kept.fault, bytes(kept.kept.digest))
        assert (uid(1), STUDY, CT, len(content)) == (
            kept.kept.sop_instance_uid,
            kept.kept.study_instance_uid,
            kept.kept.sop_class_uid,
            kept.kept.plain_length,
        )
        assert Event.SECURITY_ALERT == told.event
        record = Record(world.parts, row_of(kept.kept))
        assert content == bytes(record.read(0, len(content)))
        assert [] == await world.findings()


@pytest.mark.parametrize("pixels", [b"\1\2" * 512, LONG_PIXELS], ids=["short", "long"])
@aio
async def test_the_same_disguise_again_grows_nothing(tmp_path: Path, pixels: bytes) -> None:
    """Sent three times: one instance, one entry, and no lease is left behind."""
    content = file(data_set(pixels=pixels), b"MZ")
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await world.device()
        free = world.parts.vault.free_leases
        outcomes = [(await filed(session, content, piece=100_000)).outcome for _ in range(3)]
        with world.parts.database.reader() as connection:
            assert 1 == quarantine.count(connection)

        assert [Outcome.STORED, Outcome.DUPLICATE, Outcome.DUPLICATE] == outcomes
        assert free == world.parts.vault.free_leases
        assert MAX_ORIGINALS == world.core.originals._value
        assert [] == await world.findings()


@aio
async def test_many_long_disguises_at_once_do_not_wait_for_one_another(tmp_path: Path) -> None:
    """More of them than there are packs to lease, each wanting two: all come to their end."""
    async with opened(tmp_path / "home", pack_mebibytes=64) as world:
        session = await world.device()
        contents = [file(data_set(number, pixels=LONG_PIXELS), b"MZ") for number in range(10)]
        async with asyncio.timeout(60):
            receipts = await asyncio.gather(*(filed(session, one, piece=1_000_000) for one in contents))

        assert {Outcome.STORED} == {one.outcome for one in receipts}
        with world.parts.database.reader() as connection:
            assert len(contents) == quarantine.count(connection)


@aio
async def test_a_disguise_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """Neither an entry nor a place among those that are taken at once."""
    async with opened(tmp_path / "home") as world:
        coming = FileDeposit(await world.device())
        await coming.feed(memoryview(file(data_set(), b"MZ"))[:600])
        await coming.abandon("interrupted")

        with world.parts.database.reader() as connection:
            assert 0 == quarantine.count(connection)
        assert (MAX_ORIGINALS, 0) == (world.core.originals._value, world.core.committer.busy_senders)


@aio
async def test_a_disguise_around_a_cut_data_set_is_kept_whole(tmp_path: Path) -> None:
    """The data set is refused as any that is cut; the file is kept as it came."""
    content = file(data_set(), b"MZ")[:-9]
    async with opened(tmp_path / "home") as world:
        with pytest.raises(DataSetError):
            await filed(await world.device(), content)
        with world.parts.database.reader() as connection:
            found = {entry.fault: entry.kept.digest for entry in quarantine.listed(connection)}

        assert hashlib.sha256(content).digest() == found["preamble-executable"]
        assert {"preamble-executable", "StructureFault"} == found.keys()
        assert [] == await world.findings()


@aio
async def test_a_preamble_that_means_nothing_is_dropped_and_noted(tmp_path: Path) -> None:
    """No alert and nothing in quarantine; the record of the deposit says that there were foreign bytes."""
    async with opened(tmp_path / "home") as world:
        session = await world.device()
        await filed(session, file(data_set(), b"made by a scanner"))
        records = [entry.message for entry in world.trail() if entry.message.event == Event.INSTANCES_TRANSFERRED]

        details = [detail for one in records[-1].objects for detail in one.details]
        assert [("Preamble", "foreign bytes in front of 1 of these files, not kept")] == details
        with world.parts.database.reader() as connection:
            assert 0 == quarantine.count(connection)


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
