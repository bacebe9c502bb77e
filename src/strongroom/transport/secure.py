"""
TLS between a connection and its link: OpenSSL through `ssl.SSLObject`, driven by one protocol of ours (PS3.15 B.12).

Why not the event loop's own TLS: uvloop's and asyncio's close a failed handshake without sending its alert, and then
whoever sets up a device learns nothing; they keep a buffer of 256 KiB for each connection that was ever busy; and
they do not let us acknowledge each read (PERFORMANCE section 1). What is decrypted goes straight into the
association's buffer.

The buffer for what comes from the wire is shared by all connections of a listener: a loop reads into it and hands it
over in one step, so it never holds anything between two calls (selector loops and uvloop).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, final

from strongroom.transport.acknowledging import LARGEST_SEGMENT, acknowledge

RAW_SIZE: Final = 65_536
"""What is read from the wire at a time. OpenSSL's own buffer grows to this and stays so while the connection lasts."""

_SLICE: Final = 65_536
"""What is encrypted at a time, for the same reason."""

_WRITE_HIGH: Final = 512 * 1024
_WRITE_LOW: Final = 128 * 1024


def raw_buffer() -> memoryview:
    """Make the buffer that connections of one loop share."""
    return memoryview(bytearray(RAW_SIZE))


class Upper(Protocol):
    """What TLS carries: a link, or the HTTP protocol of the web door."""

    def connection_made(self, transport: SecureTransport) -> None:
        """The handshake is done."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the buffer that the next decrypted bytes go into."""

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes are in it; the buffer is free again when this returns."""

    def eof_received(self) -> Any:
        """The peer sends no more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""

    def pause_writing(self) -> None:
        """Enough waits to be sent."""

    def resume_writing(self) -> None:
        """More can be sent."""


