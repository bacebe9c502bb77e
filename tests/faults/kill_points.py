"""
Fault 2 of SECURITY section 5: one store, ended by SIGKILL at each of its system calls in turn.

A store is watched first, so that its calls are known; then `strace -e inject=CALL:signal=KILL:when=N` kills the real server as
the N-th call of that kind begins in one thread, one point after the other. After each the server starts without hands, and the
instance is whole if it was acknowledged, and whole or absent if it was not.
"""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from clients import require
from faults.instances import Instance, some
from faults.order import traced
from faults.scene import START_SECONDS, Scene, must, scene

CALLS = (
    "pwrite64,pwritev,pwritev2,ftruncate,fdatasync,fsync,openat,rename,renameat,renameat2,unlinkat,unlink,write,sendto"
)
"""What changes a disk or tells a peer; a kill between two others leaves what a kill before the next of these leaves."""


@dataclass
class Points:
    """What was seen."""

    killed: int = 0
    acknowledged: int = 0
    kept: int = 0
    """Not acknowledged, and whole."""
    calls: int = 0
    """Points of the two stores that were watched."""
    missed: int = 0
    """Points that a store did not come to: not every store makes the same calls."""


def run(seed: int, *, most: int = 1_000) -> Points:
    """Kill at each call of a store, or at *most* of them picked by *seed*; raises ViolationError."""
    source = random.Random(seed)
    points = Points()
    with tempfile.TemporaryDirectory(prefix="strongroom-points-") as name, scene(Path(name)) as place:
        folder = Path(name)
        known = [point for kind in ("ct", "long") for point in _calls(place, kind, source, folder)]
        points.calls = len(known)
        chosen = known if len(known) <= most else source.sample(known, most)
        for kind, call, at in chosen:
            (one,) = some(source, (kind,), 1)
            acknowledged = _store(place, one, folder, "-e", f"inject={call}:signal=KILL:when={at}")
            assert place.archive.process is not None
            if place.archive.process.poll() is None:
                must(acknowledged, "a store was not interrupted and failed")
                points.missed += 1
                continue
            points.killed += 1
            points.acknowledged += acknowledged
            points.kept += _judge(place, one, acknowledged=acknowledged)
        place.checked()
        place.quiet()
    return points


def numbered(lines: list[str]) -> list[tuple[str, int]]:
    """(call, its number among those of its kind in one thread) for each call of a trace: what strace's `when` counts."""
    found = Counter(
        (match[1], match[2]) for line in lines if (match := re.match(r"(\d+)\s+(\w+)\(", line)) and match[2] in CALLS
    )
    most: Counter[str] = Counter()
    for (_, call), count in found.items():
        most[call] = max(most[call], count)
    return [(call, at) for call, count in sorted(most.items()) for at in range(1, count + 1)]


def _calls(place: Scene, kind: str, source: random.Random, folder: Path) -> list[tuple[str, str, int]]:
    """The calls of one store of that kind in a server that has just been started, as it has after a kill."""
    place.archive.stop()
    place.start()
    (one,) = some(source, (kind,), 1)
    must(_store(place, one, folder), "a store failed")
    return [(kind, call, at) for call, at in numbered((folder / "points.log").read_text().splitlines())]


def _store(place: Scene, one: Instance, folder: Path, *options: str) -> bool:
    """Send *one* while strace watches, or does what *options* say; whether it was acknowledged."""
    archive = place.archive
    path = folder / "one.dcm"
    path.write_bytes(one.file)
    names = ["-aet", place.device.ae_title, "-aec", "STRONGROOM", "localhost", str(archive.port)]
    command = [require("storescu"), "-R", *place.device.tls, *names, str(path)]
    with traced(place, folder / "points.log", "-e", f"trace={CALLS}", *options):
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        time.sleep(0.1)
    if done.returncode:  # a killed process needs a moment to be gone
        with contextlib.suppress(subprocess.TimeoutExpired):
            archive.process.wait(5)  # type: ignore[union-attr]
    return done.returncode == 0


def _judge(place: Scene, one: Instance, *, acknowledged: bool) -> bool:
    archive = place.archive
    assert archive.process is not None
    archive.process.wait(10)
    assert archive.process.stdout is not None
    archive.process.stdout.close()
    archive.process = None
    took = place.start()
    must(took < START_SECONDS, f"the start took {took:.1f} s")
    web = place.web()
    found = place.look_at(web, one.study, [one], {one.sop} if acknowledged else set())
    if not found:
        must(set(web.store([one]).values()) == {0}, "what was not acknowledged cannot be sent again")
    web.close()
    place.proved()
    must(place.recorded().get(one.sop) == one.digest, "no record of a deposit")
    return bool(found) and not acknowledged
