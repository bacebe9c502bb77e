"""
An archive in a new home on a real disk, the sessions of devices that are really enrolled, and data sets to give to it.

The one thing that is not as in the server: vault, trail and the keyring's second copy stand on a `FailingMedium`, which is the disk
until a test tells it to fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from strongroom.app import assembly
from strongroom.app.config import template
from strongroom.app.founding import found
from strongroom.app.home import open_home
from strongroom.archive import DeviceCredential, HostCredential, Query, Receipt, Root, Session, Target
from strongroom.audit.trail import Entry
from strongroom.catalogue.instances import InstanceRow, find_instance
from strongroom.dicom.model import Level
from strongroom.errors import OutOfResources
from strongroom.ground.disk import DiskMedium

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
STUDY = "1.2.3"
EVERYTHING = Target(Level.STUDY, study_instance_uids=(STUDY,))
LONG_PIXELS = b"\x01\x02" * (3 * 1024 * 1024)
"""Longer, sealed, than what is held for one sender: such an instance goes through a leased pack."""
_UNTIL_SECONDS = 10.0


class FailingMedium:
    """The disk, until `fail` names what is to break: every write and flush of those files fails from then on."""

    def __init__(self, root: Path) -> None:
        self.disk = DiskMedium(root)
        self.broken: tuple[str, ...] = ()
        self.suspect = False
        self.bytes_read = 0
        """Bytes that were read from packs."""

    def fail(self, *names: str) -> None:
        """Let writes and flushes fail for files whose name begins with one of *names*."""
        self.broken = names

    def check(self, name: str) -> None:
        """Raise what a broken disk raises; a failed flush makes the medium suspect for good."""
        if self.suspect or (self.broken and name.startswith(self.broken)):
            self.suspect = True
            raise OutOfResources(f"{name} cannot be made durable: Input/output error")

    def open(self, name: str, *, create: bool = False, writable: bool = True) -> _FailingFile:
        if create:
            self.check(name)
        return _FailingFile(self, self.disk.open(name, create=create, writable=writable))

    def sync_directory(self, name: str = "") -> None:
        self.check(name)
        self.disk.sync_directory(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk, name)


class _FailingFile:
    def __init__(self, medium: FailingMedium, file: Any) -> None:
        self._medium = medium
        self._file = file

    def pread(self, length: int, offset: int) -> bytes:
        if self._file.name.startswith("vault/"):
            self._medium.bytes_read += length
        return bytes(self._file.pread(length, offset))

    def pwrite(self, buffers: Sequence[Any], offset: int) -> int:
        self._medium.check(self._file.name)
        return int(self._file.pwrite(buffers, offset))

    def fdatasync(self) -> None:
        self._medium.check(self._file.name)
        self._file.fdatasync()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def aio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def new_home(path: Path, *, pack_mebibytes: int = 4) -> Path:
    """A home as `init` makes it, with small packs."""
    found(path, dicom="127.0.0.1:0", web="127.0.0.1:8443", ae_title="STRONGROOM", passphrase_file=None)
    text = template(dicom="127.0.0.1:0").replace("pack-mebibytes = 256", f"pack-mebibytes = {pack_mebibytes}")
    (path / "strongroom.toml").write_text(text)
    return path


@dataclass
class World:
    """A running archive, without doors."""

    archive: assembly.Archive
    medium: FailingMedium

    @property
    def parts(self) -> Any:
        return self.archive.core.parts

    @property
    def core(self) -> Any:
        return self.archive.core

    async def host(self, reason: str | None = None) -> Session:
        """A session of the machine's own command line."""
        return await self.archive.gate.admit(HostCredential(uid=0, command="test", reason=reason))

    async def custodian(self) -> Any:
        return self.archive.custodian(await self.host())

    async def enrol(self, name: str, may: str = "deposit,query,retrieve", **options: Any) -> bytes:
        """Enrol a device; its certificate."""
        given: dict[str, Any] = {"networks": [], "move": None, "private_classes": [], "legacy_door": None, "days": 30}
        enrolled = await (await self.custodian()).enrol(
            name=name, ae_title=name, may=may.split(","), **(given | options)
        )
        certificate = enrolled["files"].get("device.crt", "")
        if not certificate:
            return b""
        return x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)

    async def admit(self, name: str, certificate: bytes | None, **changes: Any) -> Session:
        """What the gate says to a device of that name."""
        given: dict[str, Any] = {
            "calling_ae_title": name,
            "called_ae_title": "STRONGROOM",
            "address": "127.0.0.1",
            "port": 40000,
            "door": assembly.TLS_DOOR,
            "encrypted": True,
            "certificate": certificate,
        }
        return await self.archive.gate.admit(DeviceCredential(**(given | changes)))

    async def device(self, name: str = "CT1", may: str = "deposit,query,retrieve", **options: Any) -> Session:
        """A session of a newly enrolled device."""
        return await self.admit(name, await self.enrol(name, may, **options))

    def row(self, sop_instance_uid: str) -> InstanceRow | None:
        """The catalogue's row of an instance."""
        with self.parts.database.reader() as connection:
            return find_instance(connection, sop_instance_uid)

    def trail(self) -> list[Entry]:
        """Every record, oldest first."""
        return list(self.parts.trail.read())[::-1]

    def fill_database(self) -> None:
        """Let the database be full: it can use what room it has, a few pages, and get no more."""
        writer = self.parts.database.writer
        self.core.committer._flush_soon = lambda: None  # the outbox keeps what it has, however slow a test is
        with self.parts.database.transaction() as connection:
            connection.execute("CREATE TABLE filler (x)")
            while connection.execute("PRAGMA freelist_count").fetchall()[0][0] > 8:
                connection.execute("INSERT INTO filler VALUES (zeroblob(16000))")
        ((pages,),) = writer.execute("PRAGMA page_count").fetchall()
        writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def make_room(self) -> None:
        """Take back what `fill_database` did."""
        self.parts.database.writer.execute("PRAGMA max_page_count = 1000000").fetchall()

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = await (await self.custodian()).status()
        return found

    async def findings(self, *, read: bool = True) -> list[dict[str, Any]]:
        """What `check` finds."""
        result: dict[str, Any] = {}
        async for reply in (await self.custodian()).check(read=read):
            result = reply.get("result", result)
        found: list[dict[str, Any]] = result["findings"]
        return found

    async def proof(self) -> list[dict[str, Any]]:
        """What `trail verify` finds."""
        found: list[dict[str, Any]] = (await (await self.custodian()).verify_trail())["findings"]
        return found


