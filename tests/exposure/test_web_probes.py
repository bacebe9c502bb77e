"""A stranger's requests, on a web door of ours and on open ones made for the purpose, on loopback."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from strongroom.exposure import probes, web_probes
from strongroom.exposure.probes import Answer, Look
from strongroom.exposure.territory import Territory
from strongroom.exposure.web_probes import look_at_web
from strongroom.transport.tls import web_context
from transport.web_world import App, web_house
from transport.world import LOOPBACK, aio, authority, server_identity

PATHS = ["/dicom-web/studies", "/dicom-web/instances", "/metrics", "/openapi.json", "/docs"]


class Locked(App):
    """An application that knows nobody."""

    async def __call__(self, scope, receive, send) -> None:
        self.scopes.append(scope)
        await self.answer_unauthorized(scope, receive, send)


async def look(port: int, announced: list[tuple[str, int]] | None = None) -> Look:
    """Look at a web door of ours at *port*."""
    (host,) = Territory.own_doors([("web", LOOPBACK, port)])
    announce = (announced if announced is not None else []).append
    return await look_at_web(host, name="localhost", announce=announce, entropy=os.urandom)


@asynccontextmanager
async def server(answer: dict[str, bytes], *, clear: bool = False):
    """Something that answers by path, 404 where nothing is said, over TLS or not; yields port and what was asked."""
    asked: list[bytes] = []

    async def serve(reader, writer) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        asked.append(head)
        path = head.split(b" ")[1].partition(b"?")[0].decode()
        writer.write(answer.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n"))
        writer.close()

    context = None if clear else web_context(server_identity(), authority().pem)
    running = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1], asked
    finally:
        running.close()


@aio
async def test_our_web_door_is_shut_to_strangers() -> None:
    """401 everywhere, TLS refuses the rest, and our own look leaves no trace among the refused."""
    announced: list[tuple[str, int]] = []
    async with web_house(Locked(), known_knock=lambda address: address in announced) as house:
        looked = await look(house.port, announced)

        assert not looked.open
        assert [Answer.NOT_SERVED] * 5 + [Answer.TLS_REFUSED, Answer.CLOSED] == [one.answer for one in looked.evidence]
        assert [*PATHS, PATHS[0], PATHS[0]] == [one.called for one in looked.evidence]
        assert {"401"} == {one.detail for one in looked.evidence[:5]}
        assert len(looked.evidence) == len(announced)
        assert [] == house.refused
        assert "GET /metrics without a token: refused" in looked.summary


@pytest.mark.parametrize("path", PATHS)
@aio
async def test_a_page_that_is_served_makes_the_door_open(path: str) -> None:
    """Any answer but a refusal, an empty list as well; what is in it is not kept (canary)."""
    async with server({path: b"HTTP/1.1 200 OK\r\n\r\nCANARY^PATIENT"}) as (port, _):
        looked = await look(port)

        assert looked.open
        assert f"GET {path} without a token: an answer" in looked.summary
        assert "CANARY" not in repr(looked)


@pytest.mark.parametrize("status", [204, 301, 302, 405, 406, 500])
@aio
async def test_what_is_no_refusal_is_open(status: int) -> None:
    """A redirection, or an error that comes after the question who is there: strangers got too far."""
    async with server({PATHS[0]: b"HTTP/1.1 %d X\r\n\r\n" % status}) as (port, _):
        assert (await look(port)).open


@pytest.mark.parametrize("status", [400, 401, 403, 404, 421, 429, 503])
@aio
async def test_a_refusal_is_shut(status: int) -> None:
    """Whatever its number."""
    async with server(dict.fromkeys(PATHS, b"HTTP/1.1 %d X\r\n\r\n" % status)) as (port, _):
        assert not (await look(port)).open


@aio
async def test_an_answer_in_clear_text_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the knock without TLS finds it."""
    monkeypatch.setattr(web_probes, "KNOCK_SECONDS", 0.2)
    async with server({PATHS[0]: b"HTTP/1.1 200 OK\r\n\r\n"}, clear=True) as (port, _):
        looked = await look(port)

        assert looked.open
        assert f"GET {PATHS[0]} in clear text: an answer" == looked.summary


@aio
async def test_what_is_asked_identifies_nobody() -> None:
    """A random study UID, another each time, and who we are."""
    async with server({}) as (port, asked):
        await look(port)

        searches = [one for one in asked if b"StudyInstanceUID=2.25." in one]
        assert 2 == len({one.split(b"&")[0].partition(b"?")[2] for one in searches})
        assert all(b"limit=1 " in one for one in searches)
        assert all(b"User-Agent: STRONGROOM-AUD" in one and b"Authorization" not in one for one in asked)


@aio
async def test_nobody_there_and_silence_are_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that has gone meanwhile; one that says nothing costs a bounded time."""
    monkeypatch.setattr(web_probes, "KNOCK_SECONDS", 0.1)
    assert probes.KNOCK_SECONDS == 5

    async def swallow(reader, writer) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(swallow, LOOPBACK, 0)
    port = silent.sockets[0].getsockname()[1]
    assert not (await look(port)).open
    silent.close()
    await silent.wait_closed()
    looked = await look(port)

    assert {Answer.NO_CONNECTION} == {one.answer for one in looked.evidence}
