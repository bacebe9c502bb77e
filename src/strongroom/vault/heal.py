"""
Making a damaged pack whole again out of copies of it, record by record.

1. A copy counts only when its header has our pack id. Where ours cannot be read, a record that is expected here must
   stand in the copy at the same place: a namesake from another home has none.
2. Each record is taken from the first file, ours before the copies, in which all of it is there and its checksum fits.
   What fits nowhere stays as ours has it and is named as lost: nothing is guessed.
3. The index is taken where its checksum fits. When it fits nowhere it is made anew from the records, unless one of
   them is lost: then the index would call a gap what was a record once.
4. The new file is written beside the old one, flushed, looked at again, and given the old one's name at once. Its bytes
   are those that were written first (I9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, final

from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.medium import File, Medium
from strongroom.vault._layout import (
    END,
    FIRST_RECORD,
    FOOTER,
    Entry,
    Kind,
    PackHeader,
    RecordHeader,
    aligned,
    decode_end,
    decode_footer,
    decode_index,
    decode_pack_header,
    encode_end,
    encode_index,
    encode_record,
)
from strongroom.vault._open_pack import NO_KEY
from strongroom.vault._walk import Found, Gap, checksum_fits, record_at, stray_bytes, walk
from strongroom.vault.recovery import entry_of

_WINDOW = 1 << 20


class PackSource(Protocol):
    """Where copies of packs are: a second vault, a backup."""

    def open(self, number: int) -> File | None:
        """Open the copy of pack *number* for reading, None when there is none. Raises IntegrityError."""


@final
class DirectoryPacks:
    """Copies in a folder, under the names they have in a vault; closed ones before the fronts of open ones."""

    def __init__(self, medium: Medium, root: str) -> None:
        self._medium = medium
        self._root = root

    def open(self, number: int) -> File | None:
        """See `PackSource`."""
        front = f"{self._root}/" if self._root else ""
        for ending in ("pack", "open"):
            with suppress(NotFound):
                return self._medium.open(f"{front}{number:08d}.{ending}", writable=False)
        return None


@final
@dataclass(frozen=True, slots=True)
class Healing:
    """
    What healing pack number *pack* does: offsets of the records taken from a copy (or cleaned), and of those no copy
    has.

    *header* and *index*: it is made right as well. *refused* says why nothing can be done at all.
    """

    pack: int
    records: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    header: bool = False
    index: bool = False
    index_lost: bool = False
    refused: str = ""

    @property
    def changes(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self.records or self.header or self.index) and not self.refused


@final
@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of the pack: a record up to *end*, then zeros up to *stop*; *file* None: it stands whole nowhere."""

    entry: Entry
    stop: int
    file: File | None
    end: int


@final
@dataclass(slots=True)
class _Plan:
    """The whole new pack."""

    ours: File | None
    header: PackHeader
    spans: list[_Span] = field(default_factory=list)
    index: tuple[File, int, int] | None = None  # file, first byte, byte behind the last
    group: int = FIRST_RECORD
    stop: int = FIRST_RECORD  # where the index begins
    untold: bool = False  # bytes that were a record once, and nobody knows which


def heal(
    medium: Medium,
    root: str,
    number: int,
    sources: Sequence[PackSource],
    *,
    expected: Mapping[int, bytes],
    apply: bool,
) -> Healing:
    """
    Say what can be made right in the closed or missing pack *number* of the vault in *root*; with *apply* do it.

    *expected*: blob ids by offset that the catalogue knows in this pack. Raises OutOfResources when the new file cannot
    be made durable; the old one stands then.
    """
    name = f"{root}/{number:08d}.pack"
    ours = _opened(medium, name)
    copies = [file for source in sources if (file := _copy(source, number)) is not None]
    if ours is None and not copies:
        return Healing(number, refused="neither the pack nor a copy of it is there")
    plan = _plan(number, ours, copies, expected)
    if isinstance(plan, str):
        return Healing(number, refused=plan)
    healing = _summary(number, plan)
    if apply and healing.changes:
        _write(medium, root, number, plan, healing)
    return healing


def _opened(medium: Medium, name: str) -> File | None:
    with suppress(NotFound):
        return medium.open(name, writable=False)
    return None


def _copy(source: PackSource, number: int) -> File | None:
    with suppress(IntegrityError):
        return source.open(number)
    return None


def _header(file: File | None, number: int) -> PackHeader | None:
    with suppress(IntegrityError):
        header = None if file is None else decode_pack_header(file.pread(FIRST_RECORD, 0))
        return header if header is not None and header.number == number else None
    return None


def _plan(number: int, ours: File | None, copies: list[File], expected: Mapping[int, bytes]) -> _Plan | str:
    header = _header(ours, number)
    fitting: list[File] = []
    for copy in copies:
        other = _header(copy, number)
        if other is None or (header is not None and other.pack_id != header.pack_id):
            continue
        if header is None:
            if not _is_the_one(copy, expected):
                continue
            header = other
        fitting.append(copy)
    if header is None:
        return "its header is damaged, and no copy is known to be of it"
    plan = _Plan(ours, header)
    files = ([ours] if ours is not None else []) + fitting
    entries = _index_of(plan, files)
    if entries is None:
        entries, plan.stop = _merged(plan, files)
    starts = [entry.offset for entry in entries[1:]] + [plan.stop]
    plan.spans = [_span(entry, stop, files) for entry, stop in zip(entries, starts, strict=True)]
    return plan


def _is_the_one(copy: File, expected: Mapping[int, bytes]) -> bool:
    """Whether the copy holds a record that is expected in the pack, where it is expected."""
    for offset, blob_id in expected.items():
        with suppress(IntegrityError):
            found = record_at(copy, offset)
            if found is not None and found.blob_id == blob_id:
                return True
    return False


