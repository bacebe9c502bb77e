"""
Who is calling on a door: certificate, AE title, network and door bound together (SECURITY C08, C10, C11).

A caller is admitted when every check holds, in this order; the first that does not is the reason in the trail:
1. the door is open: encrypted as it should be, not past its expiry date, and the address lies in its networks;
2. no secret was sent in clear text (a user identity with a passcode on a plaintext door is refused unread, T19);
3. the device is enrolled: by the fingerprint of its certificate, or, on a plaintext door, by its calling AE title;
4. the calling AE title is the one of that device;
5. the device is neither revoked nor suspended, its certificate neither revoked nor expired, its entry not expired;
6. the address lies in the networks of the device; on a plaintext door the device has to have networks;
7. the device may use this door: a plaintext door only when its entry names it;
8. the called AE title is one of the door's;
9. a user identity the entry asks for was presented and verified (PS3.7 D.3.3.7).
All checks run on every call, an unknown caller against an entry that matches nobody, and the peer always gets the
same `REJECTION`: neither the answer nor its timing tells which guess was nearer (T11).

On the web door a device shows its certificate alone (`admit_web`): checks 1, 3, 5, 6, 7 and 9, since HTTP knows no AE
titles; a user identity cannot be shown there. Tokens are `access.tokens`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

from strongroom.access.policy import NOTHING, Actor, Scope
from strongroom.access.roles import CEILING, Action, ActorKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REJECTION: Final = (2, 2, 1)
"""
Result, source and reason of every refused A-ASSOCIATE-RQ (PS3.8 §9.3.4): rejected-transient, service provider
(ACSE), no-reason-given.

Transient, because a modality then keeps its images in the queue: a device which was suspended, or whose certificate
ran out, delivers them once its entry is mended.
"""

PASSCODE_TYPES: Final = frozenset({2, 3, 4, 5})
"""User identity types which carry a secret: passcode, Kerberos ticket, SAML assertion, JWT (PS3.7 D.3.3.7.1)."""

LEGACY_ACTIONS: Final = frozenset({Action.DEPOSIT})
"""All that a plaintext door gives besides C-ECHO, which needs no action (C08)."""


@final
class DoorKind(Enum):
    """How a door is protected, and who it is for."""

    TLS = "tls"
    """DICOM over TLS: a client certificate bound to an AE title."""
    WEB = "web"
    """HTTPS: a token, or the client certificate of a device."""
    LEGACY = "legacy"
    """Plain text: listed networks, store and echo only, until a date."""


@final
class DeviceState(Enum):
    """Whether an enrolled device is let in."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@final
class Rejected(StrEnum):
    """Why a caller was not admitted; for the trail only."""

    DOOR_NOT_ENCRYPTED = "door-not-encrypted"
    DOOR_EXPIRED = "door-expired"
    DOOR_NETWORK = "door-network"
    PASSCODE_IN_CLEAR = "passcode-in-clear"
    NO_CREDENTIAL = "no-credential"
    CREDENTIAL_UNREADABLE = "credential-unreadable"
    CREDENTIAL_TWICE = "credential-twice"
    TOKEN_IN_URL = "token-in-url"  # noqa: S105 -- a reason
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105 -- a reason
    TOKEN_UNKNOWN = "token-unknown"  # noqa: S105 -- a reason
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 -- a reason
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 -- a reason
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"  # noqa: S105 -- a reason
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    AE_TITLE_UNKNOWN = "ae-title-unknown"
    AE_TITLE_MISMATCH = "ae-title-mismatch"
    DEVICE_REVOKED = "device-revoked"
    DEVICE_SUSPENDED = "device-suspended"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_EXPIRED = "certificate-expired"
    DEVICE_EXPIRED = "device-expired"
    DEVICE_NETWORK = "device-network"
    DEVICE_DOOR = "device-door"
    CALLED_AE_TITLE = "called-ae-title"
    USER_IDENTITY_MISSING = "user-identity-missing"
    USER_IDENTITY_NOT_VERIFIED = "user-identity-not-verified"


@final
@dataclass(frozen=True, slots=True)
class Door:
    """A door with its rules. No networks means no limit on a door with TLS, and nobody on a plaintext door."""

    name: str
    kind: DoorKind
    called_ae_titles: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    expires: date | None = None
    """The first day on which the door stays shut; a plaintext door without one is shut."""


