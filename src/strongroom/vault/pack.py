"""
The vault: packs of sealed blobs, one writer (docs/formats/pack.md).

The rule of the file: a record's bytes never change once written, a closed pack is never written to again (I9), and
nothing is promised to anybody before `Vault.flush` returned.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import final

from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground.medium import File, Medium
from strongroom.ground.seal import plain_length
from strongroom.vault._layout import (
    CHUNK,
    END,
    FIRST_RECORD,
    FOOTER,
    LONGEST_TRAILER,
    PACK_HEADER,
    RECORD_HEADER,
    Kind,
    PackHeader,
    aligned,
    decode_pack_header,
    decode_record_header,
    position_in,
)
from strongroom.vault._open_pack import Lease, OpenPack
from strongroom.vault._walk import Found, record_at, walk
from strongroom.vault.blob import BlobId, Location, SealedRecord, StoredRecord
from strongroom.vault.recovery import Torn, recover

__all__ = ["Lease", "Torn", "Vault"]

PACK_BYTES = 256 << 20
LEASES = 4  # long instances that may come in at the same time; each has a pack of its own
AHEAD = 8 << 20  # zeros written in one background step
LEAST_AHEAD = 16 << 20  # and how many should stand in front of the records
KEPT_FILES = 64  # closed packs whose files stay open for reading

_FILE = re.compile(r"([0-9]{8})\.(pack|open)")


@final
class Vault:
    """
    The packs in the folder *root* of *medium* (made when absent).

    One thread at a time appends and flushes; any number read. `torn` says what opening found that is no record.
    """

    def __init__(
        self,
        medium: Medium,
        root: str = "vault",
        *,
        pack_bytes: int = PACK_BYTES,
        leases: int = LEASES,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Open every pack that was not closed and recover it. Raises IntegrityError when one cannot be read."""
        self._medium = medium
        self._root = root
        self._pack_bytes = pack_bytes
        self._randomness = randomness
        self._files: OrderedDict[int, File] = OrderedDict()
        self._open: dict[int, OpenPack] = {}
        self._resting: list[OpenPack] = []  # open packs nobody writes to: for leases, and the next one to append to
        self._main: OpenPack | None = None
        self._leased = 0
        self._most_leased = leases
        self._lock = threading.Lock()
        self._turning = threading.Lock()  # who takes up the next pack
        medium.make_directory(root)
        self._last = 0
        self._returned: list[
            int
        ] = []  # numbers of packs that were never made: the next ones, so that no number is missing
        self._stillborn: set[int] = set()  # files of such packs that cannot be removed before the next start
        self.torn: tuple[Torn, ...] = ()
        for number, is_open in self._listing():
            self._last = max(self._last, number)
            if is_open:
                self._recover(number)

    def append(self, records: Sequence[SealedRecord]) -> list[Location]:
        """
        Write *records* in order and return where each is. Not durable before `flush`.

        Raises OutOfResources, and then none of them is in the vault.
        """
        length = sum(
            aligned(RECORD_HEADER + sum(map(len, record.sealed)) + len(record.trailer) + FOOTER) for record in records
        )
        with self._turning:
            pack = self._main
            if pack is None or (pack.end > FIRST_RECORD and pack.end + length > self._pack_bytes):
                pack = self._next_main()
        return pack.append(records)

    def flush(self) -> None:
        """
        Make every appended record and every finished lease durable.

        Raises OutOfResources when the medium failed: nothing since the last flush is promised, and nothing more is
        taken.
        """
        if self._medium.suspect:
            raise OutOfResources("the vault is closed for writing after a failed flush")
        main = self._main
        if main is not None:
            main.flush()
        with self._lock:
            resting = [pack for pack in self._resting if pack.dirty]
        for pack in resting:
            pack.flush()

    def read(self, location: Location, start: int = 0, stop: int | None = None) -> bytes:
        """
        Return the sealed bytes *start* to *stop* (default: to the end) of the blob at *location*.

        Raises IntegrityError when no such record stands there or the medium cannot read it, NotFound when there is no
        such pack.
        """
        stop = location.length if stop is None else stop
        if not 0 <= start <= stop <= location.length:
            raise ValueError(f"bytes {start} to {stop} of a blob of {location.length}")
        file = self._file(location.pack)
        header = decode_record_header(file.pread(RECORD_HEADER, location.offset))
        if header is None or header.kind is Kind.INDEX:
            raise IntegrityError(f"pack {location.pack} holds no record at {location.offset}")
        first = position_in(location.offset, header.kind, start)
        if header.kind is Kind.BLOB:
            if header.sealed_length != location.length:
                raise IntegrityError(f"the record at {location.offset} of pack {location.pack} is another one")
            data = file.pread(stop - start, first)
        else:
            data = b"".join(self._chunks(file, location.offset, start, stop))
        if len(data) != stop - start:
            raise IntegrityError(f"pack {location.pack} ends inside the record at {location.offset}")
        return data

    def record(self, location: Location) -> StoredRecord:
        """Return what stands at *location*, with its trailer. Raises IntegrityError, NotFound."""
        file = self._file(location.pack)
        found = record_at(file, location.offset)
        if found is None or found.kind not in (Kind.BLOB, Kind.CHUNKED):
            raise IntegrityError(f"pack {location.pack} holds no record at {location.offset}")
        return self._stored(file, location.pack, found)

    def records(self, pack: int) -> Iterator[StoredRecord]:
        """
        Yield every record of a pack that is structurally whole, in order, read from the records themselves.

        Dead records and gaps are stepped over; `strongroom.vault.check` names them.
        """
        file, stop = self.file(pack)
        for found in walk(file, stop=stop):
            if isinstance(found, Found) and found.kind in (Kind.BLOB, Kind.CHUNKED):
                yield self._stored(file, pack, found)

    def packs(self) -> list[int]:
        """Return the numbers of all packs, closed and open."""
        return sorted({number for number, _ in self._listing()} - self._stillborn)

    def open_packs(self) -> list[int]:
        """Return the numbers of the packs that are not closed."""
        with self._lock:
            return sorted(self._open)

    def file(self, pack: int) -> tuple[File, int | None]:
        """Return a pack's file for `check`, and where the whole records of an open one end. Raises NotFound."""
        with self._lock:
            writing = self._open.get(pack)
        return (self._file(pack), None) if writing is None else (writing.file, writing.end)

    @property
    def free_leases(self) -> int:
        """How many more leases can be had now."""
        return self._most_leased - self._leased

    def lease(self, blob_id: bytes, key_id: bytes) -> Lease:
        """
        Begin a long record in a pack of its own.

        Raises OutOfResources when `free_leases` is 0: the caller waits (back-pressure) or refuses.
        """
        with self._lock:
            if self._leased >= self._most_leased:
                raise OutOfResources(f"{self._leased} long instances are coming in already")
            self._leased += 1
            pack = self._resting.pop() if self._resting else None
        try:
            if pack is None:
                pack = self._create()
            pack.flush()  # a lease begins a group of its own, so that it cannot hide what was finished before it
            return Lease(pack, blob_id, key_id, self._lease_ended)
        except OutOfResources:
            with self._lock:
                self._leased -= 1
                if pack is not None:
                    self._resting.append(pack)
            raise

    def prepare(self) -> bool:
        """
        Write zeros ahead of the records, one step of 8 MiB, and make the next pack before it is needed; say whether
        it did.

        A flush into blocks written before costs less than half. Called from a thread of its own when there is time,
        until it returns False; harmless beside `append`.
        """
        pack = self._main
        try:
            if pack is None:
                with self._turning:
                    if self._main is None:
                        self._next_main()
                return True
            missing = min(self._pack_bytes, pack.end + LEAST_AHEAD) - pack.allocated
            if missing > 0:
                pack.fill(min(AHEAD, -(-missing >> 20) << 20))
                return True
            with self._lock:
                spare = bool(self._resting)
            if not spare and pack.end > self._pack_bytes * 3 // 4:
                created = self._create()
                created.fill(min(AHEAD, self._pack_bytes))
                with self._lock:
                    self._resting.append(created)
                return True
        except OutOfResources:
            return False  # whoever appends hears of it, with an instance to refuse
        return False

    def close(self) -> None:
        """Let go of the files; what was not flushed is not promised. Open packs stay open for the next start."""
        with self._lock:
            packs, self._open = list(self._open.values()), {}
            self._files.clear()
            self._main = None
            self._resting.clear()
        for pack in packs:
            pack.file.close()

    def _listing(self) -> list[tuple[int, bool]]:
        found = (_FILE.fullmatch(name) for name in self._medium.listing(self._root))
        return sorted((int(matched[1]), matched[2] == "open") for matched in found if matched)

    def _name(self, number: int, *, is_open: bool) -> str:
        return f"{self._root}/{number:08d}.{'open' if is_open else 'pack'}"

    def _next_main(self) -> OpenPack:
        """Close the pack that is full and take up another."""
        with self._lock:
            full, self._main = self._main, None
            fits = [pack for pack in self._resting if pack.end < self._pack_bytes // 2]
            following = min(fits, key=lambda pack: pack.header.number) if fits else None
            if following is not None:
                self._resting.remove(following)
        if full is not None:
            self._close_for_good(full)
        self._main = following if following is not None else self._create()
        return self._main

    def _create(self) -> OpenPack:
        with self._lock:
            number = self._returned.pop() if self._returned else self._last + 1
            self._last = max(self._last, number)
        name = self._name(number, is_open=True)
        try:
            pack = OpenPack.create(self._medium.open(name, create=True), PackHeader(number, self._randomness(16)))
            self._medium.sync_directory(self._root)
        except OutOfResources:
            self._give_back(number)
            raise
        with self._lock:
            self._open[number] = pack
        return pack

    def _give_back(self, number: int) -> None:
        """A pack could not be made: its file goes, its number is the next one's."""
        try:
            self._medium.unlink(self._name(number, is_open=True))
        except OutOfResources:  # after a failed flush; the next start removes it
            self._stillborn.add(number)
        else:
            with self._lock:
                self._returned.append(number)

    def _close_for_good(self, pack: OpenPack) -> None:
        number = pack.header.number
        pack.close_for_good()
        self._rename_closed(number)
        with self._lock:
            self._open.pop(number, None)  # whoever reads from it now keeps its file; the last one closes it

    def _rename_closed(self, number: int) -> None:
        self._medium.rename(self._name(number, is_open=True), self._name(number, is_open=False))
        self._medium.sync_directory(self._root)

    def _lease_ended(self, pack: OpenPack) -> None:
        with self._lock:
            self._leased -= 1
            self._resting.append(pack)

    def _recover(self, number: int) -> None:
        name = self._name(number, is_open=True)
        if self._medium.suspect:
            return
        file = self._medium.open(name)
        size = file.size()
        front = file.pread(FIRST_RECORD, 0)
        if not any(front) or size < PACK_HEADER:
            # A crash while the pack was made: it never held a record.
            self._medium.unlink(name)
            self._returned.append(number)
            self.torn += (Torn(number, 0, size, by_crash=True),)
            return
        header = decode_pack_header(front)
        if header.number != number:
            raise IntegrityError(f"the file of pack {number} holds pack {header.number}")
        recovered = recover(file, number)
        self.torn += recovered.torn
        pack = OpenPack(file, header, recovered.end, recovered.entries)
        # an index of a later group would prove what is torn to have been whole, should this start be cut short as well
        pack.group = min((one.offset for one in recovered.torn if one.by_crash), default=pack.group)
        if recovered.closing or recovered.torn or pack.end >= self._pack_bytes:
            # On a full disk it stays as it is until the next start: it can be read, and is not written to.
            with suppress(OutOfResources):
                if recovered.closed:
                    file.truncate(recovered.end + END)
                    self._rename_closed(number)
                else:
                    self._close_for_good(pack)
            return
        self._open[number] = pack
        if self._main is None:
            self._main = pack
        else:
            self._resting.append(pack)

    def _file(self, number: int) -> File:
        with self._lock:
            pack = self._open.get(number)
            if pack is not None:
                return pack.file
            file = self._files.get(number)
            if file is not None:
                self._files.move_to_end(number)
                return file
        try:
            file = self._medium.open(self._name(number, is_open=False), writable=False)
        except NotFound:
            file = self._medium.open(self._name(number, is_open=True), writable=False)
        with self._lock:
            self._files[number] = file
            while len(self._files) > KEPT_FILES:
                self._files.popitem(last=False)  # closed when its last reader lets go of it
        return file

    def _chunks(self, file: File, offset: int, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            upto = min(stop, (start // CHUNK + 1) * CHUNK)
            yield file.pread(upto - start, position_in(offset, Kind.CHUNKED, start))
            start = upto

    def _stored(self, file: File, pack: int, found: Found) -> StoredRecord:
        location = Location(pack, found.offset, found.sealed_length, plain_length(found.sealed_length))
        trailer = file.pread(min(found.trailer_length, LONGEST_TRAILER), found.trailer_offset)
        return StoredRecord(BlobId(found.blob_id), found.key_id, location, trailer)
