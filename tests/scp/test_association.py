"""The providers over real associations: PS3.8 below, PS3.7 between, no socket."""

from __future__ import annotations

import asyncio

from scp.conversations import associate, established
from scp.world import (
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    Archive,
    Destination,
    Session,
    aio,
    encode_with_pydicom,
    identifier,
    image,
    read_identifier,
    until,
)
from strongroom.dimse import (
    CCancelRequest,
    CEchoRequest,
    CFindRequest,
    CGetRequest,
    CMoveRequest,
    CStoreRequest,
    CStoreResponse,
    DataFragment,
    MessageReceived,
)
from strongroom.errors import RemoteProtocolError
from strongroom.scp import Provider
from strongroom.transport.conversation import Conversation
from strongroom.upper_layer import AssociateRequest, RoleSelection, SopClassExtended, Support, negotiate

CONTEXTS = [
    (ECHO, (IMPLICIT,)),
    (CT, (EXPLICIT, IMPLICIT)),
    (STUDY_FIND, (IMPLICIT,)),
    (STUDY_GET, (IMPLICIT,)),
    (STUDY_MOVE, (IMPLICIT,)),
]
ECHO_ID, CT_ID, FIND_ID, GET_ID, MOVE_ID = 1, 3, 5, 7, 9
BOTH_ROLES = (RoleSelection(CT, scu=True, scp=True),)
STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}


class Association:
    """A served association, and the client's end of it."""

    def __init__(self, session: Session, *, outbound=None, roles=(), extended=()) -> None:
        self.session, self.roles, self.extended = session, roles, extended
        self.provider = Provider(ae_title="STRONGROOM", outbound=outbound)

    async def __aenter__(self):
        self.client, self.server = await associate(self.session, CONTEXTS, roles=self.roles, extended=self.extended)
        self.task = asyncio.create_task(self.provider.serve(self.server, self.session))
        return self

    async def __aexit__(self, kind, error, trace) -> None:
        if kind is None:
            await self.client.release()
            await self.task
        else:
            self.task.cancel()

    async def message(self):
        """The next message to the client with its data set."""
        return await message(self.client)


async def message(conversation: Conversation):
    """The next message on *conversation*, None after a release."""
    event = await conversation.receive()
    if event is None:
        return None, None, None
    assert isinstance(event, MessageReceived)
    data = bytearray() if event.has_data_set else None
    while data is not None:
        fragment = await conversation.receive()
        assert isinstance(fragment, DataFragment)
        data += fragment.data
        if fragment.last:
            break
    return event.context_id, event.message, None if data is None else bytes(data)


