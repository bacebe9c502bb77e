"""
Looking at packs without a key: what is damaged, torn or missing. Nothing is changed here.

1. The packs are numbered without a gap and each begins with its header.
2. Every record is structurally whole; what is not is a gap.
3. A closed pack ends with an index whose checksum is right and which lists what stands there.
4. With *read*, every byte of every record: its checksum is right, and only zeros stand behind it.

That the bytes open under their keys, and that every catalogue row has its record, is the archive's part of `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from itertools import pairwise
from typing import final

from strongroom.errors import IntegrityError, NotFound
from strongroom.vault._layout import (
    END,
    FIRST_RECORD,
    PACK_HEADER,
    Entry,
    Kind,
    aligned,
    decode_end,
    decode_index,
    decode_pack_header,
)
from strongroom.vault._walk import Found, Gap, checksum_fits, record_at, stray_bytes, walk
from strongroom.vault.blob import Location
from strongroom.vault.pack import Vault
from strongroom.vault.recovery import entry_of

__all__ = ["Entry", "Finding", "FindingKind", "check", "check_pack", "check_record", "missing_packs"]


@unique
class FindingKind(Enum):
    """What is wrong."""

    MISSING_PACK = "missing-pack"
    DAMAGED_PACK = "damaged-pack"  # its header, or the medium under it
    DAMAGED_INDEX = "damaged-index"  # nothing is lost: the records say the same themselves
    DAMAGED_RECORD = "damaged-record"
    GAP = "gap"  # bytes that were a record once
    TORN = "torn"  # bytes a crash left; never promised to anybody
    STRAY_BYTES = "stray-bytes"  # zeros between records that are none any more; nothing is lost


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in pack number *pack* at *offset*; *blob_id* where it is known."""

    kind: FindingKind
    pack: int
    offset: int
    detail: str
    blob_id: bytes | None = None

    @property
    def where(self) -> str:
        """Say where, for a person."""
        return f"pack {self.pack} at {self.offset}"


def check(vault: Vault, *, read: bool = False, retired: frozenset[int] = frozenset()) -> Iterator[Finding]:
    """
    Look at every pack and yield what is wrong (see the list above), while others may append.

    Without *read*, a few hundred bytes of every record are read; with it, everything. Packs in *retired* were emptied
    and removed on purpose.
    """
    yield from missing_packs(vault, retired)
    for number in vault.packs():
        try:
            yield from check_pack(vault, number, read=read)
        except NotFound:
            yield Finding(FindingKind.MISSING_PACK, number, 0, f"there is no pack {number}")
        except IntegrityError as damaged:
            yield Finding(FindingKind.DAMAGED_PACK, number, 0, str(damaged))


def missing_packs(vault: Vault, retired: frozenset[int] = frozenset()) -> Iterator[Finding]:
    """Name the packs that are not there though one of a higher number is."""
    missing = _absent(vault, retired)
    if missing:  # what was made, or got its other name, while the folder was read is there now
        missing &= _absent(vault, retired)
    for number in sorted(missing):
        yield Finding(FindingKind.MISSING_PACK, number, 0, f"there is no pack {number}")


def _absent(vault: Vault, retired: frozenset[int]) -> set[int]:
    """Return the numbers below the highest that the folder does not have and that nobody is just making."""
    listed = vault.packs()
    gaps = {number for before, after in pairwise([0, *listed]) for number in range(before + 1, after)}
    return gaps - retired - vault.coming()


