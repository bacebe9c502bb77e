"""Acknowledging what was received at once, for senders that wait for it: the 40 ms trap of TCP."""

from __future__ import annotations

import socket
from typing import Final

LARGEST_SEGMENT: Final = 65_536
"""
More than any TCP segment holds. A sender that has at least so much left of a PDU can send a full segment and is not
waiting for an acknowledgement: sending it one would cost us more than reading.
"""

_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


def acknowledge(connected: socket.socket) -> None:
    """
    Send the acknowledgement of what was received now; called after each read that may leave the sender waiting.

    A sender with Nagle's algorithm on waits for it before its next small segment, and the kernel would keep it for
    40 ms. Linux forgets the option, hence again each time; other systems do not have it.
    """
    if _QUICK_ACK is not None:
        try:  # noqa: SIM105 -- called for every read, and suppress costs as much as the system call
            connected.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        except OSError:
            pass


__all__ = ["LARGEST_SEGMENT", "acknowledge"]
