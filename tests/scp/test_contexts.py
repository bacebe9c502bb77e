"""Which presentation contexts a session gets (PS3.8 §7.1.1.13, PS3.7 D.3.3.4)."""

from __future__ import annotations

import pytest

from scp.world import (
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    PATIENT_FIND,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    Archive,
    Session,
)
from strongroom.scp import extended_answers, supported
from strongroom.scp.contexts import combined_date_time
from strongroom.upper_layer.events import (
    AssociateRequest,
    ContextResult,
    PresentationContext,
    RoleSelection,
    SopClassExtended,
)
from strongroom.upper_layer.negotiation import negotiate

PRIVATE = "1.2.840.113619.4.30"
NOTHING_OF_OURS = "1.2.840.10008.5.1.1.9"  # Basic Grayscale Print Management


def answers(session: Session, *pairs: tuple[str, tuple[str, ...]], roles: tuple[RoleSelection, ...] = ()):
    """What each proposed context is answered with."""
    contexts = tuple(PresentationContext(2 * n + 1, abstract, syntaxes) for n, (abstract, syntaxes) in enumerate(pairs))
    accept = negotiate(
        AssociateRequest("STRONGROOM", "CALLER", contexts, "1.2", role_selections=roles), supported(session)
    )
    return [(result.result, result.transfer_syntax) for result in accept.presentation_contexts], accept.role_selections


def result_of(session: Session, abstract_syntax: str, *, roles: tuple[RoleSelection, ...] = ()) -> ContextResult:
    """What one proposal in implicit little endian is answered with."""
    return answers(session, (abstract_syntax, (IMPLICIT,)), roles=roles)[0][0][0]


def may(*actions: str, **more) -> Session:
    """A session with these actions."""
    return Session(Archive(), frozenset(actions), **more)


@pytest.mark.parametrize(
    ("actions", "abstract_syntax", "expected"),
    [
        ((), ECHO, ContextResult.ACCEPTANCE),
        ((), CT, ContextResult.USER_REJECTION),
        ((), STUDY_FIND, ContextResult.USER_REJECTION),
        (("deposit",), CT, ContextResult.ACCEPTANCE),
        (("deposit",), STUDY_FIND, ContextResult.USER_REJECTION),
        (("deposit",), STUDY_GET, ContextResult.USER_REJECTION),
        (("query",), STUDY_FIND, ContextResult.ACCEPTANCE),
        (("query",), PATIENT_FIND, ContextResult.ACCEPTANCE),
        (("query",), STUDY_MOVE, ContextResult.USER_REJECTION),
        (("query",), CT, ContextResult.USER_REJECTION),
        (("retrieve",), STUDY_GET, ContextResult.ACCEPTANCE),
        (("retrieve",), STUDY_MOVE, ContextResult.ACCEPTANCE),
        (("retrieve",), CT, ContextResult.USER_REJECTION),
        (("deposit", "query", "retrieve"), NOTHING_OF_OURS, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
        (("deposit",), PRIVATE, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
    ],
)
def test_a_session_gets_what_it_may_use(
    actions: tuple[str, ...], abstract_syntax: str, expected: ContextResult
) -> None:
    """Every service needs its action; only verification is for everybody let in."""
    assert expected is result_of(may(*actions), abstract_syntax)


def test_a_private_sop_class_of_the_callers_entry_is_storage() -> None:
    """A private class is taken from the device whose entry names it."""
    session = may("deposit", private_sop_classes=frozenset({PRIVATE}))

    assert ContextResult.ACCEPTANCE is result_of(session, PRIVATE)


def test_storage_takes_the_first_syntax_we_know_in_the_senders_order() -> None:
    """The sender lists first what it has, so its order decides and not ours."""
    found, _ = answers(
        may("deposit"),
        (CT, ("1.2.3.4.5", JPEG, EXPLICIT, IMPLICIT)),
        (CT, (IMPLICIT, JPEG)),
        (CT, ("1.2.3.4.5",)),
    )

    assert found == [
        (ContextResult.ACCEPTANCE, JPEG),
        (ContextResult.ACCEPTANCE, IMPLICIT),
        (ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, "1.2.3.4.5"),
    ]


def test_find_is_not_spoken_in_a_compressed_syntax() -> None:
    """Identifiers come in implicit or explicit little endian."""
    found, _ = answers(may("query"), (STUDY_FIND, (JPEG, EXPLICIT, IMPLICIT)))

    assert found == [(ContextResult.ACCEPTANCE, EXPLICIT)]


def test_the_scp_role_for_storage_is_for_who_may_retrieve() -> None:
    """C-GET needs the requestor as SCP of storage, and only who may retrieve gets that."""
    both = (RoleSelection(CT, scu=True, scp=True),)

    assert (RoleSelection(CT, scu=False, scp=True),) == answers(may("retrieve"), (CT, (IMPLICIT,)), roles=both)[1]
    assert (RoleSelection(CT, scu=True, scp=False),) == answers(may("deposit"), (CT, (IMPLICIT,)), roles=both)[1]
    assert ContextResult.USER_REJECTION is result_of(may("query"), CT, roles=both)


def test_extended_negotiation_agrees_to_combined_date_and_time_only() -> None:
    """Relational queries and the other options are answered 0, for as many bytes as were asked (PS3.4 C.5)."""
    asked = (
        SopClassExtended(STUDY_FIND, b"\1\1\1\1\1"),
        SopClassExtended(STUDY_GET, b"\1"),
        SopClassExtended(CT, b"\2\0"),
    )

    assert (SopClassExtended(STUDY_FIND, b"\0\1\0\0\0"), SopClassExtended(STUDY_GET, bytes(1))) == extended_answers(
        asked
    )


def test_what_was_not_asked_for_is_not_agreed_to() -> None:
    """A short item or a 0 leaves dates and times matched one by one."""
    short = (SopClassExtended(STUDY_FIND, b"\1"), SopClassExtended(PATIENT_FIND, b"\1\0\1"))

    assert combined_date_time(extended_answers(short)) == frozenset()
    assert combined_date_time(extended_answers([SopClassExtended(STUDY_FIND, b"\0\1")])) == {STUDY_FIND}
