"""
A backup: a complete, consistent copy of a home in another folder, made while the archive runs (docs/formats/backup.md).

1. Between two groups of the committer: the state of the database is held and the durable length of every pack taken.
   So every row has its record, and every record its row.
2. The held state is written, then the keyring, the trail, the tombstones and the packs: each of them holds at least
   what that state knows of.
3. Everything is flushed, read back and compared; packs that are there already, closed and of the same id, are left.
4. The manifest is replaced: from then on this backup is the complete one; whatever ends it earlier leaves the one
   before.
5. What the manifest does not name any more is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from strongroom.archive import manifest as manifests
from strongroom.archive.manifest import FileEntry, Manifest, ManifestKey, PackEntry
from strongroom.catalogue import instances as catalogue
from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.chain import whole_length
from strongroom.ground.disk import DiskMedium
from strongroom.ground.snapshot import Snapshot
from strongroom.ground.transfer import Pace, digest_of, transfer
from strongroom.vault.copying import copy_pack, is_there, name_of, numbers_in, pack_id_of

if TYPE_CHECKING:
    from strongroom.archive.committer import Group
    from strongroom.archive.core import Parts
    from strongroom.audit.message import AuditMessage
    from strongroom.vault.pack import Extent

VAULT: Final = "vault"
STATES: Final = "states"
CHAINS: Final = ("keyring", "trail", "tombstones")
"""Folders of chains in a home; they only grow."""
ATTEMPTS: Final = 3
"""How often the files of chains are listed and copied when one of them went away meanwhile (a new generation)."""


@final
class SnapshotAct:
    """Runs between two groups: nothing is half done there. Also puts *messages* into the trail."""

    size = 0

    def __init__(self, messages: Sequence[AuditMessage]) -> None:
        self._messages = messages
        self.result: tuple[Snapshot, list[Extent]] | None = None

    def write(self, group: Group) -> None:
        """Hold the last committed state, and take the lengths that belong to it."""
        snapshot = Snapshot(group.parts.database)
        try:
            self.result = (snapshot, group.parts.vault.extents())
        except BaseException:
            snapshot.close()
            raise

    def index(self, group: Group) -> None:
        """Nothing for the database."""

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """What was given."""
        return self._messages


@final
@dataclass(slots=True)
class Figures:
    """What a run did."""

    packs: int = 0
    copied: int = 0
    bytes: int = 0
    total: int = 0
    damage: list[str] = field(default_factory=list)


@final
class BackupRun:
    """One run, in a worker thread; `steps` yields (bytes done, bytes in all)."""

    def __init__(
        self,
        parts: Parts,
        destination: Path,
        key: ManifestKey,
        small: Callable[[], dict[str, bytes]],
        *,
        pace: Pace,
        verify_all: bool,
        afresh: bool,
    ) -> None:
        self._parts = parts
        self._root = destination
        self._key = key
        self._small = small
        self._pace = pace
        self._verify_all = verify_all
        self._afresh = afresh
        self._medium = DiskMedium(destination)
        self.figures = Figures()
        self.manifest: Manifest | None = None

    def close(self) -> None:
        """Let go of the destination."""
        self._medium.close()

    def previous(self) -> Manifest | None:
        """The complete backup that is there; raises when there is one of another master key or a damaged one."""
        if self._afresh:
            return None
        try:
            return manifests.read(self._medium, self._key)
        except NotFound:
            return None

    def steps(self, snapshot: Snapshot, extents: list[Extent], made_at: float) -> Generator[tuple[int, int]]:
        """Do it all; the snapshot is closed as soon as it was written. Raises IntegrityError, OutOfResources."""
        before = self.previous()
        number = 1 if before is None else before.number + 1
        while self._medium.listing(f"{STATES}/{number:08d}"):
            number += 1  # left by a run that was cut short; removed at the end
        self.figures.total = sum(one.length for one in extents)
        for folder in (VAULT, STATES, *CHAINS[1:], f"{STATES}/{number:08d}", f"{STATES}/{number:08d}/keyring"):
            self._medium.make_directory(folder)
        counts = catalogue.counts(snapshot.connection)
        state = f"{STATES}/{number:08d}"
        files: list[FileEntry] = []
        for database in (snapshot, None):  # the keyring's is held only after the other was written
            yield from self._database(database, state, files)
        for root in CHAINS:
            files += self._chains(root, f"{state}/keyring" if root == "keyring" else root)
            yield self._progress()
        packs: list[PackEntry] = []
        yield from self._packs(extents, before, packs)
        self.manifest = Manifest(number, made_at, counts.instances, tuple(packs), tuple(files), self._small())
        manifests.write(self._medium, self._key, self.manifest)
        self._tidy(self.manifest)

    def _progress(self) -> tuple[int, int]:
        return self.figures.bytes, self.figures.total

    def _database(self, held: Snapshot | None, state: str, files: list[FileEntry]) -> Iterator[tuple[int, int]]:
        home = "keyring.db" if held is None else "archive.db"
        snapshot = self._parts.keyring.snapshot() if held is None else held
        name = f"{state}/{home}"
        try:
            written = 0
            for upto in snapshot.write(self._root / name):
                self._pace.spend(upto - written)
                written = upto
                yield self._progress()
        finally:
            snapshot.close()
        length = self._medium.size(name) or 0
        files.append(FileEntry(name, home, length, digest_of(self._medium, name, length, pace=None)))

    def _chains(self, root: str, target: str) -> list[FileEntry]:
        """Copy the files of one folder of chains; once more when one went away for a new generation meanwhile."""
        for attempt in range(ATTEMPTS):
            names = self._parts.medium.listing(root)
            try:
                found = [self._segment(f"{root}/{name}", f"{target}/{name}") for name in names if _is_chain(name)]
            except NotFound:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            if self._parts.medium.listing(root)[: len(names)] == names:
                return found
        return found

    def _segment(self, home: str, name: str) -> FileEntry:
        source = self._parts.medium.open(home, writable=False)
        try:
            length = whole_length(source)
            if self._medium.size(name) == length and not self._verify_all:
                known = sha256(source.pread(length, 0)).digest()
                if digest_of(self._medium, name, length, pace=None) == known:
                    return FileEntry(name, home, length, known)
            return FileEntry(name, home, length, transfer(source, length, self._medium, name, self._pace))
        finally:
            source.close()

    def _packs(
        self, extents: list[Extent], before: Manifest | None, packs: list[PackEntry]
    ) -> Iterator[tuple[int, int]]:
        known = {one.number: one for one in before.packs} if before is not None else {}
        figures = self.figures
        for extent in extents:
            figures.packs += 1
            kept = self._kept(extent, known.get(extent.number))
            if kept is None:
                copied = copy_pack(self._parts.vault, extent, self._medium, VAULT, self._pace)
                kept = PackEntry(copied.number, copied.pack_id, copied.length, copied.closed, copied.digest)
                figures.copied += 1
                figures.damage += copied.damage
            packs.append(kept)
            figures.bytes += extent.length
            yield self._progress()

    def _kept(self, extent: Extent, known: PackEntry | None) -> PackEntry | None:
        """The entry of a pack that need not be copied again; with *verify_all* its copy is read first."""
        if known is None or (known.length, known.closed) != (extent.length, extent.closed):
            return None
        pack_id = pack_id_of(self._parts.vault, extent.number)
        if known.pack_id != pack_id or not is_there(self._medium, VAULT, extent, pack_id):
            return None
        if self._verify_all:
            name = name_of(VAULT, extent.number, closed=extent.closed)
            try:
                if digest_of(self._medium, name, extent.length, pace=self._pace) != known.digest:
                    return None
            except IntegrityError:
                return None
        return known

    def _tidy(self, manifest: Manifest) -> None:
        """Remove what belongs to no complete backup any more: older states, packs that were closed or retired."""
        medium = self._medium
        wanted = {name_of(VAULT, one.number, closed=one.closed) for one in manifest.packs}
        wanted |= {one.name for one in manifest.files}
        for name in numbers_in(medium, VAULT):
            if f"{VAULT}/{name}" not in wanted:
                medium.unlink(f"{VAULT}/{name}")
        for root in CHAINS[1:]:
            for name in medium.listing(root):
                if f"{root}/{name}" not in wanted:
                    medium.unlink(f"{root}/{name}")
        for state in medium.listing(STATES):
            if int(state) != manifest.number:
                for name in medium.listing(f"{STATES}/{state}/keyring"):
                    medium.unlink(f"{STATES}/{state}/keyring/{name}")
                for name in medium.listing(f"{STATES}/{state}"):
                    if name != "keyring":
                        medium.unlink(f"{STATES}/{state}/{name}")
                medium.remove_directory(f"{STATES}/{state}/keyring")
                medium.remove_directory(f"{STATES}/{state}")


def _is_chain(name: str) -> bool:
    return name.endswith(".chain")
