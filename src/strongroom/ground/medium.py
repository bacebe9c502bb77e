"""
What vault, trail and the keyring's second copy are written on: every read, write and flush of theirs goes through a
`Medium`.

The rule of the file: a failed flush is never tried again. The medium is *suspect* from then on, because the kernel
may have dropped the pages it could not write and call the next flush a success: writing is refused, reading goes on
(SECURITY 1c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from strongroom.ground.disk import DiskMedium
from strongroom.ground.memory import MemoryMedium

Buffer = bytes | bytearray | memoryview

__all__ = ["Buffer", "DiskMedium", "File", "Lock", "Medium", "MemoryMedium"]


class Lock(Protocol):
    """The right to be the only writer; the kernel takes it back when the process ends, however it ends."""

    def release(self) -> None:
        """Give it back; twice does no harm."""


class File(Protocol):
    """One open file. Offsets and lengths are bytes."""

    @property
    def name(self) -> str:
        """The name it was opened by."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read *length* bytes from *offset*, fewer only at the end. Raises IntegrityError when the medium cannot."""

    def pwrite(self, buffers: Sequence[Buffer], offset: int) -> int:
        """
        Write *buffers* one behind the other from *offset*, all of them; return how many bytes that were.

        Not durable before `fdatasync`. Raises OutOfResources when the medium is full or suspect; what stands there
        then is unknown.
        """

    def fdatasync(self) -> None:
        """Make everything written so far durable. Raises OutOfResources, after which the medium is suspect."""

    def allocate(self, start: int, stop: int) -> None:
        """
        Fill *start* to *stop* with zeros that are really written, where the file does not reach yet; made durable.

        A flush of bytes in blocks that were written before costs 0.24 ms, in blocks that were only reserved 0.52 ms.
        """

    def truncate(self, size: int) -> None:
        """Cut the file to *size* bytes; made durable."""

    def size(self) -> int:
        """Return how long the file is."""

    def close(self) -> None:
        """Let go of it; twice does no harm."""


class Medium(Protocol):
    """A folder tree of our own files; see `strongroom.ground._names` for what they may be called."""

    @property
    def suspect(self) -> bool:
        """Whether a flush or a write failed in a way that leaves unknown what is there."""

    def open(self, name: str, *, create: bool = False, writable: bool = True) -> File:
        """
        Open the file *name*; with *create* it must not exist and is made, readable for its owner only.

        Raises NotFound, ConflictError (it exists), IntegrityError (a link or something else than a file),
        OutOfResources.
        """

    def make_directory(self, name: str) -> None:
        """Make the folder *name* (its parents exist), durable and for its owner only; no harm if it exists."""

    def listing(self, directory: str) -> list[str]:
        """Return the names in *directory*, sorted; nothing when there is no such folder."""

    def size(self, name: str) -> int | None:
        """Return how long the file *name* is, None when there is none."""

    def rename(self, old: str, new: str) -> None:
        """Give *old* the name *new*, replacing a file of that name at once; durable after `sync_directory`."""

    def unlink(self, name: str) -> None:
        """Remove the file *name*, no harm if there is none; durable after `sync_directory`."""

    def sync_directory(self, name: str = "") -> None:
        """Make the names in the folder *name* durable. Raises OutOfResources, after which the medium is suspect."""

    def lock(self, name: str) -> Lock:
        """Take the one lock called *name*, at once or not at all: raises ConflictError when somebody holds it."""
