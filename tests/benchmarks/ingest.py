"""
Images per second into an archive, beside its peers in the same run.

Every run has a new home, new UIDs, one association of DCMTK's storescu; the receivers take turns, medians are
compared. `--json FILE` keeps every figure. Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import peers
from images import Template
from rich.console import Console
from rich.table import Table

Start = Callable[[Path], AbstractContextManager[peers.Receiver]]
LINES: dict[str, tuple[Start, dict[str, str], str]] = {
    "strongroom": (peers.strongroom, peers.QUICK, "TLS, sealed, fsync, index, trail"),
    "strongroom, sender with Nagle on": (peers.strongroom, peers.SLOW, "the same, an unchanged modality"),
    "DCMTK storescp +tls +B": (peers.storescp_tls, peers.QUICK, "TLS, files, no index, no fsync"),
    "DCMTK storescp +B": (peers.storescp_plain, peers.QUICK, "plain text, files, no index, no fsync"),
    "Orthanc": (peers.orthanc, peers.QUICK, "plain text, SQLite index, SyncStorageArea false"),
}
NEEDS = {"DCMTK storescp +tls +B": peers.STORESCP, "DCMTK storescp +B": peers.STORESCP, "Orthanc": peers.ORTHANC}
TARGETS = (
    ("strongroom", "DCMTK storescp +tls +B", ">= 0.8", lambda ratio: ratio >= 0.8),
    ("strongroom", "Orthanc", ">= 2", lambda ratio: ratio >= 2),
    ("strongroom", "DCMTK storescp +B", "printed", None),
    ("strongroom", "strongroom, sender with Nagle on", "<= 1.5", lambda ratio: ratio <= 1.5),
)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(LINES), help="measure only this line; may be repeated")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument(
        "--folder", type=Path, help="where homes and images go (a real disk; default: below this checkout)"
    )
    options = parser.parse_args()
    console = Console()
    if not Path(peers.STORESCU).exists():
        sys.exit("DCMTK's storescu is missing: apt-get install dcmtk")
    chosen = [name for name in (options.only or LINES) if _there(name, console)]
    base = options.folder or Path(__file__).resolve().parents[2] / "bench-data"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as work:
        figures = measure(chosen, Path(work), options.images, options.runs, console)
    report(figures, options.images, console)
    if options.json:
        machine = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "when": datetime.now(UTC).isoformat(),
        }
        options.json.write_text(
            json.dumps({"machine": machine, "images": options.images, "images_per_second": figures}, indent=2)
        )


def _there(name: str, console: Console) -> bool:
    needed = NEEDS.get(name)
    if needed is None or Path(needed).exists():
        return True
    console.print(f"left out: {name} ({needed} is not installed)")
    return False


def measure(chosen: list[str], work: Path, images: int, runs: int, console: Console) -> dict[str, list[float]]:
    """Interleaved runs; images per second of each."""
    template = Template()
    figures: dict[str, list[float]] = {name: [] for name in chosen}
    for run in range(runs + 1):
        for number, name in enumerate(chosen):
            start, environment, _ = LINES[name]
            files = template.write(work / "images", images, seed=int(time.time()) * 1000 + run * 10 + number)
            folder = peers.clean(work / "receiver")
            with start(folder) as receiver:
                rate = images / peers.send(receiver, files, environment)
            shutil.rmtree(files)
            shutil.rmtree(folder)
            if run:  # the first round warms caches and is not counted
                figures[name].append(rate)
            console.print(
                f"  round {run} of {runs}  {name:<36}{rate:8.0f} images/s{'' if run else '  (not counted)'}",
                highlight=False,
            )
    return figures


def report(figures: dict[str, list[float]], images: int, console: Console) -> None:
    """The table: medians, spread, ratios."""
    table = Table(
        title=f"C-STORE, {images} CT images of 526 KB, one association, median of {len(next(iter(figures.values())))} runs"
    )
    for heading in ("receiver", "images/s", "lowest", "highest", "what it does"):
        table.add_column(heading, justify="right" if heading in ("images/s", "lowest", "highest") else "left")
    for name, rates in figures.items():
        table.add_row(name, f"{statistics.median(rates):.0f}", f"{min(rates):.0f}", f"{max(rates):.0f}", LINES[name][2])
    console.print(table)
    ratios = Table(title="Ratios of medians")
    for heading in ("ours to", "ratio", "target", ""):
        ratios.add_column(heading)
    for ours, other, target, reached in TARGETS:
        if ours in figures and other in figures:
            ratio = statistics.median(figures[ours]) / statistics.median(figures[other])
            ratios.add_row(
                other,
                f"{ratio:.2f}",
                target,
                "" if reached is None else ("reached" if reached(ratio) else "NOT reached"),
            )
    console.print(ratios)


if __name__ == "__main__":
    main()
