"""Storage as provider (PS3.4 Annex B)."""

from __future__ import annotations

import asyncio

import pytest

from scp.world import CT, ECHO, EXPLICIT, IMPLICIT, MR, Archive, Peer, Session, aio, encode_with_pydicom, image, until
from strongroom.dimse import CEchoRequest, CStoreRequest, CStoreResponse
from strongroom.errors import OutOfResources, RemoteProtocolError
from strongroom.scp import Limits
from strongroom.upper_layer.events import AcceptedContext

CONTEXTS = [AcceptedContext(1, CT, EXPLICIT), AcceptedContext(3, MR, IMPLICIT), AcceptedContext(5, ECHO, IMPLICIT)]


def request(message_id: int = 1, *, sop_class: str = CT, uid: str = "1.2.3.1.1.1") -> CStoreRequest:
    """What announces an instance."""
    return CStoreRequest(message_id=message_id, affected_sop_class_uid=sop_class, affected_sop_instance_uid=uid)


async def still_usable(peer: Peer) -> bool:
    """Whether the association answers the next request."""
    answer = await peer.ask(5, CEchoRequest(message_id=99, affected_sop_class_uid=ECHO))
    return answer.status == 0 and answer.message_id_being_responded_to == 99


@aio
async def test_an_instance_is_stored_and_answered() -> None:
    """The data set arrives bit for bit, and the response carries ids and UIDs of the request."""
    archive = Archive()
    data = encode_with_pydicom(image(1))
    async with Peer(Session(archive), CONTEXTS) as peer:
        answer = await peer.ask(1, request(7), data)

    expected = CStoreResponse(
        message_id_being_responded_to=7,
        status=0,
        affected_sop_class_uid=CT,
        affected_sop_instance_uid="1.2.3.1.1.1",
    )
    assert expected == answer
    assert archive.instances["1.2.3.1.1.1"].data == data
    assert archive.instances["1.2.3.1.1.1"].transfer_syntax_uid == EXPLICIT


@aio
async def test_each_context_brings_its_own_syntax() -> None:
    """What is kept is labelled with the transfer syntax of the context it came on."""
    archive = Archive()
    data = encode_with_pydicom(image(1, sop_class=MR), IMPLICIT)
    async with Peer(Session(archive), CONTEXTS) as peer:
        assert (await peer.ask(3, request(sop_class=MR), data)).status == 0

    assert archive.instances["1.2.3.1.1.1"].transfer_syntax_uid == IMPLICIT


@aio
async def test_the_same_again_is_success() -> None:
    """A second deposit of the same content is a success (I3)."""
    archive = Archive()
    data = encode_with_pydicom(image(1))
    async with Peer(Session(archive), CONTEXTS) as peer:
        assert [(await peer.ask(1, request(n), data)).status for n in (1, 2)] == [0, 0]


@pytest.mark.parametrize(("as_success", "expected"), [(False, 0x0111), (True, 0x0000)])
@aio
async def test_other_content_under_a_known_uid_is_a_conflict(as_success: bool, expected: int) -> None:
    """The first version stays; the answer follows the device's entry (I3, D07)."""
    archive = Archive()
    first = encode_with_pydicom(image(1))
    async with Peer(Session(archive, duplicate_is_success=as_success), CONTEXTS) as peer:
        await peer.ask(1, request(1), first)
        answer = await peer.ask(1, request(2), encode_with_pydicom(image(1, pixels=b"\xff" * 128)))

    assert answer.status == expected
    assert archive.instances["1.2.3.1.1.1"].data == first


@aio
async def test_a_truncated_data_set_is_not_success() -> None:
    """D04: a data set that is not whole is answered C000, kept aside, and the association goes on."""
    archive = Archive()
    data = encode_with_pydicom(image(1))[:-7]
    async with Peer(Session(archive), CONTEXTS) as peer:
        answer = await peer.ask(1, request(), data)
        assert await still_usable(peer)

    assert answer.status == 0xC000
    assert archive.instances == {}
    assert [data] == archive.quarantine


@aio
async def test_another_uid_inside_than_outside_is_a_mismatch() -> None:
    """D05: neither UID is stored when request and data set disagree."""
    archive = Archive()
    async with Peer(Session(archive), CONTEXTS) as peer:
        answer = await peer.ask(1, request(uid="1.2.3.9"), encode_with_pydicom(image(1)))
        assert await still_usable(peer)

    assert answer.status == 0xA900
    assert archive.instances == {}


@aio
async def test_another_sop_class_than_the_contexts_is_a_mismatch() -> None:
    """D05: the SOP class of the request must be the abstract syntax of its context."""
    archive = Archive()
    async with Peer(Session(archive), CONTEXTS) as peer:
        answer = await peer.ask(1, request(sop_class=MR), encode_with_pydicom(image(1, sop_class=MR)))
        assert await still_usable(peer)

    assert answer.status == 0xA900
    assert archive.diary == []


