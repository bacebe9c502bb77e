"""Calling peers that are there, that are not, and that are somebody else."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from strongroom.transport import (
    AssociationEndedError,
    Callee,
    Ended,
    PeerIdentityError,
    association_request,
    client_context,
    connect,
)
from strongroom.transport.tls import fingerprint
from strongroom.upper_layer import ContextResult
from transport.world import (
    CONTEXTS,
    LOOPBACK,
    QUICK,
    aio,
    authority,
    der,
    device_context,
    device_identity,
    door_context,
    echo,
    house,
    server_identity,
    stranger,
)

REQUEST = association_request(called="STRONGROOM", calling="CT1", contexts=CONTEXTS)


@asynccontextmanager
async def acceptor(answer, context: ssl.SSLContext | None = None):
    """A peer of any kind: *answer* gets reader and writer; yields its port."""

    async def serve(reader, writer) -> None:
        try:
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@aio
async def test_what_was_negotiated_is_known() -> None:
    """The acceptor's answer and the contexts are there for who sends."""
    async with house() as home:
        conversation = await home.call()
        assert {context.result for context in conversation.negotiated.presentation_contexts} == {
            ContextResult.ACCEPTANCE
        }
        assert set(conversation.contexts) == {1, 3}
        await conversation.release()


@aio
async def test_the_one_right_certificate_lets_the_call_through() -> None:
    """A registered peer is known by its fingerprint, whatever its host is called."""
    async with house() as home:
        right = {"fingerprint": fingerprint(der(server_identity())).upper(), "server_name": LOOPBACK}
        context = client_context(device_identity(), authority().pem, check_host=False)
        conversation = await home.call(callee={**right, "tls": context})
        assert await echo(conversation) == 0
        await conversation.release()


@pytest.mark.parametrize("plain", [True, False])
@aio
async def test_another_certificate_ends_the_call_before_a_byte_is_sent(plain: bool) -> None:
    """A peer of the same authority that is not the registered one gets no A-ASSOCIATE-RQ (C37)."""
    received = []

    async def listen(reader, _writer) -> None:
        received.append(await reader.read(100))

    context = None if plain else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if context is not None:
        context = door_context()
    async with acceptor(listen, context) as port:
        tls = None if plain else device_context()
        callee = Callee(LOOPBACK, port, tls, "localhost", fingerprint(der(device_identity("other"))))
        with pytest.raises(PeerIdentityError):
            await connect(callee, REQUEST, deadlines=QUICK)
        await asyncio.sleep(0.05)
    assert received in ([b""], [])


@aio
async def test_a_foreign_authority_is_not_trusted() -> None:
    """The peer's certificate has to come from the authority we know, and has to be its name's."""
    async with house() as home:
        with pytest.raises(ssl.SSLCertVerificationError):
            await home.call(callee={"tls": client_context(device_identity(), stranger().pem)})
        with pytest.raises(ssl.SSLCertVerificationError):
            await home.call(callee={"server_name": "elsewhere"})
        assert home.desk.requests == []


@aio
async def test_nobody_there_is_an_os_error() -> None:
    """A closed port."""
    async with acceptor(None) as port:
        pass
    with pytest.raises(OSError):
        await connect(Callee(LOOPBACK, port, None), REQUEST, deadlines=QUICK)


@aio
async def test_a_peer_without_tls_is_an_ssl_error() -> None:
    """Plain text where TLS was expected."""

    async def greet(_reader, writer) -> None:
        writer.write(b"220 ftp ready\r\n")
        await asyncio.sleep(0.2)

    async with acceptor(greet) as port:
        with pytest.raises(ssl.SSLError):
            await connect(Callee(LOOPBACK, port, device_context(), "localhost"), REQUEST, deadlines=QUICK)


@pytest.mark.parametrize("tls", [True, False])
@aio
async def test_a_silent_peer_costs_a_bounded_time(tls: bool) -> None:
    """A peer that accepts the connection and says nothing: TLS and association have their deadlines."""

    async def silence(reader, _writer) -> None:
        await reader.read(1 << 20)
        await asyncio.sleep(10)

    async with acceptor(silence) as port:
        callee = Callee(LOOPBACK, port, device_context() if tls else None, "localhost")
        with pytest.raises((TimeoutError, AssociationEndedError)) as caught:
            await connect(callee, REQUEST, deadlines=QUICK)
        if not tls:
            assert caught.value.code is Ended.ASSOCIATE_TIMEOUT


@aio
async def test_an_answer_that_is_no_dicom_is_a_protocol_error() -> None:
    """HTTP on the port of an archive."""

    async def http(reader, writer) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await asyncio.sleep(0.2)

    async with acceptor(http) as port:
        with pytest.raises(AssociationEndedError) as caught:
            await connect(Callee(LOOPBACK, port, None), REQUEST, deadlines=QUICK)
        assert caught.value.code is Ended.PROTOCOL_ERROR


@aio
async def test_own_knocks_announce_where_they_come_from() -> None:
    """The address is known before the peer sees it, and it is the one the peer sees."""
    announced = []
    async with house(known_knock=lambda address: address in announced) as home:
        conversation = await home.call(announce=announced.append)
        assert announced == [(home.desk.peers[0].address, home.desk.peers[0].port)]
        await conversation.release()


@aio
async def test_a_cancelled_call_leaves_nothing_open() -> None:
    """Who gives up while waiting for the answer hangs up."""
    ended = asyncio.Event()

    async def silence(reader, _writer) -> None:
        await reader.read(1 << 20)
        while await reader.read(1 << 20):
            pass
        ended.set()

    async with acceptor(silence) as port:
        patient = replace(QUICK, associate_seconds=30)
        calling = asyncio.ensure_future(connect(Callee(LOOPBACK, port, None), REQUEST, deadlines=patient))
        await asyncio.sleep(0.1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await ended.wait()
