"""
`restore`: a home out of a backup, and the drill that proves that it would work.

1. The manifest opens under the given master key; nothing that it does not name is looked at.
2. Every file is copied, and compared with the manifest while it is.
3. The home is opened like any other: what a crash would leave is put in order, tombstones are brought in, and the trail
   says from when the backup is.
4. Every record is opened and its digest compared (or, asked for quickly, structure and catalogue only).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from strongroom.app import returned
from strongroom.app.assembly import open_archive
from strongroom.app.founding import MASTER_KEY_FILE
from strongroom.app.home import Home, finish, make_folders
from strongroom.archive import HostCredential
from strongroom.archive import manifest as manifests
from strongroom.archive.backup import VAULT
from strongroom.archive.backup_check import entries
from strongroom.archive.backups import existing
from strongroom.archive.manifest import PURPOSE, Manifest, ManifestKey
from strongroom.errors import ConfigurationError, IntegrityError, NotFound
from strongroom.ground import tombstone_file
from strongroom.ground.disk import DiskMedium
from strongroom.ground.master import MasterKey
from strongroom.ground.transfer import PARTIAL, Pace, transfer

if TYPE_CHECKING:
    from strongroom.ground.medium import Medium

NEEDED = "archive.db"
"""Without this there is no home; of everything else as much is restored as is whole."""


@final
@dataclass(frozen=True, slots=True)
class Source:
    """A backup and what opens it; *tombstones* is another home or copy that may know of later erasures."""

    path: Path
    key_file: Path
    passphrase: bytes | None
    tombstones: Path | None = None


@final
@dataclass(slots=True)
class Restored:
    """What came back."""

    manifest: Manifest
    findings: list[str] = field(default_factory=list)


async def restore(source: Source, path: Path, *, quick: bool) -> AsyncGenerator[dict[str, Any]]:
    """
    Make the new home *path* out of a backup and check it; yields progress and the result with its findings.

    Raises ConfigurationError without the right master key, NotFound without a backup, ConflictError when *path* is not
    empty, IntegrityError when the manifest or the database was changed.
    """
    master = MasterKey.load(source.key_file, passphrase=source.passphrase)
    with contextlib.closing(existing(source.path)) as medium:
        key = ManifestKey(master.derive(PURPOSE), master.fingerprint)
        back = Restored(manifests.read(medium, key))
        home = make_folders(path)
        done = 0
        for done in _bring_back(medium, home, back):
            yield {"progress": {"stage": "copy", "done": done, "total": back.manifest.length}}
    _small(home, back.manifest, source)
    _tombstones(home, master, source.tombstones)
    made = datetime.fromtimestamp(back.manifest.made_at, UTC).isoformat(timespec="seconds")
    returned.mark(home.root, made)
    finish(home)
    async for reply in _drill(home, source.passphrase, back, made, quick=quick):
        yield reply


async def drill(source: Source, beside: Path, *, quick: bool) -> AsyncGenerator[dict[str, Any]]:
    """Restore into a temporary folder in *beside*, check everything, and remove it whatever happens."""
    folder = _temporary(beside)
    try:
        async for reply in restore(source, folder / "home", quick=quick):
            yield reply
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary(beside: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="strongroom-drill-", dir=beside))
    except OSError as failed:
        raise ConfigurationError(f"a folder cannot be made in {beside}: {failed.strerror}") from failed


def _bring_back(medium: DiskMedium, home: Home, back: Restored) -> Iterator[int]:
    """Copy what the manifest names; what is damaged is named, and copied as far as it goes."""
    with contextlib.closing(DiskMedium(home.root)) as target:
        pace = Pace()
        done = 0
        for name, where, length, digest in entries(back.manifest):
            problem = _bring_file(medium, target, name, where, (length, digest), pace)
            if problem:
                if where == NEEDED:
                    raise IntegrityError(f"the backup cannot be restored: {problem}")
                back.findings.append(problem)
            done += length
            yield done


def _bring_file(
    medium: Medium, target: DiskMedium, name: str, where: str, expected: tuple[int, bytes], pace: Pace
) -> str:
    length, digest = expected
    folder = where.rpartition("/")[0]
    if folder:
        target.make_directory(folder)
    try:
        file = medium.open(name, writable=False)
    except NotFound:
        return f"{name} is not there"
    try:
        present = min(length, file.size())
        same = transfer(file, present, target, where, pace) == digest and present == length
    except IntegrityError as unreadable:
        target.unlink(where + PARTIAL)
        return str(unreadable)
    finally:
        file.close()
    if same:
        return ""
    if not where.startswith((f"{VAULT}/", "trail/")):
        target.unlink(where)  # the keyring has two copies: a damaged one is left out and made anew of the other
    return f"{name} is not what was backed up"


def _small(home: Home, manifest: Manifest, source: Source) -> None:
    wanted = {name: data for name, data in manifest.small.items() if name != "VERSION"}
    for name, data in wanted.items():
        if name.count("/") > 1 or not all(part.replace(".", "").isalnum() for part in name.split("/")):
            raise IntegrityError("the manifest names a file that is none of a home")
        _write(home.root / name, data)
    _write(home.keys / MASTER_KEY_FILE, source.key_file.read_bytes())


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _tombstones(home: Home, master: MasterKey, other: Path | None) -> None:
    """Bring in the tombstones of another copy: what was erased after this backup was made is erased again."""
    if other is None:
        return
    key = master.derive(tombstone_file.PURPOSE)
    root = tombstone_file.ROOT
    with contextlib.closing(existing(other)) as theirs, contextlib.closing(DiskMedium(home.root)) as ours:
        known = tombstone_file.TombstoneFile(theirs, root, key).read()
        tombstone_file.TombstoneFile(ours, root, key).append(list(known.values()))


async def _drill(
    home: Home, passphrase: bytes | None, back: Restored, made: str, *, quick: bool
) -> AsyncGenerator[dict[str, Any]]:
    found: dict[str, Any] = {}
    async with open_archive(home, passphrase=passphrase) as archive:
        archive.core.parts.vault.close_open()
        session = await archive.gate.admit(HostCredential(uid=os.getuid(), command="restore", reason=None))
        custodian = archive.custodian(session)
        try:
            async for reply in custodian.check(read=not quick):
                if "progress" in reply:
                    yield {"progress": {"stage": "check", **reply["progress"]}}
                found = reply.get("result", found)
            trail = await custodian.verify_trail()
            counts = await custodian.status()
        finally:
            session.close()
    findings = [f"{one['where']}: {one['detail']}" for one in (*found["findings"], *trail["findings"])]
    yield {
        "result": {
            "made": made,
            "instances": counts["instances"],
            "studies": counts["studies"],
            "bytes": back.manifest.length,
            "checked": found["checked"],
            "read": not quick,
            "trail_records": trail["records"],
            "findings": back.findings + findings,
        }
    }
