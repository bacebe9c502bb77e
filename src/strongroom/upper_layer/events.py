"""
What goes in and out of an association: service primitives and the events `Association.next_event` returns (PS3.7
annex D, PS3.8 §7).

Nothing here does anything. Every class is frozen: what was negotiated or received cannot be changed by whoever looks
at it. User identities are kept out of every repr, because reprs end up in logs (invariant I7).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, final

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
"""The only DICOM application context name (PS3.7 A.2.1)."""

MAX_PDU_LENGTH: Final = 131_072
"""
What we announce by default: bytes of one P-DATA-TF PDU after its 6-byte header (PS3.8 D.1.1). Five of them carry a
CT image.
"""


@final
class Role(enum.Enum):
    """Which side of the association we are; only the release collision depends on it (PS3.8 §9.2.3, AR-8)."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


@final
class ContextResult(enum.IntEnum):
    """The answer to one proposed presentation context (PS3.8 table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@final
class RejectResult(enum.IntEnum):
    """Whether trying again makes sense (PS3.8 table 9-21)."""

    PERMANENT = 1
    TRANSIENT = 2


@final
class RejectSource(enum.IntEnum):
    """Who rejects (PS3.8 table 9-21)."""

    SERVICE_USER = 1
    SERVICE_PROVIDER_ACSE = 2
    SERVICE_PROVIDER_PRESENTATION = 3


@final
class AbortSource(enum.IntEnum):
    """Who aborts (PS3.8 table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


@final
class AbortReason(enum.IntEnum):
    """Why the provider aborts; not significant when the user does (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


@final
class UserIdentityType(enum.IntEnum):
    """What a user identity carries (PS3.7 table D.3-14)."""

    USERNAME = 1
    USERNAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


# -------------------------------------------------------------------------------------------- parts of the negotiation
@final
@dataclass(frozen=True, slots=True)
class PresentationContext:
    """One proposed presentation context; *id* is odd, 1 to 255 (PS3.8 §9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class PresentationResult:
    """The answer to one context; *transfer_syntax* is significant only with ACCEPTANCE (PS3.8 §9.3.3.2)."""

    id: int
    result: ContextResult
    transfer_syntax: str = ""


@final
@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """
    A context both sides agreed on, with the roles the *requestor* of the association may play in it (PS3.7
    D.3.3.4).
    """

    id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_is_scu: bool = True
    requestor_is_scp: bool = False


@final
@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection for one SOP class, seen from the requestor (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


@final
@dataclass(frozen=True, slots=True)
class AsyncOperationsWindow:
    """How many operations may be outstanding; 0 means unlimited (PS3.7 D.3.3.3)."""

    invoked: int
    performed: int


@final
@dataclass(frozen=True, slots=True)
class SopClassExtended:
    """SOP class extended negotiation: bytes whose meaning the service class defines (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    application_information: bytes


@final
@dataclass(frozen=True, slots=True)
class SopClassCommonExtended:
    """SOP class common extended negotiation; the acceptor never answers it (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...] = ()
    version: int = 0


@final
@dataclass(frozen=True, slots=True)
class UserIdentity:
    """
    Who the requestor says its user is (PS3.7 D.3.3.7).

    *type* is a plain number because a peer may send one the standard does not know; `UserIdentityType(type)` decides.
    *primary* is the user name, ticket, assertion or token; *secondary* the passcode of type 2, else empty.
    """

    type: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    positive_response_requested: bool = False


# ----------------------------------------------------------------------------------------------- service primitives
@final
@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """
    A-ASSOCIATE request and indication (PS3.8 §7.1.1, PS3.7 D.3.3).

    Received AE titles are stripped; a character outside the printable ISO 646 set, or a backslash, stands there as a
    backslash, so such a title equals no title anybody may have. *max_pdu_length* 0 means the peer sets no limit.
    Contexts are unique, odd and at most 128.
    """

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[PresentationContext, ...]
    implementation_class_uid: str
    implementation_version_name: str = ""
    max_pdu_length: int = MAX_PDU_LENGTH
    application_context: str = APPLICATION_CONTEXT
    async_window: AsyncOperationsWindow | None = None
    role_selections: tuple[RoleSelection, ...] = ()
    sop_class_extended: tuple[SopClassExtended, ...] = ()
    sop_class_common_extended: tuple[SopClassCommonExtended, ...] = ()
    user_identity: UserIdentity | None = None


@final
@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """
    A-ASSOCIATE response and confirmation with result "accepted" (PS3.8 §7.1.1).

    `negotiation.negotiate` makes it. The AE titles are echoed from the request and mean nothing to the receiver
    (PS3.8 table 9-17). *user_identity_response* is None when none was asked for; else the server response, empty for
    types 1 and 2 (PS3.7 D.3.3.7.2).
    """

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[PresentationResult, ...]
    implementation_class_uid: str
    implementation_version_name: str = ""
    max_pdu_length: int = MAX_PDU_LENGTH
    application_context: str = APPLICATION_CONTEXT
    async_window: AsyncOperationsWindow | None = None
    role_selections: tuple[RoleSelection, ...] = ()
    sop_class_extended: tuple[SopClassExtended, ...] = ()
    user_identity_response: bytes | None = field(default=None, repr=False)


@final
@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE response with result "rejected"; which reasons exist depends on the source (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int


@final
@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE request: no more operations from our side (PS3.8 §7.2)."""


@final
@dataclass(frozen=True, slots=True)
class ReleaseResponse:
    """A-RELEASE response (PS3.8 §7.2)."""


@final
@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT request (PS3.8 §7.3); the source is the service user unless *we as provider* give up."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


Primitive: TypeAlias = AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseResponse | Abort
"""What `Association.send` takes."""


# ----------------------------------------------------------------------------------------------------------- events
class PDV(NamedTuple):
    """
    One presentation data value (PS3.8 §9.3.5.1, annex E).

    A named tuple: thousands are made per second. *data* is a read-only view into the receive buffer. It stays valid
    for as long as somebody holds it, but holding views beyond the next `get_buffer` costs a new buffer, so consume
    them at once where possible.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


@final
@dataclass(frozen=True, slots=True)
class AssociateRequested:
    """A peer asks for an association; answer with `send(AssociateAccept | AssociateReject)`."""

    request: AssociateRequest


@final
@dataclass(frozen=True, slots=True)
class AssociateAccepted:
    """The peer accepted; `Association.accepted_contexts` holds what may be used now."""

    accept: AssociateAccept


@final
@dataclass(frozen=True, slots=True)
class AssociateRejected:
    """The peer rejected; the transport is to be closed (`Association.closing`)."""

    result: int
    source: int
    reason: int


@final
@dataclass(frozen=True, slots=True)
class PDataReceived:
    """One P-DATA-TF PDU: at least one PDV, each for an accepted context."""

    values: tuple[PDV, ...]


@final
@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """
    The peer wants to end; answer with `send(ReleaseResponse())`.

    With *collision* both sides asked at once: the requestor answers at once, the acceptor after its own
    `ReleaseConfirmed` (PS3.8 §7.2.2.7).
    """

    collision: bool = False


@final
@dataclass(frozen=True, slots=True)
class ReleaseConfirmed:
    """The peer agreed to our release."""


@final
@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer sent A-ABORT during an association; the transport is to be closed."""

    source: int
    reason: int


@final
@dataclass(frozen=True, slots=True)
class TransportClosed:
    """
    The connection ended; *orderly* is False when an association was still there (an A-P-ABORT indication, PS3.8
    §7.4).
    """

    orderly: bool


Event: TypeAlias = (
    AssociateRequested
    | AssociateAccepted
    | AssociateRejected
    | PDataReceived
    | ReleaseRequested
    | ReleaseConfirmed
    | Aborted
    | TransportClosed
)
"""What `Association.next_event` returns."""
