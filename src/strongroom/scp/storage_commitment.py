"""
Storage commitment, push model, on an association that a device opened (PS3.4 J.3).

1. A request (N-ACTION) is answered with success once it is durable, with its job; nothing was examined then.
2. Its result (N-EVENT-REPORT) goes out on the same association if that is quiet and still stands, one at a time; else
   the archive calls the device (`commitment_caller`).
3. A result of a device that we asked is taken from that device only, and for an open transaction only.
"""

from __future__ import annotations

import asyncio
from typing import Final, final

from strongroom.archive import Commitment, CommitmentInbox
from strongroom.dimse import DataFragment, MessageReceived, NRequest, NResponse, status
from strongroom.dimse.messages import N_EVENT_REPORT, RESPONSE_BIT
from strongroom.dimse.status import Category, category
from strongroom.errors import (
    AccessDenied,
    ConflictError,
    DataSetError,
    NotFound,
    OutOfResources,
    RemoteProtocolError,
    StrongroomError,
)
from strongroom.scp.commitment_data import INSTANCE, MAX_LENGTH, decode, encode
from strongroom.scp.contexts import STORAGE_COMMITMENT
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import Conversation, InstanceT, Session
from strongroom.scp.ports import DestinationT_co as DestinationT

_REQUEST, _ALL_KEPT, _NOT_ALL_KEPT = 1, 1, 2
"""Action Type ID and Event Type IDs (PS3.4 J.3.2, J.3.3)."""
_LAST_MESSAGE_ID: Final = 0xFFFF
_Answer = tuple[int, str]


async def act(
    exchange: Exchange, session: Session[InstanceT, DestinationT], request: NRequest, reports: Reports
) -> None:
    """Answer an N-ACTION (rule 1)."""
    code, comment = await _begin(exchange, session, request, reports.inbox)
    await exchange.drain()
    await exchange.conversation.send(exchange.context.id, respond(request, code, comment))


async def heard(
    exchange: Exchange, session: Session[InstanceT, DestinationT], request: NRequest, _reports: Reports
) -> None:
    """Answer an N-EVENT-REPORT (rule 3)."""
    code, comment = await _hear(exchange, session, request)
    await exchange.drain()
    await exchange.conversation.send(exchange.context.id, respond(request, code, comment))


def event_report(result: Commitment, message_id: int) -> NRequest:
    """The N-EVENT-REPORT request that tells *result*."""
    return NRequest(
        command_field=N_EVENT_REPORT,
        message_id=message_id,
        affected_sop_class_uid=STORAGE_COMMITMENT,
        affected_sop_instance_uid=INSTANCE,
        event_type_id=_NOT_ALL_KEPT if any(result.reasons) else _ALL_KEPT,
    )


def respond(request: NRequest, code: int, comment: str = "") -> NResponse:
    """The response to an N-ACTION or N-EVENT-REPORT."""
    return NResponse(
        command_field=request.command_field | RESPONSE_BIT,
        message_id_being_responded_to=request.message_id,
        status=code,
        affected_sop_class_uid=STORAGE_COMMITMENT,
        affected_sop_instance_uid=INSTANCE,
        action_type_id=request.action_type_id,
        event_type_id=request.event_type_id,
        error_comment=comment,
    )


async def read_result(exchange: Exchange, request: NRequest) -> Commitment | _Answer:
    """The result in an N-EVENT-REPORT, or why it cannot be taken."""
    if request.sop_instance_uid != INSTANCE:
        return status.NO_SUCH_SOP_INSTANCE, "Not the well-known instance"
    if request.event_type_id not in (_ALL_KEPT, _NOT_ALL_KEPT):
        return status.NO_SUCH_EVENT_TYPE, "Event type is neither 1 nor 2"
    return await _read(exchange, is_result=True)


async def _begin(
    exchange: Exchange, session: Session[InstanceT, DestinationT], request: NRequest, inbox: CommitmentInbox
) -> _Answer:
    if request.sop_instance_uid != INSTANCE:
        return status.NO_SUCH_SOP_INSTANCE, "Not the well-known instance"
    if request.action_type_id != _REQUEST:
        return status.NO_SUCH_ACTION, "Action type is not 1"
    asked = await _read(exchange, is_result=False)
    if not isinstance(asked, Commitment):
        return asked
    try:
        await session.commit(asked, inbox)
    except AccessDenied:
        return status.NOT_AUTHORIZED, "Not authorized"
    except ConflictError:
        return status.PROCESSING_FAILURE, "Transaction UID is in use for another request"
    except OutOfResources:
        return status.RESOURCE_LIMITATION, "Out of resources"
    except StrongroomError:
        return status.PROCESSING_FAILURE, "The archive could not process this"
    return status.SUCCESS, ""


