"""
One request and its answer on the web door: uvicorn's cycle, with its loose ends tied.

- What the application raises is never sent and never logged with its text: the event loop's handler gets it, the client
  a sentence, or an aborted connection when the answer had begun.
- An answer that leaves before the request's body has come ends the connection: what follows is body, not a request.
- HTTP/1.0 gets no chunks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected

from strongroom.transport import web_refusal

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseStartEvent


class Connection(Protocol):
    """What an exchange needs of its connection."""

    def cut(self) -> None:
        """End the connection at once."""


def _nobody() -> None:
    """The answer is complete, or nobody waits for it."""


@final
class Exchange(RequestResponseCycle):
    """Made when a head has been read and found good."""

    def __init__(self, connection: Connection, **cycle: Any) -> None:
        super().__init__(**cycle)
        self._connection = connection
        self._until_close = self.scope["http_version"] == "1.0"
        self.last = False
        """Whether the connection ends with this answer; known once the answer has begun."""

    @property
    def running(self) -> bool:
        """Whether the answer is still owed."""
        return not self.response_complete and not self.disconnected

    @property
    def sent_by_length(self) -> bool:
        """Whether the client has every byte that Content-Length promised it; of an answer to HEAD there are none."""
        if self.scope["method"] == "HEAD":
            return self.response_started
        return self.response_started and not self.chunked_encoding and self.expected_content_length == 0

    def end_with_this(self) -> None:
        """Let the connection end with this answer."""
        self.last = True
        if not self.response_started:
            self.keep_alive = False

    def give_up(self) -> None:
        """Tell the application that the client has gone."""
        self.disconnected = True
        self.message_event.set()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run *app* for this request; nothing it does ends anything but this connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._connection.cut()
            raise
        except Exception as error:  # noqa: BLE001 -- a bug in one answer must not end the others
            if not self.disconnected:
                await self._fail(error)
        else:
            if self.running:
                await self._fail(RuntimeError("an answer was left incomplete"))
        finally:
            self.on_response = _nobody

    async def _fail(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "answering a request failed", "exception": error})
        if self.response_started:
            self._connection.cut()
            return
        body = web_refusal.SENTENCES[500].encode("ascii")
        try:
            await self.send({"type": "http.response.start", "status": 500, "headers": web_refusal.fields(500)})
            await self.send({"type": "http.response.body", "body": body, "more_body": False})
        except OSError:
            return

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the answer; raises OSError when the client has gone (ASGI 2.4), so that work for it ends."""
        if self.disconnected:
            raise ClientDisconnected
        if message["type"] == "http.response.start" and not self.response_started:
            await self._begin(message)
            return
        if self._until_close and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b"")) + message.get("more_body", False)
        await super().send(message)
        if self.disconnected:
            raise ClientDisconnected

    async def _begin(self, message: HTTPResponseStartEvent) -> None:
        if self.more_body:
            self.keep_alive = False
        headers = list(message.get("headers", []))
        if self._until_close:
            names = {name.lower() for name, _ in headers}
            self._until_close = b"content-length" not in names
            self.chunked_encoding = False if self._until_close else None
        message["headers"] = [(b"date", web_refusal.date()), *headers]
        await super().send(message)
        if self.disconnected:
            raise ClientDisconnected
        # from here the connection decides: closing at once with bytes unread would take the answer back
        self.last, self.keep_alive = not self.keep_alive, True


__all__ = ["Exchange"]
