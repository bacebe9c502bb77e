"""
How connections and associations end: the short codes of the transport and the errors that carry them.

The rule of this file: a code or a sentence never holds a byte that a peer sent (invariant I7).
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

from strongroom.errors import RemoteProtocolError, StrongroomError


@final
class Refused(StrEnum):
    """Why a caller never reached the handler, or was turned away for want of room after it."""

    DOOR_NETWORK = "door-network"
    DOOR_EXPIRED = "door-expired"
    POOL_FULL = "pool-full"
    ADDRESS_FULL = "address-full"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    HANDSHAKE_CLOSED = "handshake-closed"
    HANDSHAKE_FAILED = "handshake-failed"
    PEER_DISTRUSTS_US = "peer-distrusts-us"
    NO_TLS = "no-tls"
    NO_COMMON_PROTOCOL = "no-common-protocol"
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_PURPOSE = "certificate-purpose"
    CERTIFICATE_WEAK = "certificate-weak"
    ASSOCIATE_TIMEOUT = "associate-timeout"
    ASSOCIATE_CLOSED = "associate-closed"
    ASSOCIATE_MALFORMED = "associate-malformed"
    REQUEST_TIMEOUT = "request-timeout"
    REQUEST_MALFORMED = "request-malformed"
    REQUEST_TOO_LARGE = "request-too-large"
    DEVICE_FULL = "device-full"
    ARCHIVE_FULL = "archive-full"


@final
class Ended(StrEnum):
    """Why an association is over without having been released."""

    ABORTED_BY_PEER = "aborted-by-peer"
    CONNECTION_LOST = "connection-lost"
    PROTOCOL_ERROR = "protocol-error"
    ASSOCIATE_TIMEOUT = "associate-timeout"
    IDLE = "idle"
    TOO_SLOW = "too-slow"
    NOT_READING = "not-reading"
    RELEASE_TIMEOUT = "release-timeout"
    RELEASED_EARLY = "released-early"
    DISCONNECTED = "disconnected"
    STOPPED = "stopped"
    ABORTED = "aborted"


class AssociationEndedError(RemoteProtocolError):
    """
    The association is over, and not by a release; *code* says why. Nothing can be sent or received any more.

    *alert* is the name OpenSSL has for a TLS alert that ended it, else empty.
    """

    def __init__(self, code: Ended, *, alert: str = "") -> None:
        super().__init__(f"the association ended: {code.value}{f' ({alert})' if alert else ''}")
        self.code = code
        self.alert = alert


@final
class AssociationRejectedError(StrongroomError):
    """The peer rejected our A-ASSOCIATE-RQ; the numbers are those of PS3.8 table 9-21."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"the association was rejected: result {result}, source {source}, reason {reason}")
        self.result = result
        self.source = source
        self.reason = reason


@final
class PeerIdentityError(StrongroomError):
    """The peer proved another identity than the one it has to have; nothing was sent to it."""


@final
class ForbiddenAddressError(StrongroomError):
    """A registered name led to an address that nothing may be sent to (SECURITY C36)."""


__all__ = [
    "AssociationEndedError",
    "AssociationRejectedError",
    "Ended",
    "ForbiddenAddressError",
    "PeerIdentityError",
    "Refused",
]
