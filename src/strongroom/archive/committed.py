"""What a storage commitment is about, as front doors see it, and the way back to an association that stands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

if TYPE_CHECKING:
    from strongroom.archive.credentials import MoveDestination

__all__ = ["Commitment", "CommitmentInbox", "CommitmentPeer", "Reference"]

MAX_ASKED: Final = 20_000
"""Instances of one transaction: twice the longest series we know of. More is asked for in several transactions."""
DELIVERY_SECONDS: Final = 30.0
"""An association that asked is given so long to take the result; then it is told on one of ours."""


class Reference(NamedTuple):
    """One instance that is asked about."""

    sop_class_uid: str
    sop_instance_uid: str


@final
@dataclass(frozen=True, slots=True)
class Commitment:
    """A transaction with its result."""

    transaction_uid: str
    references: tuple[Reference, ...]
    reasons: tuple[int, ...] = ()
    """Failure Reason of each (PS3.3 C.14.1.1), 0 for what is kept; empty in a request."""


class CommitmentPeer(Protocol):
    """The way to an enrolled device, over an association of ours."""

    def report(self, destination: MoveDestination, result: Commitment, /) -> Awaitable[None]:
        """Tell the result to the device that asked; raises when it was not taken."""

    def ask(
        self, destination: MoveDestination, request: Commitment, take: Callable[[Commitment], Awaitable[None]], /
    ) -> Awaitable[None]:
        """Ask a device; a result that comes at once goes to *take*. Raises when the request was not taken."""


@final
class CommitmentInbox:
    """Results on their way to the association that asked for them, for as long as it stands."""

    def __init__(self) -> None:
        self._coming: deque[tuple[Commitment, asyncio.Future[bool]]] = deque()
        self._arrived = asyncio.Event()
        self.expected: set[str] = set()
        """Transaction UIDs that were asked for on this association."""
        self.is_open = True

    async def deliver(self, result: Commitment) -> bool:
        """Hand over a result; tells whether the peer took it."""
        if not self.is_open:
            return False
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._coming.append((result, taken))
        self._arrived.set()
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                return await taken
        except TimeoutError:
            return False

    async def wait(self) -> None:
        """Wait until there is something to send."""
        await self._arrived.wait()

    def take(self) -> tuple[Commitment, asyncio.Future[bool]] | None:
        """The next result that somebody still waits to see sent, and where to say whether the peer took it."""
        while self._coming:
            result, taken = self._coming.popleft()
            if not taken.done():
                return result, taken
        self._arrived.clear()
        return None

    def close(self) -> None:
        """The association is over: nothing more is taken."""
        self.is_open = False
        for _, taken in self._coming:
            if not taken.done():
                taken.set_result(False)
        self._coming.clear()
