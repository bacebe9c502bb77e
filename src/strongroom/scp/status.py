"""
Errors to statuses: the one table of the DIMSE services (PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, C.4.3.1.4; PS3.7 Annex C).

A comment stands here as it is sent. It says what kind of thing went wrong and nothing else: no value of a data set,
no reason of a refusal (I7; out of scope answers like absent).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from strongroom import errors
from strongroom.dimse import status
from strongroom.scp.errors import BrokenOffError, IdentifierError
from strongroom.transport import ends


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """The status of each service for one error, and what the peer is told."""

    store: int
    find: int
    retrieve: int
    comment: str


_FAILURE: Final = Answer(
    status.PROCESSING_FAILURE, status.CANNOT_UNDERSTAND, status.CANNOT_UNDERSTAND, "The archive could not process this"
)
_UNREACHED: Final = Answer(
    status.PROCESSING_FAILURE,
    status.CANNOT_UNDERSTAND,
    status.UNABLE_TO_PERFORM_SUBOPERATIONS,
    "The receiver could not be reached",
)
_DENIED: Final = Answer(status.NOT_AUTHORIZED, status.NOT_AUTHORIZED, status.NOT_AUTHORIZED, "Not authorized")

TABLE: Final[dict[type[errors.StrongroomError], Answer]] = {
    errors.StrongroomError: _FAILURE,
    errors.LocalProtocolError: _FAILURE,
    BrokenOffError: _FAILURE,
    errors.ConfigurationError: _FAILURE,
    errors.IntegrityError: Answer(
        status.PROCESSING_FAILURE,
        status.CANNOT_UNDERSTAND,
        status.UNABLE_TO_PERFORM_SUBOPERATIONS,
        "The archive could not read what it holds",
    ),
    errors.RemoteProtocolError: Answer(
        status.CANNOT_UNDERSTAND,
        status.CANNOT_UNDERSTAND,
        status.CANNOT_UNDERSTAND,
        "A rule of the standard was broken",
    ),
    errors.DataSetError: Answer(
        status.CANNOT_UNDERSTAND, status.CANNOT_UNDERSTAND, status.CANNOT_UNDERSTAND, "The data set is not whole"
    ),
    errors.UnsupportedSyntaxError: Answer(
        status.CANNOT_UNDERSTAND,
        status.CANNOT_UNDERSTAND,
        status.CANNOT_UNDERSTAND,
        "The transfer syntax is not known",
    ),
    errors.UnsupportedClassError: Answer(
        status.SOP_CLASS_NOT_SUPPORTED,
        status.DOES_NOT_MATCH_SOP_CLASS,
        status.DOES_NOT_MATCH_SOP_CLASS,
        "The SOP class is not supported",
    ),
    errors.MismatchError: Answer(
        status.DOES_NOT_MATCH_SOP_CLASS,
        status.DOES_NOT_MATCH_SOP_CLASS,
        status.DOES_NOT_MATCH_SOP_CLASS,
        "The data set does not belong to this request",
    ),
    IdentifierError: Answer(
        status.DOES_NOT_MATCH_SOP_CLASS,
        status.DOES_NOT_MATCH_SOP_CLASS,
        status.DOES_NOT_MATCH_SOP_CLASS,
        "The identifier does not match the information model",
    ),
    errors.AccessDenied: _DENIED,
    # The same to the sender as any other refusal; the trail says why.
    errors.ErasedError: _DENIED,
    # A find or retrieve of what is not there, or not for this caller, is one without matches, in every respect.
    errors.NotFound: Answer(status.NO_SUCH_SOP_INSTANCE, status.SUCCESS, status.SUCCESS, ""),
    errors.OutOfResources: Answer(
        status.OUT_OF_RESOURCES, status.OUT_OF_RESOURCES, status.UNABLE_TO_PERFORM_SUBOPERATIONS, "Out of resources"
    ),
    errors.HomeInUseError: _FAILURE,
    # Jobs end with these, and nobody waits for a job on an association.
    errors.JobImpossible: _FAILURE,
    errors.JobCancelled: _FAILURE,
    # Only an association of ours meets these, and a move counts them as failed sub-operations.
    ends.AssociationEndedError: _UNREACHED,
    ends.AssociationRejectedError: _UNREACHED,
    ends.PeerIdentityError: _UNREACHED,
    ends.ForbiddenAddressError: _UNREACHED,
    errors.ConflictError: Answer(
        status.DUPLICATE_SOP_INSTANCE, status.CANNOT_UNDERSTAND, status.CANNOT_UNDERSTAND, "Contradicts what is there"
    ),
}


def answer_to(error: errors.StrongroomError) -> Answer:
    """Return the row of *error*, or that of the nearest class it derives from."""
    return next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)


def answerable(error: errors.StrongroomError) -> bool:
    """
    Whether a status can be given for *error*; else the association ends.

    It ends for what the peer broke in the protocol and for what we were about to break; a data set or identifier that
    is wrong is a RemoteProtocolError too, but one that a status exists for.
    """
    if isinstance(error, errors.DataSetError | errors.MismatchError):
        return True
    return not isinstance(error, errors.RemoteProtocolError | errors.LocalProtocolError)


def comment_on(error: errors.StrongroomError) -> tuple[str, tuple[int, ...]]:
    """Return the error comment and the offending elements for *error*."""
    offending = (error.offending_element,) if isinstance(error, IdentifierError) else ()
    return answer_to(error).comment, offending
