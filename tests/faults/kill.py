"""
Fault 1 of SECURITY section 5: the real server, killed by SIGKILL at random moments under mixed load, again and again.

Each round: DCMTK's storescu over TLS and STOW-RS clients send while a viewer has pictures rendered; after a random time the
server is killed (sometimes once more while it starts); all its processes have to be gone; it starts again without hands; then
what the loader's ledger says was acknowledged is compared with what QIDO-RS, C-FIND and WADO-RS give. A number of rounds share
a home (an episode); at its end every instance ever acknowledged is fetched and compared, whatever was not acknowledged is sent
again, and `check --read` and the trail itself are read. `main` is what `make faults` runs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from clients import find
from faults import kill_points
from faults.instances import Instance
from faults.scene import START_SECONDS, Scene, ViolationError, must, scene, seed_of
from interop import harness

LONGEST_LOAD = 0.8
"""Seconds of load at most before the kill; the first image is on its way when they begin."""
KILLED_AGAIN = 0.15
"""How often a start that follows a kill is killed as well."""
EPISODE = 40
"""Rounds on one home: bounds the disk that a long run needs."""
OLDER = 4
"""Studies of earlier rounds that are fetched after each round."""
ROUND_SECONDS = 120.0


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    kills_while_starting: int = 0
    sent: int = 0
    acknowledged: int = 0
    kept_unacknowledged: int = 0
    """Sent and whole, though the answer never arrived."""
    fetched: int = 0
    """Comparisons of an instance with what was sent."""
    records: int = 0
    orphans_and_torn: int = 0
    starts: list[float] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """Figures for a table."""
        starts = sorted(self.starts) or [0.0]
        return {
            **{name: value for name, value in vars(self).items() if name != "starts"},
            "start_seconds_median": round(statistics.median(starts), 2),
            "start_seconds_longest": round(starts[-1], 2),
        }


class Load:
    """The loader's process and its ledger."""

    def __init__(self, place: Scene, folder: Path) -> None:
        self._ledger = folder / "ledger"
        self._ledger.touch()
        files = folder / "files"
        files.mkdir()
        archive, device = place.archive, place.device
        settings = {
            "folder": str(files), "ledger": str(self._ledger), "port": archive.port, "web_port": archive.web_port,
            "token": place.token, "key": device.key, "certificate": device.certificate, "authority": device.authority,
            "ae_title": device.ae_title,
        }  # fmt: skip
        path = folder / "loader.json"
        path.write_text(json.dumps(settings))
        command = [sys.executable, str(Path(__file__).with_name("loader.py")), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read = 0

    def begin(self, number: int, seed: int) -> None:
        """Start a round; returns when bytes are on their way."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"round": number, "seed": seed}) + "\n")
        self._process.stdin.flush()
        self._expect("begun", number)

    def end(self, number: int) -> list[tuple[str, Instance]]:
        """Wait until every sender has ended; the ledger's new lines."""
        self._expect("done", number)
        with self._ledger.open() as ledger:
            ledger.seek(self._read)
            lines = ledger.read()
            self._read = ledger.tell()
        return [(event, Instance(*rest)) for event, _, *rest in map(json.loads, lines.splitlines())]

    def _expect(self, word: str, number: int) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        must(line and json.loads(line) == {word: number}, f"the loader said {line!r} instead of {word}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait(ROUND_SECONDS):
            raise RuntimeError("the loader failed")


class Episode:
    """Some rounds on one home."""

    def __init__(self, place: Scene, load: Load, tally: Tally, chance: random.Random) -> None:
        self._place, self._load, self._tally, self._chance = place, load, tally, chance
        self._sent: dict[str, dict[str, Instance]] = {}
        """Study -> SOP Instance UID -> what was sent."""
        self._acknowledged: set[str] = set()

    def round(self, number: int) -> None:
        """Load, kill, start, compare."""
        place, chance, tally = self._place, self._chance, self._tally
        self._load.begin(number, chance.getrandbits(62))
        time.sleep(chance.uniform(0, LONGEST_LOAD))
        place.kill()
        tally.kills += 1
        studies: dict[str, None] = {}
        for event, one in self._load.end(number):
            if event == "sent":
                self._sent.setdefault(one.study, {})[one.sop] = one
                tally.sent += 1
                studies[one.study] = None
            else:
                self._acknowledged.add(one.sop)
                tally.acknowledged += 1
        if chance.random() < KILLED_AGAIN:
            self._kill_a_start()
        took = place.start()
        tally.starts.append(took)
        must(took < START_SECONDS, f"the start took {took:.1f} s")
        older = [study for study in self._sent if study not in studies]
        self._compare([*studies, *chance.sample(older, min(OLDER, len(older)))])
        asked = next(iter(self._sent[chance.choice([*studies])].values()))
        web = place.web()
        found = web.instances(asked.study)
        must(place.find(asked.study, asked.series) == found, "C-FIND and QIDO-RS do not agree")
        web.close()
        tally.records = place.proved()

    def _kill_a_start(self) -> None:
        archive = self._place.archive
        with archive.log.open("ab") as log:
            process = subprocess.Popen(
                [harness.STRONGROOM, "serve", "--home", str(archive.home)], stdout=subprocess.DEVNULL, stderr=log
            )
        time.sleep(self._chance.uniform(0.2, 1.0))
        process.kill()
        process.wait(10)
        self._tally.kills_while_starting += 1

    def _compare(self, studies: list[str]) -> None:
        web = self._place.web()
        for study in studies:
            sent = self._sent[study]
            found = self._place.look_at(web, study, sent.values(), self._acknowledged)
            self._tally.fetched += len(found)
        web.close()

    def conclude(self) -> None:
        """Everything ever acknowledged is there, has its record, and what was not acknowledged can be sent again (I6)."""
        place, tally = self._place, self._tally
        self._compare([*self._sent])
        recorded = place.recorded()
        web = place.web(seconds=120)
        for sent in self._sent.values():
            for one in sent.values():
                must(one.sop not in self._acknowledged or recorded.get(one.sop) == one.digest, "no record of a deposit")
            missing = [one for one in sent.values() if one.sop not in self._acknowledged]
            if missing:
                there = web.instances(missing[0].study)
                tally.kept_unacknowledged += len([one for one in missing if one.sop in there])
                must(set(web.store(missing).values()) == {0}, "what was not acknowledged cannot be sent again")
        web.close()
        tally.orphans_and_torn += sum(place.checked().values())
        must(place.archive.stop() == 0, "the server did not end in order")
        place.checked()
        place.proved()
        place.quiet()


def run(kills: int, seed: int, *, episode: int = EPISODE, said: Callable[[str], None] = print) -> Tally:
    """Kill *kills* times; raises ViolationError at the first promise that is broken."""
    tally = Tally()
    chance = random.Random(seed)
    said(f"kill -9 under load: {kills} kills, seed {seed}")
    while tally.kills < kills:
        with tempfile.TemporaryDirectory(prefix="strongroom-kill-") as name:
            folder = Path(name)
            with scene(folder) as place:
                load = Load(place, folder)
                rounds = Episode(place, load, tally, chance)
                try:
                    for number in range(min(episode, kills - tally.kills)):
                        rounds.round(number)
                    rounds.conclude()
                finally:
                    load.close()
        said(
            f"  {tally.kills:,} kills, {tally.acknowledged:,} acknowledged, {tally.fetched:,} compared; "
            f"starts {statistics.median(tally.starts):.1f} s, longest {max(tally.starts):.1f} s"
        )
    return tally


def main(argv: list[str] | None = None) -> int:
    """Run it from the command line; 0 when every promise held, 1 when one did not, 2 when something is missing here."""
    parser = argparse.ArgumentParser(prog="kill", description="kill -9 of the real server under load")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--episode", type=int, default=EPISODE, help="rounds on one home")
    parser.add_argument("--points", action="store_true", help="kill at each system call of one store as well (strace)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(argv)
    if find("storescu") is None:
        print("storescu is missing: install Debian's package dcmtk")
        return 2
    seed = seed_of(given.seed)
    try:
        tally = run(given.kills, seed, episode=given.episode)
        points = kill_points.run(seed) if given.points else kill_points.Points()
    except ViolationError as broken:
        print(f"BROKEN (seed {seed}): {broken}")
        return 1
    shown = {**tally.shown(), "kills_at_a_system_call": points.killed, "of_known_calls": points.calls}
    if given.json:
        given.json.write_text(json.dumps({"seed": seed, **shown}, indent=1))
    for name, value in shown.items():
        print(f"  {name.replace('_', ' '):<28}{value:>12,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
