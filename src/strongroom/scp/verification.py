"""Verification as provider: C-ECHO (PS3.4 Annex A)."""

from __future__ import annotations

from strongroom.dimse import CEchoRequest, CEchoResponse
from strongroom.dimse.status import SUCCESS
from strongroom.scp.exchange import Exchange


async def verify(exchange: Exchange, request: CEchoRequest) -> None:
    """Answer a C-ECHO."""
    await exchange.drain()
    response = CEchoResponse(
        message_id_being_responded_to=request.message_id,
        status=SUCCESS,
        affected_sop_class_uid=exchange.context.abstract_syntax,
    )
    await exchange.conversation.send(exchange.context.id, response)
