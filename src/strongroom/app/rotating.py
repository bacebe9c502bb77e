"""
`rotate`: a new master key without touching a pack (docs/decisions/0013-rotation.md).

The archive is closed meanwhile: whoever rotates owns the home. `generation` makes the change one step, so that a crash
anywhere leaves a home that opens with the old key or with the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from strongroom.access.authority import Authority
from strongroom.app import generation
from strongroom.app.assembly import load_master, open_owned, own
from strongroom.app.founding import AUTHORITY_PURPOSE, MASTER_KEY_FILE
from strongroom.app.home import Home, open_home
from strongroom.archive import HostCredential
from strongroom.errors import ConfigurationError, ConflictError, IntegrityError
from strongroom.ground import lasting, tombstone_file
from strongroom.ground.database import Database
from strongroom.ground.disk import DiskMedium
from strongroom.ground.keyring import Keyring
from strongroom.ground.master import MasterKey
from strongroom.ground.snapshot import Snapshot

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive
    from strongroom.archive import Session


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """
    How the new key is kept: wrapped under *passphrase* where given, in the home or as *new_key* elsewhere; *keep_old*
    is where the old key file goes before it is written over.
    """

    passphrase: bytes | None = None
    new_key: Path | None = None
    keep_old: Path | None = None


async def rotate(path: Path, *, passphrase: bytes | None, wish: Wish) -> dict[str, Any]:
    """
    Replace the master key of the home at *path*; returns both fingerprints and what of the old key is still there.

    Raises HomeInUseError while a server runs, ConfigurationError when the new key has no place to be.
    """
    home = open_home(path)
    with own(home) as medium:
        old = load_master(home, passphrase)
        _check(home, wish)
        async with open_owned(home, medium, old) as archive, _host(archive) as session:
            await archive.rotation(session).begin()
        _keep_old(home, wish.keep_old)
        new = _prepare(home, medium, old, wish)
        generation.commit(home.root)
        async with open_owned(home, medium, new) as archive, _host(archive) as session:
            await archive.rotation(session).done(old.fingerprint, new.fingerprint)
    remains = sorted(one.name for pattern in ("*.before-*", "*.damaged-*") for one in home.root.glob(pattern))
    return {
        "before": old.fingerprint,
        "now": new.fingerprint,
        "key": str(wish.new_key or home.keys / MASTER_KEY_FILE),
        "passphrase": wish.passphrase is not None,
        "kept_old": None if wish.keep_old is None else str(wish.keep_old),
        "under_the_old_key": remains,
    }


@contextlib.asynccontextmanager
async def _host(archive: Archive) -> Any:
    session: Session = await archive.gate.admit(HostCredential(uid=os.getuid(), command="rotate", reason=None))
    try:
        yield session
    finally:
        session.close()


def _check(home: Home, wish: Wish) -> None:
    in_home = (home.keys / MASTER_KEY_FILE).exists()
    if not in_home and wish.new_key is None:
        raise ConfigurationError(
            "the master key does not lie in this home (a credential?): say with --new-key where the new one goes, "
            "and give it to the service afterwards"
        )
    if wish.keep_old is not None and not in_home:
        raise ConfigurationError("--keep-old-key: the old key does not lie in this home, it is where you keep it")
    for given in (wish.new_key, wish.keep_old):
        if given is not None and given.exists():
            raise ConflictError(f"{given} exists; a key is never replaced")
        if given is not None and not given.parent.is_dir():
            raise ConfigurationError(f"there is no folder {given.parent}")


def _keep_old(home: Home, target: Path | None) -> None:
    if target is None:
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, (home.keys / MASTER_KEY_FILE).read_bytes())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare(home: Home, medium: DiskMedium, old: MasterKey, wish: Wish) -> MasterKey:
    """Write everything anew under a new key beside what is in force; whatever fails leaves nothing."""
    folder = home.root / generation.PARTIAL
    folder.mkdir(mode=0o700)
    try:
        new = MasterKey.create(wish.new_key or folder / MASTER_KEY_FILE, passphrase=wish.passphrase)
        with contextlib.closing(DiskMedium(folder)) as target:
            _keyring(home, medium, old, new, target, folder)
            _tombstones(medium, old, new, target)
        _database(home, old, new, folder)
        authority = Authority.load(home.keys, old.derive(AUTHORITY_PURPOSE), clock=_no_clock, entropy=os.urandom)
        authority.write_key(folder / "ca.key", new.derive(AUTHORITY_PURPOSE))
        (folder / lasting.NAME).write_bytes(lasting.load(home.keys, old).encode(new))
        (folder / lasting.NAME).chmod(0o600)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if wish.new_key is not None:
            wish.new_key.unlink(missing_ok=True)
        raise
    return new


def _keyring(home: Home, medium: DiskMedium, old: MasterKey, new: MasterKey, target: DiskMedium, folder: Path) -> None:
    with (
        contextlib.closing(Keyring.open(home.root, old, medium)) as source,
        contextlib.closing(Keyring.create(folder, new, target)) as sink,
    ):
        source.copy_into(sink)
        wrong = sink.check()
    if wrong:
        raise IntegrityError(f"the keyring under the new key is not whole: {wrong[0]}")


def _tombstones(medium: DiskMedium, old: MasterKey, new: MasterKey, target: DiskMedium) -> None:
    root = tombstone_file.ROOT
    if not medium.listing(root):
        return
    purpose = tombstone_file.PURPOSE
    known = tombstone_file.TombstoneFile(medium, root, old.derive(purpose)).read()
    tombstone_file.TombstoneFile(target, root, new.derive(purpose)).append(list(known.values()))


def _database(home: Home, old: MasterKey, new: MasterKey, folder: Path) -> None:
    with contextlib.closing(Database(home.database_file, old.derive("database 1"))) as database:
        snapshot = Snapshot(database)
        try:
            for _ in snapshot.write(folder / home.database_file.name, key=new.derive("database 1")):
                pass
        finally:
            snapshot.close()


def _no_clock() -> Any:
    raise AssertionError("nothing is issued while keys are rotated")
