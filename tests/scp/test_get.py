"""Retrieval on the requestor's own association (PS3.4 C.4.3)."""

from __future__ import annotations

import pytest

from scp.world import (
    CT,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    MR,
    PATIENT_GET,
    STUDY_GET,
    Archive,
    GoneError,
    Peer,
    Session,
    aio,
    encode_with_pydicom,
    identifier,
    image,
    read_identifier,
)
from strongroom.dimse import CCancelRequest, CGetRequest, CGetResponse, CStoreRequest, CStoreResponse
from strongroom.errors import RemoteProtocolError
from strongroom.upper_layer.events import AcceptedContext


def as_scp(context_id: int, sop_class: str, syntax: str) -> AcceptedContext:
    """A context on which the requestor takes instances."""
    return AcceptedContext(context_id, sop_class, syntax, requestor_is_scu=False, requestor_is_scp=True)


GET = AcceptedContext(1, STUDY_GET, IMPLICIT)
CONTEXTS = [GET, as_scp(3, CT, EXPLICIT), AcceptedContext(5, PATIENT_GET, IMPLICIT)]
STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}


class Taker:
    """A client that asks and takes what comes; *answers* are its statuses for the sub-operations in turn."""

    def __init__(self, peer: Peer, *, answers: tuple[int, ...] = (), cancel_after: int | None = None) -> None:
        self.peer, self.answers, self.cancel_after = peer, list(answers), cancel_after
        self.taken: list[tuple[CStoreRequest, bytes]] = []
        self.pending: list[CGetResponse] = []
        self.final: CGetResponse
        self.failed: list[str] = []

    async def get(self, context_id: int = 1, message_id: int = 5, **keys):
        context = self.peer.client.contexts[context_id]
        request = CGetRequest(message_id=message_id, affected_sop_class_uid=context.abstract_syntax, priority=2)
        await self.peer.client.send(context_id, request, identifier(context.transfer_syntax, **keys))
        while True:
            message, data = await self.peer.response()
            if isinstance(message, CStoreRequest):
                await self._take(message, data)
            elif message.status == 0xFF00:
                self.pending.append(message)
            else:
                self.final = message
                if data is not None:
                    listed = read_identifier(data, context.transfer_syntax).FailedSOPInstanceUIDList
                    self.failed = [listed] if isinstance(listed, str) else list(listed)
                return self

    async def _take(self, message: CStoreRequest, data: bytes) -> None:
        self.taken.append((message, data))
        if self.cancel_after == len(self.taken):
            await self.peer.client.send(1, CCancelRequest(message_id_being_responded_to=5))
        status = self.answers.pop(0) if self.answers else 0
        context_id = next(
            c.id for c in self.peer.client.contexts.values() if c.abstract_syntax == message.affected_sop_class_uid
        )
        response = CStoreResponse(
            message_id_being_responded_to=message.message_id,
            status=status,
            affected_sop_class_uid=message.affected_sop_class_uid,
            affected_sop_instance_uid=message.affected_sop_instance_uid,
        )
        await self.peer.client.send(context_id, response)

    @property
    def counts(self) -> tuple:
        return _counts(self.final)


def _counts(response: CGetResponse) -> tuple:
    return (
        response.number_of_remaining_suboperations,
        response.number_of_completed_suboperations,
        response.number_of_failed_suboperations,
        response.number_of_warning_suboperations,
    )


def filled(count: int = 3) -> Archive:
    """A study of *count* images of P1, and one image of P2."""
    archive = Archive()
    for number in range(1, count + 1):
        archive.keep(image(number))
    archive.keep(image(1, study=2, patient="P2"))
    return archive


@aio
async def test_a_study_comes_back_bit_for_bit() -> None:
    """Every instance arrives as it is kept, with priority and counts, and success at the end."""
    archive = filled()
    async with Peer(Session(archive), CONTEXTS) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert [archive.instances[f"1.2.3.1.1.{n}"].data for n in (1, 2, 3)] == [data for _, data in taker.taken]
    assert [request.message_id for request, _ in taker.taken] == [1, 2, 3]
    assert {(CT, 2, "")} == {
        (r.affected_sop_class_uid, r.priority, r.move_originator_application_entity_title) for r, _ in taker.taken
    }
    assert [_counts(response) for response in taker.pending] == [(2, 1, 0, 0), (1, 2, 0, 0)]
    assert (taker.final.status, taker.counts, taker.failed) == (0x0000, (None, 3, 0, 0), [])


