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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from strongroom.errors import IntegrityError, NotFound, OutOfResources
from strongroom.ground.medium import File, Medium
from strongroom.vault._layout import (
    END,
    FIRST_RECORD,
    FOOTER,
    PACK_HEADER,
    RECORD_HEADER,
    Kind,
    PackHeader,
    aligned,
    decode_pack_header,
)
from strongroom.vault._open_pack import Lease, OpenPack
from strongroom.vault._walk import record_at
from strongroom.vault.blob import Location, SealedRecord, StoredRecord
from strongroom.vault.packs import read_sealed, records_of, stored
from strongroom.vault.recovery import Torn, recover

__all__ = ["Extent", "Lease", "Torn", "Vault"]

PACK_BYTES = 256 << 20
LEASES = 4  # long instances that may come in at the same time; each has a pack of its own
AHEAD = 8 << 20  # zeros written in one background step
LEAST_AHEAD = 16 << 20  # and how many should stand in front of the records
KEPT_FILES = 64  # closed packs whose files stay open for reading

_FILE = re.compile(r"([0-9]{8})\.(pack|open)")


@final
@dataclass(frozen=True, slots=True)
class Extent:
    """The first *length* bytes of a pack are durable; *closed*: they are all there will ever be."""

    number: int
    length: int
    closed: bool


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
        self.closed: Callable[[], None] = _nobody_listens
        """Called in the writing thread when a pack was closed for good."""
        self._lock = threading.Lock()
        self._turning = threading.Lock()  # who takes up the next pack
        medium.make_directory(root)
        self._last = 0
        self._returned: list[
            int
        ] = []  # numbers of packs that were never made: the next ones, so that no number is missing
        self._making: set[int] = set()  # packs whose file may stand there already and holds nothing
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
        return read_sealed(self._file(location.pack), location, start, stop)

    def record(self, location: Location) -> StoredRecord:
        """Return what stands at *location*, with its trailer. Raises IntegrityError, NotFound."""
        file = self._file(location.pack)
        found = record_at(file, location.offset)
        if found is None or found.kind not in (Kind.BLOB, Kind.CHUNKED):
            raise IntegrityError(f"pack {location.pack} holds no record at {location.offset}")
        return stored(file, location.pack, found)

    def records(self, pack: int) -> Iterator[StoredRecord]:
        """
        Yield every record of a pack that is structurally whole, in order, read from the records themselves.

        Dead records and gaps are stepped over; `strongroom.vault.check` names them.
        """
        file, stop = self.file(pack)
        yield from records_of(file, pack, stop=stop)

    def packs(self) -> list[int]:
        """Return the numbers of all packs, closed and open; not of one that is only being made."""
        listed = {number for number, _ in self._listing()}
        with self._lock:  # after the listing: what was made meanwhile is open by now
            return sorted(listed - self._making)

    def coming(self) -> set[int]:
        """Return the numbers of packs that are being made, or will be next: they are not missing."""
        with self._lock:
            return {*self._making, *self._returned}

    def open_packs(self) -> list[int]:
        """Return the numbers of the packs that are not closed."""
        with self._lock:
            return sorted(self._open)

    def file(self, pack: int) -> tuple[File, int | None]:
        """Return a pack's file for `check`, and where the whole records of an open one end. Raises NotFound."""
        with self._lock:
            writing = self._open.get(pack)
        return (self._file(pack), None) if writing is None else (writing.file, writing.end)

    def never_again(self, numbers: Iterable[int]) -> None:
        """Say which packs were removed: no new one is called so, whatever lies in the folder."""
        with self._lock:
            self._last = max(self._last, *numbers, 0)

    def close_pack(self, number: int) -> bool:
        """
        Close an open pack for good, by the thread that appends; False while a long instance is written to it.

        True when it is closed already, or not there.
        """
        with self._turning:
            with self._lock:
                pack = self._open.get(number)
                if pack is None:
                    return True
                if pack is self._main:
                    self._main = None
                elif pack in self._resting:
                    self._resting.remove(pack)
                else:
                    return False
            pack.flush()
            self._close_for_good(pack)
        return True

    def remove(self, number: int) -> None:
        """
        Remove a closed pack that nothing refers to any more; no harm if it is not there.

        Whoever reads from it now reads on; the room is free once the last reader lets go of it.
        """
        with self._lock:
            if number in self._open:
                raise ValueError(f"pack {number} is open")
            self._files.pop(number, None)
        if (number, False) in self._listing():
            self._medium.unlink(self._name(number, is_open=False))
            self._medium.sync_directory(self._root)

    def extents(self) -> list[Extent]:
        """
        Return how far each pack is durable, for a copy.

        Called between two groups (by the committer): then no byte of a group that is not committed is within.
        """
        found = []
        for number, is_open in self._listing():
            with self._lock:
                pack = self._open.get(number)
                if number in self._making:
                    continue
            name = self._name(number, is_open=is_open)
            length = (self._medium.size(name) or 0) if pack is None else pack.group
            found.append(Extent(number, length, closed=not is_open))
        return found

    def close_open(self) -> None:
        """Close every pack that takes records: after a restore, so that none goes on as another pack of that id."""
        with self._turning, self._lock:
            packs = list(self._open.values())
            self._main = None
            self._resting.clear()
        for pack in packs:
            self._close_for_good(pack)

    @property
    def medium(self) -> Medium:
        """Where the packs lie, for `heal`, which puts a whole pack in a damaged one's place."""
        return self._medium

    @property
    def root(self) -> str:
        """The folder they lie in."""
        return self._root

    def forget(self, number: int) -> None:
        """Open the closed pack *number* anew when it is read next: another file stands in its place now."""
        with self._lock:
            self._files.pop(number, None)  # whoever reads from it now keeps it

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
            self._making.add(number)
        name = self._name(number, is_open=True)
        try:
            pack = OpenPack.create(self._medium.open(name, create=True), PackHeader(number, self._randomness(16)))
            self._medium.sync_directory(self._root)
        except OutOfResources:
            self._give_back(number)
            raise
        with self._lock:
            self._open[number] = pack
            self._making.discard(number)
        return pack

    def _give_back(self, number: int) -> None:
        """A pack could not be made: its file goes, its number is the next one's."""
        with suppress(OutOfResources):  # after a failed flush; the next start removes it
            self._medium.unlink(self._name(number, is_open=True))
            with self._lock:
                self._returned.append(number)
                self._making.discard(number)

    def _close_for_good(self, pack: OpenPack) -> None:
        number = pack.header.number
        pack.close_for_good()
        self._rename_closed(number)
        with self._lock:
            self._open.pop(number, None)  # whoever reads from it now keeps its file; the last one closes it
        self.closed()

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


def _nobody_listens() -> None:
    """For a vault without a second one."""
