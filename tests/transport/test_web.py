"""The web door under friends and strangers: real sockets on loopback, short deadlines (SECURITY C12, C13, T25)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import struct
import time

import pytest

from strongroom.transport.ends import Refused
from strongroom.transport.quotas import Quota
from strongroom.transport.secure import RAW_SIZE
from strongroom.transport.tls import client_context
from transport.web_world import GET, NO_DELAY, answer, rest, web_house
from transport.world import (
    LOOPBACK,
    aio,
    authority,
    careless_context,
    der,
    device_identity,
    stranger,
    until,
)

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
PATIENT = {"handshake_seconds": 5, "head_seconds": 5, "grace_seconds": 5, "stall_seconds": 5}
"""Where the client keeps the loop busy that it shares with the door."""


def get(path: bytes) -> bytes:
    """A request without a body."""
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


# ------------------------------------------------------------------------------------------------------------- who is there
@aio
async def test_the_application_learns_who_is_there() -> None:
    """The certificate as DER, address, port and door; the scope is that of HTTPS."""
    async with web_house() as house:
        reader, writer = await house.connect(device_identity())
        writer.write(get(b"/?a=%20b"))
        assert 200 == (await answer(reader)).status
        port = writer.get_extra_info("sockname")[1]
        writer.close()

        (scope,) = house.app.scopes
        admitted = scope["strongroom"].pop("admitted")
        assert callable(admitted)
        assert {
            "certificate": der(device_identity()),
            "door": "web",
            "address": LOOPBACK,
            "port": port,
        } == scope["strongroom"]
        assert ("https", (LOOPBACK, port), (LOOPBACK, house.port)) == (
            scope["scheme"],
            scope["client"],
            scope["server"],
        )
        assert ("/", b"/", b"a=%20b", "") == (
            scope["path"],
            scope["raw_path"],
            scope["query_string"],
            scope["root_path"],
        )


@aio
async def test_a_client_may_come_without_a_certificate() -> None:
    """A browser with a token."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(GET)
        assert 200 == (await answer(reader)).status
        writer.close()

        assert house.app.scopes[0]["strongroom"]["certificate"] is None


@aio
async def test_a_foreign_certificate_is_refused_by_tls() -> None:
    """With an alert that says why, and a reason in the report."""
    async with web_house() as house:
        context = careless_context(stranger().issue("x"))
        reader, writer = await asyncio.open_connection(LOOPBACK, house.port, ssl=context, server_hostname="localhost")
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await reader.readexactly(1)
        writer.close()
        await until(lambda: house.refused)

        assert [Refused.CERTIFICATE_UNTRUSTED] == house.refused
        assert [] == house.app.scopes


@aio
async def test_forwarded_headers_are_only_headers() -> None:
    """Nobody becomes somebody else by a header, not even on loopback, where uvicorn would believe it."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n")
        await answer(reader)
        writer.close()

        assert LOOPBACK == house.app.scopes[0]["client"][0]
        assert "https" == house.app.scopes[0]["scheme"]


@aio
async def test_clear_text_on_the_tls_port_is_refused() -> None:
    """No byte of HTTP comes back."""
    async with web_house() as house:
        reader, writer = await asyncio.open_connection(LOOPBACK, house.port)
        writer.write(GET)
        assert b"HTTP" not in await rest(reader)
        writer.close()
        await until(lambda: house.refused)

        assert [Refused.NO_TLS] == house.refused


@aio
async def test_old_tls_and_weak_suites_are_refused() -> None:
    """TLS 1.2 with ECDHE and an AEAD cipher at least (SECURITY C09)."""
    async with web_house() as house:
        for change in ("version", "suite"):
            context = careless_context()
            if change == "version":
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            else:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers("ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0")
            with pytest.raises(ssl.SSLError):
                await asyncio.open_connection(LOOPBACK, house.port, ssl=context, server_hostname="localhost")


@aio
async def test_no_tickets_are_given() -> None:
    """A connection is never resumed: what was proved is proved anew."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(GET)
        await answer(reader)
        assert not writer.get_extra_info("ssl_object").session.has_ticket
        assert "TLSv1.3" == writer.get_extra_info("ssl_object").version()
        writer.close()


@aio
async def test_http_1_1_is_what_tls_offers() -> None:
    """A client that would like HTTP/2 hears that it is not spoken here."""
    async with web_house() as house:
        context = client_context(None, authority().pem)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(LOOPBACK, house.port, ssl=context, server_hostname="localhost")
        assert "http/1.1" == writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()


