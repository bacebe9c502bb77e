"""
Opening a pack that was not closed: which of its records stay, and what a crash left behind them.

1. Records are followed from the front; each that is structurally whole stays. 2. Of the newest group (what was
written since the last flush) the checksums are looked at: a record with sectors that were
   never written is torn.
3. What is torn or damaged stays where it is, bytes are never taken away: the pack is closed with an index that names
it, and
   what comes next goes into another pack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from strongroom.ground.medium import File
from strongroom.vault._layout import END, FIRST_RECORD, Entry, Kind, aligned, decode_end
from strongroom.vault._walk import Found, Gap, checksum_fits, has_unwritten_sector, walk

_NO_ID = bytes(16)


@final
@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes of pack number *pack* that are no record: *by_crash*, or else damaged since they were written."""

    pack: int
    offset: int
    length: int
    by_crash: bool


@final
@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What `recover` found in an open pack.

    *closing*: it was being closed, no record goes into it; *closed*: only its name and the zeros are left to do.
    """

    entries: list[Entry]
    end: int
    torn: tuple[Torn, ...]
    closing: bool
    closed: bool


def recover(file: File, number: int) -> Recovered:
    """Follow the open pack *number* from its front. Raises IntegrityError when the medium cannot be read."""
    stands = list(walk(file))
    newest = next((found.group for found in reversed(stands) if isinstance(found, Found)), FIRST_RECORD)
    stands = [_judged(file, found, newest) for found in stands]
    torn = tuple(Torn(number, gap.offset, gap.end - gap.offset, gap.torn) for gap in stands if isinstance(gap, Gap))
    last = stands[-1] if stands else None
    closed = (
        isinstance(last, Found)
        and last.kind is Kind.INDEX
        and decode_end(file.pread(END, aligned(last.end))) == last.offset
        and checksum_fits(file, last)
    )
    entries = [entry_of(found) for found in stands if isinstance(found, Gap) or found.kind is not Kind.INDEX]
    closing = len(entries) < len(stands)
    return Recovered(entries, aligned(last.end) if last else FIRST_RECORD, torn, closing, closed)


def entry_of(found: Found | Gap) -> Entry:
    """Return the line of the index for what was found."""
    if isinstance(found, Gap):
        return Entry(Kind.GAP, _NO_ID, _NO_ID, found.offset, found.end - found.offset, 0)
    return Entry(found.kind, found.blob_id, found.key_id, found.offset, found.sealed_length, found.trailer_length)


def _judged(file: File, found: Found | Gap, newest_group: int) -> Found | Gap:
    if isinstance(found, Gap) or found.offset < newest_group or checksum_fits(file, found):
        return found
    if has_unwritten_sector(file, found.offset, found.end):
        return Gap(found.offset, found.end, torn=True)
    return found  # damaged since: it keeps its place, `check` names it and reading refuses it
