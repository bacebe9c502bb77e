"""TLS between a connection and its link, without a socket: two ends over transports in memory, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from strongroom.transport.link import Link
from strongroom.transport.secure import RAW_SIZE, Secure, SecureTransport, raw_buffer
from strongroom.upper_layer import Association, Role
from transport.world import aio, careless_context, der, device_context, device_identity, door_context, stranger


class Wire(asyncio.Transport):
    """The connection below one end: keeps what is written until the test carries it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = self.aborted = self.reading_paused = False
        self.limits: tuple[int, int] = (0, 0)

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.limits = (high, low)

    def write(self, data) -> None:
        assert not self.closed
        self.sent += data

    def take(self) -> bytes:
        """What has been written since the last time."""
        taken, self.sent = bytes(self.sent), bytearray()
        return taken

    def get_write_buffer_size(self) -> int:
        return len(self.sent)

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class Sink(Link):
    """A link that keeps what it gets instead of understanding it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, room: int = 1000) -> None:
        super().__init__(Association(Role.ACCEPTOR), loop=loop)
        self.transport: SecureTransport | None = None
        self.room = bytearray(room)
        self.got = bytearray()
        self.pause_at: int | None = None
        self.ended: list[object] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.room)

    def buffer_updated(self, nbytes: int) -> None:
        self.room.append(0)  # fails if anybody still holds the buffer
        self.room.pop()
        self.got += self.room[:nbytes]
        if self.pause_at is not None and len(self.got) >= self.pause_at:
            assert self.transport is not None
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended.append("eof")
        return False

    def connection_lost(self, exc) -> None:
        self.ended.append(exc)


class Ends:
    """Our server's end and a peer made of the standard library."""

    def __init__(self, client: ssl.SSLContext | None = None, room: int = 1000) -> None:
        loop = asyncio.get_running_loop()
        self.sink = Sink(loop, room)
        self.wire = Wire()
        self.raw = raw_buffer()
        self.options: list[tuple[int, ...]] = []
        self.secure = Secure(self.sink, door_context(), self, self.raw)  # type: ignore[arg-type]
        self.to_peer, self.from_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = (client or device_context()).wrap_bio(self.to_peer, self.from_peer, server_hostname="localhost")
        self.secure.connection_made(self.wire)

    def setsockopt(self, *option: int) -> None:
        """Stand in for the socket: count acknowledgements."""
        self.options.append(option)

    def receive(self, data: bytes, piece: int = RAW_SIZE) -> None:
        """Give *data* to our end in pieces, as a loop does."""
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            self.secure.get_buffer(-1)[: len(part)] = part
            self.secure.buffer_updated(len(part))

    def shake(self, piece: int = RAW_SIZE) -> None:
        """Run the handshake; raises what the peer's side raises."""
        for _ in range(8):
            try:
                self.peer.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            else:
                done = True
            self.receive(self.from_peer.read(), piece)
            self.to_peer.write(self.wire.take())
            if done and self.sink.transport is not None:
                return

    def send(self, data: bytes) -> bytes:
        """Encrypt at the peer; the bytes for the wire."""
        self.peer.write(data)
        return self.from_peer.read()


@pytest.mark.parametrize("piece", [1, 7, RAW_SIZE])
@aio
async def test_bytes_arrive_however_they_are_cut(piece: int) -> None:
    """Handshake and data byte by byte or at once; the association's buffer is never held while it works."""
    ends = Ends()
    ends.shake(piece)
    await ends.secure.shaken(1)
    data = bytes(range(256)) * 40
    ends.receive(ends.send(data), piece)
    assert bytes(ends.sink.got) == data
    assert ends.secure.info("ssl_object", None).getpeercert(binary_form=True) == der(device_identity())


@aio
async def test_what_is_sent_is_sliced_and_not_changed() -> None:
    """Several buffers of all kinds in one call arrive in order."""
    ends = Ends()
    ends.shake()
    parts = [b"head", memoryview(bytes(200_000)), bytearray(b"tail"), b""]
    ends.sink.transport.writelines(parts)
    ends.to_peer.write(ends.wire.take())
    received = bytearray()
    while len(received) < 200_008:
        received += ends.peer.read(65_536)
    assert received == b"head" + bytes(200_000) + b"tail"


