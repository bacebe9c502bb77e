"""
The C-STORE sub-operations of C-GET and C-MOVE: what is sent in which syntax, and what is counted (PS3.4 C.4.2, C.4.3).

An instance goes out in the transfer syntax it is kept in where the receiver takes that; else converted between
implicit and explicit little endian while it streams (PS3.5 §10.1); else it is a failed sub-operation. Its first piece
is opened before the command is sent, so an instance that cannot be read costs one sub-operation and not the
association.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, final

from strongroom.dicom import uid
from strongroom.dicom.convert import SyntaxConverter, can_convert
from strongroom.dicom.json import JsonElement, encode_dataset
from strongroom.dimse import CCancelRequest, CStoreRequest, CStoreResponse, MessageReceived, status
from strongroom.dimse.status import Category, category
from strongroom.errors import RemoteProtocolError, StrongroomError
from strongroom.scp.errors import BrokenOffError
from strongroom.scp.identifier import FAILED_SOP_INSTANCE_UID_LIST
from strongroom.scp.ports import Conversation, Disclosure, Instance, InstanceT
from strongroom.upper_layer.events import AcceptedContext, PresentationContext
from strongroom.upper_layer.negotiation import MAX_CONTEXTS, number_contexts

MAX_NUMBER: Final = 0xFFFF
"""What a count or a message ID can hold (US); larger counts are answered as this."""

MAX_FAILED_LISTED: Final = 1000
"""Failed UIDs listed in a final response: what 64 KiB of an explicit VR UI can hold (PS3.5 §7.1.2)."""

SYNTAX_NOT_ACCEPTED: Final = "syntax-not-accepted"
SOP_CLASS_NOT_ACCEPTED: Final = "sop-class-not-accepted"
UNREADABLE: Final = "unreadable"
NOT_REACHED: Final = "not-reached"
ASSOCIATION_ENDED: Final = "association-ended"
REFUSED_BY_RECEIVER: Final = "refused-by-receiver"

_SENTENCES: Final = {
    SYNTAX_NOT_ACCEPTED: "the receiver takes no syntax we have",
    SOP_CLASS_NOT_ACCEPTED: "the receiver does not take the SOP class",
    UNREADABLE: "the archive could not read it",
    NOT_REACHED: "the receiver could not be reached",
    ASSOCIATION_ENDED: "the association to the receiver ended",
    REFUSED_BY_RECEIVER: "the receiver refused it",
}
_CONVERSIONS: Final = (uid.EXPLICIT_VR_LITTLE_ENDIAN, uid.IMPLICIT_VR_LITTLE_ENDIAN)


@final
@dataclass(slots=True)
class Tally:
    """The sub-operation counts of one C-GET or C-MOVE, and what its responses say of them."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, instance: Instance, code: int) -> bool:
        """Count one sub-operation that was answered with *code*; return whether the receiver has the instance."""
        self.remaining -= 1
        kind = category(code)
        if kind is Category.SUCCESS:
            self.completed += 1
        elif kind is Category.WARNING:
            self.warning += 1
        else:
            self._fail(instance, REFUSED_BY_RECEIVER)
            return False
        return True

    def fail(self, instance: Instance, reason: str) -> None:
        """Count one sub-operation that could not be done."""
        self.remaining -= 1
        self._fail(instance, reason)

    def _fail(self, instance: Instance, reason: str) -> None:
        self.failed += 1
        self.reasons[reason] += 1
        if len(self.failed_uids) < MAX_FAILED_LISTED:
            self.failed_uids.append(instance.sop_instance_uid)

    @property
    def final_status(self) -> int:
        """Success, warning, or failure when nothing at all was sent (PS3.4 C.4.2.3.1, C.4.3.3.1)."""
        if not self.failed and not self.warning:
            return status.SUCCESS
        if not self.completed and not self.warning:
            return status.UNABLE_TO_PERFORM_SUBOPERATIONS
        return status.SUBOPERATIONS_WITH_FAILURES

    def comment(self) -> str:
        """The commonest reason of a failure, for the error comment (LO: 64 characters)."""
        if not self.reasons:
            return ""
        ((reason, number),) = self.reasons.most_common(1)
        return f"{number} not sent: {_SENTENCES[reason]}"

    def failed_list(self, transfer_syntax: str) -> bytes | None:
        """The data set of a final response that is not success: Failed SOP Instance UID List (PS3.4 C.4.2.1.4.2)."""
        if not self.failed_uids:
            return None
        element: JsonElement = {"vr": "UI", "Value": list(self.failed_uids)}
        return encode_dataset({FAILED_SOP_INSTANCE_UID_LIST: element}, transfer_syntax)


@final
@dataclass(frozen=True, slots=True)
class Route:
    """How one instance goes out: on which context, and converted to what if not as it is kept."""

    context_id: int
    convert_to: str | None = None


