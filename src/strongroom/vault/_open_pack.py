"""A pack that still takes records, and the lease of one; `Vault` decides which pack gets what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import final

from cryptography.hazmat.primitives.poly1305 import Poly1305

from strongroom.errors import OutOfResources
from strongroom.ground.medium import File
from strongroom.ground.seal import plain_length
from strongroom.vault._layout import (
    ABANDON,
    CHECKSUM_KEY,
    CHUNK,
    DATA,
    END,
    FINISH,
    FIRST_RECORD,
    FOOTER,
    LONGEST_TRAILER,
    RECORD_HEADER,
    ChunkFrame,
    Entry,
    Kind,
    PackHeader,
    RecordHeader,
    aligned,
    encode_end,
    encode_footer,
    encode_index,
    encode_record,
)
from strongroom.vault.blob import ID_LENGTH, Buffer, Location, SealedRecord

_FILL = 1 << 20  # zeros written while the pack is locked; a record waits 0.2 ms for them at most
NO_KEY = bytes(ID_LENGTH)


@final
class OpenPack:
    """One pack and the place where its next record goes. Its lock lets one thread write and another fill ahead."""

    __slots__ = ("allocated", "closed", "dirty", "end", "entries", "file", "group", "header", "lock")

    def __init__(self, file: File, header: PackHeader, end: int, entries: list[Entry]) -> None:
        self.file = file
        self.header = header
        self.end = end
        self.entries = entries
        self.group = end  # where the group of records begins that the next flush makes durable
        self.dirty = False
        self.closed = False
        self.allocated = file.size()
        self.lock = threading.Lock()

    @classmethod
    def create(cls, file: File, header: PackHeader) -> OpenPack:
        """Begin a pack in the empty *file*, durably."""
        file.pwrite((header.encode().ljust(FIRST_RECORD, b"\0"),), 0)
        file.fdatasync()
        return cls(file, header, FIRST_RECORD, [])

    def append(self, records: Sequence[SealedRecord]) -> list[Location]:
        """Write *records* one behind the other. Raises OutOfResources, and then none of them is in the pack."""
        with self.lock:
            buffers: list[Buffer] = []
            entries: list[Entry] = []
            locations: list[Location] = []
            position = self.end
            for record in records:
                length = sum(map(len, record.sealed))
                trailer = len(record.trailer)
                if trailer > LONGEST_TRAILER or len(record.blob_id) != ID_LENGTH or len(record.key_id) != ID_LENGTH:
                    raise ValueError(f"a trailer of {trailer} bytes, or ids that are not {ID_LENGTH} bytes")
                locations.append(Location(self.header.number, position, length, plain_length(length)))
                header = RecordHeader(Kind.BLOB, record.blob_id, record.key_id, length, trailer, self.group)
                entries.append(Entry(Kind.BLOB, record.blob_id, record.key_id, position, length, trailer))
                buffers += encode_record(header, record.sealed, record.trailer)
                position = aligned(position + RECORD_HEADER + length + trailer + FOOTER)
            self._write(buffers, self.end)
            self.end = position
            self.entries += entries
            return locations

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write a part of a leased record."""
        with self.lock:
            self._write(buffers, position)

    def _write(self, buffers: Sequence[Buffer], position: int) -> None:
        self.dirty = True
        try:
            written = self.file.pwrite(buffers, position)
        except OutOfResources:
            # What was written of the failed record is taken away, so that it is not found behind a shorter one later.
            with suppress(OutOfResources):
                self.file.truncate(position)
            self.allocated = min(self.allocated, position)
            raise
        self.allocated = max(self.allocated, position + written)

    def flush(self) -> None:
        """Make what was written durable."""
        if self.dirty:
            group = self.end
            self.dirty = False
            try:
                self.file.fdatasync()
            except OutOfResources:
                self.dirty = True
                raise
            self.group = group

    def fill(self, length: int) -> None:
        """Write *length* zeros in front of the records, durably; what is appended meanwhile waits little."""
        for _ in range(0, length, _FILL):
            with self.lock:
                if self.closed:
                    return
                self.file.pwrite((bytes(_FILL),), self.allocated)
                self.allocated += _FILL
        self.file.fdatasync()

    def close_for_good(self) -> None:
        """Write the index behind the records, cut the zeros off, make it durable."""
        with self.lock:
            self.closed = True
            payload = encode_index(self.entries)
            header = RecordHeader(Kind.INDEX, self.header.pack_id, NO_KEY, len(payload), 0, self.group)
            buffers = encode_record(header, (payload,), b"")
            stop = aligned(self.end + RECORD_HEADER + len(payload) + FOOTER)
            self._write([*buffers, encode_end(self.end, len(self.entries))], self.end)
            self.file.truncate(stop + END)


