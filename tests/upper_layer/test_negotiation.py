"""Deny by default, answer what takes an answer, and believe no answer to a question nobody asked."""

from __future__ import annotations

import dataclasses

import pytest

from strongroom.errors import LocalProtocolError
from strongroom.upper_layer import (
    AsyncOperationsWindow,
    ContextResult,
    PresentationResult,
    RoleSelection,
    SopClassExtended,
    Support,
    UserIdentity,
    agree,
    any_accepted,
    negotiate,
    number_contexts,
)
from wire import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, VERIFICATION, a_request

JPEG = "1.2.840.10008.1.2.4.70"
BOTH = {VERIFICATION: Support((IMPLICIT,)), CT_IMAGE_STORAGE: Support((IMPLICIT, EXPLICIT))}


def results(accept):
    """Return the result of every context, in order."""
    return [result.result for result in accept.presentation_contexts]


def test_nothing_is_supported_by_default():
    """An empty table accepts nothing, and says which part of each proposal is not supported."""
    accept = negotiate(a_request(), {})

    assert results(accept) == [ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED] * 2
    assert not any_accepted(accept)


def test_a_function_may_decide():
    """*supported* may be a function of the abstract syntax."""
    accept = negotiate(a_request(), lambda uid: Support((IMPLICIT,)) if uid == VERIFICATION else None)

    assert results(accept) == [ContextResult.ACCEPTANCE, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED]


@pytest.mark.parametrize(("ours_first", "chosen"), [(False, EXPLICIT), (True, IMPLICIT)])
def test_the_order_of_transfer_syntaxes(ours_first, chosen):
    """The requestor's order decides unless ours is asked for."""
    support = Support((IMPLICIT, EXPLICIT), ours_first=ours_first)
    accept = negotiate(a_request([(CT_IMAGE_STORAGE, (JPEG, EXPLICIT, IMPLICIT))]), {CT_IMAGE_STORAGE: support})

    assert chosen == accept.presentation_contexts[0].transfer_syntax


def test_a_foreign_transfer_syntax_is_result_4():
    """A known abstract syntax with unknown transfer syntaxes only is refused for these."""
    accept = negotiate(a_request([(CT_IMAGE_STORAGE, (JPEG,))]), BOTH)

    assert results(accept) == [ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED]


@pytest.mark.parametrize(
    ("proposed", "may_be_scp", "answer"),
    [
        ((True, True), False, (True, False)),
        ((True, True), True, (True, True)),
        ((False, True), True, (False, True)),
        ((True, False), True, (True, False)),
    ],
)
def test_roles_are_answered_with_what_both_want(proposed, may_be_scp, answer):
    """A role is agreed on only if the requestor asked for it and we allow it (PS3.7 D.3.3.4)."""
    request = a_request(
        [(CT_IMAGE_STORAGE, (EXPLICIT,))], role_selections=(RoleSelection(CT_IMAGE_STORAGE, *proposed),)
    )
    accept = negotiate(request, {CT_IMAGE_STORAGE: Support((EXPLICIT,), requestor_may_be_scp=may_be_scp)})
    (context,) = agree(request, accept).values()

    assert (RoleSelection(CT_IMAGE_STORAGE, *answer),) == accept.role_selections
    assert answer == (context.requestor_is_scu, context.requestor_is_scp)


def test_a_context_without_a_role_left_is_rejected():
    """Who wants to be SCP only, where we take no SCP, gets a user rejection and no role answer."""
    request = a_request(
        [(CT_IMAGE_STORAGE, (EXPLICIT,))], role_selections=(RoleSelection(CT_IMAGE_STORAGE, scu=False, scp=True),)
    )
    accept = negotiate(request, BOTH)

    assert (results(accept), accept.role_selections) == ([ContextResult.USER_REJECTION], ())


def test_default_roles_need_no_answer():
    """Without role selection the requestor is SCU, and no answer is sent; if it may not be SCU it is rejected."""
    request = a_request([(CT_IMAGE_STORAGE, (EXPLICIT,))])
    accept = negotiate(request, BOTH)
    refused = negotiate(request, {CT_IMAGE_STORAGE: Support((EXPLICIT,), requestor_may_be_scu=False)})

    assert (agree(request, accept)[1].requestor_is_scu, agree(request, accept)[1].requestor_is_scp) == (True, False)
    assert accept.role_selections == ()
    assert results(refused) == [ContextResult.USER_REJECTION]


def test_a_repeated_role_selection_counts_once():
    """Senders that repeat the sub-item for every context get one answer: the one to the first."""
    first, second = RoleSelection(CT_IMAGE_STORAGE, scu=True, scp=True), RoleSelection(CT_IMAGE_STORAGE, True, False)
    accept = negotiate(
        a_request(role_selections=(first, second)),
        {CT_IMAGE_STORAGE: Support((EXPLICIT,), requestor_may_be_scp=True)},
    )

    assert (first,) == accept.role_selections


@pytest.mark.parametrize("window", [(0, 0), (7, 3), (1, 1)])
def test_the_async_window_is_answered_one_to_one(window):
    """Whatever the peer proposes, one operation is invoked and performed at a time (PS3.7 D.3.3.3)."""
    accept = negotiate(a_request(async_window=AsyncOperationsWindow(*window)), BOTH)

    assert AsyncOperationsWindow(1, 1) == accept.async_window
    assert negotiate(a_request(), BOTH).async_window is None


@pytest.mark.parametrize(("wanted", "answer"), [(True, b"token"), (False, None)])
def test_the_identity_response_is_sent_when_wanted(wanted, answer):
    """The server response goes out only to a requestor that asked for a positive response."""
    identity = UserIdentity(3, b"ticket", positive_response_requested=wanted)
    accept = negotiate(a_request(user_identity=identity), BOTH, user_identity_response=b"token")

    assert answer == accept.user_identity_response


def test_extended_negotiation_answers_only_what_was_asked():
    """An answer to a SOP class the requestor did not mention is left out."""
    asked, unasked = SopClassExtended(CT_IMAGE_STORAGE, b"\x01"), SopClassExtended(VERIFICATION, b"\x01")
    accept = negotiate(a_request(sop_class_extended=(asked,)), BOTH, sop_class_extended=(asked, unasked))

    assert (asked,) == accept.sop_class_extended


@pytest.mark.parametrize(
    "changes",
    [
        {"presentation_contexts": (PresentationResult(99, ContextResult.ACCEPTANCE, EXPLICIT),)},
        {"presentation_contexts": (PresentationResult(3, ContextResult.ACCEPTANCE, JPEG),)},
        {"role_selections": (RoleSelection(CT_IMAGE_STORAGE, scu=True, scp=True),)},
    ],
)
def test_an_answer_to_something_not_proposed_is_refused(changes):
    """A context, transfer syntax or role out of nowhere is a ValueError, which the association makes an abort."""
    request = a_request()
    accept = dataclasses.replace(negotiate(request, BOTH), **changes)

    with pytest.raises(ValueError, match="proposed"):
        agree(request, accept)


def test_contexts_are_numbered_with_odd_numbers_up_to_128():
    """128 contexts get the ids 1 to 255; none, or one more, is our mistake."""
    contexts = number_contexts([(VERIFICATION, (IMPLICIT,))] * 128)

    assert list(range(1, 256, 2)) == [context.id for context in contexts]
    for count in (0, 129):
        with pytest.raises(LocalProtocolError):
            number_contexts([(VERIFICATION, (IMPLICIT,))] * count)