@aio
async def test_answers_carry_a_date_and_no_server() -> None:
    """A client needs the one (RFC 9110 §6.6.1); only an attacker the other."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(GET)
        got = await answer(reader)
        writer.close()

        assert {"date", "content-length"} == set(got.headers)


# ---------------------------------------------------------------------------------------------------------------- deadlines
@aio
async def test_a_head_that_trickles_is_ended_at_its_deadline() -> None:
    """408 in total time, however often a byte comes (slowloris)."""
    async with web_house() as house:
        reader, writer = await house.connect()
        began = time.monotonic()

        async def trickle() -> None:
            for byte in GET * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        received = await rest(reader)
        task.cancel()
        writer.close()

        assert received.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 2
        assert [Refused.REQUEST_TIMEOUT] == house.refused
        assert [] == house.app.scopes


@aio
async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    """A browser opens some in advance: nobody is reported for that."""
    async with web_house() as house:
        assert b"" == await house.raw(b"")
        assert [] == house.refused


@aio
async def test_a_handshake_that_stops_is_ended() -> None:
    """Also when a byte comes now and then."""
    async with web_house() as house:
        reader, writer = await asyncio.open_connection(LOOPBACK, house.port)
        writer.write(b"\x16\x03\x01")
        await rest(reader)
        writer.close()
        await until(lambda: house.refused)

        assert [Refused.HANDSHAKE_TIMEOUT] == house.refused


@aio
async def test_an_idle_connection_is_closed() -> None:
    """A stranger's after the deadline of a head, an admitted caller's later; neither is reported."""
    async with web_house(head_seconds=0.1, idle_seconds=0.5) as house:
        took = []
        for path in (b"/", b"/signed"):
            reader, writer = await house.connect()
            writer.write(get(path))
            await reader.readuntil(b"\r\n\r\n")
            began = time.monotonic()
            await rest(reader)
            took.append(time.monotonic() - began)
            writer.close()

        assert took[0] < 0.4 < took[1]
        assert [] == house.refused


@aio
async def test_a_body_that_trickles_is_ended() -> None:
    """408 when less than the minimum rate came over a period; the application is told."""
    async with web_house(minimum_rate=1000, grace_seconds=0.2) as house:
        reader, writer = await house.connect()
        writer.write(POST + b"Content-Length: 100000\r\n\r\n")

        async def trickle() -> None:
            for _ in range(500):
                writer.write(b"x")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(trickle())
        received = await rest(reader)
        task.cancel()
        writer.close()
        await until(lambda: house.app.ends)

        assert received.startswith(b"HTTP/1.1 408")
        assert "disconnect" in house.app.ends


@aio
async def test_a_body_has_a_deadline_of_its_own() -> None:
    """However fast it is, an endless one ends."""
    async with web_house(body_seconds=0.3, minimum_rate=1) as house:
        reader, writer = await house.connect()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")

        async def flow() -> None:
            while True:
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(flow())
        received = await rest(reader)
        task.cancel()
        writer.close()

        assert received.startswith(b"HTTP/1.1 408")


@aio
async def test_a_client_that_does_not_read_is_given_up() -> None:
    """The application's next write fails, so that work for it ends; the connection is gone."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.transport.pause_reading()
        writer.write(get(b"/stream?100000"))
        await until(lambda: house.app.ends, 10)

        assert ["ClientDisconnected"] == house.app.ends
        assert house.app.sent < 32 << 20
        writer.transport.abort()
        await until(lambda: house.door.counts() == (0, 0))
        del reader


@aio
async def test_a_client_that_takes_drops_is_given_up() -> None:
    """Less than the minimum rate is no reading."""
    async with web_house(minimum_rate=1 << 20, stall_seconds=0.3) as house:
        reader, writer = await house.connect()
        writer.write(get(b"/stream?100000"))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not house.app.ends:
                await reader.readexactly(1024)
                await asyncio.sleep(0.01)

        assert ["ClientDisconnected"] == house.app.ends
        writer.transport.abort()


