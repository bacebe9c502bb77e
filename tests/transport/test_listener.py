"""The doors under friends and strangers: real sockets on loopback, short deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import struct
import time
from dataclasses import replace
from datetime import date

import pytest

from strongroom.dimse import CEchoRequest, CEchoResponse, CStoreRequest, encode
from strongroom.errors import ConfigurationError
from strongroom.transport import (
    AssociationEndedError,
    AssociationRejectedError,
    Door,
    Ended,
    Quota,
    Refused,
    association_request,
    unverified_client_context,
)
from strongroom.upper_layer import pdu
from transport.world import (
    CONTEXTS,
    ECHO,
    LOOPBACK,
    QUICK,
    STORE,
    Desk,
    aio,
    authority,
    careless_context,
    der,
    device_context,
    device_identity,
    door_context,
    echo,
    house,
    stranger,
    until,
)
from wire import CT_IMAGE_STORAGE, VERIFICATION

LOOPBACKS = (ipaddress.ip_network("127.0.0.0/8"),)
LATER = date(2027, 1, 1)
REQUEST = pdu.encode(association_request(called="STRONGROOM", calling="CT1", contexts=CONTEXTS))
A_ABORT, A_ASSOCIATE_RJ = 7, 3


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side hangs up."""
    received = b""
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            received += piece
    return received


async def receive_for_ever(conversation) -> None:
    """Take whatever comes."""
    while True:
        await conversation.receive()


# ----------------------------------------------------------------------------------------------------------------- friends
@aio
async def test_the_handler_learns_who_is_there() -> None:
    """Door, address, port and the verified certificate reach the handler."""
    async with house() as home:
        conversation = await home.call()
        assert await echo(conversation) == 0
        (peer,) = home.desk.peers
        assert (peer.address, peer.door, peer.encrypted) == (LOOPBACK, "door", True)
        assert peer.certificate == der(device_identity())
        assert peer.port == conversation._link._transport.get_extra_info("sockname")[1]
        (present,) = home.listener.present()
        assert (present.holder, present.calling_ae_title) == ("CT1", "CT1")
        assert "BEGIN" not in repr(peer)
        assert str(peer.certificate) not in repr(peer)
        await conversation.release()
        assert home.refused == []


@aio
async def test_a_plaintext_door_serves_its_networks_until_its_day() -> None:
    """A legacy door works without TLS, and tells the handler so."""
    async with house(tls=False, networks=LOOPBACKS, expires=LATER) as home:
        conversation = await home.call(callee={"tls": None})
        assert await echo(conversation) == 0
        assert home.desk.peers[0].encrypted is False
        assert home.desk.peers[0].certificate is None
        await conversation.release()


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"networks": (ipaddress.ip_network("192.0.2.0/24"),), "expires": LATER}, Refused.DOOR_NETWORK),
        ({"networks": LOOPBACKS, "expires": date(2026, 6, 1)}, Refused.DOOR_EXPIRED),
    ],
)
@aio
async def test_from_outside_its_networks_or_after_its_day_a_door_refuses(rules, reason: Refused) -> None:
    """The right AE title from the wrong place gets A-ASSOCIATE-RJ, and the handler is not asked (T10)."""
    async with house(tls=False, **rules) as home:
        with pytest.raises(AssociationRejectedError) as caught:
            await home.call(callee={"tls": None})
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 2, 1)
        assert home.refused == [reason]
        assert home.desk.requests == []


def test_doors_that_would_let_everybody_in_cannot_be_made() -> None:
    """A plaintext door needs networks and a day, a TLS door a demand for certificates."""
    careless = door_context()
    careless.verify_mode = ssl.CERT_OPTIONAL
    for wrong in (
        {"tls": None},
        {"tls": None, "networks": LOOPBACKS},
        {"tls": None, "expires": LATER},
        {"tls": careless},
    ):
        with pytest.raises(ConfigurationError):
            Door("door", LOOPBACK, 0, **wrong)


