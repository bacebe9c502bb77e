"""The simulated disk as the archive sees it: a `Medium`, and a VFS with which SQLite reads and writes the same disk."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Sequence
from pathlib import Path

import apsw

from faults.simulated_disk import Inode, SimulatedDisk
from strongroom.errors import ConflictError, NotFound, OutOfResources
from strongroom.ground._names import checked, parent_of

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_VFS = "strongroom-simulated"
_numbers = itertools.count(1)
_disks: dict[str, SimulatedDisk] = {}


class SimulatedMedium:
    """What `DiskMedium` is, on a simulated disk: the same steps in the same order, the same errors."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.suspect = False
        self.root = Path(f"disk{next(_numbers)}")
        _disks[str(self.root)] = disk

    def close(self) -> None:
        _disks.pop(str(self.root), None)

    def open(self, name: str, *, create: bool = False, writable: bool = True) -> SimulatedFile:
        if create or writable:
            self.refuse_if_suspect()
        inode = self.disk.names.get(checked(name))
        if create:
            if inode is not None:
                raise ConflictError(f"{name} exists")
            with self.working(name, flush=False):
                inode = self.disk.create(name)
        elif inode is None:
            raise NotFound(f"there is no {name}")
        return SimulatedFile(self, name, inode)

    def make_directory(self, name: str) -> None:
        self.refuse_if_suspect()
        # folders are there from the first start on: that one may be lost whole is a question about an empty archive
        self.disk.folders.add(checked(name))

    def listing(self, directory: str) -> list[str]:
        every = (*self.disk.names, *self.disk.folders)
        return sorted(name.rpartition("/")[2] for name in every if name and parent_of(name) == directory)

    def size(self, name: str) -> int | None:
        inode = self.disk.names.get(checked(name))
        return None if inode is None else len(inode.seen)

    def rename(self, old: str, new: str) -> None:
        self.refuse_if_suspect()
        if checked(old) not in self.disk.names:
            raise NotFound(f"there is no {old}")
        with self.working(old, flush=False):
            self.disk.rename(old, checked(new))

    def unlink(self, name: str) -> None:
        self.refuse_if_suspect()
        with self.working(name, flush=False):
            self.disk.unlink(checked(name))

    def sync_directory(self, name: str = "") -> None:
        self.refuse_if_suspect()
        with self.working(name or "the root folder", flush=True):
            self.disk.sync_directory(name)

    def lock(self, name: str) -> SimulatedLock:
        return SimulatedLock()

    def refuse_if_suspect(self) -> None:
        if self.suspect:
            raise OutOfResources("the medium is closed for writing after a failed flush; check the disk, then restart")

    def working(self, name: str, *, flush: bool) -> _Working:
        return _Working(self, name, flush=flush)


class _Working:
    """Turn the disk's errors into the medium's."""

    def __init__(self, medium: SimulatedMedium, name: str, *, flush: bool) -> None:
        self.medium, self.name, self.flush = medium, name, flush

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failed: BaseException | None, _trace: object) -> None:
        if isinstance(failed, OSError):
            self.medium.suspect |= self.flush or failed.errno not in _FULL
            raise OutOfResources(f"{self.name} cannot be written: {failed.strerror}") from failed


class SimulatedLock:
    def release(self) -> None:
        return None


class SimulatedFile:
    """An open file of a `SimulatedMedium`."""

    def __init__(self, medium: SimulatedMedium, name: str, inode: Inode) -> None:
        self._medium = medium
        self.inode = inode
        self.name = name

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self.inode.seen[offset : offset + length])

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        self._medium.refuse_if_suspect()
        data = b"".join(buffers)
        with self._medium.working(self.name, flush=False):
            self._medium.disk.write(self.name, self.inode, offset, data)
        return len(data)

    def fdatasync(self) -> None:
        self._medium.refuse_if_suspect()
        with self._medium.working(self.name, flush=True):
            self._medium.disk.sync(self.name, self.inode)

    def allocate(self, start: int, stop: int) -> None:
        position = max(start, self.size())
        if position < stop:
            self.pwrite((bytes(stop - position),), position)
        self.fdatasync()

    def truncate(self, size: int) -> None:
        self._medium.refuse_if_suspect()
        with self._medium.working(self.name, flush=False):
            self._medium.disk.truncate(self.name, self.inode, size)
        self.fdatasync()

    def size(self) -> int:
        return len(self.inode.seen)

    def close(self) -> None:
        return None


class SimulatedFiles:
    """`DatabaseFiles` on simulated disks: which one, the first part of the path says."""

    vfs = f"multipleciphers-{_VFS}"
    alone = True

    def create(self, path: Path) -> bool:
        disk, name = _place(str(path))
        if name in disk.names:
            return False
        disk.create(name)
        disk.sync_directory("")
        return True

    def size(self, path: Path) -> int | None:
        disk, name = _place(str(path))
        return len(disk.names[name].seen) if name in disk.names else None

    def rename(self, old: Path, new: Path) -> None:
        disk, name = _place(str(old))
        disk.rename(name, _place(str(new))[1])


def _place(path: str) -> tuple[SimulatedDisk, str]:
    disk, _, name = path.partition("/")
    return _disks[disk], name


class _File:
    """One database file or log, as SQLite's unix VFS treats them: a new log's name is flushed with its first flush."""

    def __init__(self, disk: SimulatedDisk, name: str, *, new: bool) -> None:
        self._disk, self._name, self._new = disk, name, new
        self._inode = disk.names[name]

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 -- SQLite's words
        return bytes(self._inode.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with _Sqlite(apsw.IOError):
            self._disk.write(self._name, self._inode, offset, bytes(data))

    def xSync(self, _flags: int) -> None:  # noqa: N802
        with _Sqlite(apsw.IOError):
            self._disk.sync(self._name, self._inode)
            if self._new:
                self._disk.sync_directory("")
                self._new = False

    def xTruncate(self, size: int) -> None:  # noqa: N802
        with _Sqlite(apsw.IOError):
            self._disk.truncate(self._name, self._inode, size)

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._inode.seen)

    def xClose(self) -> None:  # noqa: N802
        return None

    def xLock(self, _level: int) -> None:  # noqa: N802
        return None

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        return None

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE


class _Sqlite:
    """Turn the disk's errors into SQLite's: a full disk is one thing, a failed flush another."""

    def __init__(self, kind: type[apsw.Error]) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failed: BaseException | None, _trace: object) -> None:
        if isinstance(failed, OSError):
            raise (apsw.FullError if failed.errno in _FULL else self._kind)(failed.strerror) from failed


class _SimulatedVfs(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(_VFS, "", maxpathname=200)

    def xOpen(self, name: str | apsw.URIFilename, flags: list[int]) -> _File:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        disk, file = _place(path)
        new = file not in disk.names
        if new:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(path)
            with _Sqlite(apsw.CantOpenError):
                disk.create(file)
        flags[1] = flags[0]
        return _File(disk, file, new=new)

    def xDelete(self, path: str, sync_directory: bool) -> None:  # noqa: N802
        disk, name = _place(path)
        with _Sqlite(apsw.IOError):
            disk.unlink(name)
            if sync_directory:
                disk.sync_directory("")

    def xAccess(self, path: str, _flags: int) -> bool:  # noqa: N802
        disk, name = _place(path)
        return name in disk.names

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


VFS = _SimulatedVfs()
FILES = SimulatedFiles()
