"""Bodies that are sent while they are read: how they end, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from archive.world import aio
from strongroom.dicomweb.answers import BrokenOffError, Pieces, Streamed, begun
from strongroom.errors import IntegrityError


class Way:
    """A client that takes what is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.left = 0

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.left += 1

    async def answered(self, pieces: Pieces, *, method: str = "GET", length: int | None = None) -> Streamed:
        """Send an answer of *pieces*."""
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self.held())
            answer = Streamed(pieces, held.pop_all(), media_type="a/b", length=length)
        await answer({"type": "http", "method": method}, self.receive, self.send)  # type: ignore[arg-type]
        return answer


async def pieces(*content: bytes | Exception) -> Pieces:
    """A body of that content; an exception is raised where it stands."""
    for one in content:
        if isinstance(one, Exception):
            raise one
        yield one


@aio
async def test_a_body_of_known_length_ends_with_its_last_piece() -> None:
    """The client has all of it then and asks on: nothing may follow that would come before its next request."""
    way = Way()
    await way.answered(pieces(b"abc", b"de"), length=5)

    assert [(b"abc", True), (b"de", False)] == [(one["body"], one["more_body"]) for one in way.messages[1:]]
    assert 1 == way.left


@aio
async def test_a_body_of_unknown_length_has_an_end_of_its_own() -> None:
    """The last piece is not known for one."""
    way = Way()
    await way.answered(pieces(b"abc"))

    assert [(b"abc", True), (b"", False)] == [(one["body"], one["more_body"]) for one in way.messages[1:]]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@aio
async def test_an_empty_body(method: str) -> None:
    """It ends as well; of HEAD nothing is read."""
    way = Way()
    await way.answered(pieces() if method == "GET" else pieces(AssertionError()), method=method, length=0)

    assert [(b"", False)] == [(one["body"], one["more_body"]) for one in way.messages[1:]]
    assert 1 == way.left


@pytest.mark.parametrize("content", [(b"abc",), (b"abc", IntegrityError("damaged")), (b"abc", ConnectionResetError())])
@aio
async def test_a_body_that_breaks_off(content: tuple[bytes | Exception, ...]) -> None:
    """Too short, damaged, client away: an error that ends the connection, and nothing stays held."""
    way = Way()
    with pytest.raises(BrokenOffError):
        await way.answered(pieces(*content), length=10)

    assert all(one.get("more_body", True) for one in way.messages)
    assert 1 == way.left


@aio
async def test_an_answer_that_is_not_wanted() -> None:
    """Discarded, it leaves what it held, once."""
    way = Way()
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(way.held())
        answer = Streamed(pieces(b"x"), held.pop_all(), media_type="a/b")
    await answer.discard()
    await answer.discard()

    assert 1 == way.left


@aio
async def test_a_body_can_be_begun_before_its_header() -> None:
    """What goes wrong at once is raised at once; else all pieces come, the first one too."""
    with pytest.raises(IntegrityError):
        await begun(pieces(IntegrityError("damaged")))

    assert [b"a", b"b"] == [piece async for piece in await begun(pieces(b"a", b"b"))]
    assert [] == [piece async for piece in await begun(pieces())]


@pytest.mark.parametrize("taken", [0, 1])
@aio
async def test_a_body_that_was_begun_is_ended_with_its_answer(taken: int) -> None:
    """HEAD takes nothing of it, a client that goes away not all: its source may hold a reader, and is closed now."""
    ended = []

    async def source() -> Pieces:
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append(True)

    body = await begun(source())
    for _ in range(taken):
        await anext(body)
    await body.aclose()

    assert [True] == ended