@aio
async def test_a_refusal_of_the_handler_is_a_rejection() -> None:
    """What the handler answers is what the peer gets; the handler records it itself."""
    async with house() as home:
        with pytest.raises(AssociationRejectedError) as caught:
            await home.call("NOBODY")
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 2, 1)
        assert home.refused == []


# --------------------------------------------------------------------------------------------------------------- strangers
@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (careless_context, Refused.CERTIFICATE_MISSING),
        (lambda: unverified_client_context(stranger().issue("CT1")), Refused.CERTIFICATE_UNTRUSTED),
        (lambda: unverified_client_context(authority().issue("CT1", begins_in_days=-60)), Refused.CERTIFICATE_EXPIRED),
    ],
    ids=["no certificate", "foreign", "expired"],
)
@aio
async def test_bad_certificates_end_at_the_door(context, expected: Refused) -> None:
    """The handshake fails, the report has the address, and no association is begun (T07)."""
    async with house() as home:
        with pytest.raises(AssociationEndedError) as caught:
            await home.call(callee={"tls": context()})
        assert caught.value.alert
        await until(lambda: home.refused)
        assert home.refused == [expected]
        assert home.peers[0].address == LOOPBACK
        assert home.desk.requests == []


@pytest.mark.parametrize("first", [REQUEST, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
@aio
async def test_plain_text_on_the_tls_door_is_refused(first: bytes) -> None:
    """Whoever speaks clear text is told apart and hung up on."""
    async with house() as home:
        reader, writer = await home.raw()
        writer.write(first)
        await rest(reader)
        assert home.refused == [Refused.NO_TLS]
        writer.close()


@aio
async def test_a_silent_caller_is_hung_up_on_and_others_are_served() -> None:
    """Connect and say nothing: closed at the handshake's deadline; meanwhile a device associates (T01)."""
    async with house() as home:
        reader, writer = await home.raw()
        began = time.monotonic()
        conversation = await home.call()
        assert await echo(conversation) == 0
        assert await rest(reader) == b""
        assert 0.2 < time.monotonic() - began < 3
        assert home.refused == [Refused.HANDSHAKE_TIMEOUT]
        assert await echo(conversation, 2) == 0
        writer.close()


@aio
async def test_a_caller_that_vanishes_in_the_handshake_is_told_apart() -> None:
    """A port scanner connects and leaves."""
    async with house() as home:
        _, writer = await home.raw()
        writer.close()
        await until(lambda: home.refused)
        assert home.refused == [Refused.HANDSHAKE_CLOSED]


@pytest.mark.parametrize("drip", [False, True])
@aio
async def test_the_request_has_to_be_there_in_total_time(drip: bool) -> None:
    """After the handshake silence, and one byte after the other, end at the same total deadline (T14)."""
    async with house() as home:
        reader, writer = await home.raw(device_context())
        began = time.monotonic()
        closed = asyncio.ensure_future(rest(reader))
        for byte in REQUEST:
            if closed.done():
                break
            if drip:
                writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        await closed
        assert 0.4 < time.monotonic() - began < 3
        assert home.refused == [Refused.ASSOCIATE_TIMEOUT]
        writer.transport.abort()


@aio
async def test_a_request_that_announces_4_gib_is_aborted_by_its_header() -> None:
    """A-ABORT as soon as the header is there, and what is streamed after it is not taken in (T13)."""
    async with house(tls=False, networks=LOOPBACKS, expires=LATER) as home:
        reader, writer = await home.raw()
        writer.write(struct.pack(">BxI", 1, 0xFFFFFFFF))
        header = await reader.readexactly(10)
        assert header == bytes([A_ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 6])
        with contextlib.suppress(OSError):
            for _ in range(64):
                writer.write(bytes(1 << 20))
                await writer.drain()
            raise AssertionError("64 MiB were taken")
        assert home.refused == [Refused.ASSOCIATE_MALFORMED]


@pytest.mark.parametrize(
    "first",
    [
        REQUEST[:-1] + b"\xff" + b"\x04\x00\x00\x00\x00\x0a",
        b"\x04\x00" + struct.pack(">I", 6) + bytes(6),
        b"\x09\x00" + struct.pack(">I", 4) + bytes(4),
        b"\x01\x00" + struct.pack(">I", 68) + bytes(68),
    ],
    ids=["garbled", "data first", "unknown type", "empty request"],
)
@aio
async def test_malformed_requests_are_aborted_and_counted(first: bytes) -> None:
    """Whatever is wrong with the first PDU, the answer is A-ABORT or A-ASSOCIATE-RJ and the connection ends (T16)."""
    async with house() as home:
        reader, writer = await home.raw(device_context())
        writer.write(first)
        answer = await rest(reader)
        assert answer[0] in {A_ABORT, A_ASSOCIATE_RJ}
        assert home.refused == [Refused.ASSOCIATE_MALFORMED]
        writer.close()


@aio
async def test_one_address_cannot_take_all_places() -> None:
    """Silent callers of one address fill its places and no more; a device elsewhere associates (T02, C13)."""
    quota = Quota(knocking=20, knocking_per_address=8)
    async with house(quota=quota, deadlines=replace(QUICK, handshake_seconds=5)) as home:
        conversation = await home.call()  # holds no place of a stranger
        silent = [await home.raw(source="127.0.0.9") for _ in range(12)]
        await until(lambda: len(home.refused) == 4)
        assert set(home.refused) == {Refused.ADDRESS_FULL}
        assert await echo(conversation) == 0
        second = await home.call("CT2")
        assert await echo(second) == 0
        for _, writer in silent:
            writer.close()


@aio
async def test_many_addresses_cannot_take_the_places_of_associations() -> None:
    """With the strangers' pool full nobody new comes in, who is in stays, and it empties by itself (T02)."""
    quota = Quota(knocking=10, knocking_per_address=2)
    async with house(quota=quota, deadlines=replace(QUICK, handshake_seconds=0.5)) as home:
        conversation = await home.call()
        silent = [await home.raw(source=f"127.0.1.{number}") for number in range(1, 13)]
        await until(lambda: home.refused.count(Refused.POOL_FULL) == 2)
        assert await echo(conversation) == 0
        await until(lambda: home.refused.count(Refused.HANDSHAKE_TIMEOUT) == 10)
        second = await home.call("CT2")
        assert await echo(second) == 0
        for _, writer in silent:
            writer.close()


@aio
async def test_silent_callers_push_out_one_another_and_no_device() -> None:
    """With the strangers' pool full of silent callers a device still comes in: the one that was silent longest goes (T02)."""
    quota = Quota(knocking=6, knocking_per_address=2, knocking_seconds=0.1)
    async with house(quota=quota, deadlines=replace(QUICK, handshake_seconds=30)) as home:
        silent = [await home.raw(source=f"127.0.1.{number}") for number in range(1, 7)]
        await asyncio.sleep(0.15)
        for name in ("CT1", "CT2"):
            assert await echo(await home.call(name)) == 0
        assert home.refused.count(Refused.POOL_FULL) in (1, 2)
        assert b"" == await silent[0][0].read()
        for _, writer in silent:
            writer.close()


@aio
async def test_failures_are_slowed_down_and_successes_are_not() -> None:
    """After some guesses the answer comes later; a device behind the same address is answered at once (T11)."""
    quota = Quota(failures_before_delay=3, first_delay_seconds=0.4, longest_delay_seconds=0.4)
    async with house(quota=quota) as home:

        async def guess() -> float:
            began = time.monotonic()
            with pytest.raises(AssociationRejectedError):
                await home.call("GUESS")
            return time.monotonic() - began

        quick = [await guess() for _ in range(2)]
        slow = asyncio.ensure_future(guess())
        await asyncio.sleep(0.05)
        began = time.monotonic()
        conversation = await home.call()
        assert await echo(conversation) == 0
        assert time.monotonic() - began < 0.3
        assert max(quick) < 0.3
        assert await slow >= 0.4


@aio
async def test_a_known_knock_is_neither_reported_nor_delayed() -> None:
    """Our own look from outside leaves no failure behind (self-look)."""
    quota = Quota(failures_before_delay=1, first_delay_seconds=5)
    async with house(quota=quota, known_knock=lambda address: address[0] == "127.0.0.5") as home:
        began = time.monotonic()
        for _ in range(3):
            reader, writer = await home.raw(source="127.0.0.5")
            writer.write(REQUEST)
            await rest(reader)
            writer.close()
        assert time.monotonic() - began < 2
        assert home.refused == []


# ------------------------------------------------------------------------------------------------------------- associations
@aio
async def test_a_device_has_a_number_of_associations() -> None:
    """One more than allowed is rejected with "local limit exceeded"; after a release there is room again (C13)."""
    desk = Desk(most=2)
    async with house(desk=desk) as home:
        first, _ = await home.call(), await home.call()
        with pytest.raises(AssociationRejectedError) as caught:
            await home.call()
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
        assert home.refused == [Refused.DEVICE_FULL]
        assert desk.declined == 1
        other = await home.call("CT2")
        assert await echo(other) == 0
        await first.release()
        await until(lambda: len(home.listener.present()) == 2)
        assert await echo(await home.call()) == 0


@aio
async def test_the_archive_has_a_number_of_associations() -> None:
    """All devices together are bounded too."""
    async with house(quota=Quota(associations=2)) as home:
        await home.call("CT1")
        await home.call("CT2")
        with pytest.raises(AssociationRejectedError):
            await home.call("CT3")
        assert home.refused == [Refused.ARCHIVE_FULL]


@aio
async def test_revocation_ends_live_associations_at_once() -> None:
    """Those the predicate holds for are aborted, busy or not; the others go on."""

    async def busy(conversation, event) -> None:
        while True:
            await conversation.send(ECHO, CEchoResponse(message_id_being_responded_to=1, status=0xFF00))

    async with house(desk=Desk(hook=busy)) as home:
        idle, sending, other = await home.call("CT1"), await home.call("CT1"), await home.call("CT2")
        await sending.send(ECHO, CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION))
        await sending.receive()
        assert home.listener.disconnect(lambda present: present.holder == "CT1") == 2
        for conversation in (idle, sending):
            with pytest.raises(AssociationEndedError) as caught:
                await receive_for_ever(conversation)
            assert caught.value.code in {Ended.ABORTED_BY_PEER, Ended.CONNECTION_LOST}
        await until(lambda: len(home.listener.present()) == 1)
        assert [end.code for end in home.desk.ends] == [Ended.DISCONNECTED] * 2
        assert other.over is None
        await other.release()


@aio
async def test_an_idle_association_is_aborted_after_its_own_time() -> None:
    """The device's entry says how long; traffic starts it anew."""
    async with house(desk=Desk(idle_seconds=0.4)) as home:
        conversation = await home.call()
        began = time.monotonic()
        for number in range(3):
            await asyncio.sleep(0.2)
            assert await echo(conversation, number) == 0
        with pytest.raises(AssociationEndedError):
            await conversation.receive()
        assert 0.9 < time.monotonic() - began < 3
        assert [end.code for end in home.desk.ends] == [Ended.IDLE]


@aio
async def test_a_message_that_drips_is_aborted() -> None:
    """Fewer bytes than the minimum rate inside a message end the association, however steadily they come."""
    async with house() as home:
        conversation = await home.call()
        link = conversation._link

        command = encode(CStoreRequest(message_id=1, affected_sop_class_uid=CT_IMAGE_STORAGE), has_data_set=True)
        link.write_data(link.association.send_data(STORE, command, is_command=True, is_last=True))
        while not home.desk.ends:
            link.write_data(link.association.send_data(STORE, b"xx", is_command=False, is_last=False))
            await asyncio.sleep(0.02)
        with pytest.raises(AssociationEndedError):
            await conversation.receive()
        assert [end.code for end in home.desk.ends] == [Ended.TOO_SLOW]
        assert link.over is Ended.ABORTED_BY_PEER


@aio
async def test_a_lost_connection_ends_its_association_only() -> None:
    """A device that is switched off frees its place; others go on."""
    async with house() as home:
        first, second = await home.call("CT1"), await home.call("CT2")
        first._link._transport.abort()
        await until(lambda: len(home.listener.present()) == 1)
        assert [end.code for end in home.desk.ends] == [Ended.CONNECTION_LOST]
        assert await echo(second) == 0


@aio
async def test_a_bug_in_one_association_ends_only_that() -> None:
    """What the service raises is reported to the loop, the peer gets A-ABORT, the door stays open."""
    reported = []

    async def fail(conversation, event) -> None:
        raise ZeroDivisionError

    async with house(desk=Desk(hook=fail)) as home:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
        conversation = await home.call()
        with pytest.raises(AssociationEndedError) as caught:
            await echo(conversation)
        assert caught.value.code is Ended.ABORTED_BY_PEER
        home.desk.hook = None
        assert await echo(await home.call()) == 0
        assert [type(error) for error in reported] == [ZeroDivisionError]


@aio
async def test_data_that_breaks_the_rules_is_aborted() -> None:
    """A data fragment that no command announced ends the association (D01)."""
    async with house() as home:
        conversation = await home.call()
        link = conversation._link
        link.write_data(link.association.send_data(3, b"1234", is_command=False, is_last=True))
        with pytest.raises(AssociationEndedError) as caught:
            await conversation.receive()
        assert caught.value.code is Ended.ABORTED_BY_PEER
        assert [end.code for end in home.desk.ends] == [Ended.PROTOCOL_ERROR]


# ------------------------------------------------------------------------------------------------------------------ the end
@aio
async def test_stopping_ends_the_idle_and_lets_the_busy_finish() -> None:
    """An idle association is aborted at once; one with a request under way gets its answer first."""
    going, go = asyncio.Event(), asyncio.Event()

    async def slow(conversation, event) -> None:
        going.set()
        await go.wait()
        await conversation.send(event.context_id, CEchoResponse(message_id_being_responded_to=1, status=0))

    async with house(desk=Desk(hook=slow)) as home:
        idle, busy = await home.call("CT1"), await home.call("CT2")
        _, waiting = await home.raw()
        answer = asyncio.ensure_future(echo(busy))
        await going.wait()
        stopping = asyncio.ensure_future(home.listener.stop(5))
        with pytest.raises(AssociationEndedError):
            await idle.receive()
        assert not answer.done()
        with pytest.raises(OSError):  # noqa: PT012
            await home.raw()
            raise OSError("accepted by nobody")
        go.set()
        assert await answer == 0
        with pytest.raises(AssociationEndedError):
            await busy.receive()
        await stopping
        assert home.listener.present() == ()
        waiting.close()


@aio
async def test_stopping_takes_a_bounded_time() -> None:
    """A service that does not end by itself is aborted, then cancelled."""

    async def hang(conversation, event) -> None:
        await asyncio.sleep(1000)

    async with house(desk=Desk(hook=hang)) as home:
        conversation = await home.call()
        await conversation.send(ECHO, CEchoRequest(message_id=1, affected_sop_class_uid=VERIFICATION))
        await until(lambda: home.desk.serving == 1)
        began = time.monotonic()
        await home.listener.stop(0.2)
        assert time.monotonic() - began < 4
        assert home.desk.serving == 0
        assert not home.listener._visits


@aio
async def test_a_door_that_is_shut_ends_what_came_in_through_it() -> None:
    """The other doors stay open."""
    async with house() as home:
        other = await home.listener.open(Door("other", LOOPBACK, 0, door_context()))
        first = await home.call()
        second = await home.call("CT2", callee={"port": other})
        assert await home.listener.shut("door") == 1
        with pytest.raises(AssociationEndedError):
            await first.receive()
        with pytest.raises(OSError):
            await home.call()
        assert await echo(second) == 0
        assert await home.listener.shut("door") == 0


@aio
async def test_an_address_that_cannot_be_had_is_an_error_at_once() -> None:
    """Two doors at one port do not open."""
    async with house() as home:
        with pytest.raises(OSError):
            await home.listener.open(Door("second", LOOPBACK, home.port, door_context()))
