"""
One association from its first message to its last: each request to the provider that answers it (PS3.7 §7, PS3.4).

Operations come one at a time (the asynchronous window is 1,1). A request that its presentation context does not have
is answered 0x0211, one for another SOP class than the context's 0x0122; what no status exists for ends the
association.
"""

from __future__ import annotations

from typing import Final, Generic, final

from strongroom.dimse import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    CStoreRequest,
    CStoreResponse,
    MessageReceived,
    NRequest,
    NResponse,
    Request,
    Response,
    status,
)
from strongroom.dimse.messages import N_ACTION, N_EVENT_REPORT, RESPONSE_BIT
from strongroom.errors import RemoteProtocolError
from strongroom.imaging.pool import Pool
from strongroom.scp.contexts import QUERY_RETRIEVE, STORAGE_COMMITMENT, VERIFICATION, Operation, combined_date_time
from strongroom.scp.errors import BrokenOffError
from strongroom.scp.exchange import DEFAULT_LIMITS, Exchange, Limits
from strongroom.scp.find import find
from strongroom.scp.get import get
from strongroom.scp.move import Moves, move
from strongroom.scp.ports import Conversation, DestinationT, InstanceT, Outbound, Session
from strongroom.scp.storage import store
from strongroom.scp.storage_commitment import Reports, act, heard
from strongroom.scp.verification import verify

_ResponseClass = (
    type[CEchoResponse] | type[CStoreResponse] | type[CFindResponse] | type[CGetResponse] | type[CMoveResponse]
)
_RESPONSES: Final[dict[type[Request], _ResponseClass]] = {
    CEchoRequest: CEchoResponse,
    CStoreRequest: CStoreResponse,
    CFindRequest: CFindResponse,
    CGetRequest: CGetResponse,
    CMoveRequest: CMoveResponse,
}
_OPERATIONS: Final = {CFindRequest: Operation.FIND, CGetRequest: Operation.GET, CMoveRequest: Operation.MOVE}


@final
class Provider(Generic[DestinationT]):
    """All services of the archive over DIMSE; one for all associations."""

    def __init__(
        self,
        *,
        ae_title: str,
        outbound: Outbound[DestinationT],
        limits: Limits = DEFAULT_LIMITS,
        pool: Pool | None = None,
    ) -> None:
        """*pool* converts pixels for receivers that do not take the stored transfer syntax."""
        self._ae_title = ae_title
        self._limits = limits
        self._pool = pool
        self._moves = Moves(outbound, limits=limits, pool=pool)

    async def serve(
        self,
        conversation: Conversation,
        session: Session[InstanceT, DestinationT],
    ) -> None:
        """
        Answer requests until the peer releases the association.

        Raises RemoteProtocolError or OSError when the association ended otherwise, or when the peer broke a rule that
        no status exists for; whoever runs this aborts it then.
        """
        combined = combined_date_time(conversation.negotiated.sop_class_extended)
        reports = Reports(conversation, max_drained=self._limits.max_drained)
        try:
            while (event := await reports.next_event()) is not None:
                if not isinstance(event, MessageReceived):
                    raise RemoteProtocolError("a data set fragment outside a message")
                if isinstance(event.message, NResponse) and reports.expects(event.message):
                    await reports.taken(event.message, has_data_set=event.has_data_set)
                else:
                    await self._answer(conversation, session, event, combined, reports)
        except BrokenOffError:
            # The disclosure has recorded what failed; the peer must not take half a data set for a whole one.
            await conversation.abort()
        finally:
            reports.close()

    async def _answer(
        self,
        conversation: Conversation,
        session: Session[InstanceT, DestinationT],
        event: MessageReceived,
        combined: frozenset[str],
        reports: Reports,
    ) -> None:
        """Answer one message."""
        request = event.message
        if isinstance(request, Response):
            raise RemoteProtocolError(f"a {type(request).__name__} that nothing asked for")
        if isinstance(request, CCancelRequest):
            return  # what it means to cancel has been answered already (PS3.7 §9.3.2.3)
        context = conversation.contexts[event.context_id]
        exchange = Exchange(conversation, context, request, has_data_set=event.has_data_set, limits=self._limits)
        refusal = _refusal(exchange, request)
        if refusal is not None:
            await exchange.drain()
            await conversation.send(context.id, _refuse(request, *refusal))
        elif isinstance(request, CStoreRequest):
            await store(exchange, session, request)
        elif isinstance(request, CFindRequest):
            await find(
                exchange,
                session,
                request,
                ae_title=self._ae_title,
                combined_datetime=context.abstract_syntax in combined,
            )
        elif isinstance(request, CGetRequest):
            await get(exchange, session, request, self._pool)
        elif isinstance(request, CMoveRequest):
            await move(exchange, session, request, self._moves)
        elif isinstance(request, CEchoRequest):
            await verify(exchange, request)
        elif isinstance(request, NRequest):
            await (act if request.command_field == N_ACTION else heard)(exchange, session, request, reports)


def _refusal(exchange: Exchange, request: Request) -> tuple[int, str] | None:
    """Status and comment when the context of *request* does not have it."""
    abstract_syntax = exchange.context.abstract_syntax
    if isinstance(request, NRequest):
        if request.sop_class_uid != abstract_syntax:
            return status.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the presentation context"
        context = exchange.context
        asks = request.command_field == N_ACTION and context.requestor_is_scu
        tells = request.command_field == N_EVENT_REPORT and context.requestor_is_scp
        if abstract_syntax == STORAGE_COMMITMENT and (asks or tells):
            return None
        return status.UNRECOGNIZED_OPERATION, "The SOP class does not have this operation"
    if not exchange.context.requestor_is_scu or not _has_operation(abstract_syntax, request):
        return status.UNRECOGNIZED_OPERATION, "The presentation context does not have this operation"
    if isinstance(request, CStoreRequest | CCancelRequest):
        return None  # storage compares the SOP class itself, with a status of its own (A900)
    if request.affected_sop_class_uid != abstract_syntax:
        return status.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the presentation context"
    return None


def _has_operation(abstract_syntax: str, request: Request) -> bool:
    if isinstance(request, CEchoRequest):
        return abstract_syntax == VERIFICATION
    if isinstance(request, CStoreRequest):
        return abstract_syntax not in (VERIFICATION, STORAGE_COMMITMENT) and abstract_syntax not in QUERY_RETRIEVE
    found = QUERY_RETRIEVE.get(abstract_syntax)
    return found is not None and found[1] is _OPERATIONS.get(type(request))


def _refuse(request: Request, code: int, comment: str) -> Response:
    """The response to *request* that refuses it."""
    if isinstance(request, NRequest):
        return NResponse(
            command_field=request.command_field | RESPONSE_BIT,
            message_id_being_responded_to=request.message_id,
            status=code,
            error_comment=comment,
        )
    assert not isinstance(request, CCancelRequest)
    return _RESPONSES[type(request)](
        message_id_being_responded_to=request.message_id, status=code, error_comment=comment
    )
