"""The second vault on the real server: every closed pack once more, whatever happens to its disk, and no sender waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import harness
from journeys.sender import copies, send
from journeys.test_invariants import image, records
from strongroom.app.assembly import open_archive
from strongroom.app.home import open_home
from strongroom.archive.acts import Change
from strongroom.archive.second import MARK
from strongroom.errors import IntegrityError, OutOfResources
from strongroom.register import retired

pytestmark = pytest.mark.xdist_group("second")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[harness.Archive, harness.Bundle, Path]]:
    """A running archive with small packs and a second vault."""
    second = tmp_path / "disk"
    second.mkdir(mode=0o700)
    with harness.archive(tmp_path, start=False) as archive:
        file = archive.home / "strongroom.toml"
        text = file.read_text().replace("pack-mebibytes = 256", "pack-mebibytes = 2")
        file.write_text(text.replace('second = ""', f'second = "{second}"'))
        archive.start()
        yield archive, archive.enrol("CT1"), second


def deposited(archive, device, folder, number):
    """Send *number* new images; all are taken."""
    folder.mkdir()
    assert set(send(archive, device, copies(image(), folder, number))) == {0}


def state(archive):
    """What `status` says of it."""
    return archive.json("status")["second_vault"]


def until(condition, seconds=30.0):
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def same(archive, second):
    """Every closed pack is there, byte for byte, and nothing else."""
    ours = {path.name: path.read_bytes() for path in (archive.home / "vault").glob("*.pack")}
    theirs = {path.name: path.read_bytes() for path in (second / "vault").iterdir()}
    return len(ours) if ours == theirs else 0


def test_every_closed_pack_is_there_soon(place, tmp_path):
    """A pack that is closed is copied, the same bytes under the same name; the status says so, and whether it is one disk."""
    archive, device, second = place
    deposited(archive, device, tmp_path / "load", 120)

    until(lambda: state(archive)["packs"] >= 2 and state(archive)["behind"] == 0)
    assert same(archive, second) >= 2
    assert state(archive)["same_disk"]
    assert state(archive)["problem"] == ""


def test_a_disk_that_was_away_is_brought_up_to_date(place, tmp_path):
    """While it is away every deposit is taken as ever, one alert says so; after the next start with it, all is there."""
    archive, device, second = place
    deposited(archive, device, tmp_path / "load", 120)
    until(lambda: state(archive)["behind"] == 0 and same(archive, second))
    away = second.rename(tmp_path / "away")

    deposited(archive, device, tmp_path / "more", 120)

    until(lambda: state(archive)["problem"] != "")
    assert state(archive)["behind"] == state(archive)["packs"]
    alerts = [one for one in records(archive) if one["event"].startswith("the second vault")]
    assert len(alerts) == 1
    second.mkdir(mode=0o700)  # an empty folder where the disk should be mounted is not taken for it
    archive.stop()
    archive.start()
    until(lambda: "not the second vault" in state(archive)["problem"])
    assert list(second.iterdir()) == []
    second.rmdir()
    away.rename(second)
    archive.stop()
    archive.start()
    until(lambda: state(archive)["behind"] == 0 and state(archive)["problem"] == "")
    until(lambda: same(archive, second) >= 4)
    assert "Traceback" not in archive.log.read_text()


class _Seen:
    """The part of a task that the second vault uses."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    async def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))


def run(archive, change=None):
    """Own the stopped home, change the register, and do one catch-up; returns the steps."""

    async def once():
        async with open_archive(open_home(archive.home)) as opened:
            if change is not None:
                await opened.core.committer.submit(Change(change, ()))
            seen = _Seen()
            await opened.second.run(seen)
            return seen.steps

    return asyncio.run(once())


def test_what_is_retired_goes_and_what_is_lost_stays(place, tmp_path):
    """Only a pack that the register calls retired is removed; one that the vault lost is what the copy is for."""
    archive, device, second = place
    deposited(archive, device, tmp_path / "load", 180)
    until(lambda: state(archive)["behind"] == 0 and same(archive, second) >= 3)
    archive.stop()
    for number in (1, 2):
        (archive.home / "vault" / f"0000000{number}.pack").unlink()

    run(archive, lambda connection: retired.retire(connection, 1, at=0.0, reason="erased"))

    assert not (second / "vault" / "00000001.pack").exists()
    assert (second / "vault" / "00000002.pack").exists()


def test_damage_full_disks_and_restored_homes(place, tmp_path):
    """A damaged pack is not taken for a copy, a longer copy is never replaced, another disk is not written to."""
    archive, device, second = place
    deposited(archive, device, tmp_path / "load", 120)
    until(lambda: state(archive)["behind"] == 0 and same(archive, second) >= 2)
    archive.stop()
    ours, theirs = archive.home / "vault" / "00000001.pack", second / "vault" / "00000001.pack"
    whole = ours.read_bytes()
    theirs.unlink()
    ours.write_bytes(whole[:100_000] + bytes((whole[100_000] ^ 1,)) + whole[100_001:])
    with pytest.raises(IntegrityError, match="damaged"):
        run(archive)
    assert not theirs.exists()

    ours.write_bytes(whole)
    steps = run(archive)
    assert theirs.read_bytes() == whole
    assert steps[-1][0] == steps[-1][1] >= 2

    theirs.write_bytes(whole + bytes(512))
    with pytest.raises(IntegrityError, match="restored"):
        run(archive)
    assert theirs.read_bytes() == whole + bytes(512)

    (second / MARK).write_text("0" * 32)
    with pytest.raises(OutOfResources, match="mounted"):
        run(archive)


def test_a_second_vault_within_the_home_is_refused(place, tmp_path):
    """Inside the home, around it, over a link, or a path that is not whole: the server does not start, and says why."""
    archive, _, second = place
    archive.stop()
    file = archive.home / "strongroom.toml"
    text = file.read_text()
    (tmp_path / "link").symlink_to(second)
    for folder in (archive.home / "second", tmp_path, tmp_path / "link", Path("relative")):
        file.write_text(text.replace(str(second), str(folder)))
        archive.command("status", status=6)
    file.write_text(text)
    archive.command("status")