@final
class Channel:
    """An association on which we send instances: the peer's own for C-GET, one of ours for C-MOVE."""

    def __init__(self, conversation: Conversation, contexts: Iterable[AcceptedContext]) -> None:
        """*contexts* are those on which we may be SCU."""
        self._conversation = conversation
        self._message_id = 0
        self._contexts: dict[str, dict[str, int]] = {}
        for context in contexts:
            self._contexts.setdefault(context.abstract_syntax, {}).setdefault(context.transfer_syntax, context.id)

    def route(self, instance: Instance) -> Route | str:
        """Choose how *instance* goes out, or return the reason why it cannot."""
        accepted = self._contexts.get(instance.sop_class_uid)
        if accepted is None:
            return SOP_CLASS_NOT_ACCEPTED
        stored = instance.transfer_syntax_uid
        if stored in accepted:
            return Route(accepted[stored])
        for target in _CONVERSIONS:
            if target in accepted and can_convert(stored, target):
                return Route(accepted[target], target)
        return SYNTAX_NOT_ACCEPTED

    async def send(
        self,
        disclosure: Disclosure[InstanceT],
        instance: InstanceT,
        *,
        priority: int,
        originator: tuple[str, int] | None = None,
    ) -> int | str:
        """
        Send *instance* and return the status of the receiver, or the reason why nothing was sent.

        *originator* are AE title and message ID of the C-MOVE this belongs to (PS3.7 §9.1.1.1). Raises BrokenOffError
        when the archive failed half-way, and whatever the association raises.
        """
        route = self.route(instance)
        if isinstance(route, str):
            return route
        pieces = _pieces(disclosure, instance, route)
        try:
            first = await anext(pieces, b"")
        except StrongroomError:
            return UNREADABLE
        self._message_id = self._message_id % MAX_NUMBER + 1
        title, message_id = originator or ("", None)
        request = CStoreRequest(
            message_id=self._message_id,
            affected_sop_class_uid=instance.sop_class_uid,
            affected_sop_instance_uid=instance.sop_instance_uid,
            priority=priority,
            move_originator_application_entity_title=title,
            move_originator_message_id=message_id,
        )
        try:
            await self._conversation.send(route.context_id, request, _whole(first, pieces))
        finally:
            await pieces.aclose()
        return await self._response()

    async def _response(self) -> int:
        """Wait for the answer to what was sent last; a C-CANCEL before it is the conversation's to remember."""
        while True:
            event = await self._conversation.receive()
            message = event.message if isinstance(event, MessageReceived) else None
            if isinstance(message, CCancelRequest):
                continue
            if isinstance(message, CStoreResponse) and message.message_id_being_responded_to == self._message_id:
                return message.status
            raise RemoteProtocolError("something else came than the response to a sub-operation")


async def _pieces(
    disclosure: Disclosure[InstanceT], instance: InstanceT, route: Route
) -> AsyncGenerator[bytes | memoryview, None]:
    """The data set of *instance* as it goes out."""
    stored = disclosure.open(instance)
    try:
        if route.convert_to is None:
            async for piece in stored:
                yield piece
            return
        converter = SyntaxConverter(instance.transfer_syntax_uid, route.convert_to)
        async for piece in stored:
            if converted := converter.feed(piece):
                yield converted
        if converted := converter.finish():
            yield converted
    finally:
        await close(stored)


async def _whole(
    first: bytes | memoryview, rest: AsyncIterator[bytes | memoryview]
) -> AsyncIterator[bytes | memoryview]:
    """The first piece and the others; the source's errors become BrokenOffError: the command has left already."""
    yield first
    try:
        async for piece in rest:
            yield piece
    except StrongroomError as error:
        raise BrokenOffError("a data set broke off while it was being sent") from error


async def close(iterator: object) -> None:
    """Close an asynchronous iterator now, where it can be: not when it is collected, because it may hold a reader."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


@final
@dataclass(frozen=True, slots=True)
class Batch(Generic[InstanceT]):
    """Instances that one association can carry, and what is proposed for them."""

    contexts: tuple[PresentationContext, ...]
    instances: tuple[InstanceT, ...]


def plan(instances: Sequence[InstanceT]) -> list[Batch[InstanceT]]:
    """
    Split *instances* over associations of at most 128 presentation contexts (PS3.8 §9.3.2.2).

    Each context proposes one transfer syntax, so that the receiver cannot choose one away: the stored ones of the SOP
    class, and where a conversion exists, its targets. SOP classes stay together, in the order they first come.
    """
    by_class: dict[str, list[InstanceT]] = {}
    for instance in instances:
        by_class.setdefault(instance.sop_class_uid, []).append(instance)
    batches: list[Batch[InstanceT]] = []
    pairs: list[tuple[str, tuple[str, ...]]] = []
    members: list[InstanceT] = []
    for sop_class_uid, of_class in by_class.items():
        proposed = [(sop_class_uid, (syntax,)) for syntax in _proposals(of_class)]
        if pairs and len(pairs) + len(proposed) > MAX_CONTEXTS:
            batches.append(Batch(number_contexts(pairs), tuple(members)))
            pairs, members = [], []
        pairs += proposed
        members += of_class
    if pairs:
        batches.append(Batch(number_contexts(pairs), tuple(members)))
    return batches


def _proposals(instances: Iterable[Instance]) -> list[str]:
    """The transfer syntaxes to propose for instances of one SOP class, the stored ones first."""
    stored = dict.fromkeys(instance.transfer_syntax_uid for instance in instances)
    converted = [target for target in _CONVERSIONS if any(can_convert(syntax, target) for syntax in stored)]
    return list(stored | dict.fromkeys(converted))
