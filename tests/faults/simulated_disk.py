"""
A disk behind a cache that forgets: what every legal power cut may leave of it.

What is promised, and by whom (the rules of the model, docs/decisions say where it is milder than a real disk):
1. A sector of 512 bytes is written whole or not at all. Of what was written to it since the last flush of its file, the
   disk holds any earlier state, whatever its neighbours hold: lost, kept, torn and reordered writes.
2. A file's length is one of those it had since the last flush, whatever its sectors hold; what was not written is zeros.
3. Names are apart from contents: a new, renamed or removed name is durable after its folder was flushed, and before that
   any subset of them may be; a rename is whole or not at all.
4. What a flush of a file, or of a folder, returned from, stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

SECTOR = 512


@dataclass(slots=True)
class Write:
    serial: int
    offset: int
    data: bytes


@dataclass(slots=True)
class Cut:
    serial: int
    size: int


class Inode:
    """A file's bytes: what readers see, what is durable, and what was done in between, oldest first."""

    __slots__ = ("durable", "pending", "seen")

    def __init__(self, content: bytes = b"") -> None:
        self.seen = bytearray(content)
        self.durable = content
        self.pending: list[Write | Cut] = []


@dataclass(slots=True)
class Naming:
    """One change of a folder: *new* gets the file (none: nothing), *old* loses its."""

    serial: int
    folder: str
    new: str
    inode: Inode | None
    old: str = ""


class Fate(Enum):
    """What becomes of the changes under way."""

    LOST = "lost"
    KEPT = "kept"
    PREFIX = "in order, up to a torn one"
    SUBSET = "each write or not"
    SECTORS = "each sector or not"


CORNERS = [(Fate.LOST, Fate.LOST), (Fate.KEPT, Fate.KEPT), (Fate.KEPT, Fate.LOST), (Fate.LOST, Fate.KEPT)]


@dataclass(slots=True)
class Snapshot:
    """The disk at one moment, before any of its pending changes was decided about; cheap, nothing is copied."""

    serial: int
    call: str
    names: dict[str, Inode]
    folders: frozenset[str]
    namings: list[Naming]
    contents: dict[int, tuple[bytes, list[Write | Cut], int]] = field(default_factory=dict)
    token: object = None

    def undecided(self) -> int:
        """How many changes are under way."""
        return len(self.namings) + sum(length for _, _, length in self.contents.values())

    def image(self, names: Fate, contents: Fate, rng: random.Random) -> dict[str, bytes]:
        """What a machine finds that comes up again, by name."""
        upto = rng.randint(0, self.serial)
        found = dict(self.names)
        for naming in self.namings:
            kept = {Fate.LOST: False, Fate.KEPT: True, Fate.PREFIX: naming.serial <= upto}.get(names)
            if kept is None:
                kept = rng.random() < 0.5
            if not kept or (naming.old and naming.old not in found):
                continue
            moved = found.pop(naming.old, None) if naming.old else naming.inode
            if naming.new and moved is not None:
                found[naming.new] = moved
            elif naming.new and naming.inode is not None:
                found[naming.new] = naming.inode
        cache: dict[int, bytes] = {}
        for inode in found.values():
            if id(inode) not in cache:
                durable, pending, length = self.contents[id(inode)]
                cache[id(inode)] = _content(durable, pending[:length], contents, upto, rng) if length else durable
        return {name: cache[id(inode)] for name, inode in found.items()}


def _content(durable: bytes, pending: list[Write | Cut], fate: Fate, upto: int, rng: random.Random) -> bytes:
    if fate is Fate.LOST:
        return durable
    keeps = _keeper(fate, upto, rng)
    cached = bytearray(durable)  # what the kernel held after each change: whole sectors of it reach the disk
    made = bytearray(durable)
    lengths = [len(durable)]
    for change in pending:
        _apply(cached, change)
        if fate is Fate.KEPT or (fate is Fate.PREFIX and change.serial < upto):
            _apply(made, change)
        elif isinstance(change, Write):
            _keep_sectors(made, cached, change, keeps(change))
        elif keeps(change)():
            del made[change.size :]
        lengths.append(len(cached))
    if fate is Fate.KEPT:
        size = lengths[-1]
    elif fate is Fate.PREFIX:
        size = lengths[sum(change.serial <= upto for change in pending)]
    else:
        size = rng.choice((lengths[-1], lengths[-1], rng.choice(lengths), lengths[0]))
    if len(made) < size:
        made.extend(bytes(size - len(made)))
    del made[size:]
    return bytes(made)