@final
class Lease:
    """
    The right to write one long blob into a pack of its own, while its bytes come.

    `write` any number of times, then `finish` (after which `Vault.flush` makes it durable) or `abandon`. One thread
    at a time.
    """

    __slots__ = (
        "_checksum",
        "_chunk",
        "_ended",
        "_held",
        "_pack",
        "_position",
        "_start",
        "_total",
        "blob_id",
        "key_id",
    )

    def __init__(self, pack: OpenPack, blob_id: bytes, key_id: bytes, ended: Callable[[OpenPack], None]) -> None:
        """Use `Vault.lease`."""
        self._ended: Callable[[OpenPack], None] | None = ended
        self._pack = pack
        self.blob_id = blob_id
        self.key_id = key_id
        self._start = self._position = pack.end
        self._checksum = Poly1305(CHECKSUM_KEY)
        self._chunk: list[Buffer] = []
        self._held = 0
        self._total = 0
        self._put([RecordHeader(Kind.CHUNKED, blob_id, key_id, 0, 0, pack.group).encode()])

    @property
    def sealed_length(self) -> int:
        """How many sealed bytes came so far."""
        return self._total + self._held

    def write(self, buffers: Sequence[Buffer]) -> None:
        """
        Take the next sealed bytes; whole chunks of 1 MiB are written, the rest is held (the buffers are kept, not
        copied).

        Raises OutOfResources; the lease is to be abandoned then.
        """
        self._open()
        for buffer in buffers:
            piece = memoryview(buffer)
            while self._held + len(piece) > CHUNK:
                room = CHUNK - self._held
                self._chunk.append(piece[:room])
                self._held = CHUNK
                piece = piece[room:]
                self._write_chunk()
            self._chunk.append(piece)
            self._held += len(piece)

    def finish(self, trailer: bytes) -> Location:
        """Write the end of the record with its sealed label; return where it is. Durable after `Vault.flush`."""
        ended = self._open()
        if len(trailer) > LONGEST_TRAILER:
            raise ValueError(f"a trailer of {len(trailer)} bytes; {LONGEST_TRAILER} is the longest")
        if self._held:
            self._write_chunk()
        location = Location(self._pack.header.number, self._start, self._total, plain_length(self._total))
        self._put([ChunkFrame(FINISH, len(trailer), self._total).encode(), trailer])
        self._end(Entry(Kind.CHUNKED, self.blob_id, self.key_id, self._start, self._total, len(trailer)))
        self._ended = None
        ended(self._pack)
        return location

    def abandon(self) -> None:
        """Leave what was written as dead bytes; the pack takes other records behind them. Twice does no harm."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._chunk.clear()
        try:
            self._put([ChunkFrame(ABANDON, 0, self._total).encode()])
            self._end(Entry(Kind.DEAD, self.blob_id, self.key_id, self._start, self._total, 0))
        except OutOfResources:
            # Not even the mark could be written: the next record of this pack goes over the unfinished one.
            with suppress(OutOfResources):
                self._pack.file.truncate(self._start)
            self._pack.allocated = self._pack.file.size()
        finally:
            ended(self._pack)

    def _open(self) -> Callable[[OpenPack], None]:
        if self._ended is None:
            raise ValueError("this lease has ended")
        return self._ended

    def _write_chunk(self) -> None:
        buffers: list[Buffer] = [ChunkFrame(DATA, self._held, self._total).encode(), *self._chunk]
        self._put(buffers)
        self._total += self._held
        self._chunk.clear()
        self._held = 0

    def _put(self, buffers: Sequence[Buffer]) -> None:
        self._pack.write(buffers, self._position)
        for buffer in buffers:
            self._checksum.update(buffer)
            self._position += len(buffer)

    def _end(self, entry: Entry) -> None:
        footer = encode_footer(self._checksum)
        end = aligned(self._position + len(footer))
        self._pack.write([footer.ljust(end - self._position, b"\0")], self._position)
        self._pack.end = end
        self._pack.entries.append(entry)
