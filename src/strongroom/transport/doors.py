"""What a door is, who comes to it, and what the handler answers: the words between the listener and `app`."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol, final

from strongroom.errors import ConfigurationError
from strongroom.transport.conversation import Conversation
from strongroom.transport.ends import Refused
from strongroom.transport.pacing import DEFAULT_DEADLINES, Deadlines
from strongroom.transport.quotas import DEFAULT_QUOTA, Quota
from strongroom.upper_layer import (
    DEFAULT_LIMITS,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Limits,
    RejectResult,
    RejectSource,
)

REFUSAL: Final = AssociateReject(RejectResult.TRANSIENT, RejectSource.SERVICE_PROVIDER_ACSE, 1)
"""Rejected-transient, no reason given: what every caller gets that must not be told more (SECURITY T11)."""

NO_ROOM: Final = AssociateReject(RejectResult.TRANSIENT, RejectSource.SERVICE_PROVIDER_PRESENTATION, 2)
"""Rejected-transient, local limit exceeded (PS3.8 table 9-21)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@final
@dataclass(frozen=True, slots=True)
class Door:
    """
    A listening address with its rules.

    A door without *tls* is a plaintext door: it needs the networks it serves and the first day on which it stays shut.
    """

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    networks: tuple[Network, ...] = ()
    expires: date | None = None

    def __post_init__(self) -> None:
        if self.tls is None and (not self.networks or self.expires is None):
            raise ConfigurationError("a plaintext door needs networks and an expiry date")
        if self.tls is not None and self.tls.verify_mode is not ssl.CERT_REQUIRED:
            raise ConfigurationError("a TLS door has to demand a client certificate")

    @property
    def encrypted(self) -> bool:
        """Whether this is a TLS door."""
        return self.tls is not None

    def admits(self, address: str, today: date) -> Refused | None:
        """Say why nobody at *address* may use this door today, or None."""
        if self.expires is not None and today >= self.expires:
            return Refused.DOOR_EXPIRED
        if self.networks:
            parsed = ipaddress.ip_address(address)
            if not any(parsed in network for network in self.networks):
                return Refused.DOOR_NETWORK
        return None


@final
@dataclass(frozen=True, slots=True)
class Peer:
    """Who called, as far as the transport knows."""

    address: str
    """IPv4 or IPv6, an IPv4-mapped one as IPv4, without zone."""
    port: int
    door: str
    encrypted: bool
    certificate: bytes | None = field(default=None, repr=False)
    """DER of the client certificate that TLS has verified."""


def _nothing_to_undo() -> None:
    """Do nothing: most handlers hold nothing yet when they answer."""


@final
@dataclass(frozen=True, slots=True)
class Admission:
    """The handler's yes."""

    accept: AssociateAccept
    serve: Callable[[Conversation], Awaitable[None]]
    """Runs the association; returns after the peer's release. What it raises ends the association."""
    holder: str
    """Whose association it is: the name the quota counts by."""
    most: int | None = None
    """Associations the holder may have at a time, unless the general number is meant."""
    idle_seconds: float | None = None
    declined: Callable[[], None] = _nothing_to_undo
    """Called instead of *serve* when there was no room, or the peer had gone."""


class Handler(Protocol):
    """What decides who is let in; `app` plugs it in."""

    async def admit(self, request: AssociateRequest, peer: Peer) -> Admission | AssociateReject:
        """Let a caller in, or say what it is answered; the handler itself records what it refuses."""


@final
@dataclass(frozen=True, slots=True)
class Present:
    """An association that stands."""

    holder: str
    calling_ae_title: str
    peer: Peer
    conversation: Conversation


@final
@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a listener is bound by."""

    limits: Limits = DEFAULT_LIMITS
    deadlines: Deadlines = DEFAULT_DEADLINES
    quota: Quota = DEFAULT_QUOTA


DEFAULT_RULES: Final = Rules()


def canonical(address: str) -> str:
    """The text of *address*, as a socket gives it, without a zone; an IPv4-mapped one as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


def peer_at(door: Door, address: tuple[str, int]) -> Peer:
    """The peer that called from *address*, as a socket gives it."""
    return Peer(canonical(address[0]), address[1], door.name, door.encrypted)


__all__ = [
    "DEFAULT_RULES",
    "NO_ROOM",
    "REFUSAL",
    "Admission",
    "Door",
    "Handler",
    "Network",
    "Peer",
    "Present",
    "Rules",
    "canonical",
    "peer_at",
]