def check_pack(
    vault: Vault, number: int, *, read: bool = False, listing: list[Entry] | None = None
) -> Iterator[Finding]:
    """
    Look at one pack; the entries of its whole records go into *listing*.

    Raises NotFound, IntegrityError when the medium cannot be read or the header is damaged.
    """
    file, stop = vault.file(number)
    front = file.pread(FIRST_RECORD, 0)
    header = decode_pack_header(front)
    if any(front[PACK_HEADER:]):
        yield Finding(FindingKind.STRAY_BYTES, number, PACK_HEADER, "bytes behind the header are not zero")
    if header.number != number:
        yield Finding(FindingKind.DAMAGED_PACK, number, 0, f"its header says it is pack {header.number}")
    index_offset = None if stop is not None else decode_end(file.pread(END, max(0, file.size() - END)))
    listed: list[Entry] | None = None
    stands: list[Entry] = []
    gaps: list[Gap] = []
    for found in walk(file, stop=stop):
        if isinstance(found, Gap):
            gaps.append(found)
            stands.append(entry_of(found))
            continue
        fits = not (read or found.kind is Kind.INDEX) or checksum_fits(file, found)
        if found.kind is Kind.INDEX:
            if found.offset != index_offset:
                continue  # left by a closing that a crash kept from its end
            payload = file.pread(found.sealed_length, found.trailer_offset - found.sealed_length)
            listed = decode_index(payload) if fits else None
            continue
        stands.append(entry_of(found))
        if not fits:
            yield _damaged(number, found)
        elif read and stray_bytes(file, found.end, aligned(found.end)):
            yield _stray(number, found)
    if listing is not None:
        listing += [entry for entry in stands if entry.kind in (Kind.BLOB, Kind.CHUNKED)]
    yield from _gaps(number, gaps, listed or [])
    if stop is None and listed is None:
        yield Finding(FindingKind.DAMAGED_INDEX, number, 0, "the pack does not end with a readable index")
    elif listed is not None and _records(listed) != _records(stands, but=listed):
        yield Finding(FindingKind.DAMAGED_INDEX, number, 0, "the index does not list what stands in the pack")


def check_record(vault: Vault, location: Location, blob_id: bytes) -> Finding | None:
    """Look at all bytes of one record: is it there, that blob's, its checksum right? For a scrub in small steps."""
    try:
        file, _ = vault.file(location.pack)
        found = record_at(file, location.offset)
        if found is None or found.kind not in (Kind.BLOB, Kind.CHUNKED):
            detail = "no record stands there"
        elif found.blob_id != blob_id or found.sealed_length != location.length:
            detail = "another record stands there"
        elif not checksum_fits(file, found):
            return _damaged(location.pack, found)
        elif stray_bytes(file, found.end, aligned(found.end)):
            return _stray(location.pack, found)
        else:
            return None
    except NotFound:
        return Finding(FindingKind.MISSING_PACK, location.pack, location.offset, "the pack is not there", blob_id)
    except IntegrityError as damaged:
        return Finding(FindingKind.DAMAGED_RECORD, location.pack, location.offset, str(damaged), blob_id)
    return Finding(FindingKind.DAMAGED_RECORD, location.pack, location.offset, detail, blob_id)


def _damaged(number: int, found: Found) -> Finding:
    detail = f"the checksum of the record of {found.end - found.offset} bytes is wrong"
    return Finding(FindingKind.DAMAGED_RECORD, number, found.offset, detail, found.blob_id)


def _stray(number: int, found: Found) -> Finding:
    detail = "bytes in or behind its footer that have to be zero are not; the record itself is whole"
    return Finding(FindingKind.STRAY_BYTES, number, found.offset, detail, found.blob_id)


def _gaps(number: int, gaps: list[Gap], listed: list[Entry]) -> Iterator[Finding]:
    """Name the gaps the index does not list; those it does were named when the pack was recovered."""
    known = {entry.offset for entry in listed if entry.kind is Kind.GAP}
    for gap in gaps:
        if gap.offset not in known:
            kind = FindingKind.TORN if gap.torn else FindingKind.GAP
            yield Finding(kind, number, gap.offset, f"{gap.end - gap.offset} bytes are no record")


def _records(entries: list[Entry], *, but: Sequence[Entry] = ()) -> list[Entry]:
    """Leave out gaps, and what *but* lists as one: a record whose front was written and whose sectors were not."""
    gaps = {entry.offset for entry in but if entry.kind is Kind.GAP}
    return [entry for entry in entries if entry.kind is not Kind.GAP and entry.offset not in gaps]
