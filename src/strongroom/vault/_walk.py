"""
Reading a pack from its front to its end, without its index: for recovery, rebuilding and checking.

The rule of the file: what cannot be read is named as a gap and stepped over; what stands behind it is found again by
its magic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from cryptography.hazmat.primitives.poly1305 import Poly1305

from strongroom.ground.medium import File
from strongroom.vault._layout import (
    ABANDON,
    ALIGNMENT,
    CHECKSUM_KEY,
    CHUNK,
    DATA,
    END,
    FINISH,
    FIRST_RECORD,
    FOOTER,
    FRAME,
    LONGEST_BLOB,
    LONGEST_TRAILER,
    RECORD_HEADER,
    RECORD_MAGIC,
    Kind,
    aligned,
    decode_end,
    decode_footer,
    decode_frame,
    decode_index,
    decode_record_header,
)

_WINDOW = 1 << 20
_FOOTER_ZEROS = slice(16, 20)


@final
@dataclass(frozen=True, slots=True)
class Found:
    """
    A structurally whole record at *offset*: header, frames and footer fit.

    *end* is behind its footer; *kind* is DEAD for an abandoned lease. Its checksum was not looked at.
    """

    kind: Kind
    blob_id: bytes
    key_id: bytes
    offset: int
    sealed_length: int
    trailer_offset: int
    trailer_length: int
    end: int
    group: int


@final
@dataclass(frozen=True, slots=True)
class Gap:
    """
    The bytes from *offset* to *end* are no record.

    *torn*: a crash kept them from being written; otherwise they were a record once.
    """

    offset: int
    end: int
    torn: bool


def record_at(file: File, offset: int) -> Found | None:
    """Return the record that begins at *offset*, None when none stands there whole. Raises IntegrityError."""
    header = decode_record_header(file.pread(RECORD_HEADER, offset))
    if header is None:
        return None
    kind = header.kind
    if kind is Kind.CHUNKED:
        ended = _end_of_chunks(file, offset + RECORD_HEADER)
        if isinstance(ended, int):
            return None
        kind, sealed_length, trailer_offset, trailer_length = ended
    else:
        sealed_length, trailer_length = header.sealed_length, header.trailer_length
        trailer_offset = offset + RECORD_HEADER + sealed_length
    footer = trailer_offset + trailer_length
    if decode_footer(file.pread(FOOTER, footer)) is None:
        return None
    end = footer + FOOTER
    return Found(
        kind, header.blob_id, header.key_id, offset, sealed_length, trailer_offset, trailer_length, end, header.group
    )


def _end_of_chunks(file: File, position: int) -> tuple[Kind, int, int, int] | int:
    """
    Follow the frames of a leased record; return kind, sealed length, and place and length of its trailer.

    Returns the place of the first frame that is not as it should be instead.
    """
    total = 0
    while True:
        frame = decode_frame(file.pread(FRAME, position))
        longest = CHUNK if frame is not None and frame.mark == DATA else LONGEST_TRAILER
        if frame is None or frame.total != total or total > LONGEST_BLOB or frame.length > longest:
            return position
        if frame.mark == FINISH:
            return Kind.CHUNKED, total, position + FRAME, frame.length
        if frame.mark == ABANDON:
            return Kind.DEAD, total, position + FRAME, 0
        if not frame.length:
            return position
        position += FRAME + frame.length
        total += frame.length


def checksum_fits(file: File, found: Found) -> bool:
    """Whether every byte of a record is as it was written, as far as that can be told without a key."""
    checksum = Poly1305(CHECKSUM_KEY)
    stop = found.end - FOOTER
    for position in range(found.offset, stop, _WINDOW):
        data = file.pread(min(_WINDOW, stop - position), position)
        checksum.update(data)
    return decode_footer(file.pread(FOOTER, stop)) == checksum.finalize()


def stray_bytes(file: File, end: int, stop: int) -> bool:
    """Whether a byte is not zero where only zeros belong: inside the footer that ends at *end*, or behind it."""
    data = file.pread(stop - end + FOOTER, end - FOOTER)
    return any(data[_FOOTER_ZEROS]) or any(data[FOOTER:])


def walk(file: File, *, stop: int | None = None) -> Iterator[Found | Gap]:
    """
    Yield what stands in a pack up to *stop*, in order.

    Ends at the zeros written ahead, or at a closed pack's end.
    """
    size = file.size() if stop is None else stop
    position = FIRST_RECORD
    while position < size:
        found = record_at(file, position)
        if found is not None:
            yield found
            position = aligned(found.end)
            if found.kind is Kind.INDEX and decode_end(file.pread(END, position)) == found.offset:
                return
            continue
        written = _written_until(file, position, size)
        if written == position:
            return
        following = _next_record(file, position + ALIGNMENT, written)
        gap_end = written if following is None else following
        yield Gap(position, gap_end, torn=_is_torn(file, position, gap_end, following))
        if following is None:
            return
        position = following


def _is_torn(file: File, position: int, stop: int, following: int | None) -> bool:
    """
    Say whether the bytes at *position* are what a crash left of a group that was never flushed.

    1. A record of a group that began behind *position* stands further on: a flush came in between, so they were whole
    once. An index of no later group that lists them as a gap proves the opposite. 2. Nothing stands behind them, and
    they end before the record they begin would: torn. 3. One of their sectors was never written, or not since the
    write before: torn. 4. Anything else was whole once.
    """
    if following is None:
        return stop < _intended_end(file, position) or _was_not_written(file, position, stop)
    size = file.size()
    behind: int | None = following
    while behind is not None:
        header = decode_record_header(file.pread(RECORD_HEADER, behind))
        if header is not None and header.group > position:
            return False
        if header is not None and header.kind is Kind.INDEX and _lists_gap(file, behind, position):
            return True
        whole = record_at(file, behind)
        behind = _next_record(file, whole.end if whole else behind + ALIGNMENT, size)
    return _was_not_written(file, position, stop)


def _lists_gap(file: File, index: int, position: int) -> bool:
    """
    Whether the index record at *index* names a gap at *position*: an earlier start found it torn, and was itself cut
    short while it closed the pack.
    """
    found = record_at(file, index)
    if found is None or not checksum_fits(file, found):
        return False
    entries = decode_index(file.pread(found.sealed_length, index + RECORD_HEADER))
    return any(entry.kind is Kind.GAP and entry.offset == position for entry in entries)


def _was_not_written(file: File, position: int, stop: int) -> bool:
    """
    Whether a sector lacks what was to be written to it.

    A leased record is written in parts, and where one ends the next begins in the same sector: the disk may hold that
    sector as it was in between, with zeros behind the end of the earlier part.
    """
    if has_unwritten_sector(file, position, stop):
        return True
    header = decode_record_header(file.pread(RECORD_HEADER, position))
    if header is None or header.kind is not Kind.CHUNKED:
        return False
    ended = _end_of_chunks(file, position + RECORD_HEADER)
    place = ended if isinstance(ended, int) else ended[2] + ended[3]
    return not any(file.pread(aligned(place + 1) - place, place))


def _intended_end(file: File, position: int) -> int:
    """Return how far a record that begins at *position* has to reach at least, as far as it still tells."""
    header = decode_record_header(file.pread(RECORD_HEADER, position))
    if header is None:
        return position + RECORD_HEADER
    if header.kind is Kind.CHUNKED:
        broken = _end_of_chunks(file, position + RECORD_HEADER)
        return broken + FRAME if isinstance(broken, int) else broken[2] + broken[3] + FOOTER
    return position + RECORD_HEADER + header.sealed_length + header.trailer_length + FOOTER


def has_unwritten_sector(file: File, start: int, stop: int) -> bool:
    """Whether a sector between *start* (where one begins) and *stop* is all zeros: sealed bytes never are."""
    zeros = bytes(ALIGNMENT)
    for position in range(start, stop, _WINDOW):
        data = file.pread(min(_WINDOW, stop - position), position)
        for sector in range(0, len(data), ALIGNMENT):
            piece = data[sector : sector + ALIGNMENT]
            if piece == zeros[: len(piece)]:
                return True
        if len(data) < min(_WINDOW, stop - position):
            return True
    return False


def _written_until(file: File, position: int, size: int) -> int:
    """Return the place behind the last byte that is not zero, *position* when there is none."""
    while size > position:
        start = max(position, size - _WINDOW)
        data = file.pread(size - start, start).rstrip(b"\0")
        if data:
            return start + len(data)
        size = start
    return position


def _next_record(file: File, position: int, stop: int) -> int | None:
    """Return where behind *position* the next readable record header stands."""
    position = aligned(position)
    while position < stop:
        data = file.pread(_WINDOW, position)
        found = data.find(RECORD_MAGIC)
        while found >= 0:
            if found % ALIGNMENT == 0 and decode_record_header(file.pread(RECORD_HEADER, position + found)) is not None:
                return position + found
            found = data.find(RECORD_MAGIC, found + 1)
        position += _WINDOW
    return None
