"""Storage commitment as provider: what is asked, answered and told on one association (PS3.4 J.3)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp.world import ECHO, EXPLICIT, IMPLICIT, Archive, Peer, Session, aio
from strongroom.archive import MAX_ASKED, Commitment, Reference
from strongroom.dimse import CEchoRequest, NRequest, NResponse
from strongroom.dimse.messages import N_ACTION, N_EVENT_REPORT, N_SET
from strongroom.errors import ConflictError, DataSetError, IntegrityError, NotFound, OutOfResources
from strongroom.scp.commitment_data import INSTANCE, MAX_LENGTH, decode, encode
from strongroom.scp.contexts import STORAGE_COMMITMENT, supported
from strongroom.upper_layer.events import AcceptedContext

CONTEXTS = [
    AcceptedContext(1, ECHO, IMPLICIT),
    AcceptedContext(3, STORAGE_COMMITMENT, EXPLICIT),
    AcceptedContext(5, STORAGE_COMMITMENT, EXPLICIT, requestor_is_scu=False, requestor_is_scp=True),
]
ASKED = Commitment("2.25.1", (Reference("1.2", "1.2.3.1"), Reference("1.2", "1.2.3.2")))
KEPT = Commitment("2.25.1", ASKED.references, (0, 0))
PARTLY = Commitment("2.25.1", ASKED.references, (0, 0x0112))


def action(**changes):
    """N-ACTION as a modality sends it."""
    given_ = {
        "command_field": N_ACTION,
        "message_id": 7,
        "requested_sop_class_uid": STORAGE_COMMITMENT,
        "requested_sop_instance_uid": INSTANCE,
        "action_type_id": 1,
    }
    return NRequest(**(given_ | changes))


def report(**changes):
    """N-EVENT-REPORT as an archive sends it."""
    given_ = {
        "command_field": N_EVENT_REPORT,
        "message_id": 8,
        "affected_sop_class_uid": STORAGE_COMMITMENT,
        "affected_sop_instance_uid": INSTANCE,
        "event_type_id": 2,
    }
    return NRequest(**(given_ | changes))


def answer_to(told, code=0):
    """The modality's answer to a result."""
    return NResponse(
        command_field=told.command_field | 0x8000, message_id_being_responded_to=told.message_id, status=code
    )


uids = st.from_regex(r"\A[0-9.]{1,64}\Z")
references = st.lists(st.builds(Reference, uids, uids), min_size=1, max_size=20, unique=True).map(tuple)


@given(uids, references, st.data(), st.sampled_from([IMPLICIT, EXPLICIT]))
def test_what_is_told_is_what_is_read(transaction, asked, data, syntax):
    """A result survives the wire, with each reason; the order is that of the sequences."""
    reasons = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=len(asked), max_size=len(asked)))
    result = Commitment(transaction, asked, tuple(reasons))
    read = decode(encode(result, syntax), syntax, is_result=True)

    assert transaction == read.transaction_uid
    assert dict(zip(asked, reasons, strict=True)) == dict(zip(read.references, read.reasons, strict=True))


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_give_a_request_or_an_error(data, is_result):
    """What is no request is refused as a data set, never otherwise."""
    try:
        read = decode(data, EXPLICIT, is_result=is_result)
    except (DataSetError, OutOfResources):
        return
    assert read.references


def test_the_longest_request_fits_its_limit():
    """As many references as are taken, with the longest UIDs, are not too long; one more is too many."""
    many = tuple(Reference("1" * 64, f"{number:064d}") for number in range(MAX_ASKED + 1))

    assert len(encode(Commitment("2.25.1", many[:-1]), EXPLICIT)) <= MAX_LENGTH
    with pytest.raises(OutOfResources):
        decode(encode(Commitment("2.25.1", many), EXPLICIT), EXPLICIT, is_result=False)


@aio
async def test_a_request_is_taken_and_its_result_told() -> None:
    """Success first, then the result while nothing else goes on; its answer is heard."""
    session = Session(Archive())
    async with Peer(session, CONTEXTS) as peer:
        for code, taken in ((0x0000, True), (0x0110, False)):
            answer = await peer.ask(3, action(), encode(ASKED, EXPLICIT))
            assert (0, 7, 1) == (answer.status, answer.message_id_being_responded_to, answer.action_type_id)
            assert ASKED == session.asked[-1]
            delivered = asyncio.ensure_future(session.inbox.deliver(PARTLY))
            told, data = await peer.response()
            assert (N_EVENT_REPORT, 2, INSTANCE) == (told.command_field, told.event_type_id, told.sop_instance_uid)
            assert PARTLY == decode(data, EXPLICIT, is_result=True)
            await peer.client.send(3, answer_to(told, code))
            assert taken is await delivered
            await peer.ask(1, CEchoRequest(message_id=9, affected_sop_class_uid=ECHO))


