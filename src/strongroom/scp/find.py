"""
Query as provider: C-FIND of patient root and study root, all levels (PS3.4 C.4.1, C.6).

Matching itself is the archive's; here the identifier is checked, each match answered as it comes, and a C-CANCEL
heard between any two of them. Nothing is gathered.
"""

from __future__ import annotations

import asyncio
from typing import Final

from strongroom.dicom.json import encode_dataset
from strongroom.dicom.model import COMPUTED_TAGS, TAGS, Level
from strongroom.dimse import CFindRequest, CFindResponse, status
from strongroom.errors import StrongroomError
from strongroom.scp import identifier as identifiers
from strongroom.scp.contexts import QUERY_RETRIEVE
from strongroom.scp.conversion import close
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import DestinationT_co as DestinationT
from strongroom.scp.ports import Identifier, InstanceT, Query, Session
from strongroom.scp.status import answer_to, answerable, comment_on

_LEVELS: Final = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
_BREATH: Final = 16
"""Matches after which the loop looks at the network even when no send had to wait: so a C-CANCEL is heard in time."""


async def find(
    exchange: Exchange,
    session: Session[InstanceT, DestinationT],
    request: CFindRequest,
    *,
    ae_title: str,
    combined_datetime: bool = False,
) -> None:
    """Answer a C-FIND; *ae_title* is ours, for Retrieve AE Title, *combined_datetime* as it was negotiated."""
    comment = ""
    offending: tuple[int, ...] = ()
    try:
        identifier = await identifiers.receive(exchange)
        query = identifiers.parse_query(
            identifier, QUERY_RETRIEVE[exchange.context.abstract_syntax][0], combined_datetime=combined_datetime
        )
        code = await _answer_matches(exchange, session, request, query, ae_title)
    except StrongroomError as error:
        if not answerable(error):
            raise
        code = answer_to(error).find
        comment, offending = comment_on(error)
    response = CFindResponse(
        message_id_being_responded_to=request.message_id,
        status=code,
        affected_sop_class_uid=exchange.context.abstract_syntax,
        offending_element=offending,
        error_comment=comment,
    )
    await exchange.conversation.send(exchange.context.id, response)


async def _answer_matches(
    exchange: Exchange,
    session: Session[InstanceT, DestinationT],
    request: CFindRequest,
    query: Query,
    ae_title: str,
) -> int:
    """Send a pending response for each match; return the final status."""
    conversation, context = exchange.conversation, exchange.context
    pending = CFindResponse(
        message_id_being_responded_to=request.message_id,
        status=status.PENDING if _all_supported(query) else status.PENDING_OPTIONAL_KEYS,
        affected_sop_class_uid=context.abstract_syntax,
    )
    frame, own = _frame(query), _own(query, ae_title)
    if exchange.cancelled(request.message_id):
        return status.CANCEL
    matches = aiter(await session.query(query))
    count = 0
    try:
        async for match in matches:
            if exchange.cancelled(request.message_id):
                return status.CANCEL
            identifier = encode_dataset(frame | match | own, context.transfer_syntax)
            await conversation.send(context.id, pending, identifier)
            count += 1
            if count % _BREATH == 0:
                await asyncio.sleep(0)
    finally:
        await close(matches)
    return status.CANCEL if exchange.cancelled(request.message_id) else status.SUCCESS


def _all_supported(query: Query) -> bool:
    """Whether every key is one that the archive matches or returns (PS3.4 C.4.1.1.4)."""
    levels = _LEVELS[: _LEVELS.index(query.level) + 1]
    return all(
        tag == identifiers.RETRIEVE_AE_TITLE or any(int(tag, 16) in TAGS[at] | COMPUTED_TAGS[at] for at in levels)
        for tag in query.keys
    )


def _frame(query: Query) -> Identifier:
    """Every requested key without a value: what a match does not hold is answered empty (PS3.4 C.4.1.1.3.2)."""
    return {tag: {"vr": element["vr"]} for tag, element in query.keys.items()}


def _own(query: Query, ae_title: str) -> Identifier:
    """What every answer says of itself."""
    return {
        identifiers.QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": [query.level.name]},
        identifiers.RETRIEVE_AE_TITLE: {"vr": "AE", "Value": [ae_title]},
    }
