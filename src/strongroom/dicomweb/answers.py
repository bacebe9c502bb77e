"""
Bodies that are sent while they are read: nothing leaves before its record is durable, and however it ends, the
disclosure behind it ends as well (I5).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Final, final

from starlette.responses import Response

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["BrokenOffError", "Pieces", "Streamed", "begun"]

BREATH_BYTES: Final = 256 * 1024
"""Sent before others on the loop have their turn, even where no write had to wait."""

Pieces = AsyncGenerator[bytes | memoryview, None]


@final
class BrokenOffError(StrongroomError):
    """A body could not be sent to its end: the connection has to be closed, so that the client sees it is not whole."""


@final
class Streamed(Response):
    """
    An answer with the disclosure it is read from.

    *held* is what the handler entered, the disclosure before all; it is left when the last piece has gone, when the
    client has, or when reading failed. A HEAD request gets the same header and nothing is read.
    """

    def __init__(
        self,
        pieces: Pieces,
        held: contextlib.AsyncExitStack,
        *,
        media_type: str,
        status: int = 200,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._pieces = pieces
        self._held = held
        self._length = length
        self.status_code = status
        self.background = None
        given = {"Content-Type": media_type, **(headers or {})}
        if length is not None:
            given["Content-Length"] = str(length)
        self.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; raises BrokenOffError when it cannot be sent whole."""
        gone = asyncio.create_task(_until_gone(receive))
        try:
            async with self._held, contextlib.aclosing(self._pieces):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                ended = scope["method"] != "HEAD" and await self._send_pieces(send, gone)
                if not ended:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError as error:
            raise BrokenOffError("the client went away") from error
        except StrongroomError as error:
            raise BrokenOffError("the body broke off") from error
        finally:
            gone.cancel()

    async def _send_pieces(self, send: Send, gone: asyncio.Task[None]) -> bool:
        """
        Send every piece; whether the body is ended with them.

        One of known length ends with its last piece: the client has all of it then and may ask on at once.
        """
        left, sent = self._length, 0
        async for piece in self._pieces:
            if gone.done():
                raise BrokenOffError("the client went away")
            if left is not None:
                left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left != 0})
            sent += len(piece)
            if sent >= BREATH_BYTES:
                sent = 0
                await asyncio.sleep(0)
        if left:
            raise BrokenOffError("the body is shorter than it was said to be")
        return left is not None and self._length != 0

    async def discard(self) -> None:
        """Leave what is held without sending anything: the answer is not wanted any more."""
        async with self._held:
            await self._pieces.aclose()


async def _until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection; what it sends instead of waiting is of no interest."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def begun(source: Pieces) -> Pieces:
    """
    Fetch the first piece now, while an error can still be answered as one; return all of them.

    Who closes what is returned closes *source*, whether anything was taken of it or not.
    """

    async def all_of() -> Pieces:
        async with contextlib.aclosing(source):
            first = await anext(source, None)
            yield b""  # for us: a generator that has not begun would not close anything
            if first is None:
                return
            yield first
            async for piece in source:
                yield piece

    made = all_of()
    await anext(made)
    return made