@aio
async def test_a_closed_connection_whose_rest_is_not_read_is_cut() -> None:
    """The application has long finished; what is left in our buffers does not stay."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /stream?48 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        await until(lambda: house.app.ends)
        await until(lambda: house.door.counts() == (0, 0))
        writer.transport.abort()
        del reader


# -------------------------------------------------------------------------------------------------------- long answers, bodies
@aio
async def test_a_long_answer_waits_for_its_reader() -> None:
    """Back-pressure: what was not read is not made; read, it is whole."""
    async with web_house(stall_seconds=5) as house:
        reader, writer = await house.connect()
        writer.write(b"GET /stream?1024 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        await asyncio.sleep(0.3)
        assert house.app.sent < 32 << 20
        received = await rest(reader)
        writer.close()

        assert 1024 * 65_536 == received.count(b"x")
        assert received.endswith(b"0\r\n\r\n")


@aio
async def test_a_long_body_arrives_whole() -> None:
    """16 MiB up and down again."""
    body = bytes(range(256)) * 65_536
    async with web_house(**PATIENT) as house:
        reader, writer = await house.connect()
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        got = await answer(reader)
        writer.close()

        assert body == got.body


@aio
async def test_a_body_nobody_takes_is_held_back() -> None:
    """An application that does not read costs a bounded memory."""
    async with web_house(**PATIENT) as house:
        reader, writer = await house.connect()
        writer.write(b"POST /slow HTTP/1.1\r\n" + HOST + b"Content-Length: 67108864\r\n\r\n")
        writer.write(bytes(64 << 20))
        await until(lambda: house.app.scopes)
        await asyncio.sleep(0.2)
        (protocol,) = house.door._connections()

        assert len(protocol.cycle.body) < 4 * RAW_SIZE
        assert protocol.flow.read_paused
        house.app.go_on.set()
        received = await rest(reader)
        assert received.endswith(b"hello")
        writer.close()


@aio
async def test_small_requests_are_answered_at_once() -> None:
    """No 40 ms of a delayed acknowledgement, head and body in packets of their own."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.get_extra_info("socket").setsockopt(6, 1, 0)  # a client with Nagle's algorithm
        began = time.monotonic()
        for _ in range(20):
            writer.write(POST + b"Content-Length: 2\r\n\r\n")
            await asyncio.sleep(0)
            writer.write(b"a")
            await asyncio.sleep(0)
            writer.write(b"b")
            await answer(reader)
        writer.close()

        assert time.monotonic() - began < 0.4


@aio
async def test_a_client_that_goes_away_ends_the_work() -> None:
    """Whoever reads a body hears of it; whoever writes gets an OSError."""
    async with web_house() as house:
        for request in (POST + b"Content-Length: 10\r\n\r\nabc", get(b"/stream?100000")):
            _, writer = await house.connect()
            writer.write(request)
            await until(lambda: house.app.scopes)
            house.app.scopes.clear()
            writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await until(lambda: len(house.app.ends) >= 3)

        assert {"disconnect", "done", "ClientDisconnected"} == set(house.app.ends)
        assert [] == house.unexpected