@aio
async def test_nothing_leaves_before_the_record_and_each_is_told() -> None:
    """The disclosure is entered before the first byte and told of each instance before it ends (I5)."""
    archive = filled(2)
    async with Peer(Session(archive), CONTEXTS) as peer:
        await Taker(peer).get(**STUDY)

    assert archive.diary == [
        ("begin", "caller", 2),
        ("sent", "1.2.3.1.1.1"),
        ("sent", "1.2.3.1.1.2"),
        ("end", "caller"),
    ]


@pytest.mark.parametrize(
    ("context_id", "keys", "expected"),
    [
        (1, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ["1.2.3.1", "1.2.3.2"]}, 4),
        (1, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.1.1"}, 3),
        (
            1,
            {
                "QueryRetrieveLevel": "IMAGE",
                "StudyInstanceUID": "1.2.3.1",
                "SeriesInstanceUID": "1.2.3.1.1",
                "SOPInstanceUID": ["1.2.3.1.1.1", "1.2.3.1.1.3"],
            },
            2,
        ),
        (5, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P2"}, 1),
        (5, {"QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": "1.2.3.1"}, 3),
        (1, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "9.9"}, 0),
    ],
)
@aio
async def test_every_level_of_both_roots(context_id: int, keys: dict, expected: int) -> None:
    """What is named is sent; what is not there is success with nothing, like what is not for the caller."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        taker = await Taker(peer).get(context_id, **keys)

    assert (expected, 0x0000) == (len(taker.taken), taker.final.status)
    assert (None, expected, 0, 0) == taker.counts


@pytest.mark.parametrize(
    ("context_id", "keys"),
    [
        (1, {"QueryRetrieveLevel": "STUDY"}),
        (1, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}),
        (1, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}),
        (1, {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1.2.3.1.1"}),
        (5, {"QueryRetrieveLevel": "PATIENT"}),
        (5, {"QueryRetrieveLevel": "PATIENT", "PatientID": ["P1", "P2"]}),
        (5, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}),
    ],
)
@aio
async def test_a_target_that_is_not_named_is_refused(context_id: int, keys: dict) -> None:
    """Nothing is ever "everything": a missing key is A900 and nothing is sent."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        taker = await Taker(peer).get(context_id, **keys)

    assert (taker.taken, taker.final.status) == ([], 0xA900)


@pytest.mark.parametrize(("stored", "accepted"), [(IMPLICIT, EXPLICIT), (EXPLICIT, IMPLICIT)])
@aio
async def test_the_other_native_syntax_is_converted_while_streaming(stored: str, accepted: str) -> None:
    """A peer that takes only the other of implicit and explicit gets the same data set in that."""
    archive = Archive()
    dataset = image(1)
    archive.keep(dataset, stored)
    async with Peer(Session(archive), [GET, as_scp(3, CT, accepted)]) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert taker.final.status == 0
    assert read_identifier(taker.taken[0][1], accepted) == read_identifier(
        encode_with_pydicom(dataset, accepted), accepted
    )


@aio
async def test_the_stored_syntax_is_preferred_to_a_conversion() -> None:
    """With both at hand the bytes go out as they are kept."""
    archive = Archive()
    stored = archive.keep(image(1), IMPLICIT)
    async with Peer(Session(archive), [GET, as_scp(3, CT, EXPLICIT), as_scp(5, CT, IMPLICIT)]) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert [stored.data] == [data for _, data in taker.taken]


@aio
async def test_what_the_peer_cannot_take_is_a_failed_suboperation() -> None:
    """A compressed instance and a class without a role fail, say why and are listed; the others arrive (B000)."""
    archive = filled(1)
    archive.keep(image(2), JPEG)
    archive.keep(image(3, sop_class=MR))
    async with Peer(Session(archive), CONTEXTS) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert (taker.final.status, taker.counts) == (0xB000, (None, 1, 2, 0))
    assert taker.failed == ["1.2.3.1.1.2", "1.2.3.1.1.3"]
    assert "not sent" in taker.final.error_comment
    assert ("failed", "1.2.3.1.1.2", "syntax-not-accepted") in archive.diary
    assert ("failed", "1.2.3.1.1.3", "sop-class-not-accepted") in archive.diary