@aio
async def test_a_request_that_crosses_a_result_is_answered() -> None:
    """The peer asks something else before it answers the result: both are answered, one after the other."""
    session = Session(Archive())
    async with Peer(session, CONTEXTS) as peer:
        await peer.ask(3, action(), encode(ASKED, EXPLICIT))
        delivered = asyncio.ensure_future(session.inbox.deliver(KEPT))
        told, _ = await peer.response()
        echo = await peer.ask(1, CEchoRequest(message_id=9, affected_sop_class_uid=ECHO))
        assert not delivered.done()
        await peer.client.send(3, answer_to(told))

        assert (0, 1) == (echo.status, told.event_type_id)
        assert await delivered


@aio
async def test_a_result_that_is_not_answered_goes_elsewhere() -> None:
    """The association ends first: nobody took it."""
    session = Session(Archive())
    async with Peer(session, CONTEXTS) as peer:
        await peer.ask(3, action(), encode(ASKED, EXPLICIT))
        delivered = asyncio.ensure_future(session.inbox.deliver(KEPT))
        await peer.response()
    assert not await delivered
    assert not session.inbox.is_open


@pytest.mark.parametrize(
    ("request_", "data", "code"),
    [
        (action(action_type_id=2), encode(ASKED, EXPLICIT), 0x0123),
        (action(requested_sop_instance_uid="1.2"), encode(ASKED, EXPLICIT), 0x0112),
        (action(requested_sop_class_uid=ECHO), encode(ASKED, EXPLICIT), 0x0122),
        (action(command_field=N_SET), encode(ASKED, EXPLICIT), 0x0211),
        (action(command_field=N_EVENT_REPORT), encode(KEPT, EXPLICIT), 0x0211),
        (action(), None, 0x0120),
        (action(), b"\0\0\0\0", 0x0106),
        (action(), encode(Commitment("2.25.1", ()), EXPLICIT), 0x0106),
        (action(), bytes(MAX_LENGTH + 2), 0x0213),
    ],
)
@aio
async def test_what_is_no_request(request_, data, code) -> None:
    """Each with the status that names it; nothing is asked of the archive, and the association stays usable."""
    session = Session(Archive())
    async with Peer(session, CONTEXTS) as peer:
        peer.client.fragment = 1 << 20
        answer = await peer.ask(3, request_, data)
        echo = await peer.ask(1, CEchoRequest(message_id=9, affected_sop_class_uid=ECHO))

    assert (code, 0) == (answer.status, echo.status)
    assert [] == session.asked


@pytest.mark.parametrize(
    ("fault", "code"),
    [(ConflictError("x"), 0x0110), (OutOfResources("x"), 0x0213), (IntegrityError("x"), 0x0110)],
)
@aio
async def test_what_the_archive_does_not_take(fault, code) -> None:
    """Its error becomes a status, and no success."""
    session = Session(Archive(), commit_fault=fault)
    async with Peer(session, CONTEXTS) as peer:
        assert code == (await peer.ask(3, action(), encode(ASKED, EXPLICIT))).status


@aio
async def test_who_may_not_deposit_is_told_so() -> None:
    """0124, and nothing is asked of the archive."""
    session = Session(Archive(), actions=frozenset({"query"}))
    async with Peer(session, CONTEXTS) as peer:
        assert 0x0124 == (await peer.ask(3, action(), encode(ASKED, EXPLICIT))).status


@aio
async def test_a_result_of_a_device_is_taken_in_the_role_of_the_provider_only() -> None:
    """On a context where it is SCP; event 1 or 2; and not when nothing of the kind is open."""
    session = Session(Archive())
    async with Peer(session, CONTEXTS) as peer:
        assert 0x0000 == (await peer.ask(5, report(), encode(PARTLY, EXPLICIT))).status
        assert 0x0211 == (await peer.ask(3, report(), encode(PARTLY, EXPLICIT))).status
        assert 0x0211 == (await peer.ask(5, action(), encode(ASKED, EXPLICIT))).status
        assert 0x0113 == (await peer.ask(5, report(event_type_id=3), encode(PARTLY, EXPLICIT))).status
        session.commit_fault = NotFound("x")
        assert 0x0110 == (await peer.ask(5, report(), encode(PARTLY, EXPLICIT))).status

    assert [PARTLY] == session.told


@pytest.mark.parametrize("may_commit", [True, False])
@pytest.mark.parametrize("may_report", [True, False])
def test_the_roles_are_those_of_the_session(may_commit: bool, may_report: bool) -> None:
    """Who may not ask is not offered to, and who is never asked has nothing to tell."""
    support = supported(Session(Archive(), may_commit=may_commit, may_report=may_report))(STORAGE_COMMITMENT)
    assert support is not None

    assert (may_commit, may_report) == (support.requestor_may_be_scu, support.requestor_may_be_scp)
