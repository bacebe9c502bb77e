"""
Two real conversations (`transport.conversation`) joined by a transport in memory: upper layer, DIMSE and providers, no socket.

What one side writes the other gets a piece at a time, in later turns of the loop; reading can be paused and writing blocks, as
on a real connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from strongroom.scp import extended_answers, supported
from strongroom.transport.conversation import Conversation
from strongroom.transport.link import Link, Opening
from strongroom.upper_layer import (
    DEFAULT_LIMITS,
    AssociateAccept,
    AssociateRequest,
    Association,
    Role,
    RoleSelection,
    SopClassExtended,
    negotiate,
    number_contexts,
)

PIECE = 5000
HIGH = 65_536


class Pipe(asyncio.Transport):
    """One direction of the link, seen by who writes into it."""

    def __init__(self, ours: Link) -> None:
        super().__init__()
        self.ours = ours
        self.other: Pipe
        self._waiting = bytearray()
        self._closing = self._ended = self._reading_paused = self._blocked = self._scheduled = False

    def write(self, data) -> None:
        if not self._ended:
            self._waiting += data
            if len(self._waiting) > HIGH and not self._blocked:
                self._blocked = True
                self.ours.pause_writing()
            self._schedule()

    def writelines(self, list_of_data) -> None:
        for data in list_of_data:
            self.write(data)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._carry)

    def _carry(self) -> None:
        self._scheduled = False
        if self._ended or self.other._reading_paused:
            return
        if self._waiting:
            room = self.other.ours.get_buffer(-1)
            taken = min(len(room), len(self._waiting), PIECE)
            room[:taken] = self._waiting[:taken]
            del room, self._waiting[:taken]
            self.other.ours.buffer_updated(taken)
        if self._blocked and len(self._waiting) < HIGH // 4:
            self._blocked = False
            self.ours.resume_writing()
        if self._waiting:
            self._schedule()
        elif self._closing:
            self._end()

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self.other._schedule()

    def close(self) -> None:
        self._closing = True
        self._schedule()

    def abort(self) -> None:
        self._waiting.clear()
        self._end()

    def is_closing(self) -> bool:
        return self._closing or self._ended

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def get_extra_info(self, name, default=None):
        return default

    def _end(self) -> None:
        for side in (self, self.other):
            if not side._ended:
                side._ended = True
                asyncio.get_running_loop().call_soon(side.ours.connection_lost, None)


def join(request: AssociateRequest) -> tuple[Link, Link]:
    """The two ends of a connection over which *request* is on its way."""
    loop = asyncio.get_running_loop()
    opening = Opening(request, lambda _transport: None)
    ours = Link(Association(Role.REQUESTOR, DEFAULT_LIMITS), loop=loop, opening=opening)
    theirs = Link(Association(Role.ACCEPTOR, DEFAULT_LIMITS), loop=loop)
    left, right = Pipe(ours), Pipe(theirs)
    left.other, right.other = right, left
    theirs.connection_made(right)
    ours.connection_made(left)
    return ours, theirs


async def established(
    request: AssociateRequest, answer: Callable[[AssociateRequest], AssociateAccept]
) -> tuple[Conversation, Conversation]:
    """Both ends of an association: who asked, and who answered with *answer*."""
    ours, theirs = join(request)
    asked = await theirs.opened()
    assert isinstance(asked, AssociateRequest)
    accept = answer(asked)
    theirs.send(accept)
    accepted = await ours.opened()
    assert isinstance(accepted, AssociateAccept)
    return Conversation(ours, accepted), Conversation(theirs, accept)


async def associate(
    session,
    contexts: Iterable[tuple[str, Iterable[str]]],
    *,
    roles: tuple[RoleSelection, ...] = (),
    extended: tuple[SopClassExtended, ...] = (),
) -> tuple[Conversation, Conversation]:
    """An association as a door makes it: proposed, and answered by what *session* may use; client and server."""
    request = AssociateRequest(
        "STRONGROOM",
        "CALLER",
        number_contexts(contexts),
        "1.2.3",
        role_selections=roles,
        sop_class_extended=extended,
    )

    def answer(asked: AssociateRequest) -> AssociateAccept:
        return negotiate(asked, supported(session), sop_class_extended=extended_answers(asked.sop_class_extended))

    return await established(request, answer)
