"""
One request being answered: its association, its context, and what is left of its data set.

The rule of this file: whatever a provider does with a request, its data set is received to the end before the answer
goes out, within a limit, so that the association stays usable; beyond the limit the association ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, final

from strongroom.dimse import DataFragment, Request
from strongroom.errors import RemoteProtocolError
from strongroom.scp.ports import Conversation
from strongroom.upper_layer.events import AcceptedContext

_MIB: Final = 1024 * 1024


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """How much one association may ask of us."""

    max_data_set_length: int = 64 * 1024 * _MIB
    """Bytes of one data set: beyond the largest whole-slide and echo loops we know of by a wide margin (D02)."""
    max_drained: int = 64 * _MIB
    """Bytes still taken in of a data set that was refused already."""
    moves_per_requester: int = 8
    """C-MOVEs one device may have under way or waiting (D16)."""
    moves_per_destination: int = 2
    """C-MOVEs that send to one destination at a time; the others wait (D16)."""


DEFAULT_LIMITS: Final = Limits()


@final
class Exchange:
    """One request and what its answer needs."""

    __slots__ = ("context", "conversation", "limits", "request", "unread")

    def __init__(
        self,
        conversation: Conversation,
        context: AcceptedContext,
        request: Request,
        *,
        has_data_set: bool,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.conversation = conversation
        self.context = context
        self.request = request
        self.limits = limits
        self.unread = has_data_set
        """True while fragments of the request's data set are to come."""

    def cancelled(self, message_id: int) -> bool:
        """Whether the request has been cancelled; raises RemoteProtocolError when there is nobody left to ask."""
        if self.conversation.over is not None:
            raise RemoteProtocolError("the association ended while its request was being answered")
        return self.conversation.cancelled(message_id)

    async def fragment(self) -> DataFragment:
        """Return the next fragment of the data set; ask only while `unread`."""
        event = await self.conversation.receive()
        if not isinstance(event, DataFragment):
            raise RemoteProtocolError("the association ended inside a data set")
        if event.last:
            self.unread = False
        return event

    async def pass_on(self, sink: Callable[[memoryview], bool]) -> None:
        """Give the fragments to *sink* the moment they come, until it says False or the data set has ended."""

        def take(fragment: DataFragment) -> bool:
            if fragment.last:
                self.unread = False
            return sink(fragment.data) and self.unread

        if not await self.conversation.receive_into(take):
            raise RemoteProtocolError("the association ended inside a data set")

    async def data_set(self, *, limit: int) -> AsyncIterator[memoryview]:
        """Yield what is left of the data set; raises RemoteProtocolError beyond *limit* bytes."""
        length = 0
        while self.unread:
            fragment = await self.fragment()
            length += len(fragment.data)
            if length > limit:
                raise RemoteProtocolError(f"a data set goes on beyond {limit} bytes")
            yield fragment.data

    async def drain(self) -> None:
        """Take in and forget what is left of the data set."""
        async for _ in self.data_set(limit=self.limits.max_drained):
            pass
