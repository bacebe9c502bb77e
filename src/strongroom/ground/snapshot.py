"""
One state of a database, held while it is copied elsewhere: for a backup under load, and for another key.

The rule of the file: what is written is encrypted page by page like its source; there is no moment in clear text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import final

import apsw

from strongroom.errors import IntegrityError, OutOfResources
from strongroom.ground.database import Database
from strongroom.ground.database_files import sync_directory

STEP_PAGES = 512
"""2 MiB: between two steps others get the processor, and progress is told."""
PAGE_BYTES = 4_096


@final
class Snapshot:
    """
    The state of *database* at the moment this is made; commits go on meanwhile.

    Until `close` the log keeps what was committed since: it grows by what is written while a copy is made.
    """

    def __init__(self, database: Database) -> None:
        self._name = database.path.name
        self._key = database._key  # noqa: SLF001 -- one idea in two modules
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(database.reader())
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # a read begins the snapshot

    @property
    def connection(self) -> apsw.Connection:
        """For questions to this very state."""
        return self._connection

    def write(self, target: Path, *, key: bytes | None = None) -> Iterator[int]:
        """
        Write the state to the new file *target* (0600), under *key* where given; yields bytes written, at last durable.

        Every page is read back and authenticated. Raises OutOfResources, and IntegrityError on a damaged page.
        """
        secret = self._key if key is None else key.hex()
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            yield from self._copy(target, secret)
            _flush(target)
            _prove(target, secret)
        except (apsw.NotADBError, apsw.CorruptError) as damaged:
            raise IntegrityError(f"{self._name} is damaged: {damaged}") from damaged
        except (apsw.Error, OSError) as failed:
            raise OutOfResources(f"a copy of {self._name} cannot be written: {failed}") from failed

    def _copy(self, target: Path, secret: str) -> Iterator[int]:
        sink = _connect(target, secret)
        try:
            sink.execute("PRAGMA journal_mode = off").fetchall()  # the file is whole at the end or thrown away
            sink.execute("PRAGMA synchronous = off").fetchall()  # flushed once, by us
            with sink.backup("main", self._connection, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
                    yield (copying.page_count - copying.remaining) * PAGE_BYTES
        finally:
            sink.close()

    def close(self) -> None:
        """Let the state go; twice does no harm."""
        self._stack.close()


def _connect(path: Path, secret: str) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    for pragma in ("cipher = 'chacha20'", f"key = 'raw:{secret}'", "temp_store = memory"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
    sync_directory(path.parent)


def _prove(path: Path, secret: str) -> None:
    """Read every page back: each is authenticated as it is read."""
    connection = _connect(path, secret)
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    finally:
        connection.close()
        for suffix in ("-wal", "-shm"):  # a file that says WAL gets these by being looked at
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    if [row[0] for row in rows] != ["ok"]:
        raise IntegrityError(f"the copy {path.name} is not whole")
