"""
`check`, the quick part: is everything that was promised where it was promised to be?

1. The packs are structurally whole (vault.check), and the database and keyring are.
2. Every row of catalogue and register has its record where it says, under the blob id it says, of that length (I2).
3. Every record in the packs is known to a row, or it is named as an orphan (a crash left it, or its row was lost).
Pack by pack, so that memory is that of one pack's index. Opening every byte is `archive.proving`'s part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from strongroom.archive.findings import Finding, Kind
from strongroom.catalogue import places
from strongroom.catalogue.lookups import has_blob
from strongroom.errors import IntegrityError, NotFound
from strongroom.register import lookups, retired
from strongroom.register import places as kept
from strongroom.vault import check as vault_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.archive.core import Parts
    from strongroom.vault.check import Entry

MAX_FINDINGS: Final = 10_000
"""Findings listed; an archive with more has to be looked at by a person anyway."""


@final
class Inspection:
    """One run; iterate `run` in a worker thread, then call `settle` behind a pause, then look at findings."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.findings: list[Finding] = []
        self.packs = len(parts.vault.packs())
        self.rows = 0
        self.suspects: list[tuple[int, int, bytes]] = []
        """Records without a row, as (pack, offset, blob id): some may be on their way into the catalogue."""

    def run(self) -> Iterator[int]:
        """Do it all; yields how many packs are done."""
        parts = self._parts
        for problem in parts.keyring.check():
            self.found(Finding(Kind.KEYRING, problem, file="keyring.db"))
        for problem in parts.database.damage():
            self.found(Finding(Kind.DATABASE, problem, file="archive.db"))
        with parts.database.reader() as connection:
            gone = retired.numbers(connection)
        for missing in vault_check.missing_packs(parts.vault, gone):
            self._pack_found(missing)
            self._compare(missing.pack, [], None)
        for done, number in enumerate(parts.vault.packs(), 1):
            self._look_at(number)
            yield done

    def settle(self) -> None:
        """Look again for rows of the suspects; whatever was being written when they were met is written now."""
        with self._parts.database.reader() as connection:
            for pack, offset, blob_id in self.suspects:
                if not has_blob(connection, blob_id) and not lookups.has_blob(connection, blob_id):
                    self.found(Finding(Kind.ORPHAN, "a record that no row knows", pack=pack, offset=offset))

    def found(self, finding: Finding) -> None:
        """List a finding, up to a number."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)

    def _look_at(self, number: int) -> None:
        records: list[Entry] = []
        try:
            stop = self._parts.vault.file(number)[1]
            for finding in vault_check.check_pack(self._parts.vault, number, listing=records):
                self._pack_found(finding)
        except NotFound:
            return  # compacted away meanwhile
        except IntegrityError as damaged:
            self.found(Finding(Kind.DAMAGED_PACK, str(damaged), pack=number, offset=0))
            return
        self._compare(number, records, stop)

    def _compare(self, number: int, records: list[Entry], stop: int | None) -> None:
        """Rows against records; *stop* is where an open pack ended when it was looked at: what is behind is new."""
        there = {entry.offset: entry for entry in records}
        with self._parts.database.reader() as connection:
            rows = [*places.in_pack(connection, number)]
            rows += [places.Place(*row) for row in kept.in_pack(connection, number)]
        for row in rows:
            if stop is not None and row.offset >= stop:
                continue
            self.rows += 1
            entry = there.get(row.offset)
            what = f"{row.table.replace('_', ' ')} {row.id}"
            if entry is None:
                detail = "no record stands there"
            elif entry.blob_id != row.blob_id or entry.sealed_length != row.length:
                detail = "another record stands there"
            else:
                del there[row.offset]
                continue
            self.found(Finding(Kind.DAMAGED_RECORD, detail, pack=number, offset=row.offset, what=what))
        self.suspects += [(number, offset, entry.blob_id) for offset, entry in there.items()][:MAX_FINDINGS]

    def _pack_found(self, finding: vault_check.Finding) -> None:
        self.found(Finding(Kind(finding.kind.value), finding.detail, pack=finding.pack, offset=finding.offset))
