"""
Fault 7: a flush fails once and would succeed if it were tried again. Every flush of a history fails in its turn.

    python tests/faults/failed_flushes.py --seed 1

1. Whoever waited for it is told that nothing was kept, and nothing more is taken by what failed. 2. Reads go on. 3. What
had been answered before is there after a power cut at any later moment: a failed flush that was tried again and believed
would lose it, since the simulated disk, like Linux, forgets the pages it could not write.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.crash_check import violations
from faults.ledger import Ledger, owed_by
from faults.simulated_archive import InThisThread, Sender, founded, make_small, opened, started
from faults.simulated_disk import CORNERS, SimulatedDisk, Snapshot
from faults.simulated_medium import SimulatedMedium
from strongroom.archive.inspection import Inspection
from strongroom.errors import OutOfResources

FLUSHES = ("sync", "sync-directory")
CUTS = 4


class Failing:
    """The flush number *which* of all fails, that one time."""

    def __init__(self, which: int) -> None:
        self.which = which
        self.count = 0
        self.failed = ""

    def __call__(self, call: str, name: str) -> int:
        if call not in FLUSHES:
            return 0
        self.count += 1
        if self.count != self.which:
            return 0
        self.failed = f"{call} {name}"
        return errno.EIO


async def _history(sender: Sender, refused: list[str]) -> None:
    """Everything that flushes; each step is tried whatever became of the one before."""
    deposits = [(number, number % 2 == 1) for number in range(6)]
    for number, long in deposits:
        await _tried(refused, sender.together([sender.deposit(number, 0, long=long)]))
        await _tried(refused, sender.together([sender.deposit(10 + number, 0), sender.deposit(20 + number, 0)]))
        await _tried(refused, sender.flush_trail())
        await _tried(refused, sender.prepare())
    await _tried(refused, sender.together([sender.delete("1.2.3")]))
    await _tried(refused, sender.together([sender.restore("1.2.3")]))


async def _tried(refused: list[str], work: Any) -> None:
    try:
        await work
    except OutOfResources as error:
        refused.append(str(error))


def run(which: int, image: dict[str, bytes], seed: int) -> tuple[str, list[str]]:
    """Let flush number *which* fail; return which one it was ("" when there are not so many) and what was wrong."""
    rng = random.Random(seed)
    disk = SimulatedDisk(image, folders=("vault", "trail", "keyring"))
    snapshots: list[Snapshot] = []
    ledger = Ledger()
    disk.token = lambda: len(ledger.events)
    medium = SimulatedMedium(disk)
    loop = asyncio.new_event_loop()
    loop.set_default_executor(InThisThread())
    refused: list[str] = []
    wrong: list[str] = []
    failing = Failing(which)
    try:
        with opened(medium, rng) as parts:
            sender = Sender(parts, ledger, rng, loop)
            loop.run_until_complete(sender.start())
            disk.failing = failing
            disk.snapshots = snapshots
            loop.run_until_complete(_history(sender, refused))
            disk.failing = lambda _call, _name: 0
            inspection = Inspection(parts)
            for _ in inspection.run():
                pass
            # what this process reads back is what was answered; the failed part is at most an orphan
            wrong += [f"reading: {one}" for one in inspection.findings if one.kind.value not in ("orphan", "torn")]
            final = disk.snapshot()
    finally:
        loop.close()
        medium.close()
    if failing.failed and not refused and "trail/" not in failing.failed and not failing.failed.endswith(".db"):
        wrong.append("nobody was told")
    for cut in [*rng.sample(snapshots, min(CUTS, len(snapshots))), final]:
        for names, contents in CORNERS[:2]:
            found = SimulatedDisk(cut.image(names, contents, rng), folders=("vault", "trail", "keyring"))
            assert isinstance(cut.token, int)
            wrong += violations(found, owed_by(ledger.events, cut.token), Ledger())
    return failing.failed, wrong


def main(argv: list[str] | None = None) -> int:
    """Let every flush fail in its turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth flush")
    options = parser.parse_args(argv)
    make_small()
    image = started(founded())
    failed: Counter[str] = Counter()
    status = 0
    which = 1
    while True:
        where, wrong = run(which, image, options.seed)
        if not where:
            break
        failed["".join(letter for letter in where if not letter.isdigit())] += 1
        for one in wrong[:3]:
            status = 1
            print(f"flush {which} ({where}) failed: {one}", flush=True)
        which += options.every
    print(f"{sum(failed.values())} flushes failed in their turn, seed {options.seed}")
    for name, count in sorted(failed.items()):
        print(f"  {count:5} {name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