@aio
async def test_a_context_without_the_scp_role_is_not_used() -> None:
    """A peer that may only send on a context never gets anything on it: A702 when that leaves nothing."""
    archive = filled(1)
    async with Peer(Session(archive), [GET, AcceptedContext(3, CT, EXPLICIT)]) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert (taker.taken, taker.final.status, taker.counts) == ([], 0xA702, (None, 0, 1, 0))


@pytest.mark.parametrize(
    ("answers", "status", "counts", "failed"),
    [
        ((0x0000, 0xA700, 0x0000), 0xB000, (None, 2, 1, 0), ["1.2.3.1.1.2"]),
        ((0xB000, 0x0000, 0x0000), 0xB000, (None, 2, 0, 1), []),
        ((0xC000, 0xC000, 0xC000), 0xA702, (None, 0, 3, 0), ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"]),
        ((0xB000, 0xC000, 0xC000), 0xB000, (None, 0, 2, 1), ["1.2.3.1.1.2", "1.2.3.1.1.3"]),
    ],
)
@aio
async def test_the_peers_answers_are_counted(
    answers: tuple[int, ...], status: int, counts: tuple, failed: list[str]
) -> None:
    """Success, warning and failure of each sub-operation end up in the final status, counts and list."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        taker = await Taker(peer, answers=answers).get(**STUDY)

    assert (status, counts, failed) == (taker.final.status, taker.counts, taker.failed)


@aio
async def test_cancel_stops_after_the_suboperation_under_way() -> None:
    """FE00 with what was done and what was left."""
    async with Peer(Session(filled()), CONTEXTS) as peer:
        taker = await Taker(peer, cancel_after=1).get(**STUDY)

    assert (taker.final.status, taker.counts) == (0xFE00, (2, 1, 0, 0))
    assert len(taker.taken) == 1


@aio
async def test_an_instance_that_cannot_be_read_costs_only_itself() -> None:
    """Damage that shows before the first byte fails one sub-operation."""
    archive = filled()
    archive.unreadable_after["1.2.3.1.1.2"] = 0
    async with Peer(Session(archive), CONTEXTS) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert (taker.final.status, taker.counts, taker.failed) == (0xB000, (None, 2, 1, 0), ["1.2.3.1.1.2"])
    assert ("failed", "1.2.3.1.1.2", "unreadable") in archive.diary


@aio
async def test_damage_half_way_ends_the_association() -> None:
    """A data set that breaks off is never completed with something else: the peer must not take it for whole."""
    archive = filled()
    archive.unreadable_after["1.2.3.1.1.2"] = 1
    peer = Peer(Session(archive), CONTEXTS)
    async with peer:
        with pytest.raises(GoneError):
            await Taker(peer).get(**STUDY)
    assert peer.server.aborted

    assert archive.diary[-1] == ("end", "caller")
    assert [entry for entry in archive.diary if entry[0] == "sent"] == [("sent", "1.2.3.1.1.1")]


@aio
async def test_who_may_not_retrieve_gets_nothing() -> None:
    """0x0124 and no byte."""
    archive = filled()
    async with Peer(Session(archive, frozenset({"query"})), CONTEXTS) as peer:
        taker = await Taker(peer).get(**STUDY)

    assert (taker.taken, taker.final.status) == ([], 0x0124)
    assert archive.diary == [("refused", "retrieve")]


@aio
async def test_something_else_than_a_response_ends_the_association() -> None:
    """A request in place of the response to a sub-operation breaks the one-operation window."""
    archive = filled()
    peer = Peer(Session(archive), CONTEXTS)
    async with peer:
        request = CGetRequest(message_id=5, affected_sop_class_uid=STUDY_GET)
        await peer.client.send(1, request, identifier(**STUDY))
        await peer.response()
        await peer.client.send(1, request, identifier(**STUDY))
        with pytest.raises(RemoteProtocolError, match="sub-operation"):
            await peer.task

    assert archive.diary[-1] == ("end", "caller")