@final
class SecureTransport(asyncio.Transport):
    """What the link writes to and is closed by."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Secure) -> None:
        super().__init__()
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The TLS object as "ssl_object"; everything else is the connection's."""
        return self._protocol.info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed or being closed."""
        return self._protocol.closing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send."""
        self._protocol.send((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Encrypt and send several buffers, in as few writes as they fit."""
        self._protocol.send(list_of_data)

    def get_write_buffer_size(self) -> int:
        """How many bytes, encrypted, have not left yet."""
        return self._protocol.unsent

    def pause_reading(self) -> None:
        """Hand nothing to the link until told to."""
        self._protocol.pause()

    def resume_reading(self) -> None:
        """Go on, in a later turn of the loop."""
        self._protocol.resume()

    def close(self) -> None:
        """Send what is left and the end of TLS, then close."""
        self._protocol.close()

    def abort(self) -> None:
        """Close at once."""
        self._protocol.abort()


@final
class Secure(asyncio.BufferedProtocol):
    """One TLS connection; speaks to the loop on one side and to a link on the other."""

    __slots__ = (
        "_incoming",
        "_link",
        "_loop",
        "_lost",
        "_outgoing",
        "_paused",
        "_raw",
        "_raw_paused",
        "_resuming",
        "_shaken",
        "_socket",
        "_tls",
        "_transport",
        "_waiter",
        "closing",
        "encrypted",
    )

    def __init__(
        self,
        link: Upper,
        context: ssl.SSLContext,
        connected: socket.socket,
        raw: memoryview,
        *,
        server_name: str | None = None,
    ) -> None:
        """Without *server_name* this is the server's side."""
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._socket: socket.socket | None = connected
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] = self._loop.create_future()
        self._shaken = self._paused = self._raw_paused = self._resuming = self._lost = False
        self.closing = False
        self.encrypted = 0
        """Bytes handed to the connection so far; less `unsent`, what has left."""

    async def shaken(self, seconds: float) -> None:
        """
        Wait for the end of the handshake; raises ssl.SSLError, ConnectionError or TimeoutError.

        However it fails, the connection is closed, and the peer has been sent the alert TLS has for it.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except BaseException:
            self.closing = True
            if self._transport is not None:
                self._transport.close()
            raise

    # ------------------------------------------------------------------------------------------------- from the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's are asyncio.Transport in all but name
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)  # type: ignore[union-attr]
        self._shake()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the signature of asyncio.BufferedProtocol
        """Offer the shared buffer."""
        return self._raw

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* from the wire; called for every read."""
        self._incoming.write(self._raw[:nbytes])
        left = 0
        if self._shaken:
            left = self._pump()
        else:
            self._shake()
        if left <= LARGEST_SEGMENT and self._socket is not None:
            acknowledge(self._socket)

    def eof_received(self) -> bool:
        """Take note that the peer sends no more, with or without having ended TLS."""
        if self._shaken:
            self._link.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits or the link."""
        self._socket = None
        self._transport = None
        self._over(exc)
        if not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the peer hung up during the handshake"))

    def pause_writing(self) -> None:
        """Pass it on."""
        self._link.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._link.resume_writing()

    # ------------------------------------------------------------------------------------------------------ handshake
    def _shake(self) -> None:
        if self._waiter.done():  # it has failed; what still comes is dropped
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert
            self._waiter.set_exception(error)
            return
        self._shaken = True
        self._flush()
        self._waiter.set_result(None)
        self._link.connection_made(SecureTransport(self))
        self._pump()

    # ------------------------------------------------------------------------------------------------------ receiving
    def _pump(self) -> int:
        """
        Decrypt what is there into the association's buffer, until there is no more or the link has enough.

        Returns how much room was left in that buffer: at least what is missing of the current PDU.
        """
        incoming, pending, link = self._incoming, self._tls.pending, self._link
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]  # typeshed forgets this form
        ended = False
        error: ssl.SSLError | None = None
        left = 0
        while not (self._paused or ended or error or self.closing) and (incoming.pending or pending()):
            buffer = link.get_buffer(-1)
            room = len(buffer)
            got = 0
            starved = False
            try:
                while got < room and (incoming.pending or pending()):
                    count = read(room - got, buffer[got:] if got else buffer)
                    if not count:
                        ended = True
                        break
                    got += count
            except ssl.SSLWantReadError:
                starved = True
            except ssl.SSLError as failed:
                error = failed
            left = room - got
            del buffer  # the association's buffer must not be held while it works on it
            if got:
                link.buffer_updated(got)
            if starved:
                break
        self._flush()
        if error is not None:
            self._over(error)
            self._close_connection()
        elif ended and not self.closing:
            link.eof_received()
            self.close()
        elif self._paused:
            self._hold_back()
        return left

    def pause(self) -> None:
        """Stop handing over; the wire is stopped too as soon as a read's worth has come."""
        self._paused = True

    def resume(self) -> None:
        """Go on in a later turn: who resumes may still look into what it has got."""
        if not self._paused:
            return
        self._paused = False
        if self._raw_paused and self._transport is not None and not self.closing:
            self._raw_paused = False
            self._transport.resume_reading()
        if not self._resuming:
            self._resuming = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resuming = False
        if not self.closing:
            self._pump()

    def _hold_back(self) -> None:
        if not self._raw_paused and self._transport is not None and self._incoming.pending >= RAW_SIZE // 2:
            self._raw_paused = True
            self._transport.pause_reading()

    # -------------------------------------------------------------------------------------------------------- sending
    @property
    def unsent(self) -> int:
        """Encrypted bytes that have not left."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, buffers: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Encrypt *buffers* and write them; nothing happens on a closed connection."""
        if self.closing or self._transport is None:
            return
        write = self._tls.write
        waiting = 0
        try:
            for buffer in buffers:
                for part in _slices(buffer):
                    write(part)
                    waiting += len(part)
                    if waiting >= _SLICE:
                        self._flush()
                        waiting = 0
        except ssl.SSLError as error:
            self._over(error)
            self._close_connection()
            return
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing.pending:
            data = self._outgoing.read()
            self.encrypted += len(data)
            self._transport.write(data)

    # --------------------------------------------------------------------------------------------------------- ending
    def info(self, name: str, default: Any) -> Any:
        """What is known about the connection."""
        if name == "ssl_object":
            return self._tls
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def close(self) -> None:
        """End TLS and the connection; the peer's own end of TLS is not waited for: PDUs have lengths of their own."""
        if self.closing:
            return
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._close_connection()

    def abort(self) -> None:
        """End the connection at once."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def _close_connection(self) -> None:
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def _over(self, error: Exception | None) -> None:
        self.closing = True
        if self._shaken and not self._lost:
            self._lost = True
            self._link.connection_lost(error)


def _slices(buffer: bytes | bytearray | memoryview[Any]) -> Iterable[bytes | bytearray | memoryview[Any]]:
    """Parts of *buffer* that are not too long; nothing is copied."""
    if len(buffer) <= _SLICE:
        return (buffer,) if len(buffer) else ()
    view = memoryview(buffer)
    return [view[start : start + _SLICE] for start in range(0, len(view), _SLICE)]


__all__ = ["RAW_SIZE", "Secure", "SecureTransport", "Upper", "raw_buffer"]