async def _hear(exchange: Exchange, session: Session[InstanceT, DestinationT], request: NRequest) -> _Answer:
    result = await read_result(exchange, request)
    if not isinstance(result, Commitment):
        return result
    try:
        await session.committed(result)
    except (AccessDenied, NotFound):
        return status.PROCESSING_FAILURE, "No such transaction is open"
    except StrongroomError:
        return status.PROCESSING_FAILURE, "The archive could not process this"
    return status.SUCCESS, ""


async def _read(exchange: Exchange, *, is_result: bool) -> Commitment | _Answer:
    """Take in and decode the data set, in a worker thread: thousands of items would hold up everybody."""
    if not exchange.unread:
        return status.MISSING_ATTRIBUTE, "A data set is missing"
    gathered = bytearray()
    async for fragment in exchange.data_set(limit=exchange.limits.max_drained):
        if len(gathered) <= MAX_LENGTH:
            gathered += fragment
    if len(gathered) > MAX_LENGTH:
        return status.RESOURCE_LIMITATION, "Too many references"
    try:
        return await asyncio.to_thread(decode, bytes(gathered), exchange.context.transfer_syntax, is_result=is_result)
    except OutOfResources:
        return status.RESOURCE_LIMITATION, "Too many references"
    except DataSetError:
        return status.INVALID_ATTRIBUTE_VALUE, "The data set is not one of storage commitment"


@final
class Reports:
    """Results that are told on the association that asked for them (rule 2)."""

    def __init__(self, conversation: Conversation, *, max_drained: int) -> None:
        self._conversation = conversation
        self._max_drained = max_drained
        self._outstanding: tuple[int, str, asyncio.Future[bool]] | None = None
        """Message ID and Transaction UID of what was sent last, and where to say whether it was taken."""
        self._message_id = 0
        self.inbox = CommitmentInbox()

    async def next_event(self) -> MessageReceived | DataFragment | None:
        """The next event of the association; while the peer says nothing, results go out."""
        if not self.inbox.expected:
            return await self._conversation.receive()
        receiving = asyncio.ensure_future(self._conversation.receive())
        try:
            while not receiving.done():
                arrived = asyncio.ensure_future(self.inbox.wait())
                try:
                    await asyncio.wait({receiving, arrived}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    arrived.cancel()
                if not receiving.done() and self._outstanding is None:
                    await self._send_next()
                elif not receiving.done():
                    await asyncio.wait({receiving})  # one at a time: its answer comes first
            return receiving.result()
        finally:
            receiving.cancel()

    async def _send_next(self) -> None:
        coming = self.inbox.take()
        if coming is None:
            return
        result, taken = coming
        context = next(one for one in self._conversation.contexts.values() if one.abstract_syntax == STORAGE_COMMITMENT)
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        self._outstanding = self._message_id, result.transaction_uid, taken
        data = await asyncio.to_thread(encode, result, context.transfer_syntax)
        await self._conversation.send(context.id, event_report(result, self._message_id), data)

    def expects(self, response: NResponse) -> bool:
        """Whether *response* answers what was sent last."""
        return (
            self._outstanding is not None
            and response.command_field == N_EVENT_REPORT | RESPONSE_BIT
            and response.message_id_being_responded_to == self._outstanding[0]
        )

    async def taken(self, response: NResponse, *, has_data_set: bool) -> None:
        """The peer answered a report."""
        if has_data_set:
            await drain(self._conversation, self._max_drained)
        assert self._outstanding is not None
        _, transaction_uid, taken = self._outstanding
        self._outstanding = None
        self.inbox.expected.discard(transaction_uid)
        if not taken.done():
            taken.set_result(category(response.status) in (Category.SUCCESS, Category.WARNING))

    def close(self) -> None:
        """The association is over; what was not answered goes out on another."""
        self.inbox.close()
        if self._outstanding is not None and not self._outstanding[2].done():
            self._outstanding[2].set_result(False)


async def drain(conversation: Conversation, limit: int) -> None:
    """Take in and forget the data set of a response."""
    length = 0
    last = False
    while not last:
        event = await conversation.receive()
        if not isinstance(event, DataFragment):
            raise RemoteProtocolError("the association ended inside a data set")
        length, last = length + len(event.data), event.last
        if length > limit:
            raise RemoteProtocolError(f"a data set goes on beyond {limit} bytes")
