"""
The order of system calls, seen from the kernel (SECURITY 1c, ladder step 2): no success leaves before its flushes.

`strace -f -yy` watches the real server while one caller at a time stores, by C-STORE and by STOW-RS. The answers are encrypted,
so an answer is the first write on a connection after bytes of a request came in on it and something was written to a pack.
For each answer:

1. every byte written to a pack or to the log of the database (row, and the trail's record in its outbox) was flushed before it
2. so was every file that was made or renamed in the folder of the packs, by a flush of that folder
3. the database's log was written to after the last flush of a pack (I2), and nothing went into a pack while a key was not flushed

The event loop hands its registrations of descriptors to the kernel by io_uring (libuv's ring for epoll_ctl). Files and sockets it
drives by calls that are seen: a ring for files (SQPOLL) would show as a wake-up and is refused here, and each answer that was
sent has to appear, or the run counts as failed.

Commits that are made by the committer's thread end with a wake-up of the loop; what that thread writes behind it is the next
group's, and may be on its way while the loop sends.

Calls that other calls interrupt (`<unfinished ...>`) count from their beginning when they write or send, and at their end when
they flush: the worst that may have happened.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from clients import find, require
from faults.instances import Instance, some
from faults.scene import Scene, ViolationError, must, scene, seed_of
from interop import harness

CALLS = (
    "trace=openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,read,readv,recvfrom,recvmsg,sendto,sendmsg,sendfile,splice,"
    "copy_file_range,io_uring_setup,io_uring_enter,msync"
)
_FORBIDDEN = {"sendfile", "splice", "copy_file_range", "io_uring_setup", "sync_file_range"}
"""Ways to write or send that this check does not follow; should the server ever use one, the check has to learn it."""
_ZEROS = "iov_len=1048576}], 1, "
"""One buffer of 1 MiB: zeros written ahead of the records (vault/_open_pack.py, `fill`); parts of a record come in several."""
_LINE = re.compile(r"^(\d+)\s+(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_FD = re.compile(r"^(?:\d+|AT_FDCWD)<((?:TCP|TCPv6):\[[^\]]*\]|[^>]*)>")
_RESULT = re.compile(r".*\)\s+= (-?\d+)(?:<([^>]*)>)?")


class Step(Enum):
    """What a call means for the order."""

    WRITE = "write"
    FLUSH = "flush"
    MADE = "made"
    RECEIVED = "received"
    SENT = "sent"
    WOKE = "woke"


@dataclass(frozen=True, slots=True)
class Event:
    """One step on one file, folder or connection."""

    step: Step
    what: str


@dataclass
class Finding:
    """What a trace shows."""

    answers: int = 0
    violations: list[str] = field(default_factory=list)
    keys: int = 0
    """Flushes of the keyring that went before a pack was written to."""
    made: int = 0
    """Packs that were made or closed, and whose folder was flushed before the next answer."""


def events(lines: Iterable[str], home: str) -> Iterator[Event]:
    """The steps of a trace in their order. Raises ViolationError for a call that is not followed."""
    begun: dict[str, tuple[str, str]] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        thread, text = found[1], found[2]
        resumed = _RESUMED.match(text)
        if resumed is not None:
            name, arguments = begun.pop(thread, (resumed[1], ""))
            yield from _events(name, arguments + resumed[2], home, started=False, ended=True)
            continue
        call = _CALL.match(text)
        if call is None:
            continue
        unfinished = "<unfinished ...>" in text
        if unfinished:
            begun[thread] = (call[1], call[2].partition("<unfinished")[0])
        yield from _events(call[1], call[2], home, started=True, ended=not unfinished)


def _events(name: str, text: str, home: str, *, started: bool, ended: bool) -> Iterator[Event]:
    """The steps of one call; of one in two halves, those that count at its beginning or at its end."""
    must(
        name not in _FORBIDDEN and "SQ_WAKEUP" not in text, f"the server uses {name}, which this check does not follow"
    )
    result = _RESULT.match(text) if ended else None
    failed = result is not None and int(result[1]) < 0
    descriptor = _FD.match(text)
    what = "" if descriptor is None else descriptor[1]
    if name in ("fsync", "fdatasync"):
        if ended and not failed:
            yield Event(Step.FLUSH, what)
    elif name in ("read", "readv", "recvfrom", "recvmsg"):
        if ended and not failed and what.startswith("TCP"):
            yield Event(Step.RECEIVED, what)
    elif what.startswith("TCP"):
        if started:
            yield Event(Step.SENT, what)
    elif what == "anon_inode:[eventfd]":
        if started and name == "write":
            yield Event(Step.WOKE, what)
    elif name in ("write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"):
        if started and what.startswith(home) and _ZEROS not in text:
            yield Event(Step.WRITE, what)
    elif ended and not failed:
        yield from _names(name, text, result)


def _names(name: str, text: str, result: re.Match[str] | None) -> Iterator[Event]:
    """A file that was made or renamed: its name is durable once its folder is flushed."""
    if name.startswith("open") and "O_CREAT" in text and result is not None and result[2]:
        yield Event(Step.MADE, result[2])
    elif name.startswith("rename"):
        target = re.findall(r'(?:<([^>]*)>, )?"([^"]*)"', text)[-1]
        yield Event(Step.MADE, target[1] if target[1].startswith("/") else f"{target[0]}/{target[1]}")


def judged(steps: Iterable[Event], home: str, ports: Iterable[int]) -> Finding:
    """Go through the steps and say what was answered too early."""
    return _Judge(home, {f"127.0.0.1:{port}->" for port in ports}).all(steps)


class _Judge:
    """The state of a home between two steps."""

    def __init__(self, home: str, doors: set[str]) -> None:
        self._vault, self._wal = f"{home}/vault", f"{home}/archive.db-wal"
        self._keyring = (f"{home}/keyring.db-wal", f"{home}/keyring/")
        self._doors = doors
        self._dirty: set[str] = set()
        self._names: set[str] = set()
        self._asked: set[str] = set()
        """Connections on which a request came in and something was appended since."""
        self._heard = ""
        self._key_written = False
        self._logged = False
        self._told = self._later = False
        """The committer has woken the loop after a commit; what it writes from then on is the next group's."""
        self._finding = Finding()

    def all(self, steps: Iterable[Event]) -> Finding:
        for step in steps:
            getattr(self, f"_{step.step.value}")(step.what)
        return self._finding

    def _wrong(self, what: str) -> None:
        self._finding.violations.append(f"answer {self._finding.answers + 1}: {what}")

    def _write(self, what: str) -> None:
        if what.startswith(self._vault):
            if any(one.startswith(self._keyring) for one in self._dirty):
                self._wrong("a pack is written to before the keyring is flushed")
            if self._key_written:
                self._finding.keys += 1
                self._key_written = False
            if self._heard:
                self._asked.add(self._heard)
                self._logged = self._told = False
        elif what == self._wal and self._told:
            self._later = True
            return
        elif what == self._wal:
            # a long instance may be on its way into a pack of its own meanwhile; what counts is the commit behind its end
            self._logged = not any(one.startswith(self._vault) for one in self._dirty)
        elif what.startswith(self._keyring):
            self._key_written = True
        else:
            return
        self._dirty.add(what)

    def _woke(self, _: str) -> None:
        self._told = self._logged and self._wal not in self._dirty

    def _flush(self, what: str) -> None:
        self._dirty.discard(what)
        self._later = self._later and what != self._wal
        done = {name for name in self._names if name.rpartition("/")[0] == what}
        self._finding.made += len(done)
        self._names -= done

    def _made(self, what: str) -> None:
        if what.startswith(self._vault):
            self._names.add(what)
            self._dirty = {one for one in self._dirty if one.rpartition(".")[0] != what.rpartition(".")[0]} | {
                what for one in self._dirty if one.rpartition(".")[0] == what.rpartition(".")[0]
            }

    def _received(self, what: str) -> None:
        if self._is_door(what):
            self._heard = what

    def _sent(self, what: str) -> None:
        if what not in self._asked:
            return
        self._asked.discard(what)
        if not self._logged:
            self._wrong("nothing was written to the database since the pack was flushed")
        for one in sorted(self._dirty):
            self._wrong(f"{Path(one).name} is not flushed")
        for one in sorted(self._names):
            self._wrong(f"the folder of {Path(one).name} is not flushed")
        self._finding.answers += 1
        if self._later:
            self._dirty.add(self._wal)
        self._told = self._later = False

    def _is_door(self, what: str) -> bool:
        return any(door in what for door in self._doors)


