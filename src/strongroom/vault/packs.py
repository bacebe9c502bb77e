"""Reading out of a pack's file, whichever copy of the pack that is, without a vault around it."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.errors import IntegrityError
from strongroom.ground.medium import File
from strongroom.ground.seal import plain_length
from strongroom.vault._layout import (
    CHUNK,
    LONGEST_TRAILER,
    RECORD_HEADER,
    Kind,
    decode_record_header,
    position_in,
)
from strongroom.vault._open_pack import NO_KEY
from strongroom.vault._walk import Found, walk
from strongroom.vault.blob import BlobId, Location, StoredRecord

__all__ = ["NO_KEY", "Found", "read_sealed", "records_of", "stored", "walk"]


def read_sealed(file: File, location: Location, start: int, stop: int) -> bytes:
    """
    Return the sealed bytes *start* to *stop* of the blob at *location* of the pack *file* is.

    Raises IntegrityError when no such record stands there or the medium cannot read it.
    """
    if not 0 <= start <= stop <= location.length:
        raise ValueError(f"bytes {start} to {stop} of a blob of {location.length}")
    header = decode_record_header(file.pread(RECORD_HEADER, location.offset))
    if header is None or header.kind is Kind.INDEX:
        raise IntegrityError(f"pack {location.pack} holds no record at {location.offset}")
    first = position_in(location.offset, header.kind, start)
    if header.kind is Kind.BLOB:
        if header.sealed_length != location.length:
            raise IntegrityError(f"the record at {location.offset} of pack {location.pack} is another one")
        data = file.pread(stop - start, first)
    else:
        data = b"".join(_chunks(file, location.offset, start, stop))
    if len(data) != stop - start:
        raise IntegrityError(f"pack {location.pack} ends inside the record at {location.offset}")
    return data


def _chunks(file: File, offset: int, start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        upto = min(stop, (start // CHUNK + 1) * CHUNK)
        yield file.pread(upto - start, position_in(offset, Kind.CHUNKED, start))
        start = upto


def records_of(file: File, pack: int, *, stop: int | None = None) -> Iterator[StoredRecord]:
    """Yield every record that is structurally whole, in order; dead ones and gaps are stepped over."""
    for found in walk(file, stop=stop):
        if isinstance(found, Found) and found.kind in (Kind.BLOB, Kind.CHUNKED):
            yield stored(file, pack, found)


def stored(file: File, pack: int, found: Found) -> StoredRecord:
    """Read the trailer of a record that was found. Raises IntegrityError when its length cannot be that of a seal."""
    location = Location(pack, found.offset, found.sealed_length, plain_length(found.sealed_length))
    trailer = file.pread(min(found.trailer_length, LONGEST_TRAILER), found.trailer_offset)
    return StoredRecord(BlobId(found.blob_id), found.key_id, location, trailer)
