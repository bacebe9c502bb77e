"""What is read as a request, and what is refused: raw bytes over TLS, as a smuggler would send them (SECURITY T26)."""

from __future__ import annotations

import asyncio

import httptools
import pytest

from transport.web_world import GET, QUICK, answer, rest, web_house
from transport.world import aio, until

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
GOOD = {
    "get": (GET, b"hello"),
    "length": (POST + b"Content-Length: 5\r\n\r\nabcde", b"abcde"),
    "chunked": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n", b"abcde"),
    "chunked in capitals": (POST + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a"),
    "newlines before the line": (b"\r\n\r\n" + GET, b"hello"),
    "query with odd characters": (b'GET /?a=\\^`{|}[]"<> HTTP/1.1\r\n' + HOST + b"\r\n", b"hello"),
}
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
BAD = {
    "length and coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked, identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "empty coding": (POST + b"Transfer-Encoding: \r\nContent-Length: 3\r\n\r\nabc", 400),
    "coding in HTTP/1.0": (
        b"POST /echo HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "two different lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
    "list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nabcde", 400),
    "signed length": (POST + b"Content-Length: +5\r\n\r\nabcde", 400),
    "empty length": (POST + b"Content-Length: \r\n\r\nabcde", 400),
    "endless length": (POST + b"Content-Length: 99999999999999999999999\r\n\r\nabcde", 400),
    "space before the colon": (POST + b"Content-Length : 5\r\n\r\nabcde", 400),
    "LF only": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "LF after a field": (b"GET / HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", 400),
    "LF at the end": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400),
    "CR only": (b"GET / HTTP/1.1\r\nHost: localhost\rA: b\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
    "folded coding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n A: b\r\nHost: localhost\r\n\r\n", 400),
    "NUL in a field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n", 400),
    "control character in a field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x01c\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: localhost\r\nfoo\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400),
    "absolute target": (b"GET http://evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target without a slash": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment": (b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "broken percent": (b"GET /%4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "percent NUL": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "percent newline": (b"GET /%0d%0aa HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no UTF-8": (b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "raw byte in the path": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "named 0.9": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n\r\n", 400),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "CONNECT": (b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED, 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a method of RTSP": (b"DESCRIBE / RTSP/1.0\r\n" + HOST + b"\r\n", 405),
    "a method of nobody": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "upgrade": (POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 46\r\n\r\n" + SMUGGLED, 400),
    "upgrade to h2c": (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + SMUGGLED, 400),
    "expectation": (POST + b"Expect: a miracle\r\nContent-Length: 3\r\n\r\nabc", 417),
    "chunk with LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
    "chunk ended by LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", 400),
    "chunk extension with LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n", 400),
    "chunk size with a space": (POST + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", 400),
    "chunk size 0x": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
    "negative chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400),
    "endless chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400),
    "chunk longer than said": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
    "TLS in TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("name", GOOD)
@aio
async def test_what_is_valid_is_answered(name: str) -> None:
    """Valid requests of every framing get through, and their connection can be used again."""
    request, body = GOOD[name]
    async with web_house() as house:
        reader, writer = await house.connect()
        for _ in range(3):
            writer.write(request)
            got = await answer(reader)

            assert (200, body) == (got.status, got.body)
        writer.close()


@pytest.mark.parametrize("name", BAD)
@aio
async def test_what_is_wrong_is_refused_and_ends_the_connection(name: str) -> None:
    """One answer, the connection closed, the application not reached, nothing behind it read as a request."""
    request, status = BAD[name]
    async with web_house() as house:
        assert status == await house.status(request + SMUGGLED)
        assert [] == [scope for scope in house.app.scopes if scope["path"] != "/echo"]
        assert [] == house.app.bodies
        assert 1 == len(house.refused)
        assert [] == house.unexpected


@pytest.mark.parametrize("name", BAD)
@aio
async def test_what_is_wrong_is_refused_byte_by_byte(name: str) -> None:
    """How the bytes are cut into packets makes no difference."""
    request, status = BAD[name]
    async with web_house(head_seconds=5) as house:
        reader, writer = await house.connect()
        for byte in request:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        received = await rest(reader)
        writer.close()

        assert received.startswith(b"HTTP/1.1 %d " % status), received
        assert 1 == received.count(b"HTTP/1.1 ")


@aio
async def test_the_parser_is_the_one_these_tests_were_written_for() -> None:
    """What llhttp lets through is closed by web_rules; a new version has to be looked at again."""
    assert "0.9.0" == httptools.__version__


@aio
async def test_a_refusal_says_nothing_of_the_request() -> None:
    """A fixed sentence, no Server, no cache."""
    async with web_house() as house:
        received = await house.raw(b"GET /?PatientName=CANARY HTTP/1.1\r\nHost: CANARY\r\nHost: b\r\n\r\n")

        assert b"CANARY" not in received
        assert b"server:" not in received.lower()
        assert b"cache-control: no-store" in received
        assert b"connection: close" in received


@aio
async def test_a_refused_method_is_told_the_known_ones() -> None:
    """405 has an Allow (RFC 9110 §15.5.6)."""
    async with web_house() as house:
        assert b"allow: GET, HEAD, POST" in await house.raw(BAD["TRACE"][0])


@aio
async def test_trailers_do_not_become_fields_of_the_head() -> None:
    """Uvicorn adds them to the list the application decides by; here they are dropped."""
    request = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: evil\r\n\r\n"
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(request)
        assert b"abc" == (await answer(reader)).body
        writer.close()

        (scope,) = house.app.scopes
        assert [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")] == scope["headers"]


@aio
async def test_pipelined_requests_are_not_read() -> None:
    """The first is answered, then the connection ends; a thousand behind it cost nothing."""
    async with web_house() as house:
        received = await house.raw(GET + SMUGGLED * 1000)

        assert 1 == received.count(b"HTTP/1.1 200")
        assert received.endswith(b"hello")
        assert b"connection: close" in received
        assert ["/"] == [scope["path"] for scope in house.app.scopes]


@aio
async def test_bytes_that_come_while_an_answer_is_made_are_not_read() -> None:
    """In packets of their own as well."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await until(lambda: house.app.scopes)
        writer.write(SMUGGLED)
        await asyncio.sleep(0.05)
        house.app.go_on.set()
        received = await rest(reader)
        writer.close()

        assert received.endswith(b"hello")
        assert ["/slow"] == [scope["path"] for scope in house.app.scopes]


@aio
async def test_a_client_that_has_its_answer_by_length_may_ask_again() -> None:
    """It cannot know that the records of what it got are still being written; its next request waits for them."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"GET /by_length HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b"hello" == (await answer(reader)).body
        writer.write(GET)
        await asyncio.sleep(0.05)
        assert ["/by_length"] == [scope["path"] for scope in house.app.scopes]
        house.app.go_on.set()
        assert b"hello" == (await answer(reader)).body
        writer.close()

        assert ["/by_length", "/"] == [scope["path"] for scope in house.app.scopes]


@aio
async def test_what_follows_a_body_of_the_said_length_is_no_request() -> None:
    """The body ends where its length says; the rest of the packet is not interpreted."""
    async with web_house() as house:
        received = await house.raw(POST + b"Content-Length: 3\r\n\r\nabc" + SMUGGLED)

        assert received.endswith(b"abc")
        assert [b"abc"] == house.app.bodies
        assert ["/echo"] == [scope["path"] for scope in house.app.scopes]


@aio
async def test_an_answer_before_the_body_ends_the_connection() -> None:
    """What is left of the body is never read as a request, and the answer arrives all the same."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n")
        got = await answer(reader)
        writer.write(SMUGGLED * 10)
        received = await rest(reader)
        writer.close()

        assert ("close", b"hello") == (got.headers["connection"], got.body)
        assert b"" == received
        assert ["/early"] == [scope["path"] for scope in house.app.scopes]


@aio
async def test_http_1_0_is_answered_and_closed() -> None:
    """Also when it asks to stay, and never in chunks."""
    async with web_house() as house:
        received = await house.raw(b"GET /stream?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

        head, _, body = received.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert b"x" * 131_072 == body
        assert "1.0" == house.app.scopes[0]["http_version"]


@aio
async def test_a_client_that_asks_to_close_is_closed() -> None:
    """Connection: close."""
    async with web_house() as house:
        received = await house.raw(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")

        assert received.endswith(b"hello")


@aio
async def test_a_long_head_is_refused() -> None:
    """One long field, one long target, many fields: 431, and not kept."""
    limit = QUICK.head_bytes
    heads = (
        b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * limit + b"\r\n\r\n",
        b"GET /?" + b"b" * limit + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * QUICK.head_fields + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 10 * limit,
        b"\r\n" * limit,
    )
    async with web_house() as house:
        for head in heads:
            assert 431 == await house.status(head)
        assert [] == house.app.scopes
        assert {"request-too-large"} == {reason.value for reason in house.refused}


@aio
async def test_a_head_of_the_longest_length_is_taken() -> None:
    """Just below the limit."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * (QUICK.head_bytes - 100) + b"\r\n\r\n")

        assert 200 == (await answer(reader)).status
        writer.close()


@aio
async def test_a_body_longer_than_is_taken_is_refused_by_its_length() -> None:
    """The application never hears of it, and nothing is allocated (SECURITY W01)."""
    async with web_house(body_bytes=1000) as house:
        assert 413 == await house.status(POST + b"Content-Length: 4294967295\r\n\r\nabc")
        assert [] == house.app.scopes


@aio
async def test_an_endless_chunked_body_is_refused_when_it_gets_too_long() -> None:
    """The application is told that its client has gone."""
    async with web_house(body_bytes=100_000) as house:
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        assert 413 == await house.status(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 200)
        await until(lambda: house.app.ends)
        assert "disconnect" in house.app.ends


@aio
async def test_endless_chunk_extensions_and_trailers_are_refused() -> None:
    """What is no body cannot go on for ever beside it; nor is it kept."""
    async with web_house() as house:
        start = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        for request in (start + b"3;" + b"a" * 300_000, start + b"3\r\nabc\r\n0\r\nA: " + b"b" * 300_000):
            assert 400 == await house.status(request)


@aio
async def test_a_body_is_asked_for_only_when_it_is_wanted() -> None:
    """100 Continue comes with the application's first look at the body, not before."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
        writer.write(b"abc")
        assert b"abc" == (await answer(reader)).body
        writer.close()
        early = b"POST /early HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        received = await house.raw(early)
        assert received.startswith(b"HTTP/1.1 200")


@aio
async def test_head_has_no_body() -> None:
    """The fields of a GET, without its body."""
    async with web_house() as house:
        received = await house.raw(b"HEAD / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")

        assert b"content-length: 5" in received
        assert received.endswith(b"\r\n\r\n")


@aio
async def test_a_client_of_head_may_ask_again_while_the_body_is_left_out() -> None:
    """The head is the whole answer, however long the application goes on with a body that nobody gets."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"HEAD /stream?200 HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writer.write(GET)

        assert b"hello" == (await answer(reader)).body
        writer.close()
