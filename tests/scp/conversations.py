"""
Two real conversations (`transport.conversation`) joined by a transport in memory: upper layer, DIMSE and providers, no socket.

What one side writes the other gets a piece at a time, in later turns of the loop; reading can be paused and writing blocks, as
on a real connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from strongroom.scp import extended_answers, supported
from strongroom.transport.conversation import Conversation
from strongroom.upper_layer import (
    AssociateAccept,
    AssociateRequest,
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

    def __init__(self, ours: Conversation) -> None:
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

    def get_extra_info(self, name, default=None):
        return default

    def _end(self) -> None:
        for side in (self, self.other):
            if not side._ended:
                side._ended = True
                asyncio.get_running_loop().call_soon(side.ours.connection_lost, None)


def join(ours: Conversation, theirs: Conversation) -> None:
    """Put the link between two conversations."""
    left, right = Pipe(ours), Pipe(theirs)
    left.other, right.other = right, left
    ours.connection_made(left)
    theirs.connection_made(right)


async def associate(
    session,
    contexts: Iterable[tuple[str, Iterable[str]]],
    *,
    roles: tuple[RoleSelection, ...] = (),
    extended: tuple[SopClassExtended, ...] = (),
) -> tuple[Conversation, Conversation, AssociateAccept]:
    """An association as a door makes it: proposed, answered by what *session* may use; client, server, answer."""
    client, server = Conversation(Role.REQUESTOR), Conversation(Role.ACCEPTOR)
    client.propose(
        AssociateRequest(
            "STRONGROOM",
            "CALLER",
            number_contexts(contexts),
            "1.2.3",
            role_selections=roles,
            sop_class_extended=extended,
        )
    )
    join(client, server)
    client.begin()
    request = await server.requested()
    accept = negotiate(request, supported(session), sop_class_extended=extended_answers(request.sop_class_extended))
    server.accept(accept)
    await client.established()
    return client, server, accept
