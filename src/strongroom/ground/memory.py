"""
The medium that lives in memory: for tests, and for trying what a power cut leaves behind.

Every file has two images, as a disk behind a cache has: what a reader sees now, and what is durable together with the
writes that are still under way. `MemoryMedium.power_cut` builds the medium a machine could find after the current
failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from strongroom.errors import ConflictError, NotFound, OutOfResources
from strongroom.ground._names import checked, parent_of


@final
class _Content:
    """One file's bytes: *seen* by readers, *durable*, and the *pending* writes between the two, oldest first."""

    __slots__ = ("durable", "pending", "seen")

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes]] = []


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


@final
class MemoryMedium:
    """An empty medium of *capacity* bytes (None: no bound)."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.flushes = 0  # how many times anything was made durable, for tests that count
        self._suspect = False
        self._failing = 0
        self._directories: set[str] = {""}
        self._names: dict[str, _Content] = {}
        self._durable_names: dict[str, _Content] = {}
        self._locks: set[str] = set()

    def __repr__(self) -> str:
        return f"MemoryMedium({len(self._names)} files)"

    @property
    def suspect(self) -> bool:
        """See `Medium.suspect`."""
        return self._suspect

    def fail_flushes(self, count: int = 1) -> None:
        """Let the next *count* flushes fail as a broken disk does: only the first is ever tried."""
        self._failing = count

    def corrupt(self, name: str, position: int, mask: int = 0x01) -> None:
        """Flip the bits of *mask* in the byte at *position*, in both images: bit rot."""
        content = self._names[name]
        for image in (content.seen, content.durable):
            if position < len(image):
                image[position] ^= mask

    def overwrite(self, name: str, content: bytes) -> None:
        """Let the file *name* (made when absent) durably hold *content*: what a tamperer or a bad disk left there."""
        found = self._names.setdefault(name, _Content())
        found.seen = bytearray(content)
        found.durable = bytearray(content)
        found.pending = []
        self._durable_names[name] = found

    def content(self, name: str) -> bytes:
        """Return the bytes a reader of *name* sees."""
        return bytes(self._names[name].seen)

    def power_cut(self, keep: Callable[[str, int, bytes], bytes] | None = None) -> MemoryMedium:
        """
        Return the medium as found after the current failed now: durable names and bytes, nothing else.

        *keep* is asked for each pending write (file, offset, data) which of its bytes reached the disk nevertheless:
        a part from its front, with zeros where a sector did not; nothing by default.
        """
        after = MemoryMedium(self.capacity)
        after._directories = set(self._directories)
        for name, content in self._durable_names.items():
            image = bytearray(content.durable)
            for offset, data in content.pending if keep else ():
                assert keep is not None
                _put(image, offset, keep(name, offset, data))
            after.overwrite(name, bytes(image))
        return after

    def open(self, name: str, *, create: bool = False, writable: bool = True) -> MemoryFile:
        """See `Medium.open`."""
        if create or writable:
            self._refuse_if_suspect()
        content = self._names.get(checked(name))
        if create:
            if content is not None:
                raise ConflictError(f"{name} exists")
            if parent_of(name) not in self._directories:
                raise NotFound(f"there is no folder {parent_of(name)}")
            content = self._names[name] = _Content()
        elif content is None:
            raise NotFound(f"there is no {name}")
        return MemoryFile(self, name, content)

    def make_directory(self, name: str) -> None:
        """See `Medium.make_directory`."""
        self._refuse_if_suspect()
        if parent_of(checked(name)) not in self._directories:
            raise NotFound(f"there is no folder {parent_of(name)}")
        self._directories.add(name)

    def listing(self, directory: str) -> list[str]:
        """See `Medium.listing`."""
        every = (*self._names, *self._directories)
        return sorted(name.rpartition("/")[2] for name in every if name and parent_of(name) == directory)

    def size(self, name: str) -> int | None:
        """See `Medium.size`."""
        content = self._names.get(checked(name))
        return None if content is None else len(content.seen)

    def rename(self, old: str, new: str) -> None:
        """See `Medium.rename`."""
        self._refuse_if_suspect()
        if checked(old) not in self._names:
            raise NotFound(f"there is no {old}")
        self._names[checked(new)] = self._names.pop(old)

    def unlink(self, name: str) -> None:
        """See `Medium.unlink`."""
        self._refuse_if_suspect()
        self._names.pop(checked(name), None)

    def sync_directory(self, name: str = "") -> None:
        """See `Medium.sync_directory`."""
        self._flushing(name or "the root folder")
        for known in [known for known in self._durable_names if parent_of(known) == name]:
            del self._durable_names[known]
        for known, content in self._names.items():
            if parent_of(known) == name:
                self._durable_names[known] = content

    def lock(self, name: str) -> MemoryLock:
        """See `Medium.lock`."""
        if checked(name) in self._locks:
            raise ConflictError(f"{name} is locked: another process is using this home")
        self._locks.add(name)
        return MemoryLock(self, name)

    def close(self) -> None:
        """Nothing to let go of."""

    def _refuse_if_suspect(self) -> None:
        if self._suspect:
            raise OutOfResources("the medium is closed for writing after a failed flush; check the disk, then restart")

    def _flushing(self, name: str) -> None:
        self._refuse_if_suspect()
        if self._failing:
            self._failing -= 1
            self._suspect = True
            raise OutOfResources(f"{name} cannot be made durable: Input/output error")
        self.flushes += 1

    def _growing(self, name: str, grown: int) -> None:
        if self.capacity is not None and sum(len(c.seen) for c in self._names.values()) + grown > self.capacity:
            raise OutOfResources(f"{name} cannot be written: No space left on device")


@final
class MemoryFile:
    """An open file of a `MemoryMedium`; see `File`."""

    __slots__ = ("_content", "_medium", "name")

    def __init__(self, medium: MemoryMedium, name: str, content: _Content) -> None:
        self._medium = medium
        self._content = content
        self.name = name

    def pread(self, length: int, offset: int) -> bytes:
        """See `File.pread`."""
        return bytes(self._content.seen[offset : offset + length])

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        """See `File.pwrite`."""
        self._medium._refuse_if_suspect()  # noqa: SLF001 -- one module, one idea in two classes
        data = b"".join(buffers)
        self._medium._growing(self.name, max(0, offset + len(data) - len(self._content.seen)))  # noqa: SLF001
        _put(self._content.seen, offset, data)
        self._content.pending.append((offset, data))
        return len(data)

    def fdatasync(self) -> None:
        """See `File.fdatasync`."""
        self._medium._flushing(self.name)  # noqa: SLF001
        content = self._content
        for offset, data in content.pending:
            _put(content.durable, offset, data)
        content.pending.clear()

    def allocate(self, start: int, stop: int) -> None:
        """See `File.allocate`."""
        position = max(start, self.size())
        if position < stop:
            self.pwrite((bytes(stop - position),), position)
        self.fdatasync()

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        self._medium._flushing(self.name)  # noqa: SLF001
        content = self._content
        if size > len(content.seen):
            content.seen.extend(bytes(size - len(content.seen)))
        del content.seen[size:]
        content.durable = bytearray(content.seen)
        content.pending.clear()

    def size(self) -> int:
        """See `File.size`."""
        return len(self._content.seen)

    def close(self) -> None:
        """See `File.close`."""


@final
class MemoryLock:
    """A held lock; see `Lock`."""

    __slots__ = ("_medium", "_name")

    def __init__(self, medium: MemoryMedium, name: str) -> None:
        self._medium = medium
        self._name = name

    def release(self) -> None:
        """See `Lock.release`."""
        self._medium._locks.discard(self._name)  # noqa: SLF001 -- one module, one idea in two classes
