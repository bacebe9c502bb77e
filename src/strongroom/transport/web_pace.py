"""Whether the client of one web connection keeps up: how fast its body comes, how fast it takes our answer."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from typing import final

from strongroom.transport.pacing import Pacer
from strongroom.transport.secure import Secure
from strongroom.transport.web_rules import Limits


@final
class Pace:
    """Looked at with every tick."""

    __slots__ = ("_limits", "_sending", "_taking")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sending, self._taking = Pacer(), Pacer()

    def rest(self) -> None:
        """Nothing of a body is expected just now."""
        self._sending.reset()

    def sends_slowly(self, received: int, now: float) -> bool:
        """Whether a body of which *received* bytes are here, and which we are ready to take, comes too slowly."""
        return self._sending.slow(received, now, self._limits.minimum_rate, self._limits.grace_seconds)

    def reads_slowly(self, secure: Secure, connected: socket.socket, now: float) -> bool:
        """
        Whether the peer takes too little of what waits for it.

        What the system holds counts as not taken: its buffer may be megabytes, and it says that there is room again
        only when much of it has left.
        """
        unsent = secure.unsent
        if not unsent:
            self._taking.reset()
            return False
        taken = secure.encrypted - unsent - _in_system(connected)
        return self._taking.slow(taken, now, self._limits.minimum_rate, self._limits.stall_seconds)


def _in_system(connected: socket.socket) -> int:
    """Bytes the system holds for the peer; 0 where it does not say."""
    with contextlib.suppress(OSError):
        answer = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])
    return 0


__all__ = ["Pace"]
