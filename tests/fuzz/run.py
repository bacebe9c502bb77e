"""
Feed every target (or --targets) and print what was found: `make fuzz`.

With atheris (Linux on x86-64) the inputs follow the code's branches; without it they are seeded changes of the corpus. Each
target runs in a process of its own, which ends by itself. A finding is written to fuzz-findings/ and named; the exit status
is 1 then.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

FINDINGS = Path("fuzz-findings")
MEMORY_MB = 700  # with the instrumentation, and the inputs that atheris keeps
PATIENCE = 120  # seconds beyond those a target is fed
HUNG = -1


def main() -> int:
    """Parse the options, feed target after target, print a table."""
    options = _options()
    if options.one:
        return _one(options)
    from fuzz.targets import TARGETS

    names = options.targets.split(",") if options.targets else list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        sys.exit(f"there is no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    print(
        f"engine {options.engine}, seed {options.seed}, at most {options.runs:,} inputs or {options.seconds} s a target"
    )
    rows = [_spawn(name, options) for name in names]
    if options.json:
        Path(options.json).write_text(
            json.dumps({"engine": options.engine, "seed": options.seed, "targets": rows}, indent=1)
        )
    total = sum(row["inputs"] for row in rows)
    bad = [row for row in rows if row["finding"]]
    print(f"{total:,} inputs, {len(bad)} findings")
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default="", help="names with commas between (default: all)")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs a target")
    parser.add_argument("--seconds", type=int, default=60, help="seconds a target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", default="")
    parser.add_argument("--engine", choices=("atheris", "changes"), default=_engine())
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--fresh", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _engine() -> str:
    return "atheris" if importlib.util.find_spec("atheris") else "changes"


def _spawn(name: str, options: argparse.Namespace) -> dict[str, object]:
    arguments = [sys.executable, str(Path(__file__)), "--one", name]
    arguments += [f"--{key}={getattr(options, key)}" for key in ("runs", "seconds", "seed", "engine")]
    FINDINGS.mkdir(exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as fresh, tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            ended = subprocess.run(
                [*arguments, f"--fresh={fresh}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=options.seconds + PATIENCE,
                check=False,
            )
            status = ended.returncode
        except subprocess.TimeoutExpired:
            status = HUNG
        output.seek(0)
        said = output.read()
    took = time.monotonic() - began
    done = [int(count) for count in re.findall(r"(?:^#|Done )([0-9]+)", said, re.MULTILINE)]
    finding = _finding(said, status)
    row = {"target": name, "inputs": max(done, default=0), "seconds": round(took, 1), "finding": finding}
    print(f"{name:<14}{row['inputs']:>12,} inputs {took:>8.1f} s   {finding or 'nothing found'}", flush=True)
    return row


def _finding(said: str, status: int) -> str:
    """What a target's process said of a finding; empty when there was none."""
    if not status:
        return ""
    found = re.search(r"FINDING (.*)", said) or re.search(r"ERROR: (.*)", said)
    if found:
        return found[1]
    return "an input that does not end" if status == HUNG else f"ended with status {status}"


def _one(options: argparse.Namespace) -> int:
    return _guided(options) if options.engine == "atheris" else _changes(options)


def _keep(finding: object) -> None:
    from fuzz.engine import Finding

    assert isinstance(finding, Finding)
    path = FINDINGS / f"{finding.target}-{hashlib.sha256(finding.data).hexdigest()[:16]}"
    path.write_bytes(finding.data)
    print(f"FINDING {finding.what} ({path})", flush=True)


def _changes(options: argparse.Namespace) -> int:
    from fuzz.engine import GROWTH, Finding, changed, corpus, judge, resident
    from fuzz.targets import TARGETS

    target = TARGETS[options.one]
    seeds = corpus(target.name)
    for data in seeds:
        judge(target, data)
    held, ends = resident(), time.monotonic() + options.seconds
    for done, data in enumerate(changed(seeds, options.seed), start=1):
        finding = judge(target, data)
        if finding is None and resident() > held + GROWTH:
            finding = Finding(target.name, f"grew by {(resident() - held) >> 20} MiB", data)
        if finding is not None:
            _keep(finding)
        if finding is not None or done >= options.runs or time.monotonic() > ends:
            print(f"Done {done}")
            return 1 if finding else 0
    return 0


def _guided(options: argparse.Namespace) -> int:
    import atheris

    with atheris.instrument_imports(include=["strongroom"], enable_loader_override=False):
        from fuzz.engine import CORPUS, corpus, judge
        from fuzz.targets import TARGETS

        target = TARGETS[options.one]
        for data in corpus(target.name):  # imports what the target imports, inside the instrumentation
            judge(target, data)

    def feed(data: bytes) -> None:
        finding = judge(target, data)
        if finding is not None:
            _keep(finding)
            os._exit(1)

    flags = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-seed={options.seed % 2**31}"]
    flags += [
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=20",
        "-max_len=8192",
        f"-artifact_prefix={FINDINGS}/{target.name}-",
    ]
    atheris.Setup([sys.argv[0], *flags, options.fresh, str(CORPUS / target.name)], feed)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
