"""
Copying files from one medium to another: durable, read back from the disk, compared, and only then under their name.

The rule of the file: whatever ends it early leaves `NAME.partial`, which the next attempt replaces, and never a NAME
that is not whole.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import final

from strongroom.errors import IntegrityError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.medium import File, Medium

WINDOW = 1 << 20
PARTIAL = ".partial"


@final
class Pace:
    """Keeps copying to *mebibytes_per_second* (0: as fast as it goes), so that others get the disk as well."""

    def __init__(
        self,
        mebibytes_per_second: float = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = mebibytes_per_second * (1 << 20)
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self.spent = 0

    def spend(self, count: int) -> None:
        """Say that *count* bytes were copied; waits until they may have been."""
        self.spent += count
        if not self._rate:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - 1) + count / self._rate
        if self._free_at > now:
            self._sleep(self._free_at - now)


def transfer(source: File, length: int, target: Medium, name: str, pace: Pace) -> bytes:
    """
    Copy the first *length* bytes of *source* to the file *name* of *target*, replacing one that is there; return their
    SHA-256.

    Raises IntegrityError when the source ends early, cannot be read, or the target gives back something else;
    OutOfResources when it takes no more.
    """
    partial = name + PARTIAL
    target.unlink(partial)
    file = target.open(partial, create=True)
    digest = hashlib.sha256()
    try:
        position = 0
        while position < length:
            data = source.pread(min(WINDOW, length - position), position)
            if not data:
                raise IntegrityError(f"{source.name} ends at {position}, before {length}")
            file.pwrite((data,), position)
            digest.update(data)
            position += len(data)
            pace.spend(len(data))
        file.fdatasync()
    finally:
        file.close()
    if digest_of(target, partial, length, pace=None) != digest.digest():
        raise IntegrityError(f"the copy of {source.name} reads back as something else; look at that disk")
    target.rename(partial, name)
    target.sync_directory(name.rpartition("/")[0])
    return digest.digest()


def digest_of(medium: Medium, name: str, length: int, *, pace: Pace | None) -> bytes:
    """
    Return the SHA-256 of the first *length* bytes of a file, from the disk where that can be had.

    Raises NotFound, IntegrityError.
    """
    if isinstance(medium, DiskMedium):
        medium.forget(name)
    file = medium.open(name, writable=False)
    try:
        digest = hashlib.sha256()
        position = 0
        while position < length:
            data = file.pread(min(WINDOW, length - position), position)
            if not data:
                raise IntegrityError(f"{name} ends at {position}, before {length}")
            digest.update(data)
            position += len(data)
            if pace is not None:
                pace.spend(len(data))
        return digest.digest()
    finally:
        file.close()
