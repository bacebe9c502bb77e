"""
One encrypted SQLite file with one writer, a pool of readers and numbered migrations (DESIGN section 6, Home).

The rule of the file: what a caller did not commit through `Database.transaction` did not happen, and a file of a
newer format is refused before anything in it is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module, resources
from pathlib import Path
from typing import final

import apsw

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, OutOfResources
from strongroom.ground.database_files import DISK, DatabaseFiles, sync_directory

BUSY_MILLISECONDS = 5_000
KEPT_READERS = 8  # more may exist at one moment; those beyond this number are closed when handed back
WRITER_CACHE_KIB = 65_536
READER_CACHE_KIB = 8_192
CHECKPOINT_PAGES = (
    4_000  # 16 MiB of log before it is folded in: rarer than the default, a fold costs a commit its latency
)

LOG_BYTES = 16 << 20  # as much as stands in the log between two folds
_FRAME = 4_096 + 24  # a page in the log, with its header

_DAMAGED = (apsw.NotADBError, apsw.CorruptError)
_EXHAUSTED = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.NoMemError)
_BUSY = (apsw.BusyError, apsw.LockedError)
_SCRIPT_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


@final
@dataclass(frozen=True, slots=True)
class Migration:
    """
    One numbered step of a format; *script* is SQL text run inside one transaction, *functions* what it calls by name.
    """

    number: int
    script: str
    functions: Mapping[str, Callable[..., str]] = field(default_factory=dict)


def migrations_in(package: str) -> tuple[Migration, ...]:
    """
    Read the files `NNNN_name.sql` of *package* (dotted name, for instance `strongroom.catalogue.migrations`) in their
    order. Functions that SQL does not have stand in its `FUNCTIONS`.

    Raises ConfigurationError when the numbers are not 1, 2, 3 ... without a gap.
    """
    found: dict[int, str] = {}
    for item in resources.files(package).iterdir():
        matched = _SCRIPT_NAME.fullmatch(item.name)
        if matched:
            number = int(matched[1])
            if number in found:
                raise ConfigurationError(f"two migrations of {package} carry the number {number}")
            found[number] = item.read_text("utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise ConfigurationError(f"the migrations of {package} are numbered {sorted(found)}, not 1 to {len(found)}")
    functions: Mapping[str, Callable[..., str]] = getattr(import_module(package), "FUNCTIONS", {})
    return tuple(Migration(number, found[number], functions) for number in sorted(found))


def format_version(connection: apsw.Connection, name: str) -> int:
    """Return the format version of the set of tables called *name*; 0 when it was never made."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE type='table' AND name='format'").fetchall():
        return 0
    row = connection.execute("SELECT version FROM format WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])


def migrate(connection: apsw.Connection, name: str, migrations: Sequence[Migration]) -> int:
    """
    Bring the set of tables called *name* to the last of *migrations*, all steps in one transaction; return how many
    ran.

    Raises ConfigurationError when the file is of a newer format than *migrations* know: nothing is changed then.
    Making a copy first is `Database.migrate`'s part.
    """
    present = format_version(connection, name)
    if present > len(migrations):
        raise ConfigurationError(
            f"the {name} tables are of format {present}, this program knows up to {len(migrations)}: "
            "start the newer Strongroom, or restore the copy made before it migrated"
        )
    missing = migrations[present:]
    if missing:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS format (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"
            )
            for migration in missing:
                for function, implementation in migration.functions.items():
                    connection.create_scalar_function(function, implementation, deterministic=True)
                connection.execute(migration.script).fetchall()
            connection.execute(
                "INSERT INTO format (name, version) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                (name, missing[-1].number),
            )
    return len(missing)


@final
class Database:
    """
    The encrypted file at *path*; *key* is 32 bytes, used as the raw key of SQLite3 Multiple Ciphers' ChaCha20-Poly1305.

    Every page is authenticated when it is read, so a changed byte is an IntegrityError and never a wrong row. WAL,
    synchronous FULL: a returned commit survives a power cut. Temporary tables stay in memory, nothing is ever spilled
    in clear text.
    """

    def __init__(self, path: Path, key: bytes, *, files: DatabaseFiles = DISK) -> None:
        """
        Open the file, or create it (0600) when it is not there.

        Raises IntegrityError when *key* does not open it or it is damaged, ConfigurationError when others may read it.
        """
        if len(key) != 32:
            raise ValueError("a database key is 32 bytes")
        self.path = path
        self._key = key.hex()
        self._files = files
        self._writing = threading.RLock()
        self._resting = threading.Lock()
        self._readers: list[apsw.Connection] = []
        self._suspect = False
        self._closed = False
        self.created = files.create(path)
        self._writer = self._connect(WRITER_CACHE_KIB, query_only=False)

    def __repr__(self) -> str:
        return f"Database({self.path.name!r})"

    @property
    def writer(self) -> apsw.Connection:
        """The one writing connection, for whoever is inside `transaction`."""
        return self._writer

    @property
    def suspect(self) -> bool:
        """Whether a commit failed on the medium: writing is refused from then on, reading goes on."""
        return self._suspect

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """
        Run the body in one immediate transaction on the writing connection: committed at its end, rolled back on any
        exception.

        One thread at a time gets in, the others wait. Not re-entrant. Raises OutOfResources when the medium cannot
        take the commit (and refuses every later one, see `suspect`), IntegrityError on a damaged page, ConflictError
        on a broken uniqueness or foreign key.
        """
        with self._writing:
            if self._suspect:
                raise OutOfResources(f"{self.path.name} is closed for writing after a failed commit")
            connection = self._writer
            with _translated(self):
                connection.execute("BEGIN IMMEDIATE")
            try:
                with _translated(self):
                    yield connection
                    connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(apsw.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reader(self) -> Iterator[apsw.Connection]:
        """
        Lend a read-only connection; every statement sees the newest commit, none waits for the writer.

        No transaction is opened: a caller that needs several statements to see one state says BEGIN itself, and keeps
        it short, since a held snapshot keeps the log from being folded in.
        """
        if self._files.alone:
            with self._writing, _translated(self, writing=False):
                yield self._writer
            return
        with self._resting:
            connection = self._readers.pop() if self._readers else None
        if connection is None:
            with _translated(self, writing=False):
                connection = self._connect(READER_CACHE_KIB, query_only=True)
        try:
            with _translated(self, writing=False):
                yield connection
        finally:
            if connection.in_transaction:
                with suppress(apsw.Error):
                    connection.execute("ROLLBACK")
            with self._resting:
                keep = len(self._readers) < KEPT_READERS and not self._closed
                if keep:
                    self._readers.append(connection)
            if not keep:
                connection.close()

    def migrate(self, name: str, package: str) -> int:
        """
        Bring the tables called *name* to the newest script of *package* (see `migrations_in`); return how many steps
        ran.

        An older format is migrated after a copy of the whole file was made beside it, called
        `<file>.before-<name>-<old version>`; a newer one is refused. Called at start, before any reader exists.
        """
        steps = migrations_in(package)
        with self._writing, _translated(self):
            present = format_version(self._writer, name)
            if 0 < present < len(steps):
                self.copy_to(self.path.with_name(f"{self.path.name}.before-{name}-{present}"))
            return migrate(self._writer, name, steps)

    def copy_to(self, target: Path) -> None:
        """
        Write a whole, consistent, still encrypted copy to *target* (0600, made durable); an older file of that name
        is replaced.

        Commits wait meanwhile.
        """
        partial = target.with_name(target.name + ".partial")
        with self._writing, _translated(self):
            if self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                raise OutOfResources(f"{self.path.name} cannot be copied while a reader holds an old state of it")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                partial.unlink(missing_ok=True)
                DISK.create(partial)
                with self.path.open("rb") as source, partial.open("r+b") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                    sink.flush()
                    os.fsync(sink.fileno())
            finally:
                self._writer.execute("ROLLBACK")
        partial.replace(target)
        sync_directory(target.parent)

    def reserve_log(self, length: int = LOG_BYTES) -> None:
        """
        Let the log grow to *length* bytes now; it keeps them, and a commit into bytes that exist is flushed sooner than
        one that makes the file longer (0.1 ms of 0.3 here). For a server, at start, before anybody reads.
        """
        with self._writing, _translated(self):
            writer = self._writer
            writer.execute("CREATE TABLE IF NOT EXISTS reserve (count INTEGER NOT NULL)")
            writer.execute("DELETE FROM reserve")
            writer.execute("INSERT INTO reserve VALUES (0)")
            writer.execute("PRAGMA synchronous = off").fetchall()  # what is written here is worth nothing
            try:
                for _ in range(length // _FRAME):
                    writer.execute("UPDATE reserve SET count = count + 1")
            finally:
                writer.execute("PRAGMA synchronous = full").fetchall()
            writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def truncate_log(self) -> None:
        """
        Fold the log into the file and cut it to nothing: what was deleted stands nowhere any more.

        Raises OutOfResources while a reader holds an old state; whoever has to be sure tries again.
        """
        with self._writing, _translated(self):
            if self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                raise OutOfResources(f"the log of {self.path.name} is still being read")

    def damage(self) -> tuple[str, ...]:
        """Read every page and index; return SQLite's findings, nothing when all is well. Slow: for `check`."""
        try:
            with self.reader() as connection:
                rows = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        except IntegrityError as damaged:
            return (str(damaged),)
        return () if rows == ["ok"] else tuple(rows)

    def close(self) -> None:
        """Fold the log into the file and let go of it; calling twice does no harm."""
        with self._resting:
            self._closed = True
            readers, self._readers = self._readers, []
        for connection in readers:
            connection.close()
        with self._writing:
            self._writer.close()

    def _connect(self, cache_kib: int, *, query_only: bool) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        connection = apsw.Connection(str(self.path), flags=flags, vfs=self._files.vfs)
        try:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            for pragma in (
                "cipher = 'chacha20'",
                f"key = 'raw:{self._key}'",  # raw: no passphrase stretching, 30 ms for each connection
                f"locking_mode = {'exclusive' if self._files.alone else 'normal'}",
                "journal_mode = wal",
                "synchronous = full",
                "foreign_keys = on",
                "secure_delete = on",
                "temp_store = memory",
                "trusted_schema = off",
                f"cache_size = -{cache_kib}",
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
                f"query_only = {int(query_only)}",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except _DAMAGED as damaged:
            connection.close()
            raise IntegrityError(f"{self.path.name} is damaged or sealed under another key") from damaged
        except apsw.Error:
            connection.close()
            raise
        return connection


@contextmanager
def _translated(database: Database, *, writing: bool = True) -> Iterator[None]:
    """Turn apsw's errors into ours; the text of a constraint error names columns only, never a value."""
    try:
        yield
    except _DAMAGED as damaged:
        raise IntegrityError(f"{database.path.name} is damaged: {damaged}") from damaged
    except _EXHAUSTED as exhausted:
        if writing and isinstance(exhausted, apsw.IOError):
            database._suspect = True  # noqa: SLF001 -- a failed fsync is never tried again (SECURITY 1c)
        raise OutOfResources(f"{database.path.name} cannot be written: {exhausted}") from exhausted
    except _BUSY as busy:
        raise OutOfResources(f"{database.path.name} is held by another process") from busy
    except apsw.ConstraintError as contradicted:
        raise ConflictError(f"{database.path.name}: {contradicted}") from contradicted
