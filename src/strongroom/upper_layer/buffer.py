"""
The receive buffer: a P-DATA-TF PDU is read by the transport into the place where it stays (no copy), and an idle
association holds 4 KiB.

How copying is avoided: in the middle of a PDU exactly its rest is offered to the transport, and twelve bytes more, so
that the next header comes along; only those few bytes are ever moved. At a PDU border 4 KiB are offered, enough for
commands and answers in one read.

Views handed out are never overwritten: a buffer somebody still looks into cannot be resized (the language says so),
which is how it is told from one that can be used again. In that case a fresh one takes its place.
"""

from __future__ import annotations

from typing import Final, final

SMALL: Final = 4096
"""What an idle association holds, and what is offered between PDUs."""

LOOKAHEAD: Final = 12
"""One P-DATA-TF header and its first PDV header: what may be read beyond the current PDU."""


@final
class ReceiveBuffer:
    """Bytes received and not yet taken: `data[start:end]`."""

    __slots__ = ("data", "end", "start")

    def __init__(self) -> None:
        self.data = bytearray(SMALL)
        self.start = 0
        self.end = 0

    def room(self, need: int, *, eager: bool) -> memoryview:
        """
        Return the place where the transport shall read to; never empty.

        *need* is the length of the PDU that begins at `start`, header included (6 while unknown). When not *eager*
        room grows only with what has come: a stranger's length field allocates nothing.
        """
        unread = self.end - self.start
        if self.start and unread <= LOOKAHEAD:
            self._to_front()
        wanted = max(need + LOOKAHEAD, SMALL) - unread
        if wanted <= 0:  # the reader has not drained its events; give it its way, the bound is its own
            wanted = SMALL
        if not eager:
            wanted = min(wanted, max(SMALL, unread))
        self._reserve(wanted)
        return memoryview(self.data)[self.end : self.end + wanted]

    def filled(self, count: int) -> None:
        """Take *count* bytes the transport wrote into `room`."""
        if not 0 <= count <= len(self.data) - self.end:
            raise ValueError(f"{count} bytes written into {len(self.data) - self.end}")
        self.end += count

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Copy *data* behind what is there."""
        if self.start and self.end - self.start <= LOOKAHEAD:
            self._to_front()
        self._reserve(len(data))
        self.data[self.end : self.end + len(data)] = data
        self.end += len(data)

    def take(self, count: int) -> int:
        """Drop up to *count* bytes from the front; return how many there were."""
        taken = min(count, self.end - self.start)
        self.start += taken
        return taken

    def shrink(self) -> None:
        """Give a large buffer back if what is unread fits a small one."""
        unread = self.end - self.start
        if len(self.data) > SMALL and unread <= SMALL // 2:
            self._move(bytearray(SMALL))

    def _reserve(self, wanted: int) -> None:
        if self.end + wanted <= len(self.data):
            return
        size = self.end - self.start + wanted
        if size <= len(self.data) and not self._is_held():
            self._move(self.data)
        else:
            self._move(
                bytearray(SMALL if size <= SMALL else size + SMALL)
            )  # a PDU may begin anywhere in the first 4 KiB

    def _to_front(self) -> None:
        self._move(bytearray(len(self.data)) if self._is_held() else self.data)

    def _move(self, target: bytearray) -> None:
        unread = self.end - self.start
        target[:unread] = self.data[self.start : self.end]
        self.data, self.start, self.end = target, 0, unread

    def _is_held(self) -> bool:
        try:
            last = self.data.pop()
        except BufferError:
            return True
        self.data.append(last)  # it may be unread
        return False
