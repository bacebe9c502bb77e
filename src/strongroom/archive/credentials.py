"""
What a caller brings to the gate. Front doors fill these in from what they saw on the wire; nothing here decides
anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import final


@final
@dataclass(frozen=True, slots=True)
class DeviceCredential:
    """A DICOM association request: who it says it is, and what the transport proved."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    port: int
    door: str
    encrypted: bool
    certificate: bytes | None
    """DER of the client certificate that TLS verified, or None on a legacy door."""
    user_identity_type: int | None = None
    """The type of a user identity item (PS3.7 D.3.3.7), or None when absent."""


@final
@dataclass(frozen=True, slots=True)
class TokenCredential:
    """A request on the web door with a token in its Authorization header, as it came."""

    token: str = field(repr=False)
    address: str
    port: int
    door: str


@final
@dataclass(frozen=True, slots=True)
class WebCertificateCredential:
    """A request on the web door without a token, over a connection whose client showed a certificate."""

    certificate: bytes = field(repr=False)
    """DER of the client certificate that TLS verified."""
    address: str
    port: int
    door: str


@final
@dataclass(frozen=True, slots=True)
class HostCredential:
    """A command on the machine itself: the kernel vouches for the uid."""

    uid: int
    command: str
    reason: str | None = None
    """Why the host wants to see patient data; without it view and retrieve are refused."""


@final
@dataclass(frozen=True, slots=True)
class SystemCredential:
    """The archive's own work: scrub, self-look, fragments."""

    task: str


Credential = DeviceCredential | TokenCredential | WebCertificateCredential | HostCredential | SystemCredential


@final
class NoCredential(StrEnum):
    """Why a request on the web door never came to the gate: the reason to give to `Gate.turned_away`."""

    MISSING = "no-credential"
    """Neither a token nor a client certificate."""
    UNREADABLE = "credential-unreadable"
    """An Authorization header that is not `Bearer` and a token."""
    TWICE = "credential-twice"
    """More than one Authorization header."""
    IN_URL = "token-in-url"
    """A token in the query string; it stands in logs now and has to be revoked."""


@final
@dataclass(frozen=True, slots=True)
class Recipient:
    """Who the bytes of a disclosure go to: the session's own caller, or the destination of a C-MOVE."""

    name: str
    ae_title: str
    address: str


@final
@dataclass(frozen=True, slots=True)
class MoveDestination:
    """An enrolled device that may receive: address and identity come from the register only (C37)."""

    name: str
    ae_title: str
    host: str
    port: int
    certificate_fingerprints: frozenset[str]
    """SHA-256 (hex) of the certificates of which the destination must show one."""

    def recipient(self) -> Recipient:
        """The same as a recipient of a disclosure."""
        return Recipient(name=self.name, ae_title=self.ae_title, address=f"{self.host}:{self.port}")
