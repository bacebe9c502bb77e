"""
The medium that is a folder on a disk.

Files are opened one name at a time from the root's handle without ever following a link, so a link planted in the
home leads nowhere (attack H07).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, NotFound, OutOfResources
from strongroom.ground._names import checked, parent_of

_VECTORS = min(1024, os.sysconf("SC_IOV_MAX"))  # buffers one pwritev takes
_ZEROS = bytes(1 << 20)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@final
class DiskMedium:
    """The folder *root*, made (0700) when it is not there; the folder above must exist."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigurationError when *root* is not a folder or anybody but its owner may write into it."""
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as wrong:
            raise ConfigurationError(f"{root} must be a folder, not a link or a file") from wrong
        if os.fstat(self._root).st_mode & 0o022:
            os.close(self._root)
            raise ConfigurationError(f"{root} can be written by others: chmod 700 it")
        self._suspect = False

    def __repr__(self) -> str:
        return f"DiskMedium(suspect={self._suspect})"

    @property
    def suspect(self) -> bool:
        """See `Medium.suspect`."""
        return self._suspect

    def open(self, name: str, *, create: bool = False, writable: bool = True) -> DiskFile:
        """See `Medium.open`."""
        if writable or create:
            self._refuse_if_suspect()
        flags = (os.O_RDWR if writable or create else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        with self._folder(parent_of(checked(name))) as folder:
            handle = self._opened(name, name.rpartition("/")[2], flags, folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise IntegrityError(f"{name} is not a plain file")
        return DiskFile(self, name, handle)

    def make_directory(self, name: str) -> None:
        """See `Medium.make_directory`."""
        self._refuse_if_suspect()
        parent = parent_of(checked(name))
        with self._folder(parent) as folder, self._writing(name):
            try:
                os.mkdir(name.rpartition("/")[2], 0o700, dir_fd=folder)
            except FileExistsError:
                return
        self.sync_directory(parent)

    def listing(self, directory: str) -> list[str]:
        """See `Medium.listing`."""
        try:
            with self._folder(directory) as folder:
                return sorted(os.listdir(folder))  # noqa: PTH208 -- of a handle, not of a path
        except NotFound:
            return []

    def size(self, name: str) -> int | None:
        """See `Medium.size`."""
        try:
            with self._folder(parent_of(checked(name))) as folder:
                return os.stat(name.rpartition("/")[2], dir_fd=folder, follow_symlinks=False).st_size
        except (FileNotFoundError, NotFound):
            return None

    def rename(self, old: str, new: str) -> None:
        """See `Medium.rename`."""
        self._refuse_if_suspect()
        with (
            self._folder(parent_of(checked(old))) as source,
            self._folder(parent_of(checked(new))) as target,
            self._writing(old),
        ):
            os.rename(old.rpartition("/")[2], new.rpartition("/")[2], src_dir_fd=source, dst_dir_fd=target)

    def unlink(self, name: str) -> None:
        """See `Medium.unlink`."""
        self._refuse_if_suspect()
        with self._folder(parent_of(checked(name))) as folder, self._writing(name), suppress(FileNotFoundError):
            os.unlink(name.rpartition("/")[2], dir_fd=folder)

    def sync_directory(self, name: str = "") -> None:
        """See `Medium.sync_directory`."""
        self._refuse_if_suspect()
        with self._folder(name) as folder, self._flushing(name or "the root folder"):
            os.fsync(folder)

    def lock(self, name: str) -> DiskLock:
        """
        See `Medium.lock`: an flock, which the kernel drops with the process, so kill -9 leaves nothing to clear away.

        The file holds the process id of its holder, for people only.
        """
        with self._folder(parent_of(checked(name))) as folder:
            last = name.rpartition("/")[2]
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = self._opened(name, last, flags, folder)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Somebody may have removed the file between opening and locking: then this lock would exclude nobody.
                if os.stat(last, dir_fd=folder, follow_symlinks=False).st_ino != os.fstat(handle).st_ino:
                    raise BlockingIOError  # noqa: TRY301 -- the same outcome as a lock that is held
            except (BlockingIOError, FileNotFoundError):
                os.close(handle)
                raise ConflictError(f"{name} is locked: another process is using this home") from None
        with self._writing(name):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return DiskLock(handle)

    def remove_directory(self, name: str) -> None:
        """Remove the empty folder *name*; no harm if there is none."""
        self._refuse_if_suspect()
        with (
            suppress(NotFound),
            self._folder(parent_of(checked(name))) as folder,
            self._writing(name),
            suppress(FileNotFoundError),
        ):
            os.rmdir(name.rpartition("/")[2], dir_fd=folder)

    def forget(self, name: str) -> None:
        """Drop what the kernel keeps of a file that was flushed, so that reading it asks the disk; a hint only."""
        file = self.open(name, writable=False)
        try:
            os.posix_fadvise(file._handle, 0, 0, os.POSIX_FADV_DONTNEED)  # noqa: SLF001 -- one idea in two classes
        finally:
            file.close()

    def close(self) -> None:
        """Let go of the root folder."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _refuse_if_suspect(self) -> None:
        if self._suspect:
            raise OutOfResources("the medium is closed for writing after a failed flush; check the disk, then restart")

    def _opened(self, name: str, last: str, flags: int, folder: int) -> int:
        try:
            return os.open(last, flags, 0o600, dir_fd=folder)
        except FileNotFoundError:
            raise NotFound(f"there is no {name}") from None
        except FileExistsError:
            raise ConflictError(f"{name} exists") from None
        except OSError as failed:
            if failed.errno in (errno.ELOOP, errno.EISDIR):
                raise IntegrityError(f"{name} is not a plain file") from failed
            raise OutOfResources(f"{name} cannot be opened: {failed.strerror}") from failed

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """Lend a handle of the folder *name*, reached without following a link."""
        handle = os.dup(self._root)
        try:
            for part in name.split("/") if name else ():
                try:
                    below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                except FileNotFoundError:
                    raise NotFound(f"there is no folder {name}") from None
                except OSError as failed:
                    raise IntegrityError(f"{name} is not a folder of ours") from failed
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Turn a failed write into OutOfResources; an I/O error (rather than a full disk) makes the medium suspect."""
        try:
            yield
        except OSError as failed:
            if failed.errno not in _FULL:
                self._suspect = True
            raise OutOfResources(f"{name} cannot be written: {failed.strerror}") from failed

    @contextmanager
    def _flushing(self, name: str) -> Iterator[None]:
        """Turn a failed flush into OutOfResources and make the medium suspect, whatever the reason."""
        try:
            yield
        except OSError as failed:
            self._suspect = True
            raise OutOfResources(f"{name} cannot be made durable: {failed.strerror}") from failed


@final
class DiskFile:
    """An open file of a `DiskMedium`; see `File`. Any thread may read, one at a time may write."""

    __slots__ = ("_closing", "_handle", "_medium", "name")

    def __init__(self, medium: DiskMedium, name: str, handle: int) -> None:
        self._medium = medium
        self._handle = handle
        self._closing = threading.Lock()
        self.name = name

    def __repr__(self) -> str:
        return f"DiskFile({self.name!r})"

    def pread(self, length: int, offset: int) -> bytes:
        """See `File.pread`."""
        try:
            data = os.pread(self._handle, length, offset)
            while 0 < len(data) < length:  # one pread ends at 2 GiB, and may end earlier
                more = os.pread(self._handle, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as failed:
            raise IntegrityError(f"{self.name} cannot be read at {offset}: {failed.strerror}") from failed
        return data

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        """See `File.pwrite`."""
        self._medium._refuse_if_suspect()  # noqa: SLF001 -- one module, one idea in two classes
        start = offset
        with self._medium._writing(self.name):  # noqa: SLF001
            for first in range(0, len(buffers), _VECTORS):
                batch = list(buffers[first : first + _VECTORS])
                left = sum(map(len, batch))
                while left:
                    written = os.pwritev(self._handle, batch, offset)
                    offset += written
                    left -= written
                    if left:
                        batch = _behind(batch, written)
        return offset - start

    def fdatasync(self) -> None:
        """See `File.fdatasync`."""
        self._medium._refuse_if_suspect()  # noqa: SLF001
        with self._medium._flushing(self.name):  # noqa: SLF001
            os.fdatasync(self._handle)

    def allocate(self, start: int, stop: int) -> None:
        """See `File.allocate`."""
        position = max(start, self.size())
        while position < stop:
            position += self.pwrite((_ZEROS[: min(len(_ZEROS), stop - position)],), position)
        self.fdatasync()

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        self._medium._refuse_if_suspect()  # noqa: SLF001
        with self._medium._writing(self.name):  # noqa: SLF001
            os.ftruncate(self._handle, size)
        with self._medium._flushing(self.name):  # noqa: SLF001
            os.fsync(self._handle)

    def size(self) -> int:
        """See `File.size`."""
        return os.fstat(self._handle).st_size

    def close(self) -> None:
        """See `File.close`."""
        with self._closing:
            handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        # A reader may still be inside pread when a cache forgets the file: the last reference closes it.
        self.close()


@final
class DiskLock:
    """A held lock; see `Lock`."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        """See `Lock.release`."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def _behind(buffers: Sequence[bytes | bytearray | memoryview], written: int) -> list[bytes | bytearray | memoryview]:
    """Return what of *buffers* stands behind the first *written* bytes."""
    for number, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[number + 1 :]]
        written -= len(buffer)
    return []
