"""
The keyring: one random data key per study, wrapped under the master key, kept twice (docs/formats/keyring.md).

The rule of the file: a key is in both copies, durably, before anybody may seal with it; a key is never lost to repair
one copy, whatever either of them knows stays known.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar, final

import apsw
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, NotFound
from strongroom.ground.database import Database, Migration, migrate
from strongroom.ground.database_files import DISK, DatabaseFiles, overwrite
from strongroom.ground.keyring_copy import KeyringCopy, KeyRow
from strongroom.ground.master import MasterKey
from strongroom.ground.medium import Medium
from strongroom.ground.seal import KEY, Randomness
from strongroom.ground.snapshot import Snapshot

DATABASE = "keyring.db"
CACHED = 4_096  # keys held opened in memory
BATCH = 500  # keys wrapped anew in one transaction
QUICKLY_CHECKED = 32 << 20  # bytes; damage in a larger first copy is found when it is met, not at start

_SCHEMA = (
    Migration(
        1,
        "CREATE TABLE keys (sequence INTEGER PRIMARY KEY, key_id BLOB NOT NULL UNIQUE, study TEXT,"
        " wrapped BLOB NOT NULL, commitment BLOB NOT NULL);"
        "CREATE INDEX keys_by_study ON keys (study, sequence) WHERE study IS NOT NULL;"
        "CREATE TABLE copy (only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL,"
        " sequence INTEGER NOT NULL, hash BLOB NOT NULL);",
    ),
)
_ADD = (
    "INSERT INTO keys (key_id, study, wrapped, commitment) VALUES (?1, ?2, ?3, ?4) "
    "ON CONFLICT (key_id) DO UPDATE SET study = excluded.study WHERE keys.study IS NULL"
)
_COLUMNS = "SELECT key_id, study, wrapped, commitment FROM keys"

Answer = TypeVar("Answer")


@final
@dataclass(frozen=True, slots=True)
class DataKey:
    """The key blobs of one study are sealed under; *secret* is 32 bytes and never shown."""

    key_id: bytes
    secret: bytes = field(repr=False)


@final
class Keyring:
    """
    All data keys of a home. Any thread may call anything; what creates a key waits for two flushes (about 1 ms).

    `notices` says what was healed at opening or later, in sentences for the operator and the trail.
    """

    def __init__(
        self,
        directory: Path,
        master: MasterKey,
        medium: Medium,
        randomness: Randomness,
        *,
        create: bool,
        files: DatabaseFiles = DISK,
    ) -> None:
        """Use `Keyring.create` or `Keyring.open`."""
        self._files = files
        self._path = directory / DATABASE
        self._wrapping = master.derive("keyring wrapping 1")
        self._database_key = master.derive("keyring database 1")
        self._randomness = randomness
        self._writing = threading.RLock()
        self._caching = threading.Lock()
        self._by_study: OrderedDict[str, DataKey] = OrderedDict()
        self._by_id: OrderedDict[bytes, DataKey] = OrderedDict()
        self.notices: tuple[str, ...] = ()
        self._copy = KeyringCopy(medium, master.derive("keyring copy 1"), randomness)
        if create:
            if self._is_there(self._path) or self._copy.exists():
                raise ConflictError("there is a keyring here already")
        elif not self._is_there(self._path) and not self._copy.exists():
            raise ConfigurationError(f"there is no keyring in {directory}")
        self._database = self._first_copy(create=create)
        self._reconcile()

    def __repr__(self) -> str:
        return "Keyring()"

    @classmethod
    def create(
        cls,
        directory: Path,
        master: MasterKey,
        medium: Medium,
        *,
        randomness: Randomness = os.urandom,
        files: DatabaseFiles = DISK,
    ) -> Keyring:
        """Make an empty keyring: `keyring.db` in *directory*, its second copy on *medium*. Raises ConflictError."""
        return cls(directory, master, medium, randomness, create=True, files=files)

    @classmethod
    def open(
        cls,
        directory: Path,
        master: MasterKey,
        medium: Medium,
        *,
        randomness: Randomness = os.urandom,
        files: DatabaseFiles = DISK,
    ) -> Keyring:
        """
        Open both copies; a damaged or missing one is made anew out of the other and `notices` says so.

        Raises ConfigurationError when there is no keyring, IntegrityError when neither copy opens under *master*.
        """
        return cls(directory, master, medium, randomness, create=False, files=files)

    def find(self, study_instance_uid: str) -> DataKey | None:
        """Return the study's key when it is in memory, else None: for the event loop, no input or output."""
        with self._caching:
            key = self._by_study.get(study_instance_uid)
            if key is not None:
                self._by_study.move_to_end(study_instance_uid)
            return key

    def for_study(self, study_instance_uid: str) -> DataKey:
        """
        Return the study's key, made now if it has none: durable in both copies before this returns.

        Raises OutOfResources when a copy cannot be written, IntegrityError when the key is damaged in both.
        """
        key = self.find(study_instance_uid)
        if key is not None:
            return key
        with self._writing:
            key = self.find(study_instance_uid)
            if key is None:
                row = self._row("study = ? ORDER BY sequence LIMIT 1", study_instance_uid)
                key = self._add(study_instance_uid) if row is None else self._opened(row)
                self._remember(key, study_instance_uid)
            return key

    def unassigned(self) -> DataKey:
        """Make a key for a blob whose study is not known yet; the quarantine's until `assign`. Durable, as above."""
        with self._writing:
            key = self._add(None)
            self._remember(key, None)
            return key

    def assign(self, key_id: bytes, study_instance_uid: str) -> DataKey:
        """
        Say which study an unassigned key belongs to; the blobs under it need no change. Durable, as above.

        A study may so come to own several keys; `for_study` goes on giving the first. Raises NotFound, and
        ConflictError when the key is another study's.
        """
        with self._writing:
            row = self._row("key_id = ?", key_id)
            if row is None:
                raise NotFound("there is no such data key")
            if row.study is None:
                self._write(row._replace(study=study_instance_uid))
            elif row.study != study_instance_uid:
                raise ConflictError("this data key belongs to another study")
            key = self._opened(row)
            self._remember(key, None)
            return key

    def get(self, key_id: bytes) -> DataKey:
        """Return the key called *key_id*. Raises NotFound, and IntegrityError when it is damaged in both copies."""
        with self._caching:
            key = self._by_id.get(key_id)
            if key is not None:
                self._by_id.move_to_end(key_id)
                return key
        row = self._row("key_id = ?", key_id)
        if row is None:
            raise NotFound("there is no such data key")
        key = self._opened(row)
        self._remember(key, None)
        return key

    def of_study(self, study_instance_uid: str) -> tuple[bytes, ...]:
        """Return the ids of every key that is a study's, ascending."""

        def look() -> tuple[bytes, ...]:
            with self._database.reader() as connection:
                rows = (
                    KeyRow(*row) for row in connection.execute(f"{_COLUMNS} WHERE study = ?", (study_instance_uid,))
                )
                return tuple(sorted(row.key_id for row in rows))

        return self._healing(look)

    def shred(self, key_ids: Collection[bytes]) -> int:
        """
        Destroy keys for good, in memory and in both copies; return how many there were. Nothing opens again that lies
        under them, and no file of the keyring holds a byte of them.

        1. The first copy forgets them, and that the second holds what it does (a crash from here on brings them back at
           the next start: whoever wants them gone has it on record and asks again).
        2. The second copy is written anew without them, the older generation is overwritten and removed.
        3. The first copy notes the head of the second; its log is cut to nothing.
        4. What was left of a first copy that was once damaged is overwritten and removed: it may hold them.

        Raises OutOfResources; asked again it goes on.
        """
        gone = {bytes(one) for one in key_ids}
        with self._writing:
            self._forget(gone)
            with self._database.transaction() as connection:
                before = connection.total_changes()
                connection.executemany("DELETE FROM keys WHERE key_id = ?", [(one,) for one in sorted(gone)])
                shredded = connection.total_changes() - before
                connection.execute("DELETE FROM copy")
            self._copy.rewrite(self._rows(), shred=True)
            with self._database.transaction() as connection:
                self._note_head(connection)
            self._database.truncate_log()
            for left in sorted(self._path.parent.glob(f"{DATABASE}.damaged-*")):
                overwrite(left)
            self._forget(gone)  # whoever looked one up meanwhile put it back
        return shredded

    def _forget(self, gone: Collection[bytes]) -> None:
        with self._caching:
            for key_id in gone:
                self._by_id.pop(key_id, None)
            for study in [study for study, key in self._by_study.items() if key.key_id in gone]:
                del self._by_study[study]

    def check(self) -> tuple[str, ...]:
        """Read both copies through and open every key; return what is wrong. Slow: for `check`."""
        with self._writing:
            wrong = [f"the keyring: {finding}" for finding in self._database.damage()]
            wrong += self._copy.findings()
            if wrong:
                return tuple(wrong)
            missing = 0
            copied = {row.key_id: row for row in self._copy.rows()}
            for row in self._rows():
                missing += copied.get(row.key_id) != row
                try:
                    self._unwrapped(row)
                except IntegrityError:
                    wrong.append(f"the data key {row.key_id.hex()} does not open")
            if missing:
                wrong.append(f"{missing} data keys are not in the keyring's second copy as they are in the first")
        return tuple(wrong)

    def snapshot(self) -> Snapshot:
        """Hold the first copy as it is now, for a backup; the second one's files are copied after it was written."""
        return self._healing(lambda: Snapshot(self._database))

    def copy_into(self, other: Keyring) -> None:
        """Put every key into the empty keyring *other*, wrapped under its master key, durably: for a rotation."""
        rows = self._rows()
        while batch := list(islice(rows, BATCH)):
            other._adopt((self._opened(row), row.study) for row in batch)

    def _adopt(self, keys: Iterable[tuple[DataKey, str | None]]) -> None:
        rows = [
            KeyRow(key.key_id, study, aes_key_wrap_with_padding(self._wrapping, key.secret), _commitment(key))
            for key, study in keys
        ]
        with self._writing:
            self._copy.append(rows)
            with self._database.transaction() as connection:
                connection.executemany(_ADD, rows)
                self._note_head(connection)

    def close(self) -> None:
        """Let go of both copies."""
        with self._writing:
            self._database.close()
            self._copy.close()

    def _add(self, study: str | None) -> DataKey:
        key = DataKey(self._randomness(16), self._randomness(KEY))
        wrapped = aes_key_wrap_with_padding(self._wrapping, key.secret)
        self._write(KeyRow(key.key_id, study, wrapped, _commitment(key)))
        return key

    def _write(self, row: KeyRow) -> None:
        # The copy goes first: what a crash leaves in it alone is taken over at the next start; nobody used it yet.
        self._copy.append([row])
        with self._database.transaction() as connection:
            connection.execute(_ADD, row)
            self._note_head(connection)

    def _note_head(self, connection: apsw.Connection) -> None:
        head = self._copy.head
        connection.execute(
            "INSERT INTO copy (only, name, sequence, hash) VALUES (1, ?, ?, ?) ON CONFLICT (only) DO UPDATE "
            "SET name = excluded.name, sequence = excluded.sequence, hash = excluded.hash",
            (head.chain, head.sequence, head.hash),
        )

    def _remember(self, key: DataKey, study: str | None) -> None:
        with self._caching:
            self._by_id[key.key_id] = key
            if study is not None:
                self._by_study[study] = key
            while len(self._by_id) > CACHED:
                self._by_id.popitem(last=False)
            while len(self._by_study) > CACHED:
                self._by_study.popitem(last=False)

    def _row(self, where: str, value: str | bytes) -> KeyRow | None:
        def look() -> KeyRow | None:
            with self._database.reader() as connection:
                row = connection.execute(f"{_COLUMNS} WHERE {where}", (value,)).fetchone()
            return None if row is None else KeyRow(*row)

        return self._healing(look)

    def _rows(self) -> Iterator[KeyRow]:
        with self._database.reader() as connection:
            for row in connection.execute(f"{_COLUMNS} ORDER BY sequence"):
                yield KeyRow(*row)

    def _opened(self, row: KeyRow) -> DataKey:
        try:
            return self._unwrapped(row)
        except IntegrityError:
            other = next((found for found in self._copy.rows() if found.key_id == row.key_id), None)
            if other is None or other == row:
                raise
            return self._unwrapped(other)

    def _unwrapped(self, row: KeyRow) -> DataKey:
        try:
            key = DataKey(row.key_id, aes_key_unwrap_with_padding(self._wrapping, row.wrapped))
        except (InvalidUnwrap, ValueError) as wrong:
            raise IntegrityError("a data key does not open under the master key") from wrong
        if not hmac.compare_digest(_commitment(key), row.commitment):
            raise IntegrityError("a data key is not the one that was committed to")
        return key

    def _healing(self, look: Callable[[], Answer]) -> Answer:
        """Do something with the first copy; when it is damaged, make it anew out of the second and try once more."""
        used = self._database
        try:
            return look()
        except IntegrityError as damaged:
            with self._writing:
                if self._database is used:  # nobody healed it meanwhile
                    used.close()
                    self._database = self._rebuilt(str(damaged))
                    self._reconcile()
            return look()

    def _first_copy(self, *, create: bool) -> Database:
        if not create and not self._is_there(self._path):
            return self._rebuilt("it is missing")
        try:
            database = Database(self._path, self._database_key, files=self._files)
        except IntegrityError as damaged:
            if not self._copy.opens():
                raise IntegrityError(
                    "the keyring does not open: this is another home's master key, or both copies are damaged"
                ) from damaged
            return self._rebuilt(str(damaged))
        try:
            migrate(database.writer, "keyring", _SCHEMA)
            if (self._files.size(self._path) or 0) <= QUICKLY_CHECKED and database.damage():
                raise IntegrityError("pages of it are damaged")  # noqa: TRY301 -- the same way out as a page met later
        except (IntegrityError, apsw.NotADBError, apsw.CorruptError) as damaged:
            database.close()
            return self._rebuilt(str(damaged))
        return database

    def _rebuilt(self, why: str) -> Database:
        """Put a damaged first copy aside, make it anew out of the second. Raises IntegrityError if that is, too."""
        rows = list(self._copy.rows())
        kept, number = False, 1
        while self._is_there(aside := self._path.with_name(f"{DATABASE}.damaged-{number}")):
            number += 1
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(DATABASE + suffix)
            kept = kept or self._is_there(part)
            if self._is_there(part):
                self._files.rename(part, aside.with_name(aside.name + suffix))
        database = Database(self._path, self._database_key, files=self._files)
        migrate(database.writer, "keyring", _SCHEMA)
        with database.transaction() as connection:
            connection.executemany(_ADD, rows)
        notice = (
            f"the keyring was damaged ({why}) and was made anew out of its second copy: {len(rows)} keys; "
            f"{f'what was left of it is kept as {aside.name}' if kept else 'nothing was left of it'}"
        )
        self.notices = (*self.notices, notice)
        return database

    def _is_there(self, path: Path) -> bool:
        return self._files.size(path) is not None

    def _reconcile(self) -> None:
        """
        Make both copies hold the same.

        1. The copy's head is the one the first copy noted: nothing to do.
        2. It is not: whatever only the second copy knows goes into the first.
        3. The second copy continues from the noted head (a crash between the two writes): the new head is noted.
        4. It is damaged, missing or older: it is written anew out of the first.
        """
        with self._database.reader() as connection:
            noted = connection.execute("SELECT name, sequence, hash FROM copy").fetchone()
        state = self._copy.open(noted)
        if state.same:
            return
        with self._database.transaction() as connection:
            if state.readable:
                connection.executemany(_ADD, list(self._copy.rows()))
            if not state.continues:
                self._copy.rewrite(KeyRow(*row) for row in connection.execute(f"{_COLUMNS} ORDER BY sequence"))
            self._note_head(connection)
        if not state.continues and noted is not None:
            notice = f"the keyring's second copy was made anew out of the first: {state.reason}"
            self.notices = (*self.notices, notice)


def _commitment(key: DataKey) -> bytes:
    """Return what proves that *key* is the one meant: AES-GCM alone would let two keys open one text."""
    return hmac.digest(key.secret, b"strongroom data key 1" + key.key_id, "sha256")
