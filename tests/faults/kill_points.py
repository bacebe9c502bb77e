"""
Fault 2 of SECURITY section 5: one store, ended by SIGKILL at each of its system calls in turn.

`strace -e inject=CALLS:signal=KILL:when=N` kills the real server as its N-th call of those begins, N = 1, 2, 3 ... until the
store comes through. After each the server starts without hands, and the instance is whole if it was acknowledged, and whole or
absent if it was not.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
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
    """How many calls one store has; 0 while that is not known."""


def run(seed: int, *, every: int = 1, most: int = 1_000) -> Points:
    """Kill at each *every*-th call until the store comes through; raises ViolationError."""
    source = random.Random(seed)
    points = Points()
    at = 1 + source.randrange(every)
    with tempfile.TemporaryDirectory(prefix="strongroom-points-") as name, scene(Path(name)) as place:
        folder = Path(name)
        while at <= most:
            kinds = ("long",) if source.random() < 0.2 else ("ct",)
            (one,) = some(source, kinds, 1)
            acknowledged, alive = _store(place, one, folder, at)
            if alive:
                must(acknowledged, "a store was not interrupted and failed")
                points.calls = at - 1
                break
            points.killed += 1
            points.acknowledged += acknowledged
            points.kept += _judge(place, one, acknowledged=acknowledged)
            at += every
        place.checked()
        place.quiet()
    return points


def _store(place: Scene, one: Instance, folder: Path, at: int) -> tuple[bool, bool]:
    """Send *one* with the server killed at call number *at*: whether it was acknowledged, whether the server lives."""
    archive = place.archive
    path = folder / "one.dcm"
    path.write_bytes(one.file)
    names = ["-aet", place.device.ae_title, "-aec", "STRONGROOM", "localhost", str(archive.port)]
    command = [require("storescu"), "-R", *place.device.tls, *names, str(path)]
    with traced(place, folder / "points.log", "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={at}"):
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        time.sleep(0.1)
        assert archive.process is not None
        alive = archive.process.poll() is None
    return done.returncode == 0, alive


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
