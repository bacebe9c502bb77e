"""
Backup and restore on the real server: consistent under load, only what is new, nothing readable, every fault found (fault
22 of SECURITY section 5: a restore on a clean machine brings the same hashes).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from interop import harness
from interop.harness import STRONGROOM
from journeys.sender import associate, contexts_of, copies, identity, send, statuses
from journeys.test_invariants import clean, counts, image, place, records, retrieved  # noqa: F401 -- place is a fixture

pytestmark = pytest.mark.xdist_group("backup")


def restore(source: Path, key: Path, *arguments: str, status: int = 0) -> dict[str, object]:
    """Run `restore` and parse what it prints."""
    command = [STRONGROOM, "restore", str(source), "--master-key", str(key), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, (done.stdout, done.stderr)
    found: dict[str, object] = json.loads(done.stdout or done.stderr)
    return found


def closed(folder: Path) -> dict[str, int]:
    """The closed packs of a backup, by name, with the moment each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "vault").glob("*.pack")}


def test_a_backup_under_load_restores_on_a_clean_folder(place, tmp_path):  # noqa: F811
    """Made while images come in: every row has its record and none is left over; what comes back is bit for bit the same."""
    archive, device = place
    backup = tmp_path / "backup"
    folders = [tmp_path / f"load{number}" for number in range(3)]
    for folder in folders:
        folder.mkdir()
    loads = [copies(image(), folder, 60) for folder in folders]
    assert set(send(archive, device, loads[0])) == {0}
    stop = threading.Event()

    def load() -> None:
        for paths in loads[1:]:
            association = associate(archive, device, contexts_of(paths))
            for _ in statuses(association, paths):
                if stop.is_set():
                    break
            association.release()

    sender = threading.Thread(target=load)
    sender.start()
    try:
        time.sleep(0.2)
        made = archive.json("backup", str(backup))
    finally:
        stop.set()
        sender.join()
    assert made["damage"] == []
    assert made["instances"] >= len(loads[0])

    key = archive.home / "keys" / "master.key"
    back = restore(backup, key, "--home", str(tmp_path / "back"))

    assert back["findings"] == []
    assert back["instances"] == back["checked"] == made["instances"]
    study = identity(loads[0][0])[0]
    first = retrieved(archive, device, study)
    archive.stop()
    again = harness.Archive(tmp_path / "back", archive.port, tmp_path / "back.log", web_port=archive.web_port)
    again.start()
    try:
        assert retrieved(again, device, study) == first
        assert len(first) == len(loads[0])
        clean(again)
        assert counts(again)["instances"] == made["instances"] or counts(again)["instances"] >= len(first)
        about = [one["about"] for one in records(again) if "restored from a backup" in one["about"]]
        assert len(about) == 1
        assert set(send(again, device, loads[2])) == {0}
        clean(again)
    finally:
        again.stop()


def test_the_next_backup_copies_only_what_is_new(place, tmp_path):  # noqa: F811
    """Closed packs that are there are neither written nor read again; what is new comes; the open one's copy is replaced."""
    archive, device = place
    backup = tmp_path / "backup"
    folder = tmp_path / "load"
    folder.mkdir()
    send(archive, device, copies(image(), folder, 120))
    archive.json("backup", str(backup))
    before = closed(backup)
    assert before

    more = tmp_path / "more"
    more.mkdir()
    send(archive, device, copies(image(), more, 60))
    made = archive.json("backup", str(backup))

    after = closed(backup)
    assert {name: after[name] for name in before} == before
    assert made["copied"] == made["packs"] - len(before)
    assert made["number"] == 2
    assert len(list((backup / "states").iterdir())) == 1
    assert archive.json("backup", str(backup), "--verify")["findings"] == []
    assert archive.json("backup", str(backup), "--list")["instances"] == 180


def test_a_backup_says_nothing_and_its_names_neither(place, tmp_path):  # noqa: F811
    """No file of it holds the patient, the device, the options or the master key in clear text."""
    archive, device = place
    backup = tmp_path / "backup"
    send(archive, device, [image()])
    archive.json("backup", str(backup))

    secret = (archive.home / "keys" / "master.key").read_bytes()[8:40]
    for path in backup.rglob("*"):
        assert "CT1" not in path.name
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0
            data = path.read_bytes()
            for word in (b"CompressedSamples", b"1CT1", b"STRONGROOM", b"1.3.6.1.4.1.5962", secret):
                assert word not in data, (path, word)


