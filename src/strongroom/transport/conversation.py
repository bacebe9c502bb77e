"""
An association that stands, as everything above the transport sees it: messages in, messages out (PS3.7, PS3.8).

Both roles and both directions; operations one at a time, as negotiated. A data set streams through: what is received
is the receive buffer itself, what is sent is not copied where the pieces allow it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from typing import Final, final

from strongroom.dimse import DataFragment, Message, MessageReceived, Response, encode
from strongroom.dimse.status import Category, category
from strongroom.errors import LocalProtocolError
from strongroom.transport.ends import Ended
from strongroom.transport.link import Link, Sink
from strongroom.upper_layer import AcceptedContext, AssociateAccept

_KEEP_BELOW: Final = 8192
"""The tail of a piece that is shorter waits for the next one instead of becoming a PDU of its own."""

_SLICE: Final = 1024 * 1024
"""What is handed to the connection between two looks at whether the peer keeps up."""


@final
class Conversation:
    """One association; used by one task at a time. `listener` and `requestor` make it."""

    __slots__ = ("_contexts", "_lent", "_link", "_sending", "negotiated")

    def __init__(self, link: Link, negotiated: AssociateAccept) -> None:
        self._link = link
        self._contexts = link.contexts
        self._lent: memoryview | None = None
        self._sending = False
        self.negotiated = negotiated
        """The acceptor's answer: what the association was established with."""

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """What was agreed on, by presentation context ID."""
        return self._contexts

    @property
    def over(self) -> Ended | None:
        """Why the association has ended, if it has ended other than by a release."""
        return self._link.over

    async def receive(self) -> MessageReceived | DataFragment | None:
        """
        Return the next message or data set fragment, or None once the peer has released the association.

        The data of a fragment can be looked at until the next call, which takes the view back. A C-CANCEL is never
        returned: ask `cancelled`. Raises AssociationEndedError.
        """
        self._take_back()
        item = await self._link.receive()
        if type(item) is DataFragment:
            self._lent = item.data
        return item

    async def receive_into(self, sink: Sink, /) -> bool:
        """
        Give each data set fragment to *sink* the moment it comes; return once *sink* says False and wants no more.

        False when the peer has released the association instead. The view lives until *sink* returns. Raises
        AssociationEndedError, and what *sink* raises.
        """
        self._take_back()
        return await self._link.receive_into(sink)

    def _take_back(self) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            with suppress(BufferError):  # somebody looks into it still: the association then reads into another buffer
                lent.release()

    async def send(
        self,
        context_id: int,
        message: Message,
        data: bytes | memoryview | AsyncIterable[bytes | memoryview] | None = None,
        /,
    ) -> None:
        """
        Send *message*, followed by its data set if it has one; returns when the peer keeps up.

        The pieces of a data set must not be changed once they were handed over. When an iterable raises half-way the
        association is aborted, because nothing can be sent after half a message. Raises AssociationEndedError.
        """
        link = self._link
        link.check()
        if self._sending:
            raise LocalProtocolError("a message inside a message")
        command = link.association.send_data(
            context_id, encode(message, has_data_set=data is not None), is_command=True, is_last=True
        )
        if isinstance(message, Response) and category(message.status) is not Category.PENDING:
            link.answered(message.message_id_being_responded_to)
        if data is None:
            link.write_data(command)
            await link.drain()
            return
        self._sending = True
        try:
            if isinstance(data, bytes | memoryview):
                await self._send_whole(context_id, command, memoryview(data))
            else:
                await self._send_pieces(context_id, command, data)
        except BaseException:
            link.abort(Ended.ABORTED)
            raise
        finally:
            self._sending = False

    async def _send_whole(self, context_id: int, command: list[bytes | memoryview], data: memoryview) -> None:
        link = self._link
        send_data = link.association.send_data
        room = link.association.max_pdv_length
        step = max(_SLICE // room, 1) * room
        position = 0
        while len(data) - position > step:
            piece = data[position : position + step]
            link.write_data(command + send_data(context_id, piece, is_command=False, is_last=False))
            await link.drain()
            command = []
            position += step
        link.write_data(command + send_data(context_id, data[position:], is_command=False, is_last=True))
        await link.drain()

    async def _send_pieces(
        self, context_id: int, command: list[bytes | memoryview], pieces: AsyncIterable[bytes | memoryview]
    ) -> None:
        """Send what comes one piece behind, because only then it is known which is the last."""
        cutter = _Cutter(self._link.association.max_pdv_length)
        held = memoryview(b"")
        async for piece in pieces:
            if not piece:
                continue
            if held:
                command = await self._send_parts(context_id, command, cutter.cut(held))
            held = memoryview(piece)
        parts = cutter.cut(held, last=True)
        await self._send_parts(context_id, command, parts, last=True)

    async def _send_parts(
        self,
        context_id: int,
        command: list[bytes | memoryview],
        parts: list[bytes | memoryview],
        *,
        last: bool = False,
    ) -> list[bytes | memoryview]:
        """Write *command* and *parts*; returns what of the command is left to write."""
        if not parts:
            return command
        link = self._link
        send_data = link.association.send_data
        buffers = command
        final = len(parts) - 1
        for number, part in enumerate(parts):
            buffers = buffers + send_data(context_id, part, is_command=False, is_last=last and number == final)
        link.write_data(buffers)
        await link.drain()
        return []

    def cancelled(self, message_id: int, /) -> bool:
        """Whether a C-CANCEL has come for the request *message_id*; looks, never waits (PS3.7 §9.3.2.3)."""
        return self._link.cancelled(message_id)

    async def release(self) -> None:
        """Release the association in order and wait for the end of the connection; raises AssociationEndedError."""
        await self._link.release()

    async def abort(self) -> None:
        """End the association at once; nothing happens when it is over."""
        self._link.abort(Ended.ABORTED)


@final
class _Cutter:
    """Cuts pieces of any length into parts that fill PDUs, copying only what has to be joined."""

    __slots__ = ("_rest", "_room")

    def __init__(self, room: int) -> None:
        self._room = room
        self._rest: bytes = b""

    def cut(self, piece: memoryview, *, last: bool = False) -> list[bytes | memoryview]:
        """Return what to send now; parts are of even length but the last of all, and all when *last*."""
        parts: list[bytes | memoryview] = []
        if self._rest:
            taken = self._room - len(self._rest)
            joined = b"".join((self._rest, piece[:taken]))
            piece = piece[taken:]
            if len(joined) < self._room and not last:
                self._rest = joined
                return parts
            self._rest = b""
            parts.append(joined)
        if last:
            if piece or not parts:
                parts.append(piece)
            return parts
        tail = len(piece) % self._room
        keep = tail if tail < _KEEP_BELOW else tail & 1
        stop = len(piece) - keep
        if stop:
            parts.append(piece[:stop])
        self._rest = bytes(piece[stop:])
        return parts


__all__ = ["Conversation"]
