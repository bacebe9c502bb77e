"""The short form of the power cuts, and the proof that they can be failed: nine orders broken on purpose are found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from faults.broken import WAYS
from faults.simulated_disk import Fate, SimulatedDisk

SCRIPT = Path(__file__).with_name("crash_states.py")
SECONDS = 300


def explored(*options: str) -> tuple[int, dict[str, object]]:
    """Run the exploration in a process of its own: it makes packs and chains small for good."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", *options], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert run.stdout.count("\n") == 2, run.stdout + run.stderr
    return run.returncode, json.loads(run.stdout.splitlines()[1])


def test_two_thousand_power_cuts_lose_nothing() -> None:
    """Whatever a power cut leaves: what was answered is there bit for bit with row and record, nothing is half there."""
    number = random.SystemRandom().randrange(2**31)
    print(f"seed {number}")
    status, found = explored("--states", "2000", "--seed", str(number), "--processes", "2", "--no-shrink")

    assert ([], 0) == (found["violations"], status), found
    assert isinstance(found["states"], int)
    assert found["states"] >= 2_000


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_broken_order_is_found(way: str) -> None:
    """A flush that is left out, a commit before its pack, a record that is nowhere: each loses something, and it is seen."""
    status, found = explored("--states", "1500", "--seed", "1", "--processes", "1", "--break", way)

    assert status == 1
    assert found["violations"]


def test_only_what_was_flushed_must_come_back() -> None:
    """Names are apart from contents: a flushed file of an unflushed folder may be gone, a flushed folder's file empty."""
    disk = SimulatedDisk()
    one, other = disk.create("a"), disk.create("b")
    disk.write("a", one, 0, b"x" * 1000)
    disk.sync("a", one)
    rng = random.Random(1)

    assert {} == disk.snapshot().image(Fate.LOST, Fate.LOST, rng)
    assert {"a": b"x" * 1000, "b": b""} == disk.snapshot().image(Fate.KEPT, Fate.LOST, rng)
    disk.sync_directory("")
    disk.write("b", other, 0, b"y" * 1000)
    assert {"a": b"x" * 1000, "b": b""} == disk.snapshot().image(Fate.LOST, Fate.LOST, rng)


def test_sectors_are_torn_and_reordered() -> None:
    """Of two writes the second may be there without the first, and half of one; never half of a sector."""
    disk = SimulatedDisk()
    file = disk.create("a")
    disk.sync_directory("")
    for sector, byte in enumerate(b"pqrs"):
        disk.write("a", file, sector * 512, bytes([byte]) * 512)
    rng = random.Random(1)
    found = {disk.snapshot().image(Fate.LOST, Fate.SECTORS, rng)["a"] for _ in range(400)}

    sectors = [{image[at : at + 512] for image in found} for at in range(0, 2048, 512)]
    for byte, seen in zip(b"pqrs", sectors, strict=True):
        assert seen <= {bytes([byte]) * 512, bytes(512), b""}
    assert bytes(512) + b"q" * 512 in {image[:1024] for image in found}


def test_a_sector_never_goes_back_behind_its_own_past() -> None:
    """Two writes to one sector: the later one is never there without the earlier, for the kernel writes whole sectors."""
    disk = SimulatedDisk()
    file = disk.create("a")
    disk.sync_directory("")
    disk.write("a", file, 0, b"p" * 256)
    disk.write("a", file, 256, b"q" * 256)
    rng = random.Random(1)
    found = {disk.snapshot().image(Fate.LOST, Fate.SUBSET, rng)["a"] for _ in range(200)}

    assert b"p" * 256 + b"q" * 256 in found
    assert bytes(256) + b"q" * 256 not in found
