"""Associations over TCP and TLS: our doors, our calls, and what bounds both (PS3.8 §9, PS3.15 B.12)."""

from strongroom.transport.conversation import Conversation
from strongroom.transport.doors import (
    DEFAULT_RULES,
    NO_ROOM,
    REFUSAL,
    Admission,
    Door,
    Handler,
    Peer,
    Present,
    Rules,
)
from strongroom.transport.ends import (
    AssociationEndedError,
    AssociationRejectedError,
    Ended,
    ForbiddenAddressError,
    PeerIdentityError,
    Refused,
)
from strongroom.transport.listener import Listener
from strongroom.transport.pacing import DEFAULT_DEADLINES, Deadlines
from strongroom.transport.quotas import DEFAULT_QUOTA, Quota
from strongroom.transport.requestor import Callee, association_request, connect
from strongroom.transport.tls import Identity, client_context, server_context, unverified_client_context

__all__ = [
    "DEFAULT_DEADLINES",
    "DEFAULT_QUOTA",
    "DEFAULT_RULES",
    "NO_ROOM",
    "REFUSAL",
    "Admission",
    "AssociationEndedError",
    "AssociationRejectedError",
    "Callee",
    "Conversation",
    "Deadlines",
    "Door",
    "Ended",
    "ForbiddenAddressError",
    "Handler",
    "Identity",
    "Listener",
    "Peer",
    "PeerIdentityError",
    "Present",
    "Quota",
    "Refused",
    "Rules",
    "association_request",
    "client_context",
    "connect",
    "server_context",
    "unverified_client_context",
]
