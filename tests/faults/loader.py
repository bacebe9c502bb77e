"""
The sender of the kill loop: a process of its own, outside the victim, that keeps its own ledger of what was acknowledged.

Two DCMTK senders over TLS, two senders of STOW-RS, and a viewer that has pictures rendered, all at once. One JSON line on
standard input begins a round, one on standard output says that bytes are on their way, another one that all senders have
ended, which they do when the server is gone. The ledger is a file with one JSON line for each instance that is about to be
sent and for each that was answered with success.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from clients import require
from faults.instances import KINDS, Instance, some
from faults.web import Web

BY_DICOM = ("ct", "ct", "ct", "mr")
"""storescu sends explicit VR; what is implicit in the file it would turn into that."""
BY_WEB = ("ct", "mr", "implicit")
FILES = 60
"""Files of one call of storescu."""
MOST_SECONDS = 8.0
"""A round that nobody ends ends by itself."""
GONE = (OSError, http.client.HTTPException)


class Ledger:
    """One line for each instance: what was sent, what was acknowledged. Only ever appended to, by this process alone."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")
        self._lock = threading.Lock()

    def note(self, event: str, number: int, instance: Instance) -> None:
        """Write one line, at once."""
        with self._lock:
            self._file.write(json.dumps([event, number, *astuple(instance)]) + "\n")
            self._file.flush()


@dataclass
class Loader:
    """Where to send, and what one round does."""

    settings: dict[str, Any]
    ledger: Ledger

    def run(self, number: int, seed: int) -> None:
        """One round; returns when every sender has ended."""
        self._begun = threading.Event()
        self._number, self._end = number, time.monotonic() + MOST_SECONDS
        source = random.Random(seed)
        seeds = [random.Random(source.getrandbits(64)) for _ in range(5)]
        tasks = [self._by_dicom, self._by_dicom, self._by_web, self._by_web, self._view]
        folder = Path(self.settings["folder"], f"round{number}")
        folder.mkdir()
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [
                pool.submit(task, each, folder / str(at))
                for at, (task, each) in enumerate(zip(tasks, seeds, strict=True))
            ]
            self._begun.wait(MOST_SECONDS)
            say({"begun": number})
            for one in running:
                one.result()
        shutil.rmtree(folder)

    def _by_dicom(self, source: random.Random, folder: Path) -> None:
        """storescu, call after call, until one cannot connect or loses its association."""
        folder.mkdir()
        first = True
        while time.monotonic() < self._end:
            sent: dict[str, Instance] = {}
            kinds = ("long", "ct") if not first and source.random() < 0.3 else BY_DICOM
            for at, one in enumerate(some(source, kinds, 4 if "long" in kinds else FILES)):
                path = folder / f"{at:04d}.dcm"
                path.write_bytes(one.file)
                sent[str(path)] = one
                self.ledger.note("sent", self._number, one)
            if not self._storescu(sent, first=first):
                return
            first = False

    def _storescu(self, sent: dict[str, Instance], *, first: bool) -> bool:
        where = self.settings
        tls = ["+tls", where["key"], where["certificate"], "+cf", where["authority"]]
        names = ["-aet", where["ae_title"], "-aec", "STRONGROOM", "localhost", str(where["port"])]
        process = subprocess.Popen(
            [require("storescu"), "-v", "-R", *tls, *names, *sent],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        assert process.stdout is not None
        current, answered = None, 0
        for line in process.stdout:
            if line.startswith("I: Sending file: "):
                current = sent[line.removeprefix("I: Sending file: ").strip()]
                if first:
                    self._begun.set()
            elif line.startswith("I: Received Store Response (Success)"):
                assert current is not None
                self.ledger.note("acknowledged", self._number, current)
                answered += 1
        return process.wait() == 0 and answered == len(sent)

    def _by_web(self, source: random.Random, _folder: Path) -> None:
        """STOW-RS, request after request, until the connection breaks."""
        web = self._connect()
        try:
            while time.monotonic() < self._end:
                group = some(source, KINDS if source.random() < 0.1 else BY_WEB, source.randint(1, 8))
                for one in group:
                    self.ledger.note("sent", self._number, one)
                self._begun.set()
                answers = web.store(group)
                for one in group:
                    if answers.get(one.sop) == 0:
                        self.ledger.note("acknowledged", self._number, one)
        except GONE:
            return
        finally:
            web.close()

    def _view(self, source: random.Random, _folder: Path) -> None:
        """Have something rendered again and again, so that pixel workers are at work when the server is killed."""
        web = self._connect()
        try:
            (shown,) = some(source, ("ct",), 1)
            self.ledger.note("sent", self._number, shown)
            if web.store([shown]).get(shown.sop) == 0:
                self.ledger.note("acknowledged", self._number, shown)
            path = f"/studies/{shown.study}/series/{shown.series}/instances/{shown.sop}/rendered"
            while time.monotonic() < self._end:
                web.get(path, "image/jpeg")
                time.sleep(0.02)
        except GONE:
            return
        finally:
            web.close()

    def _connect(self) -> Web:
        return Web(self.settings["web_port"], self.settings["authority"], self.settings["token"])


def say(what: dict[str, Any]) -> None:
    """One line to whoever commands."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Take rounds until standard input ends."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    loader = Loader(settings, Ledger(Path(settings["ledger"])))
    for line in sys.stdin:
        command = json.loads(line)
        loader.run(command["round"], command["seed"])
        say({"done": command["round"]})


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