@pytest.mark.parametrize(
    ("context", "alert"),
    [
        (careless_context, "CERTIFICATE_REQUIRED"),
        (lambda: careless_context(stranger().issue("CT1")), "DECRYPT_ERROR"),
    ],
    ids=["no certificate", "foreign certificate"],
)
@aio
async def test_the_alert_leaves_before_the_connection_closes(context, alert: str) -> None:
    """Whoever sets up a device reads what is wrong with its certificate, and not "connection closed"."""
    ends = Ends(context())
    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.peer.do_handshake()
        ends.receive(ends.from_peer.read())
        ends.to_peer.write(ends.wire.take())
    with pytest.raises(ssl.SSLError):
        await ends.secure.shaken(1)
    assert ends.wire.closed
    with pytest.raises(ssl.SSLError, match=alert):
        ends.peer.read(1)
    assert ends.sink.transport is None


@aio
async def test_a_handshake_that_takes_too_long_is_over() -> None:
    """Half a ClientHello for ever."""
    ends = Ends()
    with pytest.raises(ssl.SSLWantReadError):
        ends.peer.do_handshake()
    ends.receive(ends.from_peer.read()[:50])
    with pytest.raises(TimeoutError):
        await ends.secure.shaken(0.05)
    assert ends.wire.closed


@aio
async def test_a_peer_that_leaves_during_the_handshake_is_noticed() -> None:
    """The end of the connection ends the waiting."""
    ends = Ends()
    ends.secure.eof_received()
    ends.secure.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await ends.secure.shaken(1)
    assert ends.sink.ended == []


@aio
async def test_what_comes_after_a_failed_handshake_is_dropped() -> None:
    """The connection may bring more before it is closed."""
    ends = Ends()
    ends.receive(b"GET / HTTP/1.1\r\n\r\n")
    ends.receive(b"more")
    with pytest.raises(ssl.SSLError):
        await ends.secure.shaken(1)
    assert ends.sink.got == b""


@aio
async def test_a_consumer_that_is_behind_stops_the_wire() -> None:
    """Paused, nothing is handed over, the wire is paused within a read's worth, and all comes in order afterwards."""
    ends = Ends()
    ends.shake()
    data = bytes(range(256)) * 1000
    ends.sink.pause_at = 1
    encrypted = ends.send(data)
    given = 0
    while not ends.wire.reading_paused:
        part = encrypted[given : given + 20_000]
        ends.receive(part)
        given += len(part)
    assert given <= 2 * RAW_SIZE
    first = len(ends.sink.got)
    assert first <= 1000
    ends.sink.pause_at = None
    ends.sink.transport.resume_reading()
    assert len(ends.sink.got) == first  # not within the call: who resumes still looks at what it has
    await asyncio.sleep(0)
    assert not ends.wire.reading_paused
    ends.receive(encrypted[given:])
    assert bytes(ends.sink.got) == data


@aio
async def test_the_end_of_tls_ends_the_link() -> None:
    """What was sent before the peer's close_notify arrives; then the link is told, and we close too."""
    ends = Ends()
    ends.shake()
    encrypted = ends.send(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        ends.peer.unwrap()
    ends.receive(encrypted + ends.from_peer.read())
    assert ends.sink.got == b"last words"
    assert ends.sink.ended == ["eof"]
    assert ends.wire.closed


@aio
async def test_a_changed_record_ends_the_connection() -> None:
    """A bit that was flipped on the way is noticed by TLS; nothing of the record is handed over."""
    ends = Ends()
    ends.shake()
    encrypted = bytearray(ends.send(b"x" * 100))
    encrypted[-1] ^= 1
    ends.receive(bytes(encrypted))
    assert ends.sink.got == b""
    (end,) = ends.sink.ended
    assert isinstance(end, ssl.SSLError)
    assert ends.wire.closed
    ends.secure.connection_lost(None)
    assert len(ends.sink.ended) == 1


@aio
async def test_closing_says_so_in_tls() -> None:
    """Our close_notify leaves before the connection closes; nothing is sent afterwards."""
    ends = Ends()
    ends.shake()
    ends.sink.transport.write(b"bye")
    ends.sink.transport.close()
    ends.sink.transport.write(b"too late")
    assert ends.sink.transport.is_closing()
    ends.to_peer.write(ends.wire.take())
    assert ends.peer.read(100) == b"bye"
    assert ends.peer.read(100) == b""


@aio
async def test_reads_are_acknowledged_at_once_where_a_sender_may_wait() -> None:
    """With a lot of a PDU still to come no acknowledgement is forced; at its end one is (the 40 ms trap)."""
    ends = Ends(room=131_084)
    ends.shake()
    ends.options.clear()
    encrypted = ends.send(bytes(120_000))
    ends.receive(encrypted[:17_000])  # a record and a bit: more than 64 KiB of room left
    assert ends.options == []
    ends.sink.room = bytearray(5000)
    ends.receive(ends.send(b"")[:0] or encrypted[17_000:34_000])
    assert len(ends.options) == 1
