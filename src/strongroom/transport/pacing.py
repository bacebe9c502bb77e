"""How long a peer may take for what, and how fast it has to be (SECURITY C12). Pure: the clock is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final


@final
@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a peer may take for what (SECURITY C12)."""

    handshake_seconds: float = 10.0
    associate_seconds: float = 15.0
    """From the connection to the last byte of the A-ASSOCIATE PDU, whatever trickles in meanwhile."""
    close_seconds: float = 5.0
    """ARTIM: from our last PDU to the end of the connection (PS3.8 §9.1.5)."""
    release_seconds: float = 10.0
    idle_seconds: float = 600.0
    stall_seconds: float = 60.0
    """How long a peer may take nothing of what we send."""
    minimum_rate: int = 1024
    """Bytes a second of a message that has begun, averaged over each grace period."""
    grace_seconds: float = 10.0
    tick_seconds: float = 1.0


DEFAULT_DEADLINES: Final = Deadlines()


@final
class Pacer:
    """What the peer did since we last looked: how fast it sends, whether it reads."""

    __slots__ = ("_amount", "_seen", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._amount = 0
        self._seen = 0

    def reset(self) -> None:
        """Forget the period under observation."""
        self._since = None

    def slow(self, received: int, now: float, rate: int, grace: float) -> bool:
        """Whether less than *rate* bytes a second came in the last *grace* seconds."""
        if self._since is None:
            self._since, self._amount = now, received
            return False
        elapsed = now - self._since
        if elapsed < grace:
            return False
        slow = received - self._amount < rate * elapsed
        self._since, self._amount = now, received
        return slow

    def stalled(self, unsent: int, now: float, limit: float) -> bool:
        """Whether what waits to be sent has not changed for *limit* seconds."""
        if self._since is None or self._amount != unsent:
            self._since, self._amount = now, unsent
            return False
        return now - self._since >= limit

    def quiet(self, received: int) -> bool:
        """Whether nothing has come since the last time this was asked."""
        quiet = self._seen == received
        self._seen = received
        return quiet


__all__ = ["DEFAULT_DEADLINES", "Deadlines", "Pacer"]
