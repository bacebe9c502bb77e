"""
`check`: is everything that was promised there, and is it what was received?

1. The packs are structurally whole (vault.check), and the database and keyring are.
2. Every catalogue row has its record where it says, under the blob id it says (I2).
3. Every record in the packs is known: a row, a conflict, a quarantine entry, a deletion, or it is named as an orphan (a
   crash left it; it was never answered with success, or its row was lost).
4. With *read*: every byte opens under its key and the SHA-256 of the data set is the one in the catalogue.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, final

from strongroom.archive.blobs import found_again, open_blob, place
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.lookups import has_blob
from strongroom.errors import NotFound, StrongroomError
from strongroom.register import conflicts, deletions, lookups, quarantine, retired, tombstones
from strongroom.vault import check as vault_check
from strongroom.vault.blob import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.register.deletions import Deleted

STEP = 100
"""Instances between two signs of progress."""
MAX_FINDINGS = 10_000


@final
class Inspection:
    """One run; iterate `run` in a worker thread, then look at findings, checked and good."""

    def __init__(self, parts: Parts, *, read: bool) -> None:
        self._parts = parts
        self._read = read
        self.findings: list[dict[str, Any]] = []
        self.checked = 0
        self.total = 0
        self._shredded: frozenset[bytes] = frozenset()
        self.good: list[int] = []
        """Ids of the instances whose every byte was compared and found right."""

    def run(self) -> Iterator[int]:
        """Do it all; yields how many instances are done, now and then."""
        parts = self._parts
        # what is written while this runs is not looked at: pack ends first, then the rows
        known = set()
        with parts.database.reader() as connection:
            gone = retired.numbers(connection)
        for finding in vault_check.check(parts.vault, read=False, retired=gone):
            if finding.kind is vault_check.FindingKind.MISSING_PACK and self._was_retired(finding.pack):
                continue
            self._found(finding.kind.value, finding.where, finding.detail)
        for problem in parts.keyring.check():
            self._found("keyring", "keyring.db", problem)
        for problem in parts.database.damage():
            self._found("database", "archive.db", problem)
        with parts.database.reader() as connection:
            self.total = catalogue.counts(connection).instances
            for row in catalogue.all_instances(connection):
                known.add(bytes(row.blob_id))
                self._look_at(row)
                self.checked += 1
                if self.checked % STEP == 0:
                    yield self.checked
            self._shredded = tombstones.key_ids(connection)
            known.update(bytes(one.kept.blob_id) for one in _all(conflicts.listed, connection))
            known.update(bytes(one.kept.blob_id) for one in _all(quarantine.listed, connection))
            for deleted in _all(deletions.listed, connection):
                known.add(bytes(deleted.kept.blob_id))
                self._look_at_deleted(deleted)
        self._orphans(known)
        yield self.checked

    def _look_at(self, row: InstanceRow) -> None:
        parts = self._parts
        try:
            finding = vault_check.check_record(parts.vault, place(row), row.blob_id)
            if finding is not None and (moved := self._moved(row)) is not None:
                row, finding = moved, vault_check.check_record(parts.vault, place(moved), row.blob_id)
            if finding is not None:
                self._found(finding.kind.value, f"instance {row.id}, {finding.where}", finding.detail)
                return
            if not self._read:
                return
            opener = open_blob(parts, row)
            digest = hashlib.sha256()
            for cover in opener.windows():
                digest.update(opener.open(parts.vault.read(place(row), cover.sealed_start, cover.sealed_stop), cover))
        except StrongroomError as error:
            self._found(
                "damaged-blob", f"instance {row.id}, pack {row.location.pack} at {row.location.offset}", str(error)
            )
            return
        if digest.digest() == row.digest:
            self.good.append(row.id)
        else:
            self._found("wrong-digest", f"instance {row.id}", "the data set is not the one that was received")

    def _was_retired(self, pack: int) -> bool:
        """Whether a pack went on purpose while this runs."""
        with self._parts.database.reader() as connection:
            return pack in retired.numbers(connection)

    def _moved(self, row: InstanceRow) -> InstanceRow | None:
        """Where a blob lies now whose pack was compacted since its row was read."""
        try:
            return found_again(self._parts, row)
        except NotFound:
            return None

    def _look_at_deleted(self, deleted: Deleted) -> None:
        """What was deleted can be taken back only while its record is there."""
        kept = deleted.kept
        where = Location(kept.pack, kept.offset, kept.length, kept.plain_length)
        try:
            finding = vault_check.check_record(self._parts.vault, where, kept.blob_id)
        except StrongroomError as error:
            self._found("damaged-blob", f"deleted instance {deleted.id}, pack {kept.pack} at {kept.offset}", str(error))
            return
        if finding is not None:
            self._found(finding.kind.value, f"deleted instance {deleted.id}, {finding.where}", finding.detail)

    def _orphans(self, known: set[bytes]) -> None:
        vault = self._parts.vault
        for pack in vault.packs():
            try:
                for record in vault.records(pack):
                    if record.key_id in self._shredded:
                        continue  # erased; its pack waits to be compacted
                    if bytes(record.blob_id) not in known and not self._is_new(bytes(record.blob_id)):
                        self._found(
                            "orphan",
                            f"pack {pack} at {record.location.offset}",
                            "a record that no row knows; never promised",
                        )
            except StrongroomError:
                continue  # the structure check has named it

    def _is_new(self, blob_id: bytes) -> bool:
        """Whether a row came in since the rows were read: the archive goes on taking images meanwhile."""
        with self._parts.database.reader() as connection:
            return has_blob(connection, blob_id) or lookups.has_blob(connection, blob_id)

    def _found(self, kind: str, where: str, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append({"kind": kind, "where": where, "detail": detail})


def _all(listed: Any, connection: Any) -> Iterator[Any]:
    after = 0
    while page := listed(connection, after=after):
        yield from page
        after = page[-1].id