@final
@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate a device is bound to; during a renewal it has two."""

    fingerprint: str
    """SHA-256 of the DER, lower-case hex (`fingerprint`)."""
    not_before: datetime
    expires: datetime
    revoked: bool = False


@final
@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """What the register holds about one device, as far as identity goes."""

    name: str
    ae_title: str
    actions: frozenset[Action]
    scope: Scope = NOTHING
    certificates: tuple[Certificate, ...] = ()
    networks: tuple[Network, ...] = ()
    doors: frozenset[str] = frozenset()
    """Names of the doors it may use; empty means every door with TLS. A plaintext door has to be named."""
    state: DeviceState = DeviceState.ACTIVE
    expires: date | None = None
    """The first day on which the whole entry no longer holds."""
    receives: bool = False
    destinations: frozenset[str] | None = None
    user_identity_type: int | None = None
    """The type of user identity the device has to present and have verified, if any (C11)."""


@final
@dataclass(frozen=True, slots=True)
class Caller:
    """
    What was seen on the wire: nothing in here is proved, except that TLS verified *certificate* (DER) when it is
    present.
    """

    calling_ae_title: str
    called_ae_title: str
    address: str
    encrypted: bool
    certificate: bytes | None = None
    user_identity_type: int | None = None
    user_identity_verified: bool = False


@final
@dataclass(frozen=True, slots=True)
class WebCaller:
    """What was seen on the web door: TLS verified *certificate* (DER), the address is where the request came from."""

    address: str
    certificate: bytes


@final
@dataclass(frozen=True, slots=True)
class Rejection:
    """Not admitted: the reason, and the entry that was tried, both for the trail; the peer gets `REJECTION`."""

    reason: Rejected
    device: str = ""
    """
    The name of the enrolled device whose certificate or AE title was shown, or of the token; empty when there is none.
    """
    fingerprint: str = ""


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate's DER as lower-case hex: what a device entry is bound to."""
    return hashlib.sha256(certificate).hexdigest()


