"""
The requestor's side of C-GET and C-MOVE: pending and final responses with their counts (PS3.4 C.4.2.1.5-8,
C.4.3.1.4-7).

Remaining sub-operations stand in pending and cancel responses only; the list of failed instances in final ones only.
"""

from __future__ import annotations

from typing import final

from strongroom.dimse import CGetRequest, CGetResponse, CMoveRequest, CMoveResponse, status
from strongroom.errors import StrongroomError
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import Disclosure, InstanceT
from strongroom.scp.status import answer_to, comment_on
from strongroom.scp.suboperations import MAX_NUMBER, Tally


@final
class Retrieval:
    """One C-GET or C-MOVE under way."""

    def __init__(self, exchange: Exchange, request: CGetRequest | CMoveRequest) -> None:
        self.exchange = exchange
        self.request = request
        self.tally = Tally(0)

    def cancelled(self) -> bool:
        """Whether the requestor has cancelled."""
        return self.exchange.cancelled(self.request.message_id)

    async def settle(self, disclosure: Disclosure[InstanceT], instance: InstanceT, outcome: int | str) -> None:
        """Count one sub-operation (a status, or the reason why there is none), and say so unless it was the last."""
        if isinstance(outcome, str):
            self.tally.fail(instance, outcome)
            disclosure.failed(instance, outcome)
        elif self.tally.count(instance, outcome):
            disclosure.sent(instance)
        else:
            disclosure.failed(instance, f"status-{outcome:04x}")
        if self.tally.remaining:
            await self._send(status.PENDING)

    async def finish(self, code: int) -> None:
        """Send the final response."""
        failed = None
        comment = ""
        if code != status.SUCCESS:
            failed = self.tally.failed_list(self.exchange.context.transfer_syntax)
            comment = self.tally.comment()
        await self._send(code, comment=comment, data=failed)

    async def refuse(self, error: StrongroomError) -> None:
        """Send the final response for an error that ended everything."""
        comment, offending = comment_on(error)
        await self._send(answer_to(error).retrieve, comment=comment, offending=offending)

    async def refuse_with(self, code: int, comment: str) -> None:
        """Send a final response without counts."""
        await self._send(code, comment=comment)

    async def _send(
        self, code: int, *, comment: str = "", offending: tuple[int, ...] = (), data: bytes | None = None
    ) -> None:
        tally = self.tally
        response_class = CGetResponse if isinstance(self.request, CGetRequest) else CMoveResponse
        response = response_class(
            message_id_being_responded_to=self.request.message_id,
            status=code,
            affected_sop_class_uid=self.exchange.context.abstract_syntax,
            offending_element=offending,
            error_comment=comment,
            number_of_remaining_suboperations=(
                min(tally.remaining, MAX_NUMBER) if code in (status.PENDING, status.CANCEL) else None
            ),
            number_of_completed_suboperations=min(tally.completed, MAX_NUMBER),
            number_of_failed_suboperations=min(tally.failed, MAX_NUMBER),
            number_of_warning_suboperations=min(tally.warning, MAX_NUMBER),
        )
        await self.exchange.conversation.send(self.exchange.context.id, response, data)