class Receiver:
    """A move destination at the other end of a real association."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.tasks: list[asyncio.Task] = []

    async def connect(self, destination: Destination, contexts) -> Conversation:
        request = AssociateRequest(destination.ae_title, "STRONGROOM", contexts, "1.2.3")
        ours, theirs = await established(request, lambda asked: negotiate(asked, {CT: Support((EXPLICIT,))}))
        self.tasks.append(asyncio.create_task(self._serve(theirs)))
        return ours

    async def _serve(self, conversation: Conversation) -> None:
        while True:
            context_id, request, data = await message(conversation)
            if request is None:
                return
            self.taken[request.affected_sop_instance_uid] = data
            await conversation.send(
                context_id, CStoreResponse(message_id_being_responded_to=request.message_id, status=0)
            )


@aio
async def test_store_find_get_and_echo_on_one_association() -> None:
    """What is sent is found and comes back bit for bit, all on one association."""
    archive = Archive()
    dataset = image(1, pixels=bytes(range(256)) * 4000)
    data = encode_with_pydicom(dataset)
    async with Association(Session(archive), roles=BOTH_ROLES) as association:
        client = association.client
        request = CStoreRequest(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1.1.1")

        async def pieces():
            for start in range(0, len(data), 70_000):
                yield memoryview(data)[start : start + 70_000]

        await client.send(CT_ID, request, pieces())
        _, stored, _ = await association.message()
        archive.keep(dataset)

        await client.send(FIND_ID, CFindRequest(message_id=2, affected_sop_class_uid=STUDY_FIND), identifier(**STUDY))
        _, pending, found = await association.message()
        _, end, _ = await association.message()

        await client.send(GET_ID, CGetRequest(message_id=3, affected_sop_class_uid=STUDY_GET), identifier(**STUDY))
        context_id, suboperation, back = await association.message()
        await client.send(context_id, CStoreResponse(message_id_being_responded_to=suboperation.message_id, status=0))
        _, got, _ = await association.message()

        await client.send(ECHO_ID, CEchoRequest(message_id=4, affected_sop_class_uid=ECHO))
        _, echoed, _ = await association.message()

    assert [stored.status, pending.status, end.status, got.status, echoed.status] == [0, 0xFF00, 0, 0, 0]
    assert read_identifier(found).StudyInstanceUID == "1.2.3.1"
    assert (context_id, back) == (CT_ID, data)


@aio
async def test_a_move_over_real_associations() -> None:
    """Both associations are real ones; the one we opened is released at the end."""
    archive = Archive(destinations={"READER": Destination("reader", "READER")})
    kept = [archive.keep(image(number, pixels=b"\1\2" * 100_000)) for number in range(1, 6)]
    archive.piece = 150_000
    receiver = Receiver()
    async with Association(Session(archive), outbound=receiver) as association:
        request = CMoveRequest(message_id=3, affected_sop_class_uid=STUDY_MOVE, move_destination="READER")
        await association.client.send(MOVE_ID, request, identifier(**STUDY))
        statuses = []
        while not statuses or statuses[-1] == 0xFF00:
            _, response, _ = await association.message()
            statuses.append(response.status)
        await asyncio.gather(*receiver.tasks)

    assert statuses == [0xFF00] * 4 + [0x0000]
    assert receiver.taken == {stored.sop_instance_uid: stored.data for stored in kept}


@aio
async def test_cancel_is_heard_while_matches_stream() -> None:
    """A C-CANCEL sent after the first of many matches ends the search before the last, with FE00."""
    archive = Archive()
    for study in range(1, 3001):
        archive.keep(image(1, study=study))
    session = Session(archive)
    async with Association(session) as association:
        request = CFindRequest(message_id=9, affected_sop_class_uid=STUDY_FIND)
        await association.client.send(FIND_ID, request, identifier(QueryRetrieveLevel="STUDY", PatientName=""))
        await association.message()
        await association.client.send(FIND_ID, CCancelRequest(message_id_being_responded_to=9))
        count = 1
        while (response := (await association.message())[1]).status == 0xFF00:
            count += 1

    assert response.status == 0xFE00
    assert count < 3000
    assert session.queries_closed == 1


@aio
async def test_an_abort_while_matches_stream_frees_the_worker() -> None:
    """D14: when the peer aborts in the middle of its answers, serving ends and the search is closed."""
    archive = Archive()
    for study in range(1, 3001):
        archive.keep(image(1, study=study))
    session = Session(archive)
    client, server = await associate(session, CONTEXTS)
    serving = asyncio.create_task(Provider(ae_title="STRONGROOM", outbound=None).serve(server, session))
    request = CFindRequest(message_id=9, affected_sop_class_uid=STUDY_FIND)
    await client.send(FIND_ID, request, identifier(QueryRetrieveLevel="STUDY", PatientName=""))
    await message(client)
    await client.abort()
    (outcome,) = await asyncio.gather(serving, return_exceptions=True)

    assert isinstance(outcome, RemoteProtocolError)
    assert session.queries_closed == 1


@aio
async def test_a_sender_that_aborts_inside_a_data_set_leaves_nothing() -> None:
    """D01: a C-STORE that had begun is abandoned, so that the trail can record the failure."""
    archive = Archive()
    session = Session(archive)
    client, server = await associate(session, CONTEXTS)
    serving = asyncio.create_task(Provider(ae_title="STRONGROOM", outbound=None).serve(server, session))
    request = CStoreRequest(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1.1.1")

    async def half():
        yield bytes(300_000)
        yield bytes(300_000)
        await until(lambda: session.deposits)
        raise RuntimeError("the scanner broke")

    await asyncio.gather(client.send(CT_ID, request, half()), return_exceptions=True)
    (outcome,) = await asyncio.gather(serving, return_exceptions=True)

    assert isinstance(outcome, RemoteProtocolError)
    assert archive.instances == {}
    assert archive.diary == [("abandoned", "1.2.3.1.1.1", "interrupted")]


@aio
async def test_combined_date_and_time_matching_reaches_the_query() -> None:
    """What was agreed on in extended negotiation is what the archive is asked with, and only then."""
    asked = (SopClassExtended(STUDY_FIND, b"\1\1\1"),)
    for extended, expected in ((asked, True), ((), False)):
        session = Session(Archive())
        async with Association(session, extended=extended) as association:
            await association.client.send(
                FIND_ID, CFindRequest(message_id=1, affected_sop_class_uid=STUDY_FIND), identifier(**STUDY)
            )
            _, response, _ = await association.message()

        assert response.status == 0
        assert [query.combined_datetime for query in session.queries] == [expected]