def _keeper(fate: Fate, upto: int, rng: random.Random) -> Callable[[Write | Cut], Callable[[], bool]]:
    """Return who says of each change, and then of each sector of it, whether it reached the disk."""
    share = rng.choice((0.1, 0.5, 0.9))
    torn = rng.choice((1.0, 0.95))

    def of(change: Write | Cut) -> Callable[[], bool]:
        if fate is Fate.PREFIX:
            return lambda: change.serial == upto and rng.random() < share
        if fate is Fate.SUBSET:
            kept = rng.random() < share
            return lambda: kept and rng.random() < torn
        return lambda: rng.random() < share

    return of


def _apply(image: bytearray, change: Write | Cut) -> None:
    if isinstance(change, Cut):
        del image[change.size :]
        image.extend(bytes(change.size - len(image)))
    else:
        _put(image, change.offset, change.data)


def _keep_sectors(made: bytearray, cached: bytearray, change: Write, kept: Callable[[], bool]) -> None:
    first, stop = change.offset // SECTOR * SECTOR, change.offset + len(change.data)
    for start in range(first, stop, SECTOR):
        if kept():
            _put(made, start, cached[start : start + SECTOR])


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class SimulatedDisk:
    """Files and folders by name; every change is one call, after which `after_call` is told."""

    def __init__(self, image: dict[str, bytes] | None = None, folders: Iterable[str] = ("",)) -> None:
        self.names = {name: Inode(content) for name, content in (image or {}).items()}
        self.durable_names = dict(self.names)
        self.folders = set(folders) | {name.rpartition("/")[0] for name in self.names} | {""}
        self.namings: list[Naming] = []
        self.serial = 0
        self.snapshots: list[Snapshot] | None = None
        self.token: Callable[[], object] = lambda: None
        self.failing: Callable[[str, str], int] = lambda _call, _name: 0
        """Asked before each call (kind, name): an errno lets it fail."""
        self.lying: Callable[[str, str], bool] = lambda _call, _name: False
        """Asked before each flush: true lets it do nothing and say it did. A disk that lies, or code that forgot to flush."""

    def fails(self, call: str, name: str) -> None:
        """Raise what the kernel would."""
        number = self.failing(call, name)
        if number:
            raise OSError(number, "injected", name)

    def _done(self, call: str) -> None:
        self.serial += 1
        if self.snapshots is not None:
            self.snapshots.append(self.snapshot(call))

    def snapshot(self, call: str = "") -> Snapshot:
        """The disk as it is now."""
        namings = list(self.namings)
        taken = Snapshot(
            self.serial, call, dict(self.durable_names), frozenset(self.folders), namings, token=self.token()
        )
        for inode in (*self.durable_names.values(), *(one.inode for one in namings if one.inode is not None)):
            taken.contents[id(inode)] = (inode.durable, inode.pending, len(inode.pending))
        return taken

    def create(self, name: str) -> Inode:
        self.fails("create", name)
        inode = self.names[name] = Inode()
        self.namings.append(Naming(self.serial, _folder(name), name, inode))
        self._done(f"create {name}")
        return inode

    def write(self, name: str, inode: Inode, offset: int, data: bytes) -> None:
        self.fails("write", name)
        _put(inode.seen, offset, data)
        inode.pending.append(Write(self.serial, offset, data))
        self._done(f"write {name} {offset}+{len(data)}")

    def truncate(self, name: str, inode: Inode, size: int) -> None:
        self.fails("truncate", name)
        del inode.seen[size:]
        inode.seen.extend(bytes(size - len(inode.seen)))
        inode.pending.append(Cut(self.serial, size))
        self._done(f"truncate {name} {size}")

    def sync(self, name: str, inode: Inode) -> None:
        try:
            self.fails("sync", name)
        except OSError:
            inode.pending = []  # as the kernel does: the pages count as clean now, and the disk never gets them
            raise
        if not self.lying("sync", name):
            inode.durable = bytes(inode.seen)
            inode.pending = []
        self._done(f"sync {name}")

    def rename(self, old: str, new: str) -> None:
        self.fails("rename", old)
        inode = self.names[new] = self.names.pop(old)
        self.namings.append(Naming(self.serial, _folder(old), new, inode, old))
        self._done(f"rename {old} {new}")

    def unlink(self, name: str) -> None:
        self.fails("unlink", name)
        if self.names.pop(name, None) is not None:
            self.namings.append(Naming(self.serial, _folder(name), "", None, name))
        self._done(f"unlink {name}")

    def sync_directory(self, folder: str) -> None:
        self.fails("sync-directory", folder)
        if not self.lying("sync-directory", folder):
            for name in [name for name in self.durable_names if _folder(name) == folder]:
                del self.durable_names[name]
            self.durable_names |= {name: inode for name, inode in self.names.items() if _folder(name) == folder}
            self.namings = [naming for naming in self.namings if naming.folder != folder]
        self._done(f"sync-directory {folder}")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