@contextlib.asynccontextmanager
async def opened(home: Path, *, pack_mebibytes: int = 4) -> AsyncIterator[World]:
    """Open the archive in *home*, made when absent."""
    if not home.exists():  # noqa: ASYNC240 -- a test has nothing else to do
        new_home(home, pack_mebibytes=pack_mebibytes)
    medium = FailingMedium(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "DiskMedium", lambda _root: medium)
        async with assembly.open_archive(open_home(home)) as archive:
            yield World(archive, medium)


def data_set(
    number: int = 1,
    syntax: str = EXPLICIT,
    *,
    study: str = STUDY,
    series: str | None = None,
    pixels: bytes = b"\x01\x02" * 512,
    late_study: int = 0,
    **elements: Any,
) -> bytes:
    """
    A CT image as *syntax* encodes it; its SOP Instance UID is `uid(number)`.

    *late_study* bytes of a private element stand in front of the Study Instance UID.
    """
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, uid(number)
    made.PatientID, made.PatientName, made.Modality = "P1", "Doe^Jane", "CT"
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series or f"{study}.4"
    made.InstanceNumber = str(number)
    if late_study:
        block = made.private_block(0x0019, "STRONGROOM TEST", create=True)
        block.add_new(0x01, "OB", bytes(late_study))
    made.Rows = made.Columns = 16
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    if pixels:
        made.add_new(0x7FE00010, "OW", _swapped(pixels) if syntax == BIG_ENDIAN else pixels)
    return encoded(made, syntax)


def _swapped(words: bytes) -> bytes:
    """16-bit words in the other byte order: pydicom writes OW as it is given."""
    swapped = bytearray(words)
    swapped[::2], swapped[1::2] = words[1::2], words[::2]
    return bytes(swapped)


def encoded(made: Dataset, syntax: str) -> bytes:
    """The bytes of a native data set."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = syntax != BIG_ENDIAN, syntax == IMPLICIT
    write_dataset(file, made)
    return file.getvalue()


def uid(number: int) -> str:
    """The SOP Instance UID of the data set with that number."""
    return f"1.2.3.4.{number}"


async def deposit(
    session: Session,
    data: bytes,
    *,
    number: int | None = 1,
    syntax: str = EXPLICIT,
    piece: int = 16_000,
    sop_class: str = CT,
) -> Receipt:
    """Send *data* in fragments as a front door does."""
    coming = session.deposit(
        sop_class_uid=sop_class if number is not None else "",
        sop_instance_uid=uid(number) if number is not None else "",
        transfer_syntax_uid=syntax,
    )
    try:
        for start in range(0, len(data), piece):
            coming.feed(memoryview(data)[start : start + piece])
            await coming.ready()
        return await coming.finish()
    finally:
        await coming.abandon("interrupted")


async def deposited(session: Session, number: int = 1, syntax: str = EXPLICIT, **options: Any) -> tuple[bytes, Receipt]:
    """Make a data set and deposit it."""
    data = data_set(number, syntax, **options)
    return data, await deposit(session, data, number=number, syntax=syntax)


async def returned(session: Session, target: Target) -> dict[str, bytes]:
    """What a retrieve of *target* gives: SOP Instance UID to data set."""
    got: dict[str, bytes] = {}
    async with await session.retrieve(target) as disclosure:
        for instance in disclosure.instances:
            got[instance.sop_instance_uid] = b"".join([bytes(piece) async for piece in disclosure.open(instance)])
            disclosure.sent(instance)
    return got


async def answers(session: Session, level: Level = Level.STUDY, **keys: str) -> list[dict[str, Any]]:
    """What a search finds; keys by tag, such as t0020000D="1.2.3"."""
    wanted = {tag[1:]: {"vr": "UI", "Value": [value]} if value else {"vr": "UI"} for tag, value in keys.items()}
    query = Query(root=Root.STUDY, level=level, keys=wanted)  # type: ignore[arg-type]
    return [dict(match) async for match in await session.query(query)]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something another task does."""
    async with asyncio.timeout(_UNTIL_SECONDS):
        while not condition():  # noqa: ASYNC110 -- a condition of any kind
            await asyncio.sleep(0)
