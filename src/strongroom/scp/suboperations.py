"""
The C-STORE sub-operations of C-GET and C-MOVE: what is sent in which syntax, and what is counted (PS3.4 C.4.2, C.4.3).

An instance goes out in the transfer syntax it is kept in where the receiver takes that; else converted between
implicit and explicit little endian while it streams (PS3.5 §10.1); else decoded, or without loss encoded, in the
workers of `imaging`; else it is a failed sub-operation that says why. Its first piece is made before the command is
sent, so an instance that cannot be read or converted costs one sub-operation and not the association.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, final

from strongroom.dicom import uid
from strongroom.dicom.convert import can_convert
from strongroom.dicom.json import JsonElement, encode_dataset
from strongroom.dimse import CCancelRequest, CStoreRequest, CStoreResponse, MessageReceived, status
from strongroom.dimse.status import Category, category
from strongroom.errors import DataSetError, NotFound, OutOfResources, RemoteProtocolError, StrongroomError
from strongroom.imaging import syntaxes
from strongroom.imaging.pool import Pool
from strongroom.scp.conversion import rewritten, transcoded
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
NOT_CONVERTIBLE: Final = "not-convertible"
BUSY: Final = "busy"
UNREADABLE: Final = "unreadable"
NOT_REACHED: Final = "not-reached"
ASSOCIATION_ENDED: Final = "association-ended"
REFUSED_BY_RECEIVER: Final = "refused-by-receiver"

_SENTENCES: Final = {
    SYNTAX_NOT_ACCEPTED: "the receiver takes no syntax we have",
    SOP_CLASS_NOT_ACCEPTED: "the receiver does not take the SOP class",
    NOT_CONVERTIBLE: "its pixels cannot be converted",
    BUSY: "too much pixel work is waiting",
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
    """How one instance goes out: on which context, converted to what if not as it is kept, and whether in a worker."""

    context_id: int
    convert_to: str | None = None
    has_new_pixels: bool = False


@final
class Channel:
    """An association on which we send instances: the peer's own for C-GET, one of ours for C-MOVE."""

    def __init__(
        self, conversation: Conversation, contexts: Iterable[AcceptedContext], pool: Pool | None = None
    ) -> None:
        """*contexts* are those on which we may be SCU; without a *pool* no pixels are converted."""
        self._conversation = conversation
        self._pool = pool
        self._message_id = 0
        self._contexts: dict[str, dict[str, int]] = {}
        for context in contexts:
            self._contexts.setdefault(context.abstract_syntax, {}).setdefault(context.transfer_syntax, context.id)

    def routes(self, instance: Instance) -> list[Route] | str:
        """How *instance* may go out, the best way first, or the reason why it cannot."""
        accepted = self._contexts.get(instance.sop_class_uid)
        if accepted is None:
            return SOP_CLASS_NOT_ACCEPTED
        stored = instance.transfer_syntax_uid
        if stored in accepted:
            return [Route(accepted[stored])]
        for target in _CONVERSIONS:
            if target in accepted and can_convert(stored, target):
                return [Route(accepted[target], target)]
        if self._pool is None:
            return SYNTAX_NOT_ACCEPTED
        return [
            Route(accepted[target], target, has_new_pixels=True)
            for target in syntaxes.PREFERRED
            if target in accepted and syntaxes.can_convert(stored, target)
        ] or SYNTAX_NOT_ACCEPTED

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
        begun = await self._begun(disclosure, instance)
        if isinstance(begun, str):
            return begun
        route, first, pieces = begun
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

    async def _begun(
        self, disclosure: Disclosure[InstanceT], instance: InstanceT
    ) -> tuple[Route, bytes | memoryview, AsyncGenerator[bytes | memoryview, None]] | str:
        """The first way that works, the first piece and the generator of the others; or the reason why none does."""
        routes = self.routes(instance)
        if isinstance(routes, str):
            return routes
        for route in routes:
            pieces = self._pieces(disclosure, instance, route)
            try:
                return route, await anext(pieces, b""), pieces
            except OutOfResources:
                return BUSY
            except (DataSetError, NotFound):
                # another syntax may hold what this one cannot: 32 bits, numbers with a point
                if not route.has_new_pixels:
                    return UNREADABLE
            except StrongroomError:
                return UNREADABLE
        return NOT_CONVERTIBLE

    def _pieces(
        self, disclosure: Disclosure[InstanceT], instance: InstanceT, route: Route
    ) -> AsyncGenerator[bytes | memoryview, None]:
        if route.has_new_pixels and route.convert_to is not None and self._pool is not None:
            return transcoded(self._pool, disclosure, instance, route.convert_to)
        return rewritten(disclosure, instance, route.convert_to)

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


@final
@dataclass(frozen=True, slots=True)
class Batch(Generic[InstanceT]):
    """Instances that one association can carry, and what is proposed for them."""

    contexts: tuple[PresentationContext, ...]
    instances: tuple[InstanceT, ...]


def plan(instances: Sequence[InstanceT], *, has_pool: bool = False) -> list[Batch[InstanceT]]:
    """
    Split *instances* over associations of at most 128 presentation contexts (PS3.8 §9.3.2.2).

    Each context proposes one transfer syntax, so that the receiver cannot choose one away: the stored ones of the SOP
    class, and where a conversion exists, its targets; of those with new pixels, which *has_pool* allows, the decoded
    ones. SOP classes stay together, in the order they first come.
    """
    by_class: dict[str, list[InstanceT]] = {}
    for instance in instances:
        by_class.setdefault(instance.sop_class_uid, []).append(instance)
    batches: list[Batch[InstanceT]] = []
    pairs: list[tuple[str, tuple[str, ...]]] = []
    members: list[InstanceT] = []
    for sop_class_uid, of_class in by_class.items():
        proposed = [(sop_class_uid, (syntax,)) for syntax in _proposals(of_class, has_pool=has_pool)]
        if pairs and len(pairs) + len(proposed) > MAX_CONTEXTS:
            batches.append(Batch(number_contexts(pairs), tuple(members)))
            pairs, members = [], []
        pairs += proposed
        members += of_class
    if pairs:
        batches.append(Batch(number_contexts(pairs), tuple(members)))
    return batches


def _proposals(instances: Iterable[Instance], *, has_pool: bool) -> list[str]:
    """The transfer syntaxes to propose for instances of one SOP class, the stored ones first."""
    stored = dict.fromkeys(instance.transfer_syntax_uid for instance in instances)
    converted = [
        target
        for target in _CONVERSIONS
        if any(can_convert(syntax, target) or (has_pool and syntaxes.can_convert(syntax, target)) for syntax in stored)
    ]
    return list(stored | dict.fromkeys(converted))
