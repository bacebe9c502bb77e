"""
What two sides agree on when an association begins: pure functions over the primitives (PS3.8 §7.1.1, PS3.7 annex
D.3.3).

Deny by default: a context is accepted only for an abstract syntax, a transfer syntax and roles the caller of
`negotiate` names. Asynchronous operations are answered 1,1 (PS3.7 D.3.3.3): one operation at a time, whatever the
peer proposes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from strongroom.dicom.uid import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from strongroom.errors import LocalProtocolError
from strongroom.upper_layer.events import (
    MAX_PDU_LENGTH,
    AcceptedContext,
    AssociateAccept,
    AssociateRequest,
    AsyncOperationsWindow,
    ContextResult,
    PresentationContext,
    PresentationResult,
    RoleSelection,
    SopClassExtended,
)

MAX_CONTEXTS: Final = 128
"""Presentation context ids are the odd numbers from 1 to 255 (PS3.8 §9.3.2.2)."""


@final
@dataclass(frozen=True, slots=True)
class Support:
    """
    What we take for one abstract syntax.

    Of *transfer_syntaxes* the first one the requestor proposed is chosen, in the requestor's order, because a sender
    lists first what it has; with *ours_first* in our order. The roles are the requestor's (PS3.7 D.3.3.4): C-GET
    needs *requestor_may_be_scp* for storage.
    """

    transfer_syntaxes: tuple[str, ...]
    requestor_may_be_scu: bool = True
    requestor_may_be_scp: bool = False
    ours_first: bool = False


Supported: TypeAlias = Mapping[str, Support] | Callable[[str], Support | None]
"""Abstract syntax UID to what we take for it; missing or None means "not supported"."""


def number_contexts(pairs: Iterable[tuple[str, Iterable[str]]]) -> tuple[PresentationContext, ...]:
    """Give (abstract syntax, transfer syntaxes) pairs the ids 1, 3, 5, ...; at most 128 of them fit one association."""
    contexts = tuple(
        PresentationContext(2 * number + 1, abstract_syntax, tuple(transfer_syntaxes))
        for number, (abstract_syntax, transfer_syntaxes) in enumerate(pairs)
    )
    if not 1 <= len(contexts) <= MAX_CONTEXTS:
        raise LocalProtocolError(f"{len(contexts)} presentation contexts; an association takes 1 to {MAX_CONTEXTS}")
    return contexts


def negotiate(
    request: AssociateRequest,
    supported: Supported,
    *,
    max_pdu_length: int = MAX_PDU_LENGTH,
    sop_class_extended: Iterable[SopClassExtended] = (),
    user_identity_response: bytes = b"",
) -> AssociateAccept:
    """
    Answer every presentation context of *request* and everything else in it that takes an answer.

    *sop_class_extended* are our answers to extended negotiation; those nobody asked for are left out.
    *user_identity_response* is sent only if the requestor wants one; whether its identity is good was decided before
    (PS3.7 D.3.3.7). Check `any_accepted` on what comes back.
    """
    look_up = supported.get if isinstance(supported, Mapping) else supported
    proposed_roles = _first_per_sop_class(request.role_selections)
    results: list[PresentationResult] = []
    roles: dict[str, RoleSelection] = {}
    for context in request.presentation_contexts:
        support = look_up(context.abstract_syntax)
        result, role = _answer(context, support, proposed_roles.get(context.abstract_syntax))
        results.append(result)
        if role is not None:
            roles[context.abstract_syntax] = role
    identity = request.user_identity
    asked = {item.sop_class_uid for item in request.sop_class_extended}
    return AssociateAccept(
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        presentation_contexts=tuple(results),
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        max_pdu_length=max_pdu_length,
        async_window=None if request.async_window is None else AsyncOperationsWindow(1, 1),
        role_selections=tuple(roles.values()),
        sop_class_extended=tuple(item for item in sop_class_extended if item.sop_class_uid in asked),
        user_identity_response=(
            user_identity_response if identity is not None and identity.positive_response_requested else None
        ),
    )


def any_accepted(accept: AssociateAccept) -> bool:
    """
    Tell whether at least one context was accepted; if none was, rejecting says more to a person than accepting
    nothing.
    """
    return any(result.result is ContextResult.ACCEPTANCE for result in accept.presentation_contexts)


def agree(request: AssociateRequest, accept: AssociateAccept) -> dict[int, AcceptedContext]:
    """
    Join proposal and answer to the contexts that may be used.

    Raises ValueError when the answer names what was not proposed: an unknown context, a foreign transfer syntax, a
    role nobody asked for.
    """
    proposed = {context.id: context for context in request.presentation_contexts}
    proposed_roles = _first_per_sop_class(request.role_selections)
    answered_roles = _first_per_sop_class(accept.role_selections)
    accepted: dict[int, AcceptedContext] = {}
    for result in accept.presentation_contexts:
        context = proposed.get(result.id)
        if context is None:
            raise ValueError(f"presentation context {result.id} was not proposed")
        if result.result is not ContextResult.ACCEPTANCE:
            continue
        if result.transfer_syntax not in context.transfer_syntaxes:
            raise ValueError(f"the transfer syntax accepted for context {result.id} was not proposed")
        scu, scp = _agreed_roles(
            proposed_roles.get(context.abstract_syntax), answered_roles.get(context.abstract_syntax)
        )
        accepted[result.id] = AcceptedContext(result.id, context.abstract_syntax, result.transfer_syntax, scu, scp)
    return accepted


def _agreed_roles(proposed: RoleSelection | None, answer: RoleSelection | None) -> tuple[bool, bool]:
    if answer is None:  # no answer means the default roles (PS3.7 D.3.3.4.2)
        return True, False
    if proposed is None or answer.scu > proposed.scu or answer.scp > proposed.scp:
        raise ValueError("a role was accepted that was not proposed")
    return answer.scu, answer.scp


def _answer(
    context: PresentationContext, support: Support | None, proposed: RoleSelection | None
) -> tuple[PresentationResult, RoleSelection | None]:
    offered = context.transfer_syntaxes
    fallback = offered[0]  # not significant in a refusal, but the item must hold one (PS3.8 §9.3.3.2)
    if support is None:
        return PresentationResult(context.id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, fallback), None
    first, second = (support.transfer_syntaxes, offered) if support.ours_first else (offered, support.transfer_syntaxes)
    chosen = next((uid for uid in first if uid in second), None)
    if chosen is None:
        return PresentationResult(context.id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, fallback), None
    role: RoleSelection | None = None
    if proposed is None:
        usable = support.requestor_may_be_scu
    else:
        scu = proposed.scu and support.requestor_may_be_scu
        scp = proposed.scp and support.requestor_may_be_scp
        role = RoleSelection(context.abstract_syntax, scu, scp)
        usable = scu or scp
    if not usable:
        return PresentationResult(context.id, ContextResult.USER_REJECTION, fallback), None
    return PresentationResult(context.id, ContextResult.ACCEPTANCE, chosen), role


def _first_per_sop_class(selections: Iterable[RoleSelection]) -> dict[str, RoleSelection]:
    """Some senders repeat the selection once per presentation context; the first one counts."""
    found: dict[str, RoleSelection] = {}
    for selection in selections:
        found.setdefault(selection.sop_class_uid, selection)
    return found
