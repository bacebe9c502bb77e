"""Where received bytes lie: nothing copied twice, nothing overwritten, nothing allocated for a stranger."""

from __future__ import annotations

import pytest

from strongroom.upper_layer.buffer import LOOKAHEAD, SMALL, ReceiveBuffer

PDU = 131_078  # header included


def fill(buffer: ReceiveBuffer, data: bytes, need: int = 6, *, eager: bool = True) -> None:
    """Write *data* the way a transport does: into what is offered, as often as it takes."""
    while data:
        room = buffer.room(need, eager=eager)
        taken = min(len(room), len(data))
        room[:taken] = data[:taken]
        del room
        buffer.filled(taken)
        data = data[taken:]


def test_an_idle_buffer_is_small():
    """Before anything came, and after a shrink, 4 KiB are held."""
    buffer = ReceiveBuffer()
    fill(buffer, bytes(PDU), PDU)
    buffer.take(PDU)
    busy = len(buffer.data)
    buffer.shrink()

    assert busy >= PDU
    assert len(buffer.data) == SMALL


def test_in_a_pdu_its_rest_and_the_next_headers_are_offered():
    """One read can complete a PDU and bring the next header along, and no more."""
    buffer = ReceiveBuffer()
    fill(buffer, bytes(100))

    assert len(buffer.room(PDU, eager=True)) == PDU + LOOKAHEAD - 100


def test_only_the_lookahead_is_moved():
    """After a whole PDU the bytes read ahead go to the front of the same memory."""
    buffer = ReceiveBuffer()
    fill(buffer, bytes(PDU) + bytes(range(LOOKAHEAD)), PDU)
    memory = buffer.data
    buffer.take(PDU)
    buffer.room(PDU, eager=True)

    assert buffer.data is memory
    assert (buffer.start, bytes(memory[:LOOKAHEAD])) == (0, bytes(range(LOOKAHEAD)))


def test_memory_somebody_looks_into_is_not_overwritten():
    """A view outlives any number of later reads; the buffer moves on to other memory."""
    buffer = ReceiveBuffer()
    fill(buffer, b"a" * PDU, PDU)
    view = memoryview(buffer.data)[buffer.start : buffer.start + PDU]
    buffer.take(PDU)
    for letter in (b"b", b"c", b"d"):
        fill(buffer, letter * PDU, PDU)
        buffer.take(PDU)

    assert view == b"a" * PDU


def test_memory_nobody_looks_into_is_used_again():
    """Without views the same memory serves every PDU."""
    buffer = ReceiveBuffer()
    fill(buffer, b"a" * PDU, PDU)
    memory = buffer.data
    buffer.take(PDU)
    fill(buffer, b"b" * PDU, PDU)

    assert buffer.data is memory


def test_a_length_alone_allocates_nothing_for_a_stranger():
    """Who only announces 128 KiB gets room as it comes, at most twice what it sent."""
    buffer = ReceiveBuffer()
    sent = 0
    for piece in (6, 4000, 4096, 10_000, 50_000):
        fill(buffer, bytes(piece), PDU, eager=False)
        sent += piece
        assert len(buffer.data) <= 2 * sent + 3 * SMALL


def test_room_is_never_empty_and_order_is_kept():
    """Even a reader that drains late gets room, and the bytes stay in order."""
    buffer = ReceiveBuffer()
    data = bytes(range(256)) * 100
    fill(buffer, data)

    assert bytes(buffer.data[buffer.start : buffer.end]) == data


def test_appending_keeps_what_is_unread():
    """`append` takes any amount and moves nothing out of order."""
    buffer = ReceiveBuffer()
    buffer.append(b"x" * 5000)
    buffer.take(4995)
    buffer.append(b"y" * 300_000)

    assert bytes(buffer.data[buffer.start : buffer.end]) == b"x" * 5 + b"y" * 300_000


@pytest.mark.parametrize("need", [6, 3000])
@pytest.mark.parametrize("unread", [1, 5, LOOKAHEAD, LOOKAHEAD + 1, 2000])
def test_the_last_byte_of_the_memory_is_kept_when_it_is_moved(unread, need):
    """What is unread comes to the front whole, also when it reached to the very end of the memory."""
    buffer = ReceiveBuffer()
    fill(buffer, b"x" * SMALL)
    buffer.take(SMALL - unread)
    buffer.room(need, eager=True)

    assert bytes(buffer.data[buffer.start : buffer.end]) == b"x" * unread


@pytest.mark.parametrize("count", [-1, 1 << 20])
def test_an_impossible_count_is_refused(count):
    """A transport that claims to have written more than there was room for is a bug."""
    buffer = ReceiveBuffer()
    buffer.room(6, eager=True)

    with pytest.raises(ValueError, match="written"):
        buffer.filled(count)
