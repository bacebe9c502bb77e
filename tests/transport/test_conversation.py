"""Messages and data sets between two real ends over TLS on loopback, and the cutting of pieces into PDUs."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.dimse import CCancelRequest, CEchoRequest, CEchoResponse, CStoreResponse, DataFragment
from strongroom.errors import LocalProtocolError
from strongroom.transport import AssociationEndedError, Ended
from strongroom.transport.conversation import _Cutter
from strongroom.transport.link import _DROP_SECONDS
from transport.world import ECHO, QUICK, STORE, Desk, aio, echo, house, store, until
from wire import VERIFICATION

PENDING = 0xFF00


def content(length: int) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(length).randbytes(length)


def digest(data: bytes) -> str:
    """SHA-256, as the desk keeps it."""
    return hashlib.sha256(data).hexdigest()


async def pieces(data: bytes, *lengths: int):
    """Yield *data* in pieces of *lengths*, repeated."""
    position, number = 0, 0
    while position < len(data):
        length = lengths[number % len(lengths)]
        yield memoryview(data)[position : position + length]
        position += length
        number += 1
        await asyncio.sleep(0)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
@aio
async def test_a_sink_gets_every_fragment(tls: bool, at_once: int) -> None:
    """However many fragments it takes before it pauses, nothing is lost, doubled or out of order."""
    import ipaddress
    from datetime import date

    async def take(conversation, event) -> None:
        got = bytearray()
        count, last = 0, False

        def sink(fragment: DataFragment) -> bool:
            nonlocal count, last, got
            count += 1
            got += fragment.data
            last = fragment.last
            return not last and count % at_once != 0

        while not last:
            assert await conversation.receive_into(sink)
            await asyncio.sleep(0)
        received.append(digest(bytes(got)))
        answer = CStoreResponse(message_id_being_responded_to=event.message.message_id, status=0)
        await conversation.send(event.context_id, answer)

    received: list[str] = []
    door = {} if tls else {"networks": (ipaddress.ip_network("127.0.0.0/8"),), "expires": date(2027, 1, 1)}
    async with house(tls=tls, **door) as home:
        home.desk.hook = take
        conversation = await home.call(callee={} if tls else {"tls": None})
        sent = []
        for number, length in enumerate((0, 1, 131_062, 526_001, 3_000_000)):
            data = content(length)
            assert await store(conversation, data, number + 1) == 0
            sent.append(digest(data))
        await conversation.release()

        assert sent == received


@aio
async def test_what_a_sink_raises_is_raised_where_it_came_from() -> None:
    """The connection and its other associations know nothing of it."""

    def sink(fragment: DataFragment) -> bool:
        raise ZeroDivisionError

    async def take(conversation, event) -> None:
        with pytest.raises(ZeroDivisionError):
            await conversation.receive_into(sink)
        while not (await conversation.receive()).last:
            pass
        answer = CStoreResponse(message_id_being_responded_to=event.message.message_id, status=7)
        await conversation.send(event.context_id, answer)

    async with house() as home:
        home.desk.hook = take
        conversation = await home.call()

        assert await store(conversation, content(526_001), 1) == 7
        await conversation.release()


@pytest.mark.parametrize("tls", [True, False])
@aio
async def test_data_sets_of_any_length_arrive_bit_for_bit(tls: bool) -> None:
    """From nothing over one byte to several megabytes, whole or in pieces, several on one association."""
    import ipaddress
    from datetime import date

    door = {} if tls else {"networks": (ipaddress.ip_network("127.0.0.0/8"),), "expires": date(2027, 1, 1)}
    async with house(tls=tls, **door) as home:
        conversation = await home.call(callee={} if tls else {"tls": None})
        sent = []
        for number, length in enumerate((0, 1, 2, 4095, 131_062, 131_063, 526_001, 3_000_000)):
            data = content(length)
            assert await store(conversation, data, number + 1) == 0
            sent.append(digest(data))
        for number, lengths in enumerate(((65_536,), (1, 0, 7), (200_001, 3), (131_062,), (16_000, 9_000))):
            data = content(300_001 if lengths[0] > 1 else 3_001)
            assert await store(conversation, pieces(data, *lengths), number + 50) == 0
            sent.append(digest(data))
        await conversation.release()
        assert home.desk.stored == sent
        await until(lambda: home.desk.ends == [None])


@aio
async def test_small_pdus_of_the_acceptor_are_respected() -> None:
    """An acceptor that announces 16 KiB gets no longer PDU: its own upper layer would abort otherwise."""
    async with house(desk=Desk(max_pdu_length=16_384)) as home:
        conversation = await home.call()
        data = content(526_000)
        assert await store(conversation, pieces(data, 65_536)) == 0
        assert home.desk.stored == [digest(data)]
        await conversation.release()


@aio
async def test_the_view_of_a_fragment_is_taken_back() -> None:
    """What was received can be looked at until the next call; afterwards the view is dead, not silently changed."""
    seen: list[memoryview] = []

    async def keep(conversation, event) -> None:
        while True:
            fragment = await conversation.receive()
            assert isinstance(fragment, DataFragment)
            for old in seen:
                with pytest.raises(ValueError, match="released"):
                    old.tobytes()
            seen.append(fragment.data)
            if fragment.last:
                return

    desk = Desk(hook=keep)
    async with house(desk=desk) as home:
        conversation = await home.call()
        with pytest.raises(AssociationEndedError):
            await asyncio.gather(store(conversation, content(600_000)), _end_when(conversation, lambda: len(seen) >= 5))
        assert len(seen) >= 5


async def _end_when(conversation, condition) -> None:
    await until(condition)
    await conversation.abort()


@aio
async def test_a_fragment_somebody_still_looks_into_is_not_overwritten() -> None:
    """A consumer that exports the bytes (a NumPy array, say) keeps them unchanged."""
    kept: list[tuple[memoryview, str]] = []

    async def keep(conversation, event) -> None:
        while True:
            fragment = await conversation.receive()
            own = memoryview(fragment.data)[:100]
            kept.append((own, digest(own)))
            if fragment.last:
                return

    async with house(desk=Desk(hook=keep)) as home:
        conversation = await home.call()
        sending = asyncio.ensure_future(store(conversation, content(1_000_000)))
        await until(lambda: len(kept) >= 8)
        assert all(digest(view) == expected for view, expected in kept)
        await conversation.abort()
        with pytest.raises(AssociationEndedError):
            await sending


@aio
async def test_a_cancel_is_seen_while_answers_are_sent() -> None:
    """C-CANCEL reaches who asks for it between two pending answers; one for another message means nothing."""

    async def answer_for_ever(conversation, event) -> None:
        message_id = event.message.message_id
        while not conversation.cancelled(message_id):
            pending = CEchoResponse(message_id_being_responded_to=message_id, status=PENDING)
            await conversation.send(event.context_id, pending)
            await asyncio.sleep(0)
        await conversation.send(
            event.context_id, CEchoResponse(message_id_being_responded_to=message_id, status=0xFE00)
        )

    async with house(desk=Desk(hook=answer_for_ever)) as home:
        conversation = await home.call()
        await conversation.send(ECHO, CCancelRequest(message_id_being_responded_to=7))
        await conversation.send(ECHO, CEchoRequest(message_id=7, affected_sop_class_uid=VERIFICATION))
        for _ in range(50):
            assert (await conversation.receive()).message.status == PENDING
        await conversation.send(ECHO, CCancelRequest(message_id_being_responded_to=8))
        for _ in range(50):
            assert (await conversation.receive()).message.status == PENDING
        await conversation.send(ECHO, CCancelRequest(message_id_being_responded_to=7))
        statuses = []
        while not statuses or statuses[-1] == PENDING:
            statuses.append((await conversation.receive()).message.status)
        assert statuses[-1] == 0xFE00


@aio
async def test_a_late_cancel_does_not_reach_the_next_request() -> None:
    """After the final answer a message id may be used again (PS3.7 §9.3.2.3)."""
    async with house() as home:
        conversation = await home.call()
        for _ in range(3):
            assert await echo(conversation, 5) == 0
            for _ in range(200):
                await conversation.send(ECHO, CCancelRequest(message_id_being_responded_to=5))
        assert await echo(conversation, 5) == 0
        (present,) = home.listener.present()
        assert not present.conversation._link._cancels


@aio
async def test_a_data_set_that_breaks_off_ends_the_association() -> None:
    """Half a message cannot be followed by anything: the error is raised, the peer gets an A-ABORT."""

    async def broken():
        yield content(300_000)
        yield content(300_000)
        raise RuntimeError("the medium failed")

    async with house() as home:
        conversation = await home.call()
        with pytest.raises(RuntimeError):
            await store(conversation, broken())
        assert conversation.over is Ended.ABORTED
        await until(lambda: len(home.desk.ends) == 1)
        (end,) = home.desk.ends
        assert isinstance(end, AssociationEndedError)
        assert end.code is Ended.ABORTED_BY_PEER
        assert home.desk.stored == []
        with pytest.raises(AssociationEndedError):
            await echo(conversation)


@aio
async def test_messages_are_not_mixed() -> None:
    """A second task that sends while a data set is under way is our mistake, and the first goes on."""
    async with house() as home:
        conversation = await home.call()
        sending = asyncio.ensure_future(store(conversation, pieces(content(500_000), 10_000)))
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError):
            await conversation.send(ECHO, CEchoRequest(message_id=9))
        assert await sending == 0


@aio
async def test_a_peer_that_does_not_read_is_given_up() -> None:
    """What we send is bounded in memory, and a peer that takes nothing for a while is cut off."""
    sent = 0

    async def flood(conversation, event) -> None:
        nonlocal sent
        comment = "x" * 60
        while True:
            pending = CEchoResponse(message_id_being_responded_to=1, status=PENDING, error_comment=comment)
            await conversation.send(event.context_id, pending)
            sent += 1

    async with house(desk=Desk(hook=flood)) as home:
        conversation = await home.call()
        link = conversation._link
        await conversation.send(ECHO, CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION))
        link._transport.pause_reading()
        await until(lambda: home.desk.ends)
        (end,) = home.desk.ends
        assert end.code is Ended.NOT_READING
        assert sent * 200 < 30_000_000


@aio
async def test_release_ends_both_sides_quietly() -> None:
    """A release leaves no error on either side and no association behind."""
    async with house() as home:
        conversation = await home.call()
        assert await echo(conversation) == 0
        await conversation.release()
        assert conversation.over is None
        await until(lambda: home.desk.ends == [None])
        await until(lambda: not home.listener.present())
        assert await conversation.receive() is None


@aio
async def test_a_release_inside_a_message_is_an_abort() -> None:
    """Who releases before its data set has ended is aborted (SECURITY D01)."""
    async with house() as home:
        conversation = await home.call()
        association = conversation._link.association
        command = CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION)
        from strongroom.dimse import encode

        half = association.send_data(ECHO, encode(command)[:20], is_command=True, is_last=False)
        conversation._link.write_data(half)
        with pytest.raises(AssociationEndedError):
            await conversation.release()
        await until(lambda: home.desk.ends)
        assert home.desk.ends[0].code is Ended.RELEASED_EARLY


@aio
async def test_both_releasing_at_once_is_no_error() -> None:
    """The release collision ends in order for both (PS3.8 §7.2.2.7)."""
    started = asyncio.Event()
    ends = []

    async def release(conversation, event) -> None:
        await conversation.send(event.context_id, CEchoResponse(message_id_being_responded_to=1, status=0))
        started.set()
        await conversation.release()
        ends.append("acceptor")

    async with house(desk=Desk(hook=release)) as home:
        conversation = await home.call()
        conversation._link._transport.pause_reading()  # so that the acceptor's request crosses ours
        await conversation.send(ECHO, CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION))
        await started.wait()
        await asyncio.sleep(0.05)
        releasing = asyncio.ensure_future(conversation.release())
        await asyncio.sleep(0)
        conversation._link._transport.resume_reading()
        await releasing
        assert conversation.over is None
        await until(lambda: ends == ["acceptor"])


@aio
async def test_a_peer_that_never_confirms_a_release_is_aborted() -> None:
    """Releasing takes a bounded time."""

    async def stubborn(conversation, event) -> None:
        await asyncio.sleep(10)

    async with house(desk=Desk(hook=stubborn)) as home:
        conversation = await home.call(deadlines=replace(QUICK, release_seconds=0.1))
        await conversation.send(ECHO, CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION))
        with pytest.raises(AssociationEndedError) as caught:
            await conversation.release()
        assert caught.value.code is Ended.RELEASE_TIMEOUT
        assert _DROP_SECONDS < 1


@aio
async def test_only_one_task_receives() -> None:
    """A second task waiting on one association is our mistake."""
    async with house() as home:
        conversation = await home.call()
        first = asyncio.ensure_future(conversation.receive())
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError):
            await conversation.receive()
        first.cancel()


@given(
    lengths=st.lists(st.integers(1, 70_000), min_size=1, max_size=12),
    room=st.sampled_from([122, 1018, 16_378, 131_066]),
)
def test_cutting_loses_nothing_and_fills_pdus(lengths: list[int], room: int) -> None:
    """The parts make up the pieces; all but the last are even; only a tail of some size makes a short PDU."""
    data = content(sum(lengths))
    cutter = _Cutter(room)
    parts: list[bytes | memoryview] = []
    position = 0
    for number, length in enumerate(lengths):
        piece = memoryview(data)[position : position + length]
        position += length
        parts += cutter.cut(piece, last=number == len(lengths) - 1)
    assert b"".join(parts) == data
    for part in parts[:-1]:
        assert len(part) % 2 == 0
        tail = len(part) % room
        assert tail == 0 or tail >= 8192 - 1


def test_an_empty_data_set_is_one_empty_part() -> None:
    """The last fragment has to exist, even of nothing."""
    assert _Cutter(1000).cut(memoryview(b""), last=True) == [b""]


def test_store_context_is_the_third() -> None:
    """The helper's numbers are those of the contexts."""
    assert (ECHO, STORE) == (1, 3)