def parse_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Parse CIDR notations; raises ValueError on one that is not."""
    return tuple(ipaddress.ip_network(network) for network in networks)


@final
class Devices:
    """The enrolled devices, looked up by certificate and by AE title; built anew when the register changes."""

    __slots__ = ("_by_ae_title", "_by_fingerprint")

    def __init__(self, entries: Iterable[DeviceEntry]) -> None:
        by_fingerprint: dict[str, DeviceEntry] = {}
        by_ae_title: dict[str, DeviceEntry] = {}
        for entry in entries:
            other = by_ae_title.get(entry.ae_title)
            # An AE title which a revoked device has freed belongs to its new holder.
            if other is None or other.state is not DeviceState.ACTIVE:
                by_ae_title[entry.ae_title] = entry
            for certificate in entry.certificates:
                by_fingerprint[certificate.fingerprint] = entry
        self._by_fingerprint: Mapping[str, DeviceEntry] = MappingProxyType(by_fingerprint)
        self._by_ae_title: Mapping[str, DeviceEntry] = MappingProxyType(by_ae_title)

    def with_certificate(self, fingerprint: str) -> DeviceEntry | None:
        """The device a certificate is bound to."""
        return self._by_fingerprint.get(fingerprint)

    def with_ae_title(self, ae_title: str) -> DeviceEntry | None:
        """The device of an AE title: on a plaintext door, and for the destination of a C-MOVE."""
        return self._by_ae_title.get(ae_title)


_NOBODY: Final = DeviceEntry(name="", ae_title="\0", actions=frozenset(), state=DeviceState.SUSPENDED)
"""Matches no caller: an AE title never contains NUL (PS3.5 §6.2)."""


def admit(caller: Caller, door: Door, devices: Devices, now: datetime) -> Actor | Rejection:
    """
    Say who *caller* is, or why nobody is let in.

    *now* is aware (UTC). Called once per association; raises nothing for what a peer sent.
    """
    shown = fingerprint(caller.certificate) if caller.certificate is not None else ""
    calling = caller.calling_ae_title.strip(" ")
    entry = devices.with_certificate(shown) if door.kind is DoorKind.TLS else devices.with_ae_title(calling)
    tried = entry or _NOBODY
    faults = (
        *_wire_faults(caller, door, now),
        *_enrolment_faults(caller, door, entry),
        (calling != tried.ae_title, Rejected.AE_TITLE_MISMATCH),
        *_entry_faults(tried, door, caller.address, shown, now),
        (caller.called_ae_title.strip(" ") not in door.called_ae_titles, Rejected.CALLED_AE_TITLE),
        *_user_identity_faults(tried, caller.user_identity_type, verified=caller.user_identity_verified),
    )
    reason = first_fault(faults)
    if reason is not None:
        return Rejection(reason, entry.name if entry is not None else "", shown)
    assert entry is not None
    return as_actor(entry, caller.address, legacy=door.kind is DoorKind.LEGACY)


def admit_web(caller: WebCaller, door: Door, devices: Devices, now: datetime) -> Actor | Rejection:
    """
    Say which device calls on the web door, by its certificate alone; the checks are those of the DICOM door over TLS.

    *now* is aware (UTC). Called once per request; raises nothing for what a peer sent.
    """
    shown = fingerprint(caller.certificate)
    entry = devices.with_certificate(shown)
    tried = entry or _NOBODY
    faults = (
        *door_faults(door, caller.address, now),
        (entry is None, Rejected.CERTIFICATE_UNKNOWN),
        *_entry_faults(tried, door, caller.address, shown, now),
        *_user_identity_faults(tried, None, verified=False),
    )
    reason = first_fault(faults)
    if reason is not None:
        return Rejection(reason, entry.name if entry is not None else "", shown)
    assert entry is not None
    return as_actor(entry, caller.address)


def as_actor(entry: DeviceEntry, address: str, *, legacy: bool = False) -> Actor:
    """The actor of an enrolled device; also used for the recipient of a C-MOVE, which is not calling."""
    ceiling = LEGACY_ACTIONS if legacy else CEILING[ActorKind.DEVICE]
    return Actor(
        kind=ActorKind.DEVICE,
        name=entry.name,
        actions=entry.actions & ceiling,
        scope=entry.scope,
        ae_title=entry.ae_title,
        address=address,
        receives=entry.receives and not legacy,
        destinations=entry.destinations,
    )


def recipient(entry: DeviceEntry, address: str, now: datetime) -> Actor | Rejection:
    """
    The actor a C-MOVE would send to, if its entry is in force (SECURITY C37); `policy.decide_transfer` decides the
    rest.

    The certificate the destination shows is checked when the connection is made: it has to be one of the entry's.
    """
    if entry.state is not DeviceState.ACTIVE:
        revoked = entry.state is DeviceState.REVOKED
        return Rejection(Rejected.DEVICE_REVOKED if revoked else Rejected.DEVICE_SUSPENDED, entry.name)
    if _past(entry.expires, now):
        return Rejection(Rejected.DEVICE_EXPIRED, entry.name)
    if not any(one.not_before <= now < one.expires and not one.revoked for one in entry.certificates):
        return Rejection(Rejected.CERTIFICATE_EXPIRED, entry.name)
    return as_actor(entry, address)


Faults = tuple[tuple[bool, Rejected], ...]
"""Checks that were made: whether each failed, and the reason it would be."""


def first_fault(faults: Faults) -> Rejected | None:
    """The reason of the first check that failed; all of them were made."""
    return next((reason for failed, reason in faults if failed), None)


def door_faults(door: Door, address: str, now: datetime) -> Faults:
    """Check 1, as far as every door has it."""
    legacy = door.kind is DoorKind.LEGACY
    listed = _within(address, door.networks) if legacy or door.networks else True
    return (
        (_past(door.expires, now) or (legacy and door.expires is None), Rejected.DOOR_EXPIRED),
        (not listed, Rejected.DOOR_NETWORK),
    )


def _wire_faults(caller: Caller, door: Door, now: datetime) -> Faults:
    """Checks 1 and 2."""
    legacy = door.kind is DoorKind.LEGACY
    clear = legacy or not caller.encrypted
    return (
        (not legacy and not caller.encrypted, Rejected.DOOR_NOT_ENCRYPTED),
        *door_faults(door, caller.address, now),
        (clear and caller.user_identity_type in PASSCODE_TYPES, Rejected.PASSCODE_IN_CLEAR),
    )


def _enrolment_faults(caller: Caller, door: Door, entry: DeviceEntry | None) -> Faults:
    """Check 3."""
    encrypted = door.kind is DoorKind.TLS
    unknown = Rejected.CERTIFICATE_UNKNOWN if encrypted else Rejected.AE_TITLE_UNKNOWN
    return (
        (encrypted and caller.certificate is None, Rejected.CERTIFICATE_MISSING),
        (entry is None, unknown),
    )


def _entry_faults(entry: DeviceEntry, door: Door, address: str, shown: str, now: datetime) -> Faults:
    """Checks 5 to 7."""
    legacy = door.kind is DoorKind.LEGACY
    certificate = next((one for one in entry.certificates if one.fingerprint == shown), None)
    listed = _within(address, entry.networks) if legacy or entry.networks else True
    named = door.name in entry.doors or (not legacy and not entry.doors)
    return (
        (entry.state is DeviceState.REVOKED, Rejected.DEVICE_REVOKED),
        (entry.state is DeviceState.SUSPENDED, Rejected.DEVICE_SUSPENDED),
        (not legacy and (certificate is None or certificate.revoked), Rejected.CERTIFICATE_REVOKED),
        (not legacy and (certificate is None or now < certificate.not_before), Rejected.CERTIFICATE_NOT_YET_VALID),
        (not legacy and (certificate is None or now >= certificate.expires), Rejected.CERTIFICATE_EXPIRED),
        (_past(entry.expires, now), Rejected.DEVICE_EXPIRED),
        (not listed, Rejected.DEVICE_NETWORK),
        (not named, Rejected.DEVICE_DOOR),
    )


def _user_identity_faults(entry: DeviceEntry, shown: int | None, *, verified: bool) -> Faults:
    """Check 9."""
    wanted = entry.user_identity_type
    return (
        (wanted is not None and shown != wanted, Rejected.USER_IDENTITY_MISSING),
        (wanted is not None and not verified, Rejected.USER_IDENTITY_NOT_VERIFIED),
    )


def _past(expires: date | None, now: datetime) -> bool:
    return expires is not None and now.date() >= expires


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    """
    Whether *address* (IPv4, IPv6, IPv4-mapped, with or without a zone) lies in one of *networks*; one that cannot be
    read lies in none.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
