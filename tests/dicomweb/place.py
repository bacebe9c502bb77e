"""
The web services of a real archive, asked through httpx: gate, catalogue, vault, trail and workers are those of the server.

Only the door is missing: what it would say of a connection (certificate, address) is put into the scope here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.data import get_testdata_file

from archive.world import World, opened
from strongroom.archive import Session
from strongroom.audit.codes import Event
from strongroom.dicom.part10 import Part10Reader
from strongroom.dicomweb.application import create
from strongroom.dicomweb.call import Settings
from strongroom.imaging.pool import Pool

BASE = "https://archive.example/dicom-web"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass
class Part:
    """One part of a multipart body."""

    headers: dict[str, str]
    content: bytes


@dataclass
class Kept:
    """A file that was deposited."""

    path: Path
    study: str
    series: str
    instance: str
    syntax: str
    data: bytes
    """Its data set as it was deposited."""

    @property
    def url(self) -> str:
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"


@dataclass
class Place:
    """The archive, its services, and who asks."""

    world: World
    app: Any
    pool: Pool
    turned_away: list[tuple[str, str, int, str]] = field(default_factory=list)
    token: str = ""
    certificate: bytes | None = None

    async def ask(
        self, path: str, accept: str | None = None, *, method: str = "GET", token: str | None = None, **headers: str
    ) -> httpx.Response:
        """One request below the base; *accept* "" sends none."""
        fields: dict[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        fields.setdefault("Host", "archive.example")
        shown = self.token if token is None else token
        if shown:
            fields.setdefault("Authorization", f"Bearer {shown}")
        if accept is not None:
            fields["Accept"] = accept
        transport = httpx.ASGITransport(app=self._door, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="https://archive.example") as client:
            request = client.build_request(method, f"{BASE}{path}", headers=fields)
            if accept == "":
                del request.headers["accept"]
            return await client.send(request)

    async def _door(self, scope: Any, receive: Any, send: Any) -> None:
        scope["strongroom"] = {
            "certificate": self.certificate,
            "door": "web",
            "address": "127.0.0.1",
            "port": 40000,
            "admitted": lambda _name: True,
        }
        await self.app(scope, receive, send)

    async def issue(self, name: str, *roles: str, scope: str = "all") -> str:
        """A token."""
        made = await self.world.archive.tokens(await self.world.host()).issue(
            name=name, roles=roles, scope=[scope], life="90d"
        )
        return str(made["token"])

    def messages(self, event: Event) -> list[Any]:
        """Records of the trail of that kind, oldest first."""
        return [entry.message for entry in self.world.trail() if entry.message.event == event]


@contextlib.asynccontextmanager
async def running(path: Path, *, workers: int = 1, role: str = "radiologist") -> AsyncIterator[Place]:
    """An archive in a new home, its services, and a token that may look and fetch."""
    async with opened(path) as world:
        pool = Pool(workers)
        await pool.start()
        try:
            away: list[tuple[str, str, int, str]] = []
            settings = Settings(base_url=BASE, ae_title="STRONGROOM", names=frozenset({"localhost"}))

            async def turned_away(door: str, address: str, port: int, reason: str) -> None:
                away.append((door, address, port, reason))

            app = create(world.archive.gate, pool, settings, turned_away=turned_away)
            place = Place(world, app, pool, away)
            place.token = await place.issue("viewer", role)
            yield place
        finally:
            await pool.stop()


async def deposit_file(session: Session, path: str | Path, *, number: int = 0) -> Kept:
    """Deposit a file, with *number* at the end of its SOP Instance UID when it is not 0; where it lies afterwards."""
    raw = Path(path).read_bytes()  # noqa: ASYNC240 -- a test has nothing else to do
    read = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    instance = str(read.SOPInstanceUID)
    if number:  # some files that are shipped share theirs
        changed = f"{instance[:-3]}{number:03d}"
        raw, instance = raw.replace(instance.encode(), changed.encode()), changed
    reader = Part10Reader()
    data = b"".join([bytes(view) for view in (*reader.feed(raw), *reader.finish())])
    assert reader.meta is not None
    coming = session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid=reader.meta.transfer_syntax_uid)
    coming.feed(memoryview(data))
    receipt = await coming.finish()
    assert "stored" == receipt.outcome.value
    return Kept(
        Path(path),
        str(read.StudyInstanceUID),
        str(read.SeriesInstanceUID),
        instance,
        reader.meta.transfer_syntax_uid,
        data,
    )


async def deposit_shipped(place: Place, *names: str) -> list[Kept]:
    """Deposit files that pydicom brings along."""
    session = await place.world.host()
    kept = []
    for number, name in enumerate(names, 101):
        path = str(get_testdata_file(name))
        kept.append(await deposit_file(session, path, number=number if name.startswith("emri_") else 0))
    return kept


def parts_of(answer: httpx.Response) -> list[Part]:
    """The parts of a multipart answer, bytes untouched."""
    found = re.search(r'boundary="?([^";]+)', answer.headers["content-type"])
    assert found is not None
    marker = b"--" + found[1].encode()
    assert answer.content.startswith(marker)
    assert answer.content.endswith(b"\r\n" + marker + b"--\r\n")
    parts = []
    for piece in answer.content[: -len(marker) - 6].split(b"\r\n" + marker + b"\r\n"):
        head, _, content = piece.removeprefix(marker + b"\r\n").partition(b"\r\n\r\n")
        fields = BytesParser().parsebytes(head + b"\r\n\r\n")
        parts.append(Part({name.lower(): value for name, value in fields.items()}, content))
    return parts


def data_set_of(file: bytes) -> tuple[str, bytes]:
    """Transfer syntax and data set of a file."""
    assert file[:132] == bytes(128) + b"DICM"
    reader = Part10Reader()
    data = b"".join([bytes(view) for view in (*reader.feed(file), *reader.finish())])
    assert reader.meta is not None
    return reader.meta.transfer_syntax_uid, data


@dataclass
class Shared:
    """One place for the tests of a module that only read; each call runs in its event loop."""

    loop: asyncio.AbstractEventLoop
    place: Place
    kept: dict[str, Kept]

    def ask(self, path: str, accept: str | None = None, **given: Any) -> httpx.Response:
        """One request."""
        return self.loop.run_until_complete(self.place.ask(path, accept, **given))


def shared(path: Path, *names: str) -> Iterator[Shared]:
    """What a fixture of module scope yields from: an archive that holds the shipped files *names*."""
    loop = asyncio.new_event_loop()
    try:
        held = running(path)
        place = loop.run_until_complete(held.__aenter__())
        try:
            kept = loop.run_until_complete(deposit_shipped(place, *names))
            yield Shared(loop, place, dict(zip(names, kept, strict=True)))
        finally:
            loop.run_until_complete(held.__aexit__(None, None, None))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
