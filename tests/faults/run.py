"""
`make faults`: every part of the proof that nothing is lost, with its figures; ends by itself and leaves nothing behind.

Parts: *states* (crash states on the simulated disk), *kills* (kill -9 under load, and at each system call of a store), *order*
(system calls seen by strace), *soak*. `--only PART` runs one, `--long` the long form, `--json FILE` keeps the figures. Exit
status 0: every promise held; 1: one did not; 2: a program is missing here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[0] = str(HERE.parent)

from clients import PACKAGES, find  # noqa: E402 -- run as a script: the tests' folder is not on the path before

FORMS = {
    "states": ("crash_states.py", ["--states", "100000"], ["--states", "1000000"], ()),
    "kills": ("kill.py", ["--kills", "200", "--points"], ["--kills", "10000", "--points"], ("storescu", "strace")),
    "order": ("order.py", ["--images", "200"], ["--images", "2000"], ("strace", "storescu")),
    "soak": ("soak.py", ["--seconds", "60", "--warm", "180"], ["--seconds", "600", "--warm", "300"], ()),
}
"""Part -> script, arguments of the middle and of the long form, and the programs it needs."""


def main(argv: list[str] | None = None) -> int:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--only", choices=FORMS, action="append", help="this part (may be given several times)")
    parser.add_argument("--long", action="store_true", help="the long form: a night")
    parser.add_argument("--seed", type=int, help="the seed a run printed")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args(argv)
    figures: dict[str, Any] = {}
    status = 0
    for part in given.only or FORMS:
        script, middle, long, needs = FORMS[part]
        missing = [program for program in needs if find(program) is None]
        for program in missing:
            print(f"{part}: {program} is missing; apt-get install {PACKAGES[program]}", flush=True)
        if missing:
            status = status or 2
            continue
        seed = ["--seed", str(given.seed)] if given.seed else []
        found, figures[part] = _run(part, script, [*(long if given.long else middle), *seed])
        status = 1 if found == 1 else status or found
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))
    print("every promise held" if status == 0 else f"NOT everything held or ran: exit status {status}")
    return status


def _run(part: str, script: str, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """One part in a process of its own; its exit status and figures."""
    print(f"== {part}: {script} {' '.join(arguments)}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as folder:
        file = Path(folder) / "figures.json"
        done = subprocess.run([sys.executable, str(HERE / script), *arguments, "--json", str(file)], check=False)
        figures = json.loads(file.read_text()) if file.exists() else {}
    took = time.monotonic() - began
    print(f"== {part}: {'held' if done.returncode == 0 else 'FAILED'} after {took:,.0f} s", flush=True)
    return done.returncode, {**figures, "status": done.returncode, "seconds": round(took, 1)}


if __name__ == "__main__":
    sys.exit(main())
