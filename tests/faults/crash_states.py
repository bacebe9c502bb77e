"""
Power cuts, by the hundred thousand: histories of the real archive on a simulated disk, and after every call to the disk
what a machine may find that comes up again.

    python tests/faults/crash_states.py --states 100000 --seed 1 --processes 2

Hypothesis makes the histories. Of each state the real start-up is run, everything is read and compared with what had been
answered (crash_check); start-up itself is cut short as well. Exit 0: no violation; 1: one, with what makes it again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from faults.broken import WAYS, Spoil
from faults.crash_check import violations
from faults.ledger import Ledger, owed_by
from faults.simulated_archive import InThisThread, Sender, founded, make_small, opened, started, study_of
from faults.simulated_disk import CORNERS, Fate, SimulatedDisk, Snapshot
from faults.simulated_medium import SimulatedMedium
from strongroom.errors import StrongroomError

RANDOM = [Fate.PREFIX, Fate.SUBSET, Fate.SECTORS, Fate.SUBSET, Fate.SECTORS, Fate.KEPT, Fate.LOST]
PER_HISTORY = 150
"""States looked at of one history: its calls are many, and the next history is another one."""

NUMBERS = st.integers(0, 8)
DEPOSIT = st.fixed_dictionaries({"number": NUMBERS, "content": st.integers(0, 1), "implicit": st.booleans()})
STEP = st.one_of(
    st.tuples(st.just("deposit"), DEPOSIT),
    st.tuples(st.just("deposit"), DEPOSIT),
    st.tuples(st.just("group"), st.lists(DEPOSIT, min_size=2, max_size=5)),
    st.tuples(st.just("long"), DEPOSIT),
    st.tuples(st.just("lost"), DEPOSIT),
    st.tuples(st.just("abort"), st.booleans()),
    st.tuples(st.just("note"), st.integers(0, 999)),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.just("restore"), NUMBERS),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("fragments"), st.none()),
    st.tuples(st.just("prepare"), st.none()),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("cut"), st.none()),
)
HISTORY = st.lists(STEP, min_size=4, max_size=16)


def _honest(_disk: SimulatedDisk) -> None:
    """A disk that does what it says."""


class ViolatedError(AssertionError):
    """A state in which something that was promised does not hold."""


@dataclass
class Report:
    """What was looked at."""

    states: int = 0
    again: int = 0
    """States of a start-up that was cut short itself."""
    calls: int = 0
    histories: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)


class History:
    """One run through a list of steps."""

    def __init__(self, image: dict[str, bytes], number: int, spoil: Spoil, report: Report) -> None:
        self.rng = random.Random(number)
        self.ledger = Ledger()
        self.spoil = spoil
        self.report = report
        self.states: list[Snapshot] = []
        self.disk = self._disk(image)

    def _disk(self, image: dict[str, bytes]) -> SimulatedDisk:
        disk = SimulatedDisk(image, folders=("vault", "trail", "keyring"))
        disk.snapshots = self.states
        disk.token = lambda: (self.ledger.events, len(self.ledger.events))
        self.opened_at = len(self.states)
        self.spoil(disk)
        return disk

    def run(self, steps: list[Any]) -> None:
        """Play *steps*; a cut goes on with one of the disks it may leave."""
        while True:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(InThisThread())
            medium = SimulatedMedium(self.disk)
            try:
                cut = loop.run_until_complete(self._until_cut(medium, steps, loop))
            finally:
                loop.close()
                medium.close()
            if cut is None:
                return
            self.disk = self._disk(cut)

    def _cut(self) -> dict[str, bytes]:
        """A cut after any call since this disk was opened; what came after it never happened."""
        chosen = self.rng.choice([*self.states[self.opened_at :], self.disk.snapshot()])
        assert isinstance(chosen.token, tuple)
        events, length = chosen.token
        self.disk.snapshots = None  # what SQLite does when it is closed is not part of this past
        self.ledger.events = events[:length]
        return chosen.image(self.rng.choice(RANDOM), self.rng.choice(RANDOM), self.rng)

    async def _until_cut(self, medium: SimulatedMedium, steps: list[Any], loop: Any) -> dict[str, bytes] | None:
        with opened(medium, self.rng) as parts:
            sender = Sender(parts, self.ledger, self.rng, loop)
            await sender.start()
            while steps:
                step, given_ = steps.pop(0)
                self.report.steps[step] += 1
                if step == "cut":
                    return self._cut()
                if step == "reopen":
                    await sender.stop()
                    break
                await _STEPS[step](sender, given_)
            else:
                await sender.stop()
        return {name: bytes(inode.seen) for name, inode in self.disk.names.items()} if steps else None


_STEPS: dict[str, Callable[[Sender, Any], Any]] = {
    "deposit": lambda sender, one: sender.together([sender.deposit(**one)]),
    "group": lambda sender, many: sender.together([sender.deposit(**one) for one in many]),
    "long": lambda sender, one: sender.together([sender.deposit(**one, long=True), sender.note(1000 + one["number"])]),
    "lost": lambda sender, one: sender.together([sender.deposit(**one, lost=True)]),
    "abort": lambda sender, long: sender.together([sender.abort(50, long=long)]),
    "note": lambda sender, subject: sender.together([sender.note(subject)]),
    "delete": lambda sender, number: sender.together([sender.delete(study_of(number))]),
    "restore": lambda sender, number: sender.together([sender.restore(study_of(number))]),
    "flush": lambda sender, _: sender.flush_trail(),
    "fragments": lambda sender, _: sender.together([sender.fragments()]),
    "prepare": lambda sender, _: sender.prepare(),
}


def examine(history: History, limit: int, report: Report, *, deep: bool = True) -> None:
    """Look at *limit* of the states that the calls of *history* left behind; raises ViolatedError."""
    rng = history.rng
    chosen = [(snapshot, choice) for snapshot in history.states for choice in range(8)]
    rng.shuffle(chosen)
    seen: set[int] = set()
    done = 0
    for snapshot, choice in chosen:
        if done >= limit:
            return
        names, contents = CORNERS[choice] if choice < 4 else (rng.choice(RANDOM), rng.choice(RANDOM))
        assert isinstance(snapshot.token, tuple)
        image = snapshot.image(names, contents, rng)
        key = hash(
            (
                id(snapshot.token[0]),
                snapshot.token[1],
                frozenset((name, hash(content)) for name, content in image.items()),
            )
        )
        if key in seen:
            continue
        seen.add(key)
        done += 1
        report.states += 1
        report.fates[f"names {names.name}, contents {contents.name}".lower()] += 1
        again: list[Snapshot] | None = [] if deep and rng.random() < 0.1 else None
        _judge(history, image, snapshot, again)
        if again:
            for cut in rng.sample(again, min(3, len(again))):
                report.states += 1
                report.again += 1
                done += 1
                cut.token = snapshot.token
                _judge(history, cut.image(rng.choice(RANDOM), rng.choice(RANDOM), rng), cut, None)


def _judge(history: History, image: dict[str, bytes], snapshot: Snapshot, again: list[Snapshot] | None) -> None:
    disk = SimulatedDisk(image, folders=("vault", "trail", "keyring"))
    disk.snapshots = again
    assert isinstance(snapshot.token, tuple)
    wrong = violations(disk, owed_by(*snapshot.token), Ledger())
    if wrong:
        raise ViolatedError(f"after call {snapshot.serial} ({snapshot.call}): " + "; ".join(wrong[:4]))


def play(
    steps: list[Any], number: int, image: dict[str, bytes], limit: int, report: Report,
    spoil: Spoil = _honest,
) -> None:  # fmt: skip
    """One history and its states."""
    history = History(image, number, spoil, report)
    history.run(list(steps))
    report.histories += 1
    report.calls += len(history.states)
    examine(history, limit, report)


def explore(
    states: int, number: int, report: Report, *, per_history: int = PER_HISTORY, spoil: Spoil = _honest,
    shrink: bool = True,
) -> None:  # fmt: skip
    """Look at *states* states or more, counted in *report*; raises ViolatedError with the smallest history hypothesis found for it."""
    make_small()
    fresh = founded()
    ready = started(fresh)

    batch = 0
    while report.states < states:
        _batch(number * 1_000 + batch, states, per_history, spoil, report, (fresh, ready), shrink=shrink)
        batch += 1


def _batch(
    number: int, states: int, per_history: int, spoil: Spoil, report: Report,
    images: tuple[dict[str, bytes], dict[str, bytes]], *, shrink: bool,
) -> None:  # fmt: skip
    """Twenty histories; hypothesis ends a run of its own after a failure only."""
    failed = False

    @seed(number)
    @settings(
        max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])], print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    @given(HISTORY, st.integers(0, 2**32), st.integers(0, 19))
    def run(steps: list[Any], chance: int, first: int) -> None:
        nonlocal failed
        if report.states >= states and not failed:
            return
        try:
            play(steps, chance, images[first > 0], per_history, report, spoil)
        except BaseException as wrong:
            failed = True
            wrong.add_note(f"steps {steps!r}, chance {chance}, {'a home with' if first else 'without'} a database")
            raise

    run()


def _in_process(given_: tuple[int, int, str, bool]) -> tuple[Report, str]:
    states, number, way, shrink = given_
    report = Report()
    try:
        explore(states, number, report, shrink=shrink and not way, spoil=WAYS.get(way, _honest))
    except ViolatedError as violated:
        notes = "\n".join(getattr(violated, "__notes__", ()))
        return report, f"seed {number}: {violated}\n{notes}"
    except StrongroomError as failed:
        return report, f"seed {number}: a history failed by itself: {failed!r}\n" + "\n".join(
            getattr(failed, "__notes__", ())
        )
    return report, ""


def main(argv: list[str] | None = None) -> int:
    """Explore in several processes and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--break", dest="way", choices=sorted(WAYS), default="", help="break the order on purpose: must be found"
    )
    parser.add_argument(
        "--no-shrink", action="store_true", help="report the first history that shows it, not the smallest"
    )
    parser.add_argument("--json", action="store_true", help="one line for programs")
    options = parser.parse_args(argv)
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    share = -(-options.states // options.processes)
    work = [(share, options.seed + number, options.way, not options.no_shrink) for number in range(options.processes)]
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(_in_process, work))
    seconds = time.monotonic() - began
    total = Report()
    for report, _ in results:
        total.states += report.states
        total.again += report.again
        total.calls += report.calls
        total.histories += report.histories
        total.fates += report.fates
        total.steps += report.steps
    wrong = [text for _, text in results if text]
    if options.json:
        found = {"states": total.states, "calls": total.calls, "histories": total.histories, "violations": wrong}
        print(json.dumps(found | {"seed": options.seed, "seconds": round(seconds, 1)}))
        return 1 if wrong else 0
    print(
        f"{total.states} crash states ({total.again} of a start-up that was cut short too) after {total.calls} calls in"
    )
    print(
        f"{total.histories} histories, {seconds:.0f} s, {total.states / seconds:.0f} a second; violations: {len(wrong)}"
    )
    for fate, count in sorted(total.fates.items()):
        print(f"  {count:8} {fate}")
    print("  steps: " + ", ".join(f"{count} {step}" for step, count in sorted(total.steps.items())))
    for text in wrong:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