@contextlib.contextmanager
def traced(place: Scene, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Watch the running server with strace until the end of the block or of the server."""
    assert place.archive.process is not None
    command = [
        require("strace"),
        "-f",
        "-yy",
        "-s",
        "0",
        "-e",
        "abbrev=none",
        *options,
        "-o",
        str(log),
        "-p",
        str(place.archive.process.pid),
    ]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        first = tracer.stderr.readline()
        must(b"attached" in first, f"strace could not attach: {first!r}")
        time.sleep(0.2)  # the other threads, one after the other
        yield tracer
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.communicate(timeout=10)
        except (
            subprocess.TimeoutExpired
        ):  # strace may wait for ever for a thread that has just ended; the kernel lets go
            tracer.kill()
            tracer.communicate(timeout=10)


def record(place: Scene, folder: Path, source: random.Random, images: int) -> tuple[list[str], int]:
    """A trace of stores by C-STORE and STOW-RS, one caller at a time; its lines, and how many answers it has to show."""
    log = folder / "strace.log"
    with traced(place, log, "-e", CALLS):
        for kinds, count in ((("ct", "mr"), images), (("long", "ct"), 3)):
            by_dicom(place, some(source, kinds, count), folder)
            time.sleep(0.3)  # what is done in a quiet moment is done before somebody else asks
        web = place.web()
        for kinds in (("ct",), ("ct", "implicit"), ("long",)) * 2:
            sent = some(source, kinds, 2)
            must(set(web.store(sent).values()) == {0}, "STOW-RS failed")
            time.sleep(0.3)
        web.close()
    return log.read_text().splitlines(), images + 3 + 6


def by_dicom(place: Scene, sent: list[Instance], folder: Path) -> None:
    """Send over one association of storescu."""
    paths = []
    for number, one in enumerate(sent):
        paths.append(folder / f"{one.study[-8:]}-{number}.dcm")
        paths[-1].write_bytes(one.file)
    names = ["-aet", place.device.ae_title, "-aec", "STRONGROOM", "localhost", str(place.archive.port)]
    harness.run("storescu", "-R", *place.device.tls, *names, *map(str, paths))


def run(seed: int, *, images: int = 40) -> Finding:
    """Record and judge one run; raises ViolationError when an answer was early, or when fewer were seen than sent."""
    with tempfile.TemporaryDirectory(prefix="strongroom-order-") as name:
        finding, answers = _recorded(Path(name), seed, images)
    must(not finding.violations, "; ".join(finding.violations[:5]))
    must(finding.answers == answers, f"{finding.answers} answers were seen, {answers} were sent")
    must(finding.made and finding.keys, "no pack was made, or no key; the run shows nothing about them")
    return finding


def _recorded(folder: Path, seed: int, images: int) -> tuple[Finding, int]:
    with scene(folder, pack_mebibytes=2) as place:
        warm = some(random.Random(seed), ("ct",), 2)
        by_dicom(place, warm, folder)
        time.sleep(0.5)
        lines, answers = record(place, folder, random.Random(seed + 1), images)
        home = str(place.archive.home)
        return judged(events(lines, home), home, (place.archive.port, place.archive.web_port)), answers


def main(argv: list[str] | None = None) -> int:
    """Run it from the command line; 0, 1 when an answer was early, 2 when something is missing here."""
    parser = argparse.ArgumentParser(prog="order", description="the order of system calls, by strace")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(argv)
    missing = [program for program in ("strace", "storescu") if find(program) is None]
    if missing:
        print(f"missing: {', '.join(missing)} (Debian's packages strace and dcmtk)")
        return 2
    seed = seed_of(given.seed)
    try:
        finding = run(seed, images=given.images)
    except ViolationError as broken:
        print(f"BROKEN (seed {seed}): {broken}")
        return 1
    figures = {"answers": finding.answers, "too_early": 0, "packs_made_or_closed": finding.made, "keys": finding.keys}
    if given.json:
        given.json.write_text(json.dumps({"seed": seed, **figures}, indent=1))
    for name, value in figures.items():
        print(f"  {name.replace('_', ' '):<28}{value:>12,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
