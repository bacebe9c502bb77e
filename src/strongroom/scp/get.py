"""
Retrieval on the requestor's own association: C-GET (PS3.4 C.4.3).

The requestor must have proposed each storage SOP class with the role of SCP (PS3.7 D.3.3.4); what it did not becomes
a failed sub-operation that says so.
"""

from __future__ import annotations

from strongroom.dimse import CGetRequest, status
from strongroom.errors import StrongroomError
from strongroom.imaging.pool import Pool
from strongroom.scp import identifier as identifiers
from strongroom.scp.contexts import QUERY_RETRIEVE
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import DestinationT_co as DestinationT
from strongroom.scp.ports import Disclosure, InstanceT, Session
from strongroom.scp.retrieval import Retrieval
from strongroom.scp.status import answerable
from strongroom.scp.suboperations import Channel, Tally


async def get(
    exchange: Exchange, session: Session[InstanceT, DestinationT], request: CGetRequest, pool: Pool | None = None
) -> None:
    """Answer a C-GET; *pool* converts pixels for who does not take the stored syntax."""
    retrieval = Retrieval(exchange, request)
    try:
        identifier = await identifiers.receive(exchange)
        target = identifiers.parse_target(identifier, QUERY_RETRIEVE[exchange.context.abstract_syntax][0])
        code = await _send_all(retrieval, await session.retrieve(target), pool)
    except StrongroomError as error:
        if not answerable(error):
            raise
        await retrieval.refuse(error)
        return
    await retrieval.finish(code)


async def _send_all(retrieval: Retrieval, disclosure: Disclosure[InstanceT], pool: Pool | None) -> int:
    """Send every instance on the requestor's association; return the final status."""
    conversation = retrieval.exchange.conversation
    contexts = [context for context in conversation.contexts.values() if context.requestor_is_scp]
    channel = Channel(conversation, contexts, pool)
    async with disclosure:
        retrieval.tally = Tally(len(disclosure.instances))
        for instance in disclosure.instances:
            if retrieval.cancelled():
                return status.CANCEL
            outcome = await channel.send(disclosure, instance, priority=retrieval.request.priority)
            await retrieval.settle(disclosure, instance, outcome)
    return retrieval.tally.final_status
