"""
What the service class providers need of the archive, of an association and of the way out, as protocols; `app` plugs
them in.

The rule of this file: shapes only. A provider never learns how anything is kept, and has nothing to read but what a
session gives it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from strongroom.archive import Commitment, CommitmentInbox, Query, Recipient, Root, Target
from strongroom.dicom.json import JsonElement
from strongroom.dimse import DataFragment, Message, MessageReceived
from strongroom.imaging.instance import Frames
from strongroom.upper_layer.events import AcceptedContext, AssociateAccept, PresentationContext, RoleSelection

if TYPE_CHECKING:
    from strongroom import archive
    from strongroom.transport import conversation

__all__ = [
    "Conversation",
    "Deposit",
    "Destination",
    "DestinationT",
    "DestinationT_co",
    "Disclosure",
    "Identifier",
    "Instance",
    "InstanceT",
    "Matches",
    "Outbound",
    "OutboundWithRoles",
    "Permissions",
    "Query",
    "Receipt",
    "Recipient",
    "Root",
    "Session",
    "Target",
]

Identifier = dict[str, JsonElement]
"""An identifier of find, get or move in the DICOM JSON model (PS3.18 Annex F)."""


class Receipt(Protocol):
    """Given when a deposit is durable."""

    @property
    def outcome(self) -> Enum:
        """Its value is "stored", "duplicate", "conflict" or "other-patient"."""


class Deposit(Protocol):
    """One data set coming in."""

    @property
    def wants_time(self) -> bool:
        """Whether `ready` has something to wait for before more is fed."""

    def feed(self, fragment: memoryview, /) -> None:
        """Take the next bytes."""

    async def ready(self) -> None:
        """Wait until more may be fed."""

    async def finish(self) -> Receipt:
        """Make it durable, or raise why not."""

    async def abandon(self, reason: str, /) -> None:
        """Forget it; nothing happens when it was finished."""


class Instance(Protocol):
    """One instance of a disclosure."""

    @property
    def sop_class_uid(self) -> str:
        """Its SOP class."""

    @property
    def sop_instance_uid(self) -> str:
        """Its SOP instance."""

    @property
    def transfer_syntax_uid(self) -> str:
        """What it is kept in."""


InstanceT = TypeVar("InstanceT", bound=Instance)


class Disclosure(Protocol[InstanceT]):
    """What one request may take out; closed until entered."""

    @property
    def instances(self) -> Sequence[InstanceT]:
        """All of them, in the order to send."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def open(self, instance: InstanceT, /, first: int = 0, last: int | None = None) -> AsyncIterator[memoryview]:
        """Its data set bytes in the stored transfer syntax; a range is one of the inflated data set."""

    async def frames(self, instance: InstanceT, /) -> Frames:
        """Where its frames lie, or raise NotFound when it has no Pixel Data."""

    def sent(self, instance: InstanceT, /) -> None:
        """The recipient has it."""

    def failed(self, instance: InstanceT, reason: str, /) -> None:
        """The recipient does not have it; *reason* is a short code of ours."""


class Destination(Protocol):
    """Where a move may go: an entry of the device register."""

    @property
    def ae_title(self) -> str:
        """Its AE title."""

    def recipient(self) -> Recipient:
        """The same as the recipient of a disclosure."""


DestinationT = TypeVar("DestinationT", bound=Destination)
DestinationT_co = TypeVar("DestinationT_co", bound=Destination, covariant=True)
DestinationT_contra = TypeVar("DestinationT_contra", bound=Destination, contravariant=True)


class Matches(Protocol):
    """The answers to one query; iterated once."""

    def __aiter__(self) -> AsyncIterator[Identifier]:
        """Each answer holds the requested keys."""


class Permissions(Protocol):
    """What a session may do, as far as offering less goes; the gate decides again for each request."""

    @property
    def private_sop_classes(self) -> frozenset[str]:
        """SOP classes beyond the standard's that it may deposit."""

    @property
    def may_commit(self) -> bool:
        """Whether it may ask for storage commitment."""

    @property
    def may_report(self) -> bool:
        """Whether it may tell results of storage commitment that we asked for."""

    def may(self, action: str, /) -> bool:
        """Whether it may do *action* at all."""


class Session(Permissions, Protocol[InstanceT, DestinationT_co]):
    """What the gate gives to a caller it let in."""

    @property
    def name(self) -> str:
        """Who it is for: the name in the register."""

    @property
    def ae_title(self) -> str:
        """What the caller calls itself."""

    @property
    def duplicate_is_success(self) -> bool:
        """Whether a conflicting instance is answered with success instead of 0x0111 (I3)."""

    def deposit(self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Deposit:
        """Begin a deposit, or raise AccessDenied."""

    async def query(self, query: Query, /) -> Matches:
        """Begin a search inside what the caller may see."""

    async def retrieve(self, target: Target, /, *, to: Recipient | None = None) -> Disclosure[InstanceT]:
        """Begin a disclosure to *to* or to the caller; without match it has no instances."""

    async def commit(self, request: Commitment, inbox: CommitmentInbox, /) -> None:
        """Take a request for storage commitment; it is durable once this returns."""

    async def committed(self, result: Commitment, /) -> None:
        """Take the caller's result for something we asked it, or raise NotFound."""

    async def destination(self, ae_title: str, /) -> DestinationT_co:
        """Look up where a move may go, or raise NotFound."""


class Conversation(Protocol):
    """An association that stands, as `transport` hands it over."""

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """What was agreed on, by presentation context ID."""

    @property
    def negotiated(self) -> AssociateAccept:
        """The acceptor's answer to the association request."""

    @property
    def over(self) -> object | None:
        """Why it has ended other than by a release, None while it stands."""

    async def receive(self) -> MessageReceived | DataFragment | None:
        """The next event, None once the peer has released; the view of a fragment lives until the next call."""

    async def receive_into(self, sink: Callable[[DataFragment], bool], /) -> bool:
        """Give each fragment to *sink* as it comes until that returns False; False once the peer has released."""

    async def send(
        self, context_id: int, message: Message, data: bytes | AsyncIterable[bytes | memoryview] | None = None, /
    ) -> None:
        """Send a message and its data set."""

    def cancelled(self, message_id: int, /) -> bool:
        """Whether a C-CANCEL for the unanswered request *message_id* has come."""

    async def release(self) -> None:
        """End the association in order."""

    async def abort(self) -> None:
        """End it at once."""


class Outbound(Protocol[DestinationT_contra]):
    """The way out for C-MOVE: TLS with a verified identity, the send deadline and the own AE title are its business."""

    async def connect(
        self, destination: DestinationT_contra, contexts: Sequence[PresentationContext], /
    ) -> Conversation:
        """Open an association; raises StrongroomError, OSError or TimeoutError."""


class OutboundWithRoles(Protocol[DestinationT_contra]):
    """The same way out where we do not play the requestor's usual role."""

    async def connect(
        self,
        destination: DestinationT_contra,
        contexts: Sequence[PresentationContext],
        /,
        roles: Sequence[RoleSelection] = (),
    ) -> Conversation:
        """Open an association; raises StrongroomError, OSError or TimeoutError."""


if TYPE_CHECKING:

    def _sessions_fit(session: archive.Session) -> Session[archive.Instance, archive.MoveDestination]:
        """The type checker fails here when the archive's session and this protocol part ways."""
        return session

    def _conversations_fit(real: conversation.Conversation) -> Conversation:
        """The same for associations."""
        return real
