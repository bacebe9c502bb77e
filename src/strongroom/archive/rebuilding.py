"""
`rebuild`: the catalogue made anew from packs and keyring, into a database that nobody uses yet.

1. Every pack is walked, and every label opened under its key. What the register names (conflicts, quarantine,
   deletions) is not the catalogue's; a label that says so is quarantine's.
2. The rest is put into the order in which it was received: what the first instance of a study says of it stays
   (catalogue.record), so the same order gives the same answers.
3. The headers are read in worker processes, and their rows written by this one, in that order.
4. A SOP Instance UID that comes again: with the same digest it is left alone, with another it is a conflict (I3).
What cannot be opened is named as a finding and left in its pack; nothing is guessed.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from strongroom.archive.findings import Finding, Kind
from strongroom.archive.rebuild_worker import Labelled, Read, Wanted, serve
from strongroom.catalogue.blob import BlobLocation, StoredBlob
from strongroom.catalogue.instances import find_instance
from strongroom.catalogue.levels import Described
from strongroom.catalogue.record import Prepared, Recorder
from strongroom.dicom.model import Identity
from strongroom.errors import ConflictError, DataSetError, IntegrityError, NotFound, OutOfResources
from strongroom.ground.label import Label
from strongroom.register import conflicts, deletions, lookups, quarantine, tombstones

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    import apsw

    from strongroom.dicom.limits import Limits
    from strongroom.ground.database import Database
    from strongroom.ground.keyring import Keyring

MAX_WORKERS: Final = 8
"""Processes that read; one writes, and keeps no more of them busy."""
TASK: Final = 256
"""Records in one task: a hand-over costs little against them, and their headers are a few MiB."""
TASKS_AHEAD: Final = 2
"""Tasks that wait for each worker; their answers are kept until their turn comes."""
PACKS_AT_ONCE: Final = 16
"""Packs whose keys are held at one time."""
COMMIT_EVERY: Final = 8
"""Tasks in one transaction."""
MAX_FINDINGS: Final = 10_000

_ORDER: Final = (
    "CREATE TABLE rebuild_order (received_at REAL NOT NULL, pack INTEGER NOT NULL, pack_offset INTEGER NOT NULL,"
    " sealed_length INTEGER NOT NULL, plain_length INTEGER NOT NULL, blob_id BLOB NOT NULL, key_id BLOB NOT NULL,"
    " label BLOB NOT NULL, PRIMARY KEY (received_at, pack, pack_offset)) WITHOUT ROWID"
)
_LABEL: Final = msgspec.json.Decoder(Label)


@final
class Workers:
    """The processes; each is given tasks in turn, and the answers come back in the order of the tasks."""

    def __init__(self, home: Path, vault: str, limits: Limits, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, str(home), vault, limits), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def do(self, tasks: Iterable[tuple[str, int, Any, dict[bytes, bytes]]]) -> Iterator[tuple[Any, Any]]:
        """Yield each task's *given* with its answer, a sentence where the task failed. Raises OutOfResources."""
        waiting: deque[tuple[Connection, Any]] = deque()
        try:
            for number, task in enumerate(tasks):
                if len(waiting) >= len(self._pipes) * TASKS_AHEAD:
                    pipe, given = waiting.popleft()
                    yield given, pipe.recv()
                pipe = self._pipes[number % len(self._pipes)]
                pipe.send(task)
                waiting.append((pipe, task[2]))
            while waiting:
                pipe, given = waiting.popleft()
                yield given, pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as ended:
            raise OutOfResources("a process that reads packs ended; is there memory enough?") from ended

    def close(self) -> None:
        """End them."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


@final
class Rebuild:
    """One run into *database*, whose catalogue is empty; iterate `run`, then look at counts and findings."""

    def __init__(
        self, database: Database, keyring: Keyring, packs: list[int], workers: Workers, *, retired: frozenset[int]
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._packs = [pack for pack in packs if pack not in retired]
        self._workers = workers
        self._recorder = Recorder()
        self._uppers: dict[tuple[Any, ...], Described] = {}
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.total = 0
        self._erased: frozenset[str] = frozenset()
        self._kept_aside = False
        self._labels: deque[tuple[int, list[Label]]] = deque()
        """Those of the tasks that are under way, with their pack."""

    def run(self) -> Iterator[tuple[str, int, int]]:
        """Do it all; yields (phase, done, total) now and then. Raises OutOfResources, and then nothing is of use."""
        with self._database.transaction() as connection:
            connection.execute("DROP TABLE IF EXISTS rebuild_order")
            connection.execute(_ORDER)
            self._kept_aside = lookups.keeps_anything(connection)
        for done, _ in enumerate(self._read_labels(), 1):
            yield "labels", done, len(self._packs)
        with self._database.reader() as connection:
            self._erased = tombstones.in_force(connection)
            rows: list[Any] = connection.execute("SELECT count(*) FROM rebuild_order").fetchall()
            self.total = rows[0][0]
        done = 0
        for done in self._record_all():
            yield "catalogue", done, self.total
        with self._database.transaction() as connection:
            connection.execute("DROP TABLE rebuild_order")

    # -------------------------------------------------------------------------------------------------- labels

    def _read_labels(self) -> Iterator[int]:
        """Step 1; yields once for each pack."""
        for part in _parts(self._packs, PACKS_AT_ONCE):
            keys: dict[int, dict[bytes, bytes]] = {}
            for pack, key_ids in self._workers.do(("keys", pack, pack, {}) for pack in part):
                if isinstance(key_ids, str):
                    self._found(Kind.DAMAGED_PACK, pack, 0, key_ids)
                else:
                    keys[pack] = self._keys(key_ids)
            for pack, labelled in self._workers.do(("labels", pack, pack, keys[pack]) for pack in keys):
                if isinstance(labelled, str):
                    self._found(Kind.DAMAGED_PACK, pack, 0, labelled)
                else:
                    self._keep(labelled, keys[pack])
                yield pack

    def _keep(self, labelled: list[Labelled], keys: dict[bytes, bytes]) -> None:
        with self._database.transaction() as connection:
            rows = [row for one in labelled if (row := self._row(connection, one, keys)) is not None]
            # a blob stands twice where compaction was cut off: either will do
            connection.executemany(
                "INSERT OR IGNORE INTO rebuild_order VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def _row(self, connection: apsw.Connection, one: Labelled, keys: dict[bytes, bytes]) -> tuple[Any, ...] | None:
        if one.label is None:
            if one.key_id in keys:
                self._found(Kind.DAMAGED_BLOB, *one.location[:2], "its label does not open")
            else:
                self.counts["without_key"] += 1  # erased, or its key is lost
            return None
        if self._kept_aside and lookups.has_blob(connection, one.blob_id):
            self.counts["aside"] += 1
            return None
        return (one.received_at, *one.location, one.blob_id, one.key_id, one.label)

    def _keys(self, key_ids: list[bytes]) -> dict[bytes, bytes]:
        found = {}
        for key_id in key_ids:
            try:
                found[key_id] = self._keyring.get(key_id).secret
            except NotFound:
                continue
            except IntegrityError as damaged:
                self._found(Kind.KEYRING, None, None, str(damaged))
        return found

    # -------------------------------------------------------------------------------------------------- headers

    def _record_all(self) -> Iterator[int]:
        """Steps 2 to 4; yields how many records are done."""
        done = 0
        answers = self._workers.do(self._tasks())
        while chunk := list(islice(answers, COMMIT_EVERY)):
            with self._database.transaction() as connection:
                for given, answer in chunk:
                    self._record(connection, given, answer)
                    done += len(given)
            yield done

    def _tasks(self) -> Iterator[tuple[str, int, list[Wanted], dict[bytes, bytes]]]:
        """Records in the order in which they were received, those that stand together in one pack as one task."""
        for page in self._ordered():
            for pack, rows in groupby(page, key=lambda row: int(row[1])):
                wanted, labels = [], []
                for _, _, offset, length, plain, blob_id, key_id, text in rows:
                    label = _LABEL.decode(text)
                    wanted.append(Wanted(offset, length, plain, blob_id, key_id, label.transfer_syntax_uid))
                    labels.append(label)
                self._labels.append((pack, labels))
                yield "headers", pack, wanted, self._keys([*{one.key_id for one in wanted}])

    def _ordered(self) -> Iterator[list[Any]]:
        after: tuple[float, int, int] = (-1e300, 0, 0)
        while True:
            with self._database.reader() as connection:
                rows: list[Any] = connection.execute(
                    "SELECT received_at, pack, pack_offset, sealed_length, plain_length, blob_id, key_id, label"
                    " FROM rebuild_order WHERE (received_at, pack, pack_offset) > (?, ?, ?)"
                    " ORDER BY received_at, pack, pack_offset LIMIT ?",
                    (*after, TASK),
                ).fetchall()
            if not rows:
                return
            after = rows[-1][:3]
            yield rows

    def _record(self, connection: apsw.Connection, given: list[Wanted], answer: list[Read | str] | str) -> None:
        self._uppers.clear()  # a worker says it again in each task
        pack, labels = self._labels.popleft()
        for number, (one, label) in enumerate(zip(given, labels, strict=True)):
            read = answer if isinstance(answer, str) else answer[number]
            place = BlobLocation(pack, one.offset, one.length, one.plain_length)
            if label.quarantine:
                quarantine.add(connection, label, _stored(place, one, label), label.quarantine)
                self.counts["quarantine"] += 1
            elif label.study_instance_uid in self._erased:
                self.counts["erased"] += 1
            elif isinstance(read, str):
                self._found(Kind.DAMAGED_BLOB, pack, one.offset, read)
            else:
                self._index(connection, _stored(place, one, label), label, read)

    def _index(self, connection: apsw.Connection, stored: StoredBlob, label: Label, read: Read) -> None:
        """Step 4."""
        identity = Identity(*read.identity)
        where = (stored.location.pack, stored.location.offset)
        kind = (identity.study_instance_uid, identity.series_instance_uid, read.prints)
        if read.upper is not None:
            self._uppers[kind] = Described(*read.upper)
        uid = label.sop_instance_uid
        if identity.sop_instance_uid != uid:
            self._found(Kind.WRONG_LABEL, *where, "its label names another instance")
            return
        prepared = Prepared(identity, read.prints, read.attributes, read.folded)
        if not (self._kept_aside and deletions.find(connection, uid) is not None):
            try:
                self._recorder.record_in_bulk(connection, prepared, lambda: self._uppers[kind], stored)
            except ConflictError:
                pass  # nothing was changed: the UID is taken
            except DataSetError as error:
                self._found(Kind.DAMAGED_BLOB, *where, str(error))
                return
            else:
                self.counts["instances"] += 1
                return
        if self._digest_of(connection, uid) == label.digest or conflicts.find(connection, uid, label.digest):
            self.counts["copies"] += 1
        else:
            conflicts.add(connection, label, stored)
            self.counts["conflicts"] += 1

    @staticmethod
    def _digest_of(connection: apsw.Connection, sop_instance_uid: str) -> bytes | None:
        """The digest of whatever has the UID: an instance, or one that was deleted."""
        found = find_instance(connection, sop_instance_uid)
        if found is not None:
            return found.digest
        deleted = deletions.find(connection, sop_instance_uid)
        return None if deleted is None else deleted.kept.digest

    def _found(self, kind: Kind, pack: int | None, offset: int | None, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, detail, pack=pack, offset=offset))


def workers_here() -> int:
    """How many processes read on this machine."""
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _parts(given: list[int], length: int) -> Iterator[list[int]]:
    for start in range(0, len(given), length):
        yield given[start : start + length]


def _stored(place: BlobLocation, one: Wanted, label: Label) -> StoredBlob:
    return StoredBlob(
        location=place,
        blob_id=one.blob_id,
        key_id=one.key_id,
        digest=label.digest,
        transfer_syntax_uid=label.transfer_syntax_uid,
        received_at=label.received_at,
        device=label.device_id,
    )