@pytest.mark.parametrize("uid", ["", "1.2.x", "1.2.3\\1.2.4", "1" * 65])
@aio
async def test_a_uid_that_is_none_is_refused(uid: str) -> None:
    """An instance that cannot be named cannot be kept; the text is not repeated in the answer."""
    archive = Archive()
    async with Peer(Session(archive), CONTEXTS) as peer:
        sent = request(uid=uid[:64])
        if len(uid) > 64:
            # our own encoder refuses so long a UID, so the peer's request is put in as decoded
            peer.server._inbox.put_nowait(_received(uid))
            answer, _ = await peer.response()
        else:
            answer = await peer.ask(1, sent, encode_with_pydicom(image(1)))
            assert await still_usable(peer)

    assert answer.status == 0x0117
    assert answer.affected_sop_instance_uid == ""
    assert archive.instances == {}


def _received(uid: str):
    from strongroom.dimse import MessageReceived

    return MessageReceived(1, request(uid=uid), False)


@aio
async def test_a_uid_with_leading_zeros_is_taken() -> None:
    """Odd but common: such numbers are kept as they came."""
    archive = Archive()
    dataset = image(1)
    dataset.SOPInstanceUID = "1.2.003.4"
    async with Peer(Session(archive), CONTEXTS) as peer:
        assert (await peer.ask(1, request(uid="1.2.003.4"), encode_with_pydicom(dataset))).status == 0

    assert list(archive.instances) == ["1.2.003.4"]


@aio
async def test_who_may_not_deposit_is_told_so_and_nothing_else() -> None:
    """A right taken away during the association: 0x0124, the data set drained, the association usable."""
    archive = Archive()
    async with Peer(Session(archive, frozenset()), CONTEXTS) as peer:
        answer = await peer.ask(1, request(), encode_with_pydicom(image(1)))
        assert await still_usable(peer)

    assert (answer.status, answer.error_comment) == (0x0124, "Not authorized")
    assert archive.diary == [("refused", "deposit")]


@aio
async def test_a_full_archive_says_so_and_the_association_stays() -> None:
    """A700 while the data set is still coming: the rest is drained and the deposit abandoned."""
    archive = Archive()
    async with Peer(Session(archive, deposit_fault=OutOfResources("full")), CONTEXTS) as peer:
        answer = await peer.ask(1, request(), encode_with_pydicom(image(1)))
        assert await still_usable(peer)

    assert answer.status == 0xA700
    assert archive.diary == [("abandoned", "1.2.3.1.1.1", "OutOfResources")]


@aio
async def test_draining_has_an_end() -> None:
    """A refused data set that goes on and on ends the association (D02)."""
    peer = Peer(Session(Archive(), frozenset()), CONTEXTS, limits=Limits(max_drained=1000))
    async with peer:
        await peer.client.send(1, request(), b"\0" * 5000)
        with pytest.raises(RemoteProtocolError, match="beyond 1000 bytes"):
            await peer.task


@aio
async def test_a_data_set_has_a_longest_length() -> None:
    """D02: beyond the limit the association ends, and the deposit is abandoned."""
    archive = Archive()
    peer = Peer(Session(archive), CONTEXTS, limits=Limits(max_data_set_length=1000))
    async with peer:
        await peer.client.send(1, request(), b"\0" * 5000)
        with pytest.raises(RemoteProtocolError, match="beyond 1000 bytes"):
            await peer.task

    assert archive.diary == [("abandoned", "1.2.3.1.1.1", "interrupted")]


@aio
async def test_a_sender_that_goes_away_leaves_nothing() -> None:
    """An association that ends inside a data set: the deposit is abandoned, and the trail can say so."""
    archive = Archive()
    peer = Peer(Session(archive), CONTEXTS)
    async with peer:

        async def half():
            yield b"\0" * 500
            await peer.client.abort()
            raise RemoteProtocolError("gone")

        with pytest.raises(RemoteProtocolError):
            await peer.client.send(1, request(), half())
        with pytest.raises(RemoteProtocolError):
            await peer.task

    assert archive.instances == {}
    assert archive.diary == [("abandoned", "1.2.3.1.1.1", "interrupted")]


@aio
async def test_the_work_being_cancelled_abandons_the_deposit() -> None:
    """A server that stops in the middle of a data set keeps nothing of it."""
    archive = Archive()
    peer = Peer(Session(archive), CONTEXTS)
    async with peer:
        from strongroom.dimse import DataFragment, MessageReceived

        peer.server._inbox.put_nowait(MessageReceived(1, request(), True))
        peer.server._inbox.put_nowait(DataFragment(1, memoryview(b"\0" * 10), False))
        await until(peer.server._inbox.empty)
        peer.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await peer.task

    assert archive.diary == [("abandoned", "1.2.3.1.1.1", "interrupted")]


@aio
async def test_a_request_that_announces_no_data_set_is_answered() -> None:
    """C-STORE without a data set gets C000 instead of waiting for one."""
    from strongroom.dimse import MessageReceived

    async with Peer(Session(Archive()), CONTEXTS) as peer:
        peer.server._inbox.put_nowait(MessageReceived(1, request(), False))
        answer, _ = await peer.response()

    assert answer.status == 0xC000