def _index_of(plan: _Plan, files: list[File]) -> list[Entry] | None:
    """Find an index whose checksum is right; remember where, and where the records end."""
    for file in files:
        with suppress(IntegrityError):
            size = file.size()
            offset = decode_end(file.pread(END, max(0, size - END)))
            found = None if offset is None else record_at(file, offset)
            if found is None or found.kind is not Kind.INDEX or found.blob_id != plan.header.pack_id:
                continue
            if checksum_fits(file, found) and aligned(found.end) + END == size:
                plan.index, plan.stop = (file, found.offset, size), found.offset
                payload = file.pread(found.sealed_length, found.trailer_offset - found.sealed_length)
                return decode_index(payload)
    return None


def _merged(plan: _Plan, files: list[File]) -> tuple[list[Entry], int]:
    """Without an index: what the files hold together, in the order of their places; and where the records end."""
    found: dict[int, Found | Gap] = {}
    gaps: list[Gap] = []
    for file in files:
        for one in _walked(file):
            if isinstance(one, Gap):
                gaps.append(one)
            elif one.kind is Kind.INDEX:
                plan.group = max(plan.group, one.group)
            elif one.offset not in found:
                found[one.offset] = one
    records = [one for _, one in sorted(found.items()) if isinstance(one, Found)]
    stop = max((aligned(one.end) for one in records), default=FIRST_RECORD)
    for gap in gaps:
        inside = [one for one in records if gap.offset <= one.offset < gap.end]
        if not inside and gap.offset < stop:
            found.setdefault(gap.offset, gap)
            plan.untold = plan.untold or not gap.torn
    plan.group = max([plan.group, *(one.group for one in records)])
    return [entry_of(one) for _, one in sorted(found.items())], stop


def _walked(file: File) -> list[Found | Gap]:
    with suppress(IntegrityError):
        return list(walk(file))
    return []


def _span(entry: Entry, stop: int, files: list[File]) -> _Span:
    if entry.kind is Kind.GAP:
        return _Span(entry, stop, files[0], min(entry.offset + entry.sealed_length, stop))
    for file in files:
        with suppress(IntegrityError):
            found = record_at(file, entry.offset)
            if found is not None and entry_of(found) == entry and found.end <= stop and checksum_fits(file, found):
                return _Span(entry, stop, file, found.end)
    return _Span(entry, stop, None, stop)


def _summary(number: int, plan: _Plan) -> Healing:
    lost = tuple(
        span.entry.offset for span in plan.spans if span.file is None and span.entry.kind in (Kind.BLOB, Kind.CHUNKED)
    )
    healed = tuple(
        span.entry.offset
        for span in plan.spans
        if span.file is not None
        and span.entry.kind is not Kind.GAP
        and (span.file is not plan.ours or stray_bytes(span.file, span.end, span.stop))
    )
    front = None if plan.ours is None else plan.ours.pread(FIRST_RECORD, 0)
    index_lost = plan.index is None and bool(lost or plan.untold)
    return Healing(
        number,
        healed,
        lost,
        header=front != _front(plan.header),
        index=not index_lost and (plan.index is None or plan.index[0] is not plan.ours),
        index_lost=index_lost,
    )


def _front(header: PackHeader) -> bytes:
    return header.encode().ljust(FIRST_RECORD, b"\0")


def _write(medium: Medium, root: str, number: int, plan: _Plan, healing: Healing) -> None:
    beside, name = f"{root}/{number:08d}.heal", f"{root}/{number:08d}.pack"
    medium.unlink(beside)
    file = medium.open(beside, create=True)
    try:
        file.pwrite((_front(plan.header),), 0)
        for span in plan.spans:
            _write_span(file, plan, span)
        _write_index(file, plan, healing)
        file.fdatasync()
        for span in plan.spans:
            if span.file is None or span.entry.kind is Kind.GAP:
                continue
            found = record_at(file, span.entry.offset)
            if found is None or not checksum_fits(file, found):
                raise IntegrityError(f"pack {number} did not come out whole; the old one stands")
        medium.rename(beside, name)
        medium.sync_directory(root)
    finally:
        file.close()


def _write_span(file: File, plan: _Plan, span: _Span) -> None:
    source = span.file or plan.ours
    start, end = span.entry.offset, span.end
    clean = span.file is not None and span.entry.kind is not Kind.GAP
    for position in range(start, end, _WINDOW):
        length = min(_WINDOW, end - position)
        data = b"" if source is None else source.pread(length, position)
        file.pwrite((data.ljust(length, b"\0"),), position)
    if clean and source is not None:
        checksum = decode_footer(source.pread(FOOTER, end - FOOTER))
        file.pwrite(((checksum or b"") + b"\0\0\0\0SRen",), end - FOOTER)
    file.pwrite((bytes(span.stop - end),), end)


def _write_index(file: File, plan: _Plan, healing: Healing) -> None:
    if healing.index_lost:  # what stands there stays
        size = 0 if plan.ours is None else plan.ours.size()
        if plan.ours is not None and size > plan.stop:
            file.pwrite((plan.ours.pread(size - plan.stop, plan.stop),), plan.stop)
        return
    if plan.index is not None:
        source, start, stop = plan.index
        file.pwrite((source.pread(stop - start, start),), start)
        return
    entries = [span.entry for span in plan.spans]
    payload = encode_index(entries)
    header = RecordHeader(Kind.INDEX, plan.header.pack_id, NO_KEY, len(payload), 0, plan.group)
    written = file.pwrite(encode_record(header, (payload,), b""), plan.stop)
    file.pwrite((encode_end(plan.stop, len(entries)),), plan.stop + written)