# ------------------------------------------------------------------------------------------------------------- failures of ours
@pytest.mark.parametrize("path", [b"/raise", b"/nothing"])
@aio
async def test_an_error_of_the_application_is_not_told(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """500 and a sentence; the loop's handler gets the error, no log its text."""
    with caplog.at_level(logging.DEBUG):
        async with web_house() as house:
            assert 500 == await house.status(get(path))
            received = await house.raw(get(path))

            assert b"CANARY" not in received
            assert b"could not process" in received
            assert 2 == len(house.unexpected)
            assert "CANARY" not in caplog.text


@aio
async def test_an_error_after_the_answer_began_cuts_it() -> None:
    """Half an answer must not look like a whole one."""
    async with web_house() as house:
        received = await house.raw(get(b"/late"))

        assert not received.endswith(b"0\r\n\r\n")
        assert b"CANARY" not in received
        assert 1 == len(house.unexpected)


@aio
async def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A query holds a patient's name."""
    with caplog.at_level(logging.DEBUG):
        async with web_house() as house:
            await house.raw(get(b"/?PatientName=CANARY") + GET)
            await house.raw(b"BREW /?PatientName=CANARY HTTP/1.1\r\n\r\n")
    assert "CANARY" not in caplog.text
    assert [] == [record for record in caplog.records if record.name.startswith("uvicorn")]


# -------------------------------------------------------------------------------------------------------------------- places
@aio
async def test_strangers_have_few_places() -> None:
    """Per source and in all; beyond, a connection is closed before anything is read from it."""
    quota = Quota(knocking=3, knocking_per_address=2)
    async with web_house(quota=quota, head_seconds=5, handshake_seconds=5) as house:
        open_ones = [await asyncio.open_connection(LOOPBACK, house.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection(LOOPBACK, house.port)
        assert b"" == await rest(reader)
        open_ones.append(await asyncio.open_connection(LOOPBACK, house.port, local_addr=("127.0.0.2", 0)))
        other, also = await asyncio.open_connection(LOOPBACK, house.port, local_addr=("127.0.0.3", 0))
        assert b"" == await rest(other)

        assert [Refused.ADDRESS_FULL, Refused.POOL_FULL] == house.refused
        for one in (writer, also, *(pair[1] for pair in open_ones)):
            one.close()
        await until(lambda: house.door.counts() == (0, 0))


@aio
async def test_the_admitted_leave_their_place_to_other_strangers() -> None:
    """Who was let in is counted by its name; strangers never take those places."""
    quota = Quota(knocking=1, knocking_per_address=1, associations=2, associations_per_device=1)
    async with web_house(quota=quota) as house:
        reader, writer = await house.connect()
        writer.write(get(b"/signed?ct1"))
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        assert (0, 1) == house.door.counts()
        second, also = await house.connect()
        also.write(get(b"/signed?ct1"))
        assert b"503" in await second.readuntil(b"\r\n\r\n")
        assert [Refused.DEVICE_FULL] == house.refused
        writer.close()
        also.close()
        await until(lambda: house.door.counts() == (0, 0))


@aio
async def test_the_revoked_are_cut_off_at_once() -> None:
    """In the middle of an answer; others stay."""
    async with web_house() as house:
        connections = {}
        for name in (b"ct1", b"ct2"):
            reader, writer = await house.connect()
            writer.write(get(b"/signed?" + name))
            await reader.readuntil(b"0\r\n\r\n")
            connections[name] = reader, writer
        assert 1 == house.door.disconnect("ct1")
        reader, writer = connections[b"ct1"]
        assert b"" == await rest(reader)
        reader, writer = connections[b"ct2"]
        writer.write(GET)
        assert 200 == (await answer(reader)).status
        for _, writer in connections.values():
            writer.close()


@aio
async def test_a_source_of_failed_handshakes_keeps_its_places() -> None:
    """So it can make ever fewer; our own knocks are not counted."""
    quota = Quota(failures_before_delay=2, first_delay_seconds=0.4, longest_delay_seconds=0.4, knocking_per_address=1)
    own: list[bool] = []
    async with web_house(quota=quota, known_knock=lambda _address: bool(own)) as house:
        for number in range(3):
            if number == 2:
                own.append(True)
            reader, writer = await asyncio.open_connection(LOOPBACK, house.port)
            writer.write(GET)
            await rest(reader)
            writer.close()
            waiting = house.door.counts()[0]
            assert waiting == (number == 1)
            await until(lambda: house.door.counts() == (0, 0))


@aio
async def test_our_own_knocks_are_not_reported() -> None:
    """Neither a failed handshake nor a refused request."""
    async with web_house(known_knock=lambda _address: True) as house:
        await house.raw(b"nonsense\r\n\r\n")
        reader, writer = await asyncio.open_connection(LOOPBACK, house.port)
        writer.write(GET)
        await rest(reader)
        writer.close()

        assert [] == house.refused


# ---------------------------------------------------------------------------------------------------------------- the end
@aio
async def test_an_answer_under_way_may_finish() -> None:
    """Idle connections end at once, the busy one with its answer, and nobody new is let in."""
    async with web_house() as house:
        idle, _writer = await house.connect()
        reader, writer = await house.connect()
        writer.write(get(b"/slow"))
        await until(lambda: house.app.scopes)
        stopping = asyncio.create_task(house.door.stop(5))
        assert b"" == await rest(idle)
        with pytest.raises(OSError):
            await house.connect()
        house.app.go_on.set()
        received = await rest(reader)
        await stopping

        assert received.endswith(b"hello")
        assert b"connection: close" in received
        assert (0, 0) == house.door.counts()


@aio
async def test_what_does_not_finish_is_cut() -> None:
    """After the seconds that were given."""
    async with web_house() as house:
        reader, writer = await house.connect()
        writer.write(get(b"/slow"))
        await until(lambda: house.app.scopes)
        began = time.monotonic()
        await house.door.stop(0.2)

        assert time.monotonic() - began < 2
        assert b"" == await rest(reader)
        assert ["cancelled"] == house.app.ends
        assert (0, 0) == house.door.counts()
        writer.close()


@aio
async def test_a_taken_port_is_said() -> None:
    """OSError, and nothing stays open."""
    async with web_house(quota=NO_DELAY) as house, web_house() as other:
        with pytest.raises(OSError, match="in use"):
            await other.door.start(LOOPBACK, house.port, careless_context())
