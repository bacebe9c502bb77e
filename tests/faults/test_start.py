"""Starts that something is wrong with: a master key that is away or another one (17), a migration that is cut (21)."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from clients import require
from faults.instances import some
from faults.kill_points import numbered
from faults.scene import must, scene, seed_of
from interop import harness
from journeys.test_golden_home import HELD, opening, unpacked

pytestmark = pytest.mark.xdist_group("start")
CONFIGURATION, INTEGRITY = 6, 5
# a part of kill_points.CALLS
CALLS = "pwrite64,pwritev2,fdatasync,fsync,ftruncate,rename,renameat,renameat2,unlink,unlinkat"
SAMPLES = 4


def _strongroom(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [harness.STRONGROOM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_without_its_master_key_nothing_starts(tmp_path: Path) -> None:
    """
    The key file is away, or that of another home, or cut: `serve` and `import` end at once with a sentence, nothing is taken in
    clear text instead, and nothing is changed; with the key back everything is there (fault 17; there is no KMS that could fail).
    """
    with scene(tmp_path) as place:
        sent = some(random.Random(17), ("ct",), 3)
        assert set(place.web().store(sent).values()) == {0}
        place.archive.stop()
        home = place.archive.home
        key = home / "keys" / "master.key"
        kept = key.read_bytes()
        source = tmp_path / "new.dcm"
        source.write_bytes(some(random.Random(18), ("ct",), 1)[0].file)
        other = tmp_path / "other"
        assert _strongroom("init", "--home", str(other)).returncode == 0
        before = _state(home)
        for wrong in (None, (other / "keys" / "master.key").read_bytes(), kept[:-3], b""):
            key.unlink()
            if wrong is not None:
                key.write_bytes(wrong)
                key.chmod(0o600)
            for command in (("serve",), ("import", str(source)), ("status",)):
                done = _strongroom(*command, "--home", str(home))
                assert done.returncode in (CONFIGURATION, INTEGRITY), (wrong and len(wrong), command, done)
                assert "Traceback" not in done.stderr
                assert "ready" not in done.stdout
            key.write_bytes(kept)
            key.chmod(0o600)
            assert before == _state(home)
        place.start()
        everything = {one.sop for one in sent}
        assert everything == place.look_at(place.web(), sent[0].study, sent, everything)
        place.proved()


def _state(home: Path) -> dict[str, bytes]:
    """What lies in the home and must not change: all but SQLite's index of its log and the lock."""
    skipped = ("-shm", "lock", "control.sock")
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(skipped)
    }


@pytest.mark.parametrize("name", sorted(HELD))
def test_a_migration_may_be_cut_anywhere(name: str, tmp_path: Path) -> None:
    """
    The first start of a newer program on an older home, killed at system calls picked by the printed seed: the next start ends
    the migration without hands, with all that was held (fault 21).
    """
    strace = require("strace")
    seed = seed_of(None)
    print(f"seed {seed}")
    environment = {**opening(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    home = unpacked(name, tmp_path / "counted")
    log = tmp_path / "calls"
    command = (harness.STRONGROOM, "status", "--json", "--home")
    counting = [strace, "-f", "-o", str(log), "-e", f"trace={CALLS}", *command, str(home)]
    subprocess.run(counting, env=environment, capture_output=True, check=True, timeout=60)
    lines = log.read_text().splitlines()
    calls = numbered(lines)
    must(len(calls) > SAMPLES, f"only {len(calls)} calls were seen")
    killed = 0
    for call, at in random.Random(seed).sample(calls, SAMPLES):
        home = unpacked(name, tmp_path / f"{call}{at}")
        inject = f"inject={call}:signal=KILL:when={at}"
        cut = [strace, "-f", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", inject, *command, str(home)]
        killed += subprocess.run(cut, env=environment, capture_output=True, check=False, timeout=60).returncode != 0
        done = _strongroom("status", "--json", "--home", str(home), environment=environment)
        must(done.returncode == 0, f"killed at {call} {at}: {done.stderr[-300:]}")
        status = json.loads(done.stdout)
        assert HELD[name] == {figure: status[figure] for figure in HELD[name]}
        for check in (("check", "--read"), ("trail", "verify")):
            checked = _strongroom(*check, "--json", "--home", str(home), environment=environment)
            assert checked.returncode == 0, (call, at, check, checked.stdout[-500:], checked.stderr[-500:])
    assert killed
