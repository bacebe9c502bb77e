"""Each request to the provider that answers it (PS3.7 §7)."""

from __future__ import annotations

import pytest

from scp.world import (
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    Archive,
    Peer,
    Session,
    aio,
    identifier,
)
from strongroom.dimse import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CGetRequest,
    CMoveRequest,
    CStoreRequest,
    CStoreResponse,
    NRequest,
    NResponse,
)
from strongroom.errors import RemoteProtocolError
from strongroom.upper_layer.events import AcceptedContext

CONTEXTS = [
    AcceptedContext(1, ECHO, IMPLICIT),
    AcceptedContext(3, CT, EXPLICIT),
    AcceptedContext(5, STUDY_FIND, IMPLICIT),
    AcceptedContext(7, STUDY_GET, IMPLICIT),
    AcceptedContext(9, STUDY_MOVE, IMPLICIT),
    AcceptedContext(11, "1.2.840.10008.5.1.4.1.1.4", EXPLICIT, requestor_is_scu=False, requestor_is_scp=True),
]


@aio
async def test_several_echoes_on_one_association() -> None:
    """C-ECHO is answered with its message ID, as often as asked (PS3.4 Annex A)."""
    async with Peer(Session(Archive()), CONTEXTS) as peer:
        answers = [await peer.ask(1, CEchoRequest(message_id=n, affected_sop_class_uid=ECHO)) for n in (1, 65535)]

    assert [
        CEchoResponse(message_id_being_responded_to=n, status=0, affected_sop_class_uid=ECHO) for n in (1, 65535)
    ] == answers


@pytest.mark.parametrize(
    ("context_id", "request_", "data"),
    [
        (3, CEchoRequest(message_id=4, affected_sop_class_uid=CT), None),
        (1, CStoreRequest(message_id=4, affected_sop_class_uid=ECHO, affected_sop_instance_uid="1.2"), b"\0\0"),
        (5, CStoreRequest(message_id=4, affected_sop_class_uid=STUDY_FIND, affected_sop_instance_uid="1.2"), b"\0\0"),
        (7, CFindRequest(message_id=4, affected_sop_class_uid=STUDY_GET), b"\0\0"),
        (5, CMoveRequest(message_id=4, affected_sop_class_uid=STUDY_FIND, move_destination="X"), b"\0\0"),
        (9, CGetRequest(message_id=4, affected_sop_class_uid=STUDY_MOVE), b"\0\0"),
        (
            11,
            CStoreRequest(
                message_id=4, affected_sop_class_uid=CONTEXTS[5].abstract_syntax, affected_sop_instance_uid="1.2"
            ),
            b"\0\0",
        ),
    ],
)
@aio
async def test_an_operation_the_context_does_not_have(context_id: int, request_, data: bytes | None) -> None:
    """0x0211, in the response that belongs to the request, and the data set is not left in the way."""
    async with Peer(Session(Archive()), CONTEXTS) as peer:
        answer = await peer.ask(context_id, request_, data)
        echo = await peer.ask(1, CEchoRequest(message_id=5, affected_sop_class_uid=ECHO))

    assert (answer.message_id_being_responded_to, answer.status) == (4, 0x0211)
    assert type(answer).__name__ == type(request_).__name__.replace("Request", "Response")
    assert echo.status == 0


@aio
async def test_another_sop_class_than_the_contexts() -> None:
    """0x0122 when the request names another SOP class than its context stands for."""
    async with Peer(Session(Archive()), CONTEXTS) as peer:
        data = identifier(QueryRetrieveLevel="STUDY")
        find = await peer.ask(5, CFindRequest(message_id=1, affected_sop_class_uid=STUDY_MOVE), data)
        echo = await peer.ask(1, CEchoRequest(message_id=2, affected_sop_class_uid="1.2.3"))

    assert (find.status, echo.status) == (0x0122, 0x0122)


@pytest.mark.parametrize("command_field", [0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150])
@pytest.mark.parametrize(("sop_class", "expected"), [(CT, 0x0211), ("1.2.840.10008.1.20.1", 0x0122)])
@pytest.mark.parametrize("data", [None, b"\x08\0\0\0\0\0\0\0"])
@aio
async def test_services_we_do_not_have_are_answered(
    command_field: int, sop_class: str, expected: int, data: bytes | None
) -> None:
    """D23: any N-service is answered, never ignored, and the association goes on."""
    request = NRequest(command_field=command_field, message_id=6, requested_sop_class_uid=sop_class)
    async with Peer(Session(Archive()), CONTEXTS) as peer:
        answer = await peer.ask(3, request, data)
        echo = await peer.ask(1, CEchoRequest(message_id=7, affected_sop_class_uid=ECHO))

    assert isinstance(answer, NResponse)
    assert (command_field | 0x8000, 6, expected) == (
        answer.command_field,
        answer.message_id_being_responded_to,
        answer.status,
    )
    assert echo.status == 0


@aio
async def test_a_cancel_of_nothing_is_not_answered() -> None:
    """D14: a C-CANCEL that comes too late or for nothing changes nothing."""
    async with Peer(Session(Archive()), CONTEXTS) as peer:
        for message_id in range(100):
            await peer.client.send(5, CCancelRequest(message_id_being_responded_to=message_id))
        echo = await peer.ask(1, CEchoRequest(message_id=200, affected_sop_class_uid=ECHO))

    assert (echo.message_id_being_responded_to, echo.status) == (200, 0)


@aio
async def test_an_unasked_response_ends_the_association() -> None:
    """A response that answers nothing is a broken protocol."""
    peer = Peer(Session(Archive()), CONTEXTS)
    async with peer:
        await peer.client.send(3, CStoreResponse(message_id_being_responded_to=1, status=0))
        with pytest.raises(RemoteProtocolError, match="CStoreResponse"):
            await peer.task


@aio
async def test_release_ends_serving() -> None:
    """When the peer releases, serving returns."""
    peer = Peer(Session(Archive()), CONTEXTS)
    async with peer:
        await peer.client.release()
        assert await peer.task is None
