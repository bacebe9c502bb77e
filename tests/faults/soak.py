"""
Fifty associations and fifty HTTP clients at once, with slow ones, droppers and 500 silent connections (issue: the soak).

The crowd is a process of its own; beside it a good client echoes all the time, on an association it keeps and on new ones, and
must never wait longer than a second; what other programs took from the
processors meanwhile is not counted, and shown. Memory and descriptors of the server are measured after a first, shorter crowd has come
and gone (what is loaded once is loaded, caches are warm), and again after the real one: they have to come back to within a
tenth. Descriptors of the home's own files are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from faults.scene import Scene, ViolationError, must, scene, seed_of
from faults.talk import Talk, trusted
from interop import harness

ECHO_SECONDS = 1.0
COMES_BACK = 0.10
SETTLE_SECONDS = 30.0
MEBIBYTE = 1 << 20
DEVICES = 5


@dataclass
class Soak:
    """What was seen."""

    echoes: list[float] = field(default_factory=list)
    """Seconds from C-ECHO-RQ to C-ECHO-RSP on an association that is kept."""
    waits: list[float] = field(default_factory=list)
    """The same without the time in which this client or the server was ready to run and others had the processors."""
    calls: list[float] = field(default_factory=list)
    """Seconds of a connection, TLS, association, C-ECHO and release."""
    counts: dict[str, int] = field(default_factory=dict)
    memory: tuple[float, float] = (0, 0)
    """Resident MiB of the server and its workers before and after."""
    descriptors: tuple[int, int] = (0, 0)

    def shown(self) -> dict[str, Any]:
        """Figures for a table."""
        return {
            "echoes": len(self.echoes), **_percentiles("echo", self.echoes),
            "echo_longest_without_others_milliseconds": round(max(self.waits) * 1000, 1),
            "calls": len(self.calls), **_percentiles("call", self.calls),
            "memory_before_mib": round(self.memory[0], 1), "memory_after_mib": round(self.memory[1], 1),
            "descriptors_before": self.descriptors[0], "descriptors_after": self.descriptors[1],
            **self.counts,
        }  # fmt: skip


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    parts = statistics.quantiles(seconds, n=100, method="inclusive")
    found = {"p50": parts[49], "p99": parts[98], "longest": max(seconds)}
    return {f"{name}_{what}_milliseconds": round(value * 1000, 1) for what, value in found.items()}


def run(seconds: float, warm: float, seed: int, *, caches: float = 0) -> Soak:
    """A crowd for *warm* seconds, then one for *seconds*; for *caches* see `judge`. Raises ViolationError."""
    soak = Soak()
    with tempfile.TemporaryDirectory(prefix="strongroom-soak-") as name, scene(Path(name), pack_mebibytes=64) as place:
        crowd = _crowd(place, Path(name))
        try:
            _loaded(crowd, place, warm, seed, Soak())
            before = _settled(place)
            _loaded(crowd, place, seconds, seed + 1, soak)
            after = _settled(place, like=before)
        finally:
            crowd.stdin.close()  # type: ignore[union-attr]
            crowd.stdout.close()  # type: ignore[union-attr]
            crowd.wait(60)
        soak.memory, soak.descriptors = (before[0], after[0]), (before[1], after[1])
        place.checked(but=set())
        place.proved()
        place.quiet()
    judge(soak, caches=caches)
    return soak


def judge(soak: Soak, *, caches: float = 0) -> None:
    """
    Raise ViolationError when somebody waited, failed, or something stayed behind.

    *caches* are the MiB that a crowd too short to fill the archive's bounded caches (docs/limits.md: pages of the database, headers,
    free memory) may still put into them.
    """
    longest = max(soak.waits)
    must(longest < ECHO_SECONDS, f"a good client waited {longest:.2f} s for C-ECHO")
    wrong = {
        what: count for what, count in soak.counts.items() if what.startswith(("failed", "store answered", "web 5"))
    }
    must(not wrong, f"good clients failed: {wrong}")
    for what, (before, after), more in (("memory", soak.memory, caches), ("descriptors", soak.descriptors, 0)):
        must(after <= before * (1 + COMES_BACK) + more, f"{what} went from {before:.0f} to {after:.0f}")


def _crowd(place: Scene, folder: Path) -> subprocess.Popen[str]:
    archive = place.archive
    devices = [archive.enrol(f"SOAK{number}", "deposit") for number in range(DEVICES)]
    settings = {
        "port": archive.port, "web_port": archive.web_port, "token": place.token, "authority": archive.authority,
        "devices": [(str(device.folder), device.ae_title) for device in devices],
    }  # fmt: skip
    path = folder / "crowd.json"
    path.write_text(json.dumps(settings))
    command = [sys.executable, str(Path(__file__).with_name("crowd.py")), str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _loaded(crowd: subprocess.Popen[str], place: Scene, seconds: float, seed: int, soak: Soak) -> None:
    """One crowd, with the good client beside it until it has gone."""
    assert crowd.stdin is not None
    assert crowd.stdout is not None
    crowd.stdin.write(json.dumps({"seconds": seconds, "seed": seed}) + "\n")
    crowd.stdin.flush()
    asyncio.run(_echo(place, time.monotonic() + seconds, soak))
    soak.counts = dict(sorted(json.loads(crowd.stdout.readline()).items()))


async def _echo(place: Scene, end: float, soak: Soak) -> None:
    """Echo four times a second until *end*, every fourth time with a call of its own."""
    context, port = trusted(place.device), place.archive.port
    kept = await Talk.begin(port, place.device, context)
    number = 0
    while time.monotonic() < end:
        number += 1
        began, stolen = time.monotonic(), _kept_from_running(place)
        if number % 4:
            must(await kept.echo() == 0, "C-ECHO failed")
            took = time.monotonic() - began
            soak.echoes.append(took)
            soak.waits.append(max(0.0, took - (_kept_from_running(place) - stolen)))
        else:
            talk = await Talk.begin(port, place.device, context)
            must(await talk.echo() == 0, "C-ECHO failed")
            await talk.release()
            soak.calls.append(time.monotonic() - began)
        await asyncio.sleep(0.25)
    await kept.release()


def _settled(place: Scene, like: tuple[float, int] | None = None) -> tuple[float, int]:
    """Memory (MiB) and descriptors once nobody is there: when they are what they were, or change no more."""
    end = time.monotonic() + SETTLE_SECONDS
    last = _measured(place)
    while time.monotonic() < end:
        time.sleep(3)
        now = _measured(place)
        if like is not None and all(new <= old * (1 + COMES_BACK) for new, old in zip(now, like, strict=True)):
            return now
        if like is None and abs(now[0] - last[0]) < 1 and now[1] == last[1]:
            return now
        last = now
    return last


def _measured(place: Scene) -> tuple[float, int]:
    archive = place.archive
    assert archive.process is not None
    pids = [archive.process.pid, *harness._children(archive.process.pid)]
    # the files of the home are a cache with bounds of its own (KEPT_READERS, KEPT_FILES); what may leak is all the rest
    descriptors = sum(not _link(path).startswith(str(archive.home)) for pid in pids for path in _open(pid))
    return archive.resident_bytes() / MEBIBYTE, descriptors


def _kept_from_running(place: Scene) -> float:
    """Seconds that the server's loop and this client were ready to run while others had the processors (schedstat)."""
    assert place.archive.process is not None
    loops = (place.archive.process.pid, os.getpid())
    return sum(int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) for pid in loops) / 1e9


def _open(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def _link(path: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile
        return str(path.readlink())
    return ""


def main(argv: list[str] | None = None) -> int:
    """Run it from the command line; 0 when every promise held, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="soak", description="fifty associations, fifty HTTP clients, 500 silent ones")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=30, help="seconds of the crowd before the first measurement")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(argv)
    seed = seed_of(given.seed)
    try:
        soak = run(given.seconds, given.warm, seed)
    except ViolationError as broken:
        print(f"BROKEN (seed {seed}): {broken}")
        return 1
    if given.json:
        given.json.write_text(json.dumps({"seed": seed, **soak.shown()}, indent=1))
    for name, value in soak.shown().items():
        print(f"  {name.replace('_', ' '):<28}{value:>12,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
