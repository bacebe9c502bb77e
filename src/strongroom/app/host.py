"""
How a command reaches a home: by the server that owns it, or, when none runs, by owning it for a moment itself.

Either way the same operation runs behind the same gate as the actor *host* (DESIGN section 6, One writer).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from strongroom.app import control
from strongroom.app.home import Home, open_home
from strongroom.errors import HomeInUseError

_PATIENCE_SECONDS = 5.0
"""Another command may own the home for a moment; wait this long before giving up."""


def perform(path: Path, operation: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run *operation* on the home at *path*; yields progress objects and at last {"result": ...}."""
    yield from _run(_replies(open_home(path), operation, parameters))


def rebuild(path: Path, *, without_register: bool, passphrase_file: Path | None) -> Iterator[dict[str, Any]]:
    """Make the catalogue of the home at *path* anew, which no server may have open; see `app.rebuilding`."""
    from strongroom.app.rebuilding import rebuild as replies  # noqa: PLC0415 -- nothing else needs all of this

    yield from _run(replies(open_home(path), without_register=without_register, passphrase_file=passphrase_file))


def _run(replies: AsyncGenerator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(replies))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(replies.aclose())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _replies(home: Home, operation: str, parameters: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Try the server's socket first, then the home's lock, until one of them is had."""
    waited = 0.0
    while True:
        if home.control_socket.exists():
            try:
                async for reply in control.ask(home.control_socket, operation, parameters):
                    yield reply
            except control.NobodyListensError:
                pass
            else:
                return
        try:
            async for reply in _alone(home, operation, parameters):
                yield reply
        except HomeInUseError:
            if waited >= _PATIENCE_SECONDS:
                raise
            await asyncio.sleep(0.1)
            waited += 0.1
        else:
            return


async def _alone(home: Home, operation: str, parameters: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    from strongroom.app.assembly import open_archive  # noqa: PLC0415 -- a running server spares the command all of this
    from strongroom.app.founding import read_passphrase  # noqa: PLC0415
    from strongroom.app.operations import operate  # noqa: PLC0415

    given = os.environ.get("STRONGROOM_PASSPHRASE_FILE")
    passphrase = read_passphrase(Path(given)) if given else None
    async with open_archive(home, passphrase=passphrase) as archive:
        async for reply in operate(archive, operation, parameters, os.getuid()):
            yield reply
