"""
Storage commitment over associations of ours (PS3.4 J.3): the result for a device that asked us, and our own requests.

1. A device is called at the address of its register entry, and has to show the certificate of it (`app`'s way out).
2. To tell a result we are the SCP, and say so by role selection (PS3.7 D.3.3.4); a peer that does not take that role is
   told nothing.
3. After a request of ours the association stays open for a moment, for devices that answer on the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, final

from strongroom.archive import Commitment
from strongroom.dimse import MessageReceived, NRequest, NResponse
from strongroom.dimse.messages import N_ACTION, N_EVENT_REPORT, RESPONSE_BIT
from strongroom.dimse.status import PROCESSING_FAILURE, SUCCESS, UNRECOGNIZED_OPERATION, Category, category
from strongroom.errors import RemoteProtocolError, StrongroomError
from strongroom.scp.commitment_data import INSTANCE, encode
from strongroom.scp.contexts import COMMANDS_AND_IDENTIFIERS, STORAGE_COMMITMENT
from strongroom.scp.exchange import DEFAULT_LIMITS, Exchange
from strongroom.scp.ports import Conversation, DestinationT, OutboundWithRoles
from strongroom.scp.storage_commitment import drain, event_report, read_result, respond
from strongroom.upper_layer.events import AcceptedContext, RoleSelection
from strongroom.upper_layer.negotiation import number_contexts

ANSWER_SECONDS: Final = 60.0
"""A device may take so long to answer a request or report; then it is tried again later."""
RESULT_SECONDS: Final = 10.0
"""How long an association of ours waits for the result; most devices open one of their own."""
_MESSAGE_ID: Final = 1
_ENDS: Final = (StrongroomError, OSError)
_CONTEXTS: Final = number_contexts([(STORAGE_COMMITMENT, COMMANDS_AND_IDENTIFIERS)])
_AS_SCP: Final = (RoleSelection(STORAGE_COMMITMENT, scu=False, scp=True),)


@final
class CommitmentCaller(Generic[DestinationT]):
    """`archive.committed.CommitmentPeer` over DIMSE."""

    def __init__(self, outbound: OutboundWithRoles[DestinationT]) -> None:
        self._outbound = outbound

    async def report(self, destination: DestinationT, result: Commitment, /) -> None:
        """Tell the device that asked its result; raises StrongroomError or OSError when it did not take it."""
        conversation = await self._outbound.connect(destination, _CONTEXTS, roles=_AS_SCP)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                context = _context(conversation, as_scp=True)
                data = await asyncio.to_thread(encode, result, context.transfer_syntax)
                await conversation.send(context.id, event_report(result, _MESSAGE_ID), data)
                await _answered(conversation, N_EVENT_REPORT)
        except BaseException:
            await conversation.abort()
            raise
        with suppress(*_ENDS):
            await conversation.release()

    async def ask(
        self, destination: DestinationT, request: Commitment, take: Callable[[Commitment], Awaitable[None]], /
    ) -> None:
        """Ask a device; a result that comes on the same association goes to *take*. Raises as `report`."""
        conversation = await self._outbound.connect(destination, _CONTEXTS)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                context = _context(conversation, as_scp=False)
                data = await asyncio.to_thread(encode, request, context.transfer_syntax)
                await conversation.send(context.id, _action(), data)
                await _answered(conversation, N_ACTION)
        except BaseException:
            await conversation.abort()
            raise
        with suppress(*_ENDS):  # the request was taken: whatever comes of the rest, its result can come otherwise
            async with asyncio.timeout(RESULT_SECONDS):
                await _take_result(conversation, context, request, take)
        with suppress(*_ENDS):
            await conversation.release()


def _action() -> NRequest:
    return NRequest(
        command_field=N_ACTION,
        message_id=_MESSAGE_ID,
        requested_sop_class_uid=STORAGE_COMMITMENT,
        requested_sop_instance_uid=INSTANCE,
        action_type_id=1,
    )


def _context(conversation: Conversation, *, as_scp: bool) -> AcceptedContext:
    for context in conversation.contexts.values():
        if context.requestor_is_scp if as_scp else context.requestor_is_scu:
            return context
    role = " in the role of the provider" if as_scp else ""
    raise RemoteProtocolError(f"the device does not take storage commitment{role}")


async def _answered(conversation: Conversation, command_field: int) -> None:
    """Wait for the response to what was sent; raises RemoteProtocolError unless it was taken."""
    event = await conversation.receive()
    response = event.message if isinstance(event, MessageReceived) else None
    if not isinstance(response, NResponse) or response.command_field != command_field | RESPONSE_BIT:
        raise RemoteProtocolError("the device answered something else")
    assert isinstance(event, MessageReceived)
    if event.has_data_set:
        await drain(conversation, DEFAULT_LIMITS.max_drained)
    if category(response.status) not in (Category.SUCCESS, Category.WARNING):
        raise RemoteProtocolError(f"the device answered with status {response.status:04X}")


async def _take_result(
    conversation: Conversation,
    context: AcceptedContext,
    request: Commitment,
    take: Callable[[Commitment], Awaitable[None]],
) -> None:
    """Wait for the result of *request* on the association that asked for it; it is durable before it is answered."""
    event = await conversation.receive()
    if not isinstance(event, MessageReceived) or not isinstance(event.message, NRequest):
        return
    message = event.message
    exchange = Exchange(conversation, context, message, has_data_set=event.has_data_set)
    code, comment = UNRECOGNIZED_OPERATION, "The SOP class does not have this operation"
    if message.command_field == N_EVENT_REPORT:
        result = await read_result(exchange, message)
        if not isinstance(result, Commitment):
            code, comment = result
        elif result.transaction_uid != request.transaction_uid:
            code, comment = PROCESSING_FAILURE, "No such transaction is open"
        else:
            await take(result)
            code, comment = SUCCESS, ""
    await exchange.drain()
    await conversation.send(context.id, respond(message, code, comment))
