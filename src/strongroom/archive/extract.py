"""
What is drawn out of a data set once and kept sealed beside it: its metadata as DICOM JSON text, and where its frames
lie.

At a deposit it comes out of the header that was read anyway; for everything else a pass over the record in its pack,
without Pixel Data, makes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.archive.record import Record
from strongroom.dicom import metadata
from strongroom.dicom.frames import START, FrameIndex, Tables, is_stream
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.json import dumps
from strongroom.dicom.shape import MAX_FRAMES, Shape
from strongroom.dicom.skeleton import Skeleton
from strongroom.dicom.uid import transfer_syntax
from strongroom.dicom.walk import PIXEL_DATA_TAGS, UNDEFINED
from strongroom.errors import DataSetError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.dicom.header import Header, Located
    from strongroom.dicom.limits import Limits

__all__ = ["Extract", "frames_of_record", "metadata_of_record", "of_header", "of_record"]

Read = Callable[[int, int], memoryview]

_EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
_EXTENDED_LENGTHS: Final = 0x7FE00002
_HEADER: Final = 12  # bytes of an element header
_AT_ONCE: Final = 64 * 1024  # bytes read where the beginnings of fragments are looked at


@final
@dataclass(frozen=True, slots=True)
class Extract:
    """Metadata as JSON text, and the encoded frame index where it is worth keeping."""

    metadata: bytes
    frames: bytes | None


class _RecordNeededError(Exception):
    """What the header holds does not tell where the frames lie."""


def of_header(header: Header) -> Extract | None:
    """Make it without looking at the record; None when that has to be looked at."""
    try:
        elements = metadata.of_head(header)
        if elements is None:
            return None
        index = frames_of_header(header, None)
    except (DataSetError, _RecordNeededError):
        return None
    return Extract(dumps(elements), _worth_keeping(index))


def of_record(parts: Parts, row: InstanceRow) -> Extract:
    """Make it by a pass over the record; raises IntegrityError when that is damaged, and nothing for what it says."""
    record = Record(parts, row)
    header = _header_of(record, row, parts.header_limits)
    text = _text(record, row, header, parts.header_limits)
    try:
        index = frames_of_header(header, record.read)
    except DataSetError:
        index = None
    return Extract(text, _worth_keeping(index))


def metadata_of_record(parts: Parts, row: InstanceRow) -> bytes:
    """The metadata alone."""
    record = Record(parts, row)
    return _text(record, row, _header_of(record, row, parts.header_limits), parts.header_limits)


def frames_of_record(parts: Parts, row: InstanceRow) -> tuple[FrameIndex, bytes | None]:
    """
    The frame index alone, as cheaply as it can be had, and its encoded form if it is worth keeping.

    Raises NotFound when there is no Pixel Data, DataSetError when its frames cannot be told apart.
    """
    record = Record(parts, row)
    reader = HeaderReader(row.transfer_syntax_uid, limits=parts.header_limits)
    record.walk(reader, until="at_pixel_data")
    header = reader.so_far()
    found = _pixel_data(header)
    if found is None or found.length == UNDEFINED:  # its header was cut, or its fragments have to be counted
        header = _header_of(record, row, parts.header_limits)
    index = frames_of_header(header, record.read)
    if index is None:
        raise NotFound("no Pixel Data")
    return index, _worth_keeping(index)


def frames_of_header(header: Header, read: Read | None) -> FrameIndex | None:
    """
    Find the frames of a whole header; None when there is no Pixel Data.

    *read* gives bytes of the record; without it _RecordNeededError is raised where it would be asked.
    Raises DataSetError.
    """
    found = _pixel_data(header)
    if found is None:
        return None
    if not header.fragments:
        syntax = transfer_syntax(header.transfer_syntax_uid)
        if syntax is not None and syntax.encapsulated:
            raise DataSetError("Pixel Data is not encapsulated, as its transfer syntax says")
        return FrameIndex.of_native(Shape.of(header), found.offset, found.length)
    offset = header.pixel_data_offset
    if offset is None or not 0 < found.offset - offset <= _HEADER:
        raise DataSetError("Pixel Data stands twice")
    frames = Shape.of(header).number_of_frames
    stream = is_stream(header.transfer_syntax_uid)
    tables, starts = Tables(), None
    if frames > 1 and not stream:
        tables = _tables(header, read)
        starts = _starts(read)
    return FrameIndex.of_fragments(frames, header.fragments, tables, stream=stream, starts=starts)


def _tables(header: Header, read: Read | None) -> Tables:
    at, length = header.fragments[:2]
    if length > MAX_FRAMES * 4:
        raise DataSetError(f"a Basic Offset Table of {length} bytes has more than {MAX_FRAMES} entries")
    basic = _bytes(read, at, length) if length else b""
    return Tables(basic, _table(header, _EXTENDED_OFFSET_TABLE, read), _table(header, _EXTENDED_LENGTHS, read))


def _table(header: Header, tag: int, read: Read | None) -> bytes:
    place = header.elements.place(tag)
    if place is None:
        return b""
    if place.length > MAX_FRAMES * 8:
        raise DataSetError(f"an offset table of {place.length} bytes has more than {MAX_FRAMES} entries")
    return header.elements.value(tag) or _bytes(read, place.offset, place.length)


def _bytes(read: Read | None, at: int, length: int) -> bytes:
    if read is None:
        raise _RecordNeededError
    return bytes(read(at, at + length))


def _starts(read: Read | None) -> Callable[[Sequence[int]], Sequence[bytes]]:
    """What a frame index asks of fragments that no table divides: their first bytes, read in the order they have."""

    def first_bytes(offsets: Sequence[int]) -> list[bytes]:
        if read is None:
            raise _RecordNeededError
        found = []
        window, begins = memoryview(b""), 0
        for at in offsets:
            if at + START > begins + len(window):
                window, begins = read(at, at + _AT_ONCE), at
            found.append(bytes(window[at - begins : at - begins + START]))
        return found

    return first_bytes


def _text(record: Record, row: InstanceRow, header: Header, limits: Limits) -> bytes:
    try:
        elements = metadata.of_head(header)
        if elements is None:
            skeleton = Skeleton(row.transfer_syntax_uid, bulk_threshold=metadata.BULK_THRESHOLD, limits=limits)
            record.walk(skeleton)
            skeleton.finish()
            elements = metadata.of_skeleton(skeleton)
    except DataSetError:
        elements = metadata.of_what_is_captured(header)
    return dumps(elements)


def _header_of(record: Record, row: InstanceRow, limits: Limits) -> Header:
    reader = HeaderReader(row.transfer_syntax_uid, limits=limits)
    record.walk(reader)
    return reader.finish()


def _pixel_data(header: Header) -> Located | None:
    return next((place for tag in PIXEL_DATA_TAGS if (place := header.elements.place(tag)) is not None), None)


def _worth_keeping(index: FrameIndex | None) -> bytes | None:
    """A single native frame is found again with one look at the front of the record; everything else is kept."""
    return None if index is None or (index.native and index.number_of_frames == 1) else index.encode()
