"""
Storage as provider: C-STORE (PS3.4 Annex B).

1. The request is checked before a byte of its data set is looked at: SOP class of the context, form of the UIDs.
2. Each fragment goes to the deposit as it comes; nothing here keeps one.
3. The answer goes out after the data set's last fragment, and success only for a receipt (I1).
4. A deposit that is not finished is abandoned, whatever ended it.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.dimse import CStoreRequest, CStoreResponse, status
from strongroom.errors import RemoteProtocolError, StrongroomError
from strongroom.scp.exchange import Exchange
from strongroom.scp.ports import Deposit, InstanceT, Receipt, Session
from strongroom.scp.ports import DestinationT_co as DestinationT
from strongroom.scp.status import answer_to

#: More than the standard allows (leading zeros): devices in use number so, and what they send is kept (PS3.5 §9.1).
_USABLE_UID: Final = re.compile(r"[0-9.]{1,64}")

_STATUS_OF_OUTCOME: Final = {"stored": status.SUCCESS, "duplicate": status.SUCCESS}


async def store(exchange: Exchange, session: Session[InstanceT, DestinationT], request: CStoreRequest) -> None:
    """Take in one instance and answer what became of it."""
    refusal = _refusal(exchange, request)
    if refusal is None:
        code, comment = await _deposit(exchange, session, request)
    else:
        code, comment = refusal
    await exchange.drain()
    response = CStoreResponse(
        message_id_being_responded_to=request.message_id,
        status=code,
        affected_sop_class_uid=exchange.context.abstract_syntax,
        affected_sop_instance_uid=_echo(request.affected_sop_instance_uid),
        error_comment=comment,
    )
    await exchange.conversation.send(exchange.context.id, response)


def _refusal(exchange: Exchange, request: CStoreRequest) -> tuple[int, str] | None:
    """Why the request cannot be taken at all (rule 1)."""
    if request.affected_sop_class_uid != exchange.context.abstract_syntax:
        return status.DOES_NOT_MATCH_SOP_CLASS, "SOP class is not that of the presentation context"
    if not _USABLE_UID.fullmatch(request.affected_sop_instance_uid):
        return status.INVALID_SOP_INSTANCE, "Affected SOP Instance UID is missing or malformed"
    if not exchange.unread:
        return status.CANNOT_UNDERSTAND, "C-STORE without a data set"
    return None


async def _deposit(
    exchange: Exchange, session: Session[InstanceT, DestinationT], request: CStoreRequest
) -> tuple[int, str]:
    """Pass the data set on and return the status of what became of it (rules 2 and 3)."""
    try:
        deposit = session.deposit(
            sop_class_uid=request.affected_sop_class_uid,
            sop_instance_uid=request.affected_sop_instance_uid,
            transfer_syntax_uid=exchange.context.transfer_syntax,
        )
    except StrongroomError as error:
        return _answer(error)
    reason = "interrupted"
    try:
        outcome = await _feed(exchange, deposit) or await _finish(deposit)
        if not isinstance(outcome, StrongroomError):
            return _answer_receipt(outcome, session)
        reason = type(outcome).__name__
        return _answer(outcome)
    finally:
        await deposit.abandon(reason)  # rule 4; after finish it does nothing


async def _feed(exchange: Exchange, deposit: Deposit) -> StrongroomError | None:
    """Feed the whole data set; return the archive's error, raise that of the association."""
    limit = exchange.limits.max_data_set_length
    length = 0
    failed: StrongroomError | None = None

    def take(fragment: memoryview) -> bool:
        nonlocal length, failed
        length += len(fragment)
        if length > limit:
            return False
        try:
            deposit.feed(fragment)
        except StrongroomError as error:
            failed = error
        return failed is None and not deposit.wants_time

    while exchange.unread:
        await exchange.pass_on(take)
        if length > limit:
            raise RemoteProtocolError(f"a data set goes on beyond {limit} bytes")
        if failed is None:
            try:
                await deposit.ready()
            except StrongroomError as error:
                failed = error
        if failed is not None:
            return failed
    return None


async def _finish(deposit: Deposit) -> Receipt | StrongroomError:
    """Finish the deposit; an error is returned, not raised."""
    try:
        return await deposit.finish()
    except StrongroomError as error:
        return error


def _answer(error: StrongroomError) -> tuple[int, str]:
    answer = answer_to(error)
    return answer.store, answer.comment


def _answer_receipt(receipt: Receipt, session: Session[InstanceT, DestinationT]) -> tuple[int, str]:
    """The status of a receipt; what is kept aside is answered as the device's entry says (I3)."""
    code = _STATUS_OF_OUTCOME.get(receipt.outcome.value)
    if code is not None:
        return code, ""
    if session.duplicate_is_success:
        return status.SUCCESS, ""
    if receipt.outcome.value == "other-patient":
        return status.COERCION_OF_DATA_ELEMENTS, "Kept aside: another patient's study"
    return status.DUPLICATE_SOP_INSTANCE, "Another instance with this UID is kept"


def _echo(uid: str) -> str:
    """The instance UID for the response; one that no UID element could hold is left out."""
    return uid if _USABLE_UID.fullmatch(uid) else ""
