"""One connection and its association, on a transport in memory."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest

from strongroom.dimse import CCancelRequest, CEchoRequest, CEchoResponse, encode
from strongroom.transport.conversation import Conversation
from strongroom.transport.ends import AssociationEndedError, Ended
from strongroom.transport.link import Link
from strongroom.transport.pacing import DEFAULT_DEADLINES
from strongroom.upper_layer import Association, Role, Support, negotiate, pdu
from transport.test_secure import Wire
from transport.world import aio
from wire import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, VERIFICATION, a_request

SUPPORTED = {VERIFICATION: Support((IMPLICIT,)), CT_IMAGE_STORAGE: Support((EXPLICIT,))}


class Counting(Wire):
    """A transport that counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data) -> None:
        super().write(data)
        self.writes.append(bytes(data))

    def writelines(self, list_of_data) -> None:
        self.write(b"".join(list_of_data))


class Near:
    """Our acceptor's link, and a requestor's association at the far end."""

    def __init__(self, **deadlines: float) -> None:
        self.transport = Counting()
        self.link = Link(
            Association(Role.ACCEPTOR),
            loop=asyncio.get_running_loop(),
            deadlines=replace(DEFAULT_DEADLINES, **deadlines),
        )
        self.link.connection_made(self.transport)
        self.far = Association(Role.REQUESTOR)
        self.conversation: Conversation | None = None

    async def establish(self) -> Conversation:
        """Negotiate."""
        self.far.send(a_request())
        self.receive(self.far.transport_connected())
        accept = negotiate(await self.link.opened(), SUPPORTED)
        self.link.send(accept)
        self.far.receive_data(self.transport.take())
        self.far.next_event()
        self.transport.writes.clear()
        self.conversation = Conversation(self.link, accept)
        return self.conversation

    def receive(self, data: bytes) -> None:
        """Bytes from the far end, as a loop brings them."""
        while data:
            room = self.link.get_buffer(-1)
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            del room
            self.link.buffer_updated(taken)
            data = data[taken:]

    def message(self, message, context: int = 1) -> bytes:
        """A command from the far end."""
        return b"".join(self.far.send_data(context, encode(message), is_command=True, is_last=True))


@aio
async def test_an_announced_4_gib_is_answered_by_the_header_alone() -> None:
    """A-ABORT after six bytes; reading stops, nothing was allocated for it, and the connection is cut soon (T13)."""
    near = Near()
    near.receive(struct.pack(">BxI", 1, 0xFFFFFFFF))
    assert near.transport.take()[0] == 7
    assert near.transport.reading_paused
    assert near.link.bytes_received == 6
    with pytest.raises(AssociationEndedError) as caught:
        await near.link.opened()
    assert caught.value.code is Ended.PROTOCOL_ERROR
    await asyncio.sleep(0.6)
    assert near.transport.aborted


@aio
async def test_an_answer_leaves_in_one_write() -> None:
    """A response of one PDU is one write: two would wait for each other at a receiver of the same habits."""
    near = Near()
    conversation = await near.establish()
    near.receive(near.message(CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION)))
    await conversation.receive()
    await conversation.send(1, CEchoResponse(message_id_being_responded_to=1, status=0))
    assert len(near.transport.writes) == 1


@aio
async def test_a_flood_of_cancels_fills_nothing() -> None:
    """C-CANCELs for requests that are not there are forgotten at once (D14)."""
    near = Near()
    conversation = await near.establish()
    near.receive(near.message(CEchoRequest(message_id=7)))
    await conversation.receive()
    for message_id in range(2000):
        near.receive(near.message(CCancelRequest(message_id_being_responded_to=message_id)))
    assert conversation.cancelled(7)
    assert not conversation.cancelled(8)
    assert len(near.link._cancels) == 1
    assert not near.link._queue
    assert not near.transport.reading_paused


@aio
async def test_while_something_waits_nothing_is_read() -> None:
    """Back-pressure begins with the first thing the consumer has not taken."""
    near = Near()
    conversation = await near.establish()
    near.receive(near.message(CEchoRequest(message_id=1)))
    assert near.transport.reading_paused
    await conversation.receive()
    assert not near.transport.reading_paused


@aio
async def test_what_came_before_the_peers_abort_is_still_given_out() -> None:
    """A message that was complete counts, even when the peer is gone when it is looked at."""
    near = Near()
    conversation = await near.establish()
    near.receive(near.message(CEchoRequest(message_id=1)) + pdu.encode(pdu_abort()))
    assert (await conversation.receive()).message.message_id == 1
    with pytest.raises(AssociationEndedError) as caught:
        await conversation.receive()
    assert caught.value.code is Ended.ABORTED_BY_PEER


def pdu_abort():
    """A-ABORT of a service user."""
    from strongroom.upper_layer import Abort

    return Abort()


@aio
async def test_our_own_abort_leaves_nothing_to_work_on() -> None:
    """A revoked device's message that waits is not handed out any more."""
    near = Near()
    conversation = await near.establish()
    near.receive(near.message(CEchoRequest(message_id=1)))
    near.link.abort(Ended.DISCONNECTED)
    with pytest.raises(AssociationEndedError) as caught:
        await conversation.receive()
    assert caught.value.code is Ended.DISCONNECTED
    assert near.transport.take()[0] == 7


@aio
async def test_an_association_that_has_become_quiet_is_small() -> None:
    """The buffer of a busy time is given back after a quiet tick."""
    near = Near(tick_seconds=0.02)
    conversation = await near.establish()
    data = bytes(130_000)
    from strongroom.dimse import CStoreRequest

    command = CStoreRequest(message_id=1, affected_sop_class_uid=CT_IMAGE_STORAGE)
    near.receive(
        b"".join(near.far.send_data(3, encode(command, has_data_set=True), is_command=True, is_last=True))
        + b"".join(near.far.send_data(3, data, is_command=False, is_last=True))
    )
    await conversation.receive()
    assert len((await conversation.receive()).data) == 130_000
    waiting = asyncio.ensure_future(conversation.receive())
    buffer = near.link._association._buffer
    assert len(buffer.data) > 100_000
    await asyncio.sleep(0.2)
    assert len(buffer.data) == 4096
    waiting.cancel()
    near.link.cut()


@aio
async def test_a_peer_that_does_not_close_is_closed() -> None:
    """After the release's last PDU the connection ends by the deadline (ARTIM)."""
    near = Near(tick_seconds=0.02, close_seconds=0.1)
    conversation = await near.establish()
    from strongroom.upper_layer import ReleaseRequest

    near.receive(near.far.send(ReleaseRequest()))
    assert await conversation.receive() is None
    assert near.transport.take()[0] == 6
    await asyncio.sleep(0.3)
    assert near.transport.aborted
    near.link.connection_lost(None)
    assert near.link.over is None
    await near.link.lost()


@aio
async def test_nothing_is_left_running_after_the_end() -> None:
    """No timer of a connection outlives it."""
    near = Near()
    await near.establish()
    near.link.connection_lost(None)
    assert near.link._tick is None
    assert near.link._transport is None
    assert near.link.over is Ended.CONNECTION_LOST
