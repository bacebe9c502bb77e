"""The crowd of the soak: a process with 50 callers on the DICOM door, 50 on the web door, and 500 that connect and say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from faults.instances import Instance, some
from faults.talk import Talk, trusted
from interop.harness import Bundle

ASSOCIATIONS, REQUESTS, SILENT = 50, 50, 500
DROPPERS, SLOW = 8, 8
"""Of each fifty: those that end in the middle, and those that take or give a little at a time."""
GONE = (OSError, EOFError, TimeoutError, ssl.SSLError, ValueError)
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PATIENCE = 30.0
STUDIES = 400
"""Studies that the crowd adds to: what is remembered of each is warm after the first crowd."""


class Crowd:
    """Everybody; `run` until the time is over."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._devices = [Bundle(Path(folder), title) for folder, title in settings["devices"]]
        self._tls = [trusted(device) for device in self._devices]
        self._web_tls = ssl.create_default_context(cafile=settings["authority"])
        self._end = 0.0
        self._stored: list[Instance] = []
        self.counts: Counter[str] = Counter()

    async def run(self, seconds: float, seed: int) -> None:
        """Let everybody do what they do for *seconds*."""
        self._end = time.monotonic() + seconds
        source = random.Random(seed)
        tasks = [
            *(self._repeat(self._association, number, source) for number in range(ASSOCIATIONS)),
            *(self._repeat(self._request, number, source) for number in range(REQUESTS)),
            *(self._repeat(self._silence, number, source) for number in range(SILENT)),
        ]
        await asyncio.gather(*tasks)

    async def _repeat(
        self, act: Callable[[int, random.Random], Awaitable[None]], number: int, source: random.Random
    ) -> None:
        own = random.Random(source.getrandbits(62))
        await asyncio.sleep(own.uniform(0, 2))
        while (left := self._end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left + 1 if act == self._silence else PATIENCE):
                    await act(number, own)
            except GONE as error:
                if act != self._silence and number >= DROPPERS:
                    self.counts[f"failed: {act.__name__} {type(error).__name__}"] += 1
            await asyncio.sleep(own.uniform(3, 8) if act == self._silence else own.uniform(0.5, 2.0))

    async def _association(self, number: int, own: random.Random) -> None:
        """Some images and echoes over one association; droppers go away in the middle, slow ones trickle."""
        at = number % len(self._devices)
        address = f"127.0.1.{number + 1}"
        talk = await Talk.begin(self._settings["port"], self._devices[at], self._tls[at], address=address)
        try:
            for one in images(own, own.randint(1, 4)):
                if number < DROPPERS:
                    await talk.store(one, stop_after=own.choice((0, 16_384)))
                    self.counts["dropped stores"] += 1
                    return
                status = await talk.store(one, pause=0.2 if number < DROPPERS + SLOW else 0)
                self.counts["stored" if status == 0 else f"store answered {status:04X}"] += 1
                self._stored = [*self._stored[-99:], one]
                await asyncio.sleep(own.uniform(0.1, 0.6))
                self.counts["echoes of the crowd"] += (await talk.echo()) == 0
            await talk.release()
        finally:
            talk.vanish()

    async def _request(self, number: int, own: random.Random) -> None:
        """A search, a study, a picture or a store; droppers go away in the middle, slow ones read a little at a time."""
        address = f"127.0.2.{number + 1}"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._settings["web_port"], ssl=self._web_tls, server_hostname="localhost",
            local_addr=(address, 0), limit=8_192,
        )  # fmt: skip
        try:
            head, body = self._asked(number, own)
            writer.write(head + body)
            await writer.drain()
            if number < DROPPERS:
                await reader.read(100)
                self.counts["dropped requests"] += 1
                return
            first = await reader.readline()
            while await reader.read(8_192):
                if number < DROPPERS + SLOW:
                    await asyncio.sleep(0.1)
            self.counts[f"web {first[9:12].decode()}"] += 1
        finally:
            writer.transport.abort()

    def _asked(self, number: int, own: random.Random) -> tuple[bytes, bytes]:
        shown = own.choice(self._stored) if self._stored else None
        headers = f"Host: localhost\r\nAuthorization: Bearer {self._settings['token']}\r\nConnection: close\r\n"
        if shown is None or number % 3 == 0:
            sent = images(own, 2)
            body = b"".join(b"--soak\r\nContent-Type: application/dicom\r\n\r\n" + one.file + b"\r\n" for one in sent)
            body += b"--soak--\r\n"
            headers += 'Content-Type: multipart/related; type="application/dicom"; boundary=soak\r\n'
            headers += f"Accept: application/dicom+json\r\nContent-Length: {len(body)}\r\n"
            return f"POST /dicom-web/studies HTTP/1.1\r\n{headers}\r\n".encode(), body
        path, accept = own.choice(
            (
                (f"/studies/{shown.study}", DICOM),
                (f"/studies/{shown.study}/metadata", "application/dicom+json"),
                ("/studies?limit=25&includefield=all", "application/dicom+json"),
                (f"/studies/{shown.study}/series/{shown.series}/instances/{shown.sop}/rendered", "image/jpeg"),
            )
        )
        return f"GET /dicom-web{path} HTTP/1.1\r\n{headers}Accept: {accept}\r\n\r\n".encode(), b""

    async def _silence(self, number: int, _: random.Random) -> None:
        """Connect and say nothing until the archive ends it."""
        port = self._settings["port"] if number % 2 else self._settings["web_port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.3.{number % 100 + 1}", 0))
        self.counts["silent connections"] += 1
        try:
            await reader.read(1)
        finally:
            writer.transport.abort()


def images(own: random.Random, count: int) -> list[Instance]:
    """New instances of one of the studies."""
    (study,) = some(random.Random(f"study {own.randrange(STUDIES)}"), ("ct",), 1)
    return [replace(one, study=study.study, series=study.series) for one in some(own, ("ct", "mr"), count)]


def main() -> None:
    """One run for each line of standard input; figures on standard output."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    for line in sys.stdin:
        wanted = json.loads(line)
        crowd = Crowd(settings)
        asyncio.run(crowd.run(wanted["seconds"], wanted["seed"]))
        sys.stdout.write(json.dumps(crowd.counts) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