def test_an_interrupted_backup_leaves_the_one_before(place, tmp_path):  # noqa: F811
    """Killed while it copies: the earlier one can still be restored, and the next one finishes and tidies up."""
    archive, device = place
    backup = tmp_path / "backup"
    folder = tmp_path / "load"
    folder.mkdir()
    send(archive, device, copies(image(), folder, 40))
    archive.json("backup", str(backup))
    more = tmp_path / "more"
    more.mkdir()
    send(archive, device, copies(image(), more, 150))

    command = [STRONGROOM, "backup", str(backup), "--home", str(archive.home), "--mebibytes-per-second", "1"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((backup / "vault").glob("00000002.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    archive.stop(signal.SIGKILL)
    running.wait(30)

    key = archive.home / "keys" / "master.key"
    assert archive.json("backup", str(backup), "--list")["number"] == 1
    back = restore(backup, key, "--drill", "--in", str(tmp_path))
    assert (back["instances"], back["findings"]) == (40, [])
    assert not list(tmp_path.glob("strongroom-drill-*"))
    archive.start()
    made = archive.json("backup", str(backup))
    assert made["instances"] == 190
    assert not list(backup.rglob("*.partial"))
    assert len(list((backup / "states").iterdir())) == 1
    assert restore(backup, key, "--drill", "--in", str(tmp_path))["findings"] == []


def test_a_bit_flip_in_a_backup_is_found(place, tmp_path):  # noqa: F811
    """In every kind of file: `--verify` names it, a restore names it or refuses, and `--verify-all` copies the pack again."""
    archive, device = place
    backup = tmp_path / "backup"
    folder = tmp_path / "load"
    folder.mkdir()
    send(archive, device, copies(image(), folder, 120))
    archive.json("backup", str(backup))
    key = archive.home / "keys" / "master.key"
    seed = int(os.environ.get("STRONGROOM_SEED", "0")) or random.randrange(1 << 30)
    print(f"seed {seed}")
    choose = random.Random(seed)
    names = [path for path in backup.rglob("*") if path.is_file() and path.name not in ("lock", "manifest")]
    for path in names:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[choose.randrange(len(whole))] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        assert len(archive.json("backup", str(backup), "--verify", status=1)["findings"]) == 1, path
        if path.name == "archive.db":
            assert restore(backup, key, "--drill", "--in", str(tmp_path), status=5)["error"] == "IntegrityError"
        path.write_bytes(whole)
    pack = next((backup / "vault").glob("*.pack"))
    whole = pack.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    pack.write_bytes(damaged)
    assert restore(backup, key, "--drill", "--in", str(tmp_path), status=1)["findings"]
    assert archive.json("backup", str(backup), "--verify-all")["copied"] >= 1
    assert pack.read_bytes() == whole
    manifest = backup / "manifest"
    data = bytearray(manifest.read_bytes())
    data[-1] ^= 1
    manifest.write_bytes(data)
    assert restore(backup, key, "--drill", "--in", str(tmp_path), status=5)["error"] == "IntegrityError"
    archive.command("backup", str(backup), "--verify", status=5)


def test_a_damaged_source_is_named_and_does_not_replace_a_good_copy(place, tmp_path):  # noqa: F811
    """Bytes that rotted in the vault: a first copy of them is reported; a copy that is good already stays as it is."""
    archive, device = place
    folder = tmp_path / "load"
    folder.mkdir()
    send(archive, device, copies(image(), folder, 120))
    archive.json("backup", str(tmp_path / "good"))
    pack = archive.home / "vault" / "00000001.pack"
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)

    assert archive.json("backup", str(tmp_path / "late"), status=1)["damage"]
    assert archive.json("backup", str(tmp_path / "good"))["damage"] == []
    key = archive.home / "keys" / "master.key"
    assert restore(tmp_path / "good", key, "--drill", "--in", str(tmp_path))["findings"] == []


def test_the_wrong_key_and_the_wrong_place_are_refused(place, tmp_path):  # noqa: F811
    """Another master key opens nothing and leaves nothing; a backup never goes into the home, nor a restore over anything."""
    archive, _ = place
    backup = tmp_path / "backup"
    archive.json("backup", str(backup))
    with _other(tmp_path) as other:
        key = other.home / "keys" / "master.key"
        refused = restore(backup, key, "--home", str(tmp_path / "back"), status=6)
        assert "master key" in str(refused["message"])
        assert not (tmp_path / "back").exists()
        other.command("backup", str(backup), status=6)
    archive.command("backup", str(archive.home / "copy"), status=6)
    archive.command("backup", str(tmp_path), status=6)
    archive.command("backup", str(tmp_path / "no" / "disk"), status=6)
    (tmp_path / "link").symlink_to(backup)
    archive.command("backup", str(tmp_path / "link"), status=6)
    archive.command("backup", str(tmp_path / "nothing"), "--list", status=6)
    restore(backup, archive.home / "keys" / "master.key", "--home", str(archive.home), status=3)


def _other(tmp_path: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    return harness.archive(folder, start=False)
