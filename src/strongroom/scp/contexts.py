"""
Which presentation contexts a session gets: abstract syntaxes, transfer syntaxes, roles (PS3.8 §7.1.1.13, PS3.7
D.3.3.4, PS3.4 C.5).

Deny by default, in this order:
1. verification is for everybody whom the gate let in;
2. find is for who may query, get and move for who may retrieve;
3. a storage SOP class is for who may deposit (requestor as SCU) or retrieve (requestor as SCP: the sub-operations of
   C-GET);
4. storage commitment is for who may deposit and has a certificate (requestor as SCU), and for whom we may have asked
   (requestor as SCP: its results);
5. a private SOP class counts as storage where the caller's entry names it;
6. everything else is answered "abstract syntax not supported".
What exists but is not for this caller is answered "user rejection".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, final

from strongroom.dicom import uid
from strongroom.scp.ports import Permissions, Root
from strongroom.upper_layer.events import AssociateAccept, AssociateRequest, ContextResult, SopClassExtended
from strongroom.upper_layer.negotiation import Support

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
"""Push model (PS3.4 J.3); there is one well-known instance, of this UID with `.1` behind it."""


@final
class Operation(Enum):
    """The three query/retrieve services (PS3.4 C.4)."""

    FIND = "find"
    GET = "get"
    MOVE = "move"


QUERY_RETRIEVE: Final[dict[str, tuple[Root, Operation]]] = {
    "1.2.840.10008.5.1.4.1.2.1.1": (Root.PATIENT, Operation.FIND),
    "1.2.840.10008.5.1.4.1.2.1.2": (Root.PATIENT, Operation.MOVE),
    "1.2.840.10008.5.1.4.1.2.1.3": (Root.PATIENT, Operation.GET),
    "1.2.840.10008.5.1.4.1.2.2.1": (Root.STUDY, Operation.FIND),
    "1.2.840.10008.5.1.4.1.2.2.2": (Root.STUDY, Operation.MOVE),
    "1.2.840.10008.5.1.4.1.2.2.3": (Root.STUDY, Operation.GET),
}
"""Patient root and study root (PS3.4 C.6.1.3, C.6.2.3)."""

COMMANDS_AND_IDENTIFIERS: Final = (uid.IMPLICIT_VR_LITTLE_ENDIAN, uid.EXPLICIT_VR_LITTLE_ENDIAN)
"""What verification, find, get and move are spoken in; the first is mandatory (PS3.5 §10.1)."""

_COMBINED_DATE_TIME: Final = 1
"""Place of the option in the application information of find (PS3.4 Table C.5-1)."""

ANY_DATA_SET: Final = tuple(uid.TRANSFER_SYNTAXES)
"""What a data set may come and go in: every transfer syntax we can read, kept as sent."""


def supported(session: Permissions) -> Callable[[str], Support | None]:
    """Return what `negotiate` asks for each proposed abstract syntax, fixed for one association."""
    may_deposit, may_query, may_retrieve = (session.may(action) for action in ("deposit", "query", "retrieve"))
    private = session.private_sop_classes
    verification = Support(COMMANDS_AND_IDENTIFIERS)
    commitment = Support(
        COMMANDS_AND_IDENTIFIERS, requestor_may_be_scu=session.may_commit, requestor_may_be_scp=session.may_report
    )
    storage = Support(ANY_DATA_SET, requestor_may_be_scu=may_deposit, requestor_may_be_scp=may_retrieve)
    services = {
        Operation.FIND: Support(COMMANDS_AND_IDENTIFIERS, requestor_may_be_scu=may_query),
        Operation.GET: Support(COMMANDS_AND_IDENTIFIERS, requestor_may_be_scu=may_retrieve),
        Operation.MOVE: Support(COMMANDS_AND_IDENTIFIERS, requestor_may_be_scu=may_retrieve),
    }

    def look_up(abstract_syntax: str) -> Support | None:
        if abstract_syntax == VERIFICATION:
            return verification
        if abstract_syntax == STORAGE_COMMITMENT:
            return commitment
        if abstract_syntax in QUERY_RETRIEVE:
            return services[QUERY_RETRIEVE[abstract_syntax][1]]
        if abstract_syntax in uid.STORAGE_SOP_CLASSES or abstract_syntax in private:
            return storage
        return None

    return look_up


def actions_refused(request: AssociateRequest, accept: AssociateAccept) -> tuple[str, ...]:
    """
    Name the actions that were asked for and are not for this caller: contexts answered "user rejection".

    A storage class that was refused was offered for deposit, or, with the requestor as SCP, for retrieval.
    """
    rejected = {result.id for result in accept.presentation_contexts if result.result is ContextResult.USER_REJECTION}
    as_receiver = {role.sop_class_uid for role in request.role_selections if role.scp and not role.scu}
    actions: dict[str, None] = {}
    for context in request.presentation_contexts:
        if context.id not in rejected:
            continue
        found = QUERY_RETRIEVE.get(context.abstract_syntax)
        if found is not None:
            actions["query" if found[1] is Operation.FIND else "retrieve"] = None
        else:
            actions["retrieve" if context.abstract_syntax in as_receiver else "deposit"] = None
    return tuple(actions)


def extended_answers(proposed: Iterable[SopClassExtended]) -> tuple[SopClassExtended, ...]:
    """
    Answer SOP class extended negotiation for query/retrieve, in as many bytes as were asked (PS3.4 C.5.1.1, C.5.2.1).

    Combined date and time matching is agreed to for find; relational queries and retrieval, fuzzy matching, time zone
    adjustment and the multi-frame conversions are not.
    """
    return tuple(
        SopClassExtended(item.sop_class_uid, _answer(item)) for item in proposed if item.sop_class_uid in QUERY_RETRIEVE
    )


def _answer(item: SopClassExtended) -> bytes:
    answer = bytearray(len(item.application_information))
    if _asks_for_combined(item):
        answer[_COMBINED_DATE_TIME] = 1
    return bytes(answer)


def _asks_for_combined(item: SopClassExtended) -> bool:
    asked = item.application_information
    return (
        QUERY_RETRIEVE[item.sop_class_uid][1] is Operation.FIND
        and len(asked) > _COMBINED_DATE_TIME
        and asked[_COMBINED_DATE_TIME] == 1
    )


def combined_date_time(agreed: Iterable[SopClassExtended]) -> frozenset[str]:
    """Return the SOP classes for which *agreed*, the answers that were sent, has combined date and time matching."""
    return frozenset(
        item.sop_class_uid for item in agreed if item.sop_class_uid in QUERY_RETRIEVE and _asks_for_combined(item)
    )
