"""Retrieval to a third party (PS3.4 C.4.2)."""

from __future__ import annotations

import asyncio

import pytest

from scp.world import (
    CT,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    MR,
    PATIENT_MOVE,
    STUDY_MOVE,
    Archive,
    Destination,
    GoneError,
    Peer,
    Session,
    aio,
    encode_with_pydicom,
    identifier,
    image,
    link,
    read_identifier,
    until,
)
from strongroom.dimse import CCancelRequest, CMoveRequest, CStoreRequest, CStoreResponse, DataFragment, MessageReceived
from strongroom.errors import RemoteProtocolError
from strongroom.scp import Limits
from strongroom.upper_layer.events import AcceptedContext

CONTEXTS = [AcceptedContext(1, STUDY_MOVE, IMPLICIT), AcceptedContext(3, PATIENT_MOVE, IMPLICIT)]
STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}


class Receiver:
    """The third party: takes associations, takes instances, and can be made to fail."""

    def __init__(self, *, syntaxes: frozenset[str] | None = None, classes: frozenset[str] | None = None) -> None:
        self.syntaxes, self.classes = syntaxes, classes
        self.taken: list[tuple[CStoreRequest, bytes]] = []
        self.associations: list[tuple] = []
        self.statuses: dict[str, int] = {}
        self.abort_on: set[str] = set()
        self.refuse_connections = 0
        self.gate: asyncio.Event | None = None
        self.open = 0
        self.most_open = 0
        self.ends: list[str] = []
        self._tasks: set[asyncio.Task] = set()

    async def connect(self, destination: Destination, contexts):
        self.associations.append(contexts)
        if self.refuse_connections:
            self.refuse_connections -= 1
            raise OSError("refused")
        accepted = [
            AcceptedContext(context.id, context.abstract_syntax, context.transfer_syntaxes[0])
            for context in contexts
            if (self.syntaxes is None or context.transfer_syntaxes[0] in self.syntaxes)
            and (self.classes is None or context.abstract_syntax in self.classes)
        ]
        ours, theirs = link(accepted)
        task = asyncio.create_task(self._serve(theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ours

    async def _serve(self, end) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while (event := await end.receive()) is not None:
                assert isinstance(event, MessageReceived)
                data = bytearray()
                while True:
                    fragment = await end.receive()
                    assert isinstance(fragment, DataFragment)
                    data += fragment.data
                    if fragment.last:
                        break
                request = event.message
                uid = request.affected_sop_instance_uid
                if self.gate is not None:
                    await self.gate.wait()
                if uid in self.abort_on:
                    await end.abort()
                    self.ends.append("we aborted")
                    return
                self.taken.append((request, bytes(data)))
                status = self.statuses.get(uid, 0)
                await end.send(
                    event.context_id, CStoreResponse(message_id_being_responded_to=request.message_id, status=status)
                )
            self.ends.append("released")
        except GoneError:
            self.ends.append("aborted")
        finally:
            self.open -= 1


class Mover:
    """A client that asks for a move and collects the responses."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pending: list[tuple] = []
        self.failed: list[str] = []

    async def move(self, context_id: int = 1, message_id: int = 11, to: str = "READER", **keys):
        context = self.peer.client.contexts[context_id]
        request = CMoveRequest(
            message_id=message_id, affected_sop_class_uid=context.abstract_syntax, move_destination=to, priority=1
        )
        await self.peer.client.send(context_id, request, identifier(context.transfer_syntax, **keys))
        return await self.rest()

    async def rest(self):
        while True:
            message, data = await self.peer.response()
            counts = (
                message.number_of_remaining_suboperations,
                message.number_of_completed_suboperations,
                message.number_of_failed_suboperations,
                message.number_of_warning_suboperations,
            )
            if message.status == 0xFF00:
                self.pending.append(counts)
                continue
            self.final, self.counts = message, counts
            if data is not None:
                listed = read_identifier(data).FailedSOPInstanceUIDList
                self.failed = [listed] if isinstance(listed, str) else list(listed)
            return self


def filled(count: int = 3) -> Archive:
    """One study, and a reader to send it to."""
    archive = Archive(destinations={"READER": Destination("reader", "READER")})
    for number in range(1, count + 1):
        archive.keep(image(number))
    return archive


def peer_of(archive: Archive, receiver: Receiver, **more) -> Peer:
    """A caller whose moves go to *receiver*."""
    return Peer(Session(archive, ae_title="ASKER"), CONTEXTS, outbound=receiver, **more)


@aio
async def test_a_study_goes_to_the_destination_bit_for_bit() -> None:
    """Each C-STORE names who asked and with which message; the requestor sees the counts; the association is released."""
    archive, receiver = filled(), Receiver()
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert [stored.data for stored in archive.instances.values()] == [data for _, data in receiver.taken]
    assert {("ASKER", 11, 1)} == {
        (r.move_originator_application_entity_title, r.move_originator_message_id, r.priority)
        for r, _ in receiver.taken
    }
    assert mover.pending == [(2, 1, 0, 0), (1, 2, 0, 0)]
    assert (mover.final.status, mover.counts, mover.failed) == (0x0000, (None, 3, 0, 0), [])
    assert receiver.ends == ["released"]
    assert [e for e in archive.diary if e[0] in ("begin", "end")] == [("begin", "reader", 3), ("end", "reader")]


@aio
async def test_an_unknown_destination_is_a801() -> None:
    """Only the register names destinations; the answer does not tell unknown from not allowed."""
    archive, receiver = filled(), Receiver()
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(to="STRANGER", **STUDY)

    assert (mover.final.status, receiver.associations, archive.diary) == (0xA801, [], [])


@aio
async def test_nothing_to_send_opens_no_association() -> None:
    """A study that is not there, or not for this caller: success with nothing."""
    archive, receiver = filled(), Receiver()
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(QueryRetrieveLevel="STUDY", StudyInstanceUID="9.9")

    assert (mover.final.status, mover.counts, receiver.associations) == (0x0000, (None, 0, 0, 0), [])


@aio
async def test_a_patient_of_the_patient_root() -> None:
    """The levels above and the roots are those of C-GET."""
    archive, receiver = filled(), Receiver()
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(3, QueryRetrieveLevel="PATIENT", PatientID="P1")
        refused = await Mover(peer).move(1, QueryRetrieveLevel="PATIENT", PatientID="P1")

    assert (mover.final.status, len(receiver.taken)) == (0x0000, 3)
    assert refused.final.status == 0xA900


@aio
async def test_a_destination_that_cannot_be_reached() -> None:
    """Every sub-operation failed: A702 with the list, after a few tries only."""
    archive, receiver = filled(), Receiver()
    receiver.refuse_connections = 100
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.counts, len(receiver.associations)) == (0xA702, (None, 0, 3, 0), 3)
    assert mover.failed == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"]
    assert ("failed", "1.2.3.1.1.1", "not-reached") in archive.diary
    assert "could not be reached" in mover.final.error_comment


@aio
async def test_an_association_that_breaks_costs_one_instance() -> None:
    """The rest goes over a new association."""
    archive, receiver = filled(), Receiver()
    receiver.abort_on = {"1.2.3.1.1.2"}
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.counts, mover.failed) == (0xB000, (None, 2, 1, 0), ["1.2.3.1.1.2"])
    assert len(receiver.associations) == 2
    assert ("failed", "1.2.3.1.1.2", "association-ended") in archive.diary


@aio
async def test_a_destination_that_breaks_every_time_is_given_up() -> None:
    """A receiver that aborts again and again does not keep us busy for the whole study."""
    archive, receiver = filled(10), Receiver()
    receiver.abort_on = {f"1.2.3.1.1.{n}" for n in range(1, 11)}
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, len(receiver.associations)) == (0xA702, 3)
    assert mover.counts == (None, 0, 10, 0)


@aio
async def test_damage_half_way_aborts_that_association_only() -> None:
    """What breaks off is never taken for whole by the receiver; the others arrive."""
    archive, receiver = filled(), Receiver()
    archive.unreadable_after["1.2.3.1.1.2"] = 1
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.failed) == (0xB000, ["1.2.3.1.1.2"])
    assert [r.affected_sop_instance_uid for r, _ in receiver.taken] == ["1.2.3.1.1.1", "1.2.3.1.1.3"]
    assert receiver.ends == ["aborted", "released"]


@aio
async def test_the_receivers_refusals_are_counted() -> None:
    """Failures and warnings of the receiver end up in counts and list."""
    archive, receiver = filled(), Receiver()
    receiver.statuses = {"1.2.3.1.1.1": 0xA700, "1.2.3.1.1.2": 0xB007}
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.counts, mover.failed) == (0xB000, (None, 1, 1, 1), ["1.2.3.1.1.1"])
    assert ("failed", "1.2.3.1.1.1", "status-a700") in archive.diary


@aio
async def test_cancel_between_two_suboperations() -> None:
    """FE00 with what is left, and the association to the receiver ends in order."""
    archive, receiver = filled(), Receiver()
    receiver.gate = asyncio.Event()
    async with peer_of(archive, receiver) as peer:
        request = CMoveRequest(message_id=11, affected_sop_class_uid=STUDY_MOVE, move_destination="READER")
        await peer.client.send(1, request, identifier(**STUDY))
        await until(lambda: receiver.associations)
        await peer.client.send(1, CCancelRequest(message_id_being_responded_to=11))
        receiver.gate.set()
        mover = await Mover(peer).rest()

    assert (mover.final.status, mover.counts) == (0xFE00, (2, 1, 0, 0))
    assert receiver.ends == ["released"]


@aio
async def test_a_requestor_that_goes_away_stops_the_move() -> None:
    """Nobody waits for the rest: the association to the receiver is aborted and the disclosure closed."""
    archive, receiver = filled(), Receiver()
    receiver.gate = asyncio.Event()
    peer = peer_of(archive, receiver)
    async with peer:
        request = CMoveRequest(message_id=11, affected_sop_class_uid=STUDY_MOVE, move_destination="READER")
        await peer.client.send(1, request, identifier(**STUDY))
        await until(lambda: receiver.associations)
        await peer.client.abort()
        receiver.gate.set()
        with pytest.raises(GoneError):
            await peer.task
        await until(lambda: not receiver.open)

    assert receiver.ends == ["aborted"]
    assert archive.diary[-1] == ("end", "reader")


@aio
async def test_conversion_and_failure_as_for_get() -> None:
    """Stored syntax, else the other native one, else a failed sub-operation."""
    archive = filled(1)
    archive.keep(image(2), IMPLICIT)
    archive.keep(image(3), JPEG)
    receiver = Receiver(syntaxes=frozenset({EXPLICIT}))
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.counts, mover.failed) == (0xB000, (None, 2, 1, 0), ["1.2.3.1.1.3"])
    converted = receiver.taken[1][1]
    assert read_identifier(converted, EXPLICIT) == read_identifier(encode_with_pydicom(image(2)), EXPLICIT)


@aio
async def test_more_than_128_contexts_take_several_associations() -> None:
    """A selection of many SOP classes and syntaxes is split, and everything arrives."""
    archive = Archive(destinations={"READER": Destination("reader", "READER")})
    for number in range(1, 151):
        dataset = image(number)
        dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.9999.{number}"
        archive.keep(dataset)
    receiver = Receiver()
    async with peer_of(archive, receiver) as peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, mover.counts) == (0x0000, (None, 150, 0, 0))
    assert [len(contexts) for contexts in receiver.associations] == [128, 128, 44]
    assert len(receiver.taken) == 150


@aio
async def test_moves_to_one_destination_wait_for_their_turn() -> None:
    """D16: many moves to one slow receiver do not become many associations; all are done in the end."""
    archive, receiver = filled(1), Receiver()
    receiver.gate = asyncio.Event()
    first = peer_of(archive, receiver, limits=Limits(moves_per_destination=2, moves_per_requester=100))
    peers = [first] + [peer_of(archive, receiver) for _ in range(9)]
    for peer in peers:
        peer._provider = first._provider
    asked = []
    for peer in peers:
        await peer.__aenter__()
        asked.append(asyncio.create_task(Mover(peer).move(**STUDY)))
    for _ in range(200):
        await asyncio.sleep(0)
    assert receiver.most_open == 2
    receiver.gate.set()
    movers = await asyncio.gather(*asked)
    for peer in peers:
        await peer.__aexit__(None, None, None)

    assert {0x0000} == {mover.final.status for mover in movers}
    assert receiver.most_open == 2
    assert len(receiver.taken) == 10


@aio
async def test_a_requester_with_too_many_moves_is_refused() -> None:
    """D16: beyond its number a requester gets A702 at once."""
    archive, receiver = filled(1), Receiver()
    receiver.gate = asyncio.Event()
    first = peer_of(archive, receiver, limits=Limits(moves_per_requester=1))
    second = peer_of(archive, receiver)
    second._provider = first._provider
    async with first, second:
        waiting = asyncio.create_task(Mover(first).move(**STUDY))
        await until(lambda: receiver.associations)
        refused = await Mover(second).move(**STUDY)
        receiver.gate.set()
        done = await waiting
        again = await Mover(second).move(**STUDY)

    assert (refused.final.status, done.final.status, again.final.status) == (0xA702, 0x0000, 0x0000)


@aio
async def test_a_waiting_move_can_be_cancelled() -> None:
    """A C-CANCEL is heard while a move still waits for its turn (D14)."""
    archive, receiver = filled(1), Receiver()
    receiver.gate = asyncio.Event()
    first = peer_of(archive, receiver, limits=Limits(moves_per_destination=1))
    second = peer_of(archive, receiver)
    second._provider = first._provider
    async with first, second:
        waiting = asyncio.create_task(Mover(first).move(**STUDY))
        await until(lambda: receiver.associations)
        request = CMoveRequest(message_id=3, affected_sop_class_uid=STUDY_MOVE, move_destination="READER")
        await second.client.send(1, request, identifier(**STUDY))
        await second.client.send(1, CCancelRequest(message_id_being_responded_to=3))
        cancelled = await Mover(second).rest()
        receiver.gate.set()
        await waiting

    assert cancelled.final.status == 0xFE00
    assert len(receiver.taken) == 1


@aio
async def test_who_may_not_retrieve_gets_nothing_moved() -> None:
    """0x0124 and no association."""
    archive, receiver = filled(), Receiver()
    peer = Peer(Session(archive, frozenset({"query"})), CONTEXTS, outbound=receiver)
    async with peer:
        mover = await Mover(peer).move(**STUDY)

    assert (mover.final.status, receiver.associations) == (0x0124, [])


def test_the_standard_classes_used_here_are_storage() -> None:
    """The tests speak of real SOP classes."""
    from strongroom.dicom.uid import STORAGE_SOP_CLASSES

    assert {CT, MR} <= STORAGE_SOP_CLASSES


@aio
async def test_a_waiting_move_ends_with_its_requestor() -> None:
    """A move that waits for its turn does not outlive the association that asked for it."""
    archive, receiver = filled(1), Receiver()
    receiver.gate = asyncio.Event()
    first = peer_of(archive, receiver, limits=Limits(moves_per_destination=1))
    second = peer_of(archive, receiver)
    second._provider = first._provider
    async with first, second:
        waiting = asyncio.create_task(Mover(first).move(**STUDY))
        await until(lambda: receiver.associations)
        request = CMoveRequest(message_id=3, affected_sop_class_uid=STUDY_MOVE, move_destination="READER")
        await second.client.send(1, request, identifier(**STUDY))
        await second.client.abort()
        with pytest.raises(RemoteProtocolError):
            await second.task
        receiver.gate.set()
        await waiting

    assert len(receiver.taken) == 1
