"""Rotation of the master key: whatever kills it, the home opens with the old key or the new one, and all is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from strongroom.app import generation, rotating
from strongroom.app.assembly import open_archive
from strongroom.app.home import open_home
from strongroom.archive import HostCredential
from strongroom.errors import ConfigurationError, ConflictError, HomeInUseError, IntegrityError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey
from strongroom.ground.tombstone_file import PURPOSE, ROOT, Tombstone, TombstoneFile

GOLDEN = Path(__file__).parents[1] / "vectors" / "home" / "0.1.tar.xz"
PASSPHRASE = b"golden passphrase, for tests only"
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod"}
KILLED = 137


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The golden home with a tombstone, its key in a plain file (a guess at a passphrase takes a third of a second)."""
    home = tmp_path_factory.mktemp("golden") / "home"
    home.mkdir(mode=0o700)
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(home, filter="data")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    asyncio.run(rotating.rotate(home, passphrase=PASSPHRASE, wish=rotating.Wish()))
    master = MasterKey.load(home / "keys" / "master.key")
    TombstoneFile(DiskMedium(home), ROOT, master.derive(PURPOSE)).append(
        [Tombstone(bytes(16), "1.2.3", (bytes(16),), 1, 0.0, bytes(32))]
    )
    return home


@pytest.fixture
def home(whole, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "home"))


def fingerprint(home, passphrase=None):
    """Of the key that lies in the home."""
    return MasterKey.load(home / "keys" / "master.key", passphrase=passphrase).fingerprint


async def looked_through(home, passphrase=None):
    """Every byte opened, the trail proved; what was found, and how much there is."""
    async with open_archive(open_home(home), passphrase=passphrase) as archive:
        session = await archive.gate.admit(HostCredential(uid=os.getuid(), command="check", reason=None))
        custodian = archive.custodian(session)
        async for reply in custodian.check(read=True):
            found = reply.get("result")
        proof = await custodian.verify_trail()
        return found["findings"] + proof["findings"], found["checked"], proof["records"]


def test_the_new_key_opens_everything_and_the_old_one_nothing(home):
    """Images, register, trail and tombstones are there under the new key; under the old one nothing opens; packs are as they were."""
    old = MasterKey.load(home / "keys" / "master.key")
    packs = {path.name: path.read_bytes() for path in (home / "vault").iterdir()}

    done = asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish()))
    found = asyncio.run(looked_through(home))

    assert found[:2] == ([], 8)
    assert done["before"] == old.fingerprint != done["now"] == fingerprint(home)
    assert {path.name: path.read_bytes() for path in (home / "vault").iterdir()} == packs
    medium = DiskMedium(home)
    with pytest.raises(IntegrityError):
        Keyring.open(home, old, medium)
    with pytest.raises(IntegrityError):
        TombstoneFile(medium, ROOT, old.derive(PURPOSE)).read()
    new = MasterKey.load(home / "keys" / "master.key")
    assert set(TombstoneFile(medium, ROOT, new.derive(PURPOSE)).read()) == {bytes(16)}
    assert not (home / generation.READY).exists()


def test_to_a_passphrase_and_back(home, tmp_path):
    """The new key can be wrapped; then it opens with the passphrase alone; and a later rotation takes it away again."""
    kept = tmp_path / "old.key"
    before = (home / "keys" / "master.key").read_bytes()

    asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish(passphrase=b"new", keep_old=kept)))

    assert kept.read_bytes() == before
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError):
        asyncio.run(looked_through(home))
    assert asyncio.run(looked_through(home, b"new"))[0] == []
    asyncio.run(rotating.rotate(home, passphrase=b"new", wish=rotating.Wish()))
    assert asyncio.run(looked_through(home))[:2] == ([], 8)


def test_a_key_outside_the_home(home, tmp_path, monkeypatch):
    """With a credential the new key is written where it is said, never into the home, and opens it as a credential."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (home / "keys" / "master.key").rename(credentials / "strongroom-master-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with pytest.raises(ConfigurationError, match="--new-key"):
        asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish()))

    target = tmp_path / "new.key"
    asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish(new_key=target)))

    assert not (home / "keys" / "master.key").exists()
    with pytest.raises(IntegrityError):
        asyncio.run(looked_through(home))
    target.replace(credentials / "strongroom-master-key")
    assert asyncio.run(looked_through(home))[:2] == ([], 8)


def test_refused_before_anything_changes(home, tmp_path):
    """A key that exists, a folder that does not, a wrong passphrase, a home in use: all stays as it was."""
    taken = tmp_path / "taken"
    taken.write_text("")
    before = fingerprint(home)
    for wish, error in (
        (rotating.Wish(new_key=taken), ConflictError),
        (rotating.Wish(keep_old=taken), ConflictError),
        (rotating.Wish(new_key=tmp_path / "no" / "folder"), ConfigurationError),
    ):
        with pytest.raises(error):
            asyncio.run(rotating.rotate(home, passphrase=None, wish=wish))

    async def in_use():
        async with open_archive(open_home(home)):
            await rotating.rotate(home, passphrase=None, wish=rotating.Wish())

    with pytest.raises(HomeInUseError):
        asyncio.run(in_use())
    assert fingerprint(home) == before
    assert asyncio.run(looked_through(home))[0] == []


def test_a_failure_while_preparing_leaves_nothing(home, monkeypatch):
    """A full disk in the middle: the old key is in force, and no part of the new generation stays."""

    def full(*_):
        raise OSError(28, "No space left on device")

    before = fingerprint(home)
    monkeypatch.setattr(rotating, "_database", full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish()))
    monkeypatch.undo()

    assert fingerprint(home) == before
    assert not (home / generation.PARTIAL).exists()
    assert asyncio.run(looked_through(home))[0] == []


def _killed_at(home, number):
    """Rotate in a child that is killed before its change number *number* in the home; its exit status."""
    child = os.fork()
    if not child:
        seen = [0]

        def hook(event, arguments):
            if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
                seen[0] += 1
                if seen[0] == number:
                    os._exit(KILLED)

        sys.addaudithook(hook)
        try:
            asyncio.run(rotating.rotate(home, passphrase=None, wish=rotating.Wish()))
        except BaseException:  # noqa: BLE001 -- the parent is told by the status
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_at_every_change_it_opens_with_the_old_key_or_the_new_one(whole, tmp_path):
    """Before each file is made, renamed or removed in turn: the next start opens the home, whole, without hands."""
    old = fingerprint(whole)
    kinds = []
    number = 0
    while True:
        number += 1
        home = Path(shutil.copytree(whole, tmp_path / f"home{number}"))
        status = _killed_at(home, number)
        if status == 0:
            break
        assert status == KILLED
        findings, checked, _ = asyncio.run(looked_through(home))
        assert (findings, checked) == ([], 8), number
        kinds.append(fingerprint(home) == old)
        assert not (home / generation.READY).exists()
        assert not (home / generation.PARTIAL).exists()
        shutil.rmtree(home)

    print(f"{len(kinds)} kills: {sum(kinds)} opened with the old key")
    assert number > 30
    assert kinds == sorted(kinds, reverse=True)  # one moment of change, no way back
    assert True in kinds
    assert False in kinds
