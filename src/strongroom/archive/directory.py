"""
The register as the gate needs it at every call: who is enrolled, held in memory, built anew after each change.

A change takes effect for the next decision of every open session, not only for the next association (SECURITY C39).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from strongroom.access import identity
from strongroom.access.policy import Actor
from strongroom.access.policy import Scope as PolicyScope
from strongroom.access.roles import Action, ActorKind
from strongroom.access.tokens import TokenEntry, Tokens, admit_token
from strongroom.archive.credentials import MoveDestination
from strongroom.catalogue import scope as catalogue_scope
from strongroom.register import certificates, devices, tokens
from strongroom.register.lookups import certificates_of_device

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

    from strongroom.archive.core import Parts


@final
class Directory:
    """A snapshot of devices with their certificates, and of tokens."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._devices: Mapping[str, devices.Device] = {}
        self._entries: Mapping[str, identity.DeviceEntry] = {}
        self._lookup = identity.Devices(())
        self._tokens = Tokens(())
        self.reload()

    def reload(self) -> None:
        """Read the register again."""
        with self._parts.database.reader() as connection:
            found = devices.every(connection)
            entries = [_entry(connection, device) for device in found]
            self._tokens = Tokens(_token(token) for token in tokens.every(connection))
        self._devices = {device.name: device for device in found}
        self._entries = {entry.name: entry for entry in entries}
        self._lookup = identity.Devices(entry for entry in entries if entry.state is not identity.DeviceState.REVOKED)
        # a revoked device's certificate still names it in the trail
        self._revoked = identity.Devices(entry for entry in entries if entry.state is identity.DeviceState.REVOKED)

    def admit(self, caller: identity.Caller, door: identity.Door) -> Actor | identity.Rejection:
        """Who is calling on a DICOM door, or why nobody is let in."""
        return identity.admit(caller, door, self._known(caller.certificate), self._parts.clock())

    def admit_web(self, caller: identity.WebCaller, door: identity.Door) -> Actor | identity.Rejection:
        """Which device is calling on the web door, or why nobody is let in."""
        return identity.admit_web(caller, door, self._known(caller.certificate), self._parts.clock())

    def admit_token(self, token: str, address: str, door: identity.Door) -> Actor | identity.Rejection:
        """Which service shows *token*, or why nobody is let in."""
        return admit_token(token, address, door, self._tokens, self._parts.clock())

    def _known(self, certificate: bytes | None) -> identity.Devices:
        """The devices among which to look; the revoked ones for a certificate of theirs, so that the trail names it."""
        if certificate is None:
            return self._lookup
        shown = identity.fingerprint(certificate)
        revoked = self._lookup.with_certificate(shown) is None and self._revoked.with_certificate(shown) is not None
        return self._revoked if revoked else self._lookup

    def actor(self, name: str) -> Actor | None:
        """The device *name* as the recipient of a transfer, if its entry is in force."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        device = self._devices[name]
        found = identity.recipient(entry, f"{device.move_host}:{device.move_port}", self._parts.clock())
        return found if isinstance(found, Actor) else None

    def address(self, name: str) -> MoveDestination | None:
        """Where the device *name* is called, if its entry is in force and has an address."""
        entry = self._entries.get(name)
        if entry is None or self.actor(name) is None:
            return None
        return self.destination(entry.ae_title)

    def has_certificate(self, name: str) -> bool:
        """Whether the device proves itself by a certificate: not on the plaintext door."""
        entry = self._entries.get(name)
        return entry is not None and bool(entry.certificates)

    def destination(self, ae_title: str) -> MoveDestination | None:
        """The device that takes C-MOVE transfers under *ae_title*."""
        entry = self._lookup.with_ae_title(ae_title)
        if entry is None or not entry.receives:
            return None
        device = self._devices[entry.name]
        return MoveDestination(
            name=entry.name,
            ae_title=entry.ae_title,
            host=device.move_host,
            port=device.move_port,
            certificate_fingerprints=frozenset(one.fingerprint for one in entry.certificates),
        )

    def still_admitted(self, actor: Actor) -> bool:
        """Whether the entry or token behind an open session is still in force."""
        match actor.kind:
            case ActorKind.DEVICE:
                entry = self._entries.get(actor.name)
                return entry is not None and entry.state is identity.DeviceState.ACTIVE
            case ActorKind.SERVICE:
                token = self._tokens.named(actor.name)
                return token is not None and token.holds(self._parts.clock())
            case ActorKind.HOST | ActorKind.SYSTEM:
                return True
            case ActorKind.PERSON | ActorKind.LINK:
                return False  # there are none yet

    def private_sop_classes(self, name: str) -> frozenset[str]:
        """Private SOP classes the device may store."""
        device = self._devices.get(name)
        return device.private_sop_classes if device is not None else frozenset()

    def duplicate_is_success(self, name: str) -> bool:
        """Whether the device is told success where another content is known under its UID."""
        device = self._devices.get(name)
        return device is not None and device.duplicates is devices.Duplicates.SUCCESS

    def idle_seconds(self, name: str) -> float | None:
        """The device's own idle deadline."""
        device = self._devices.get(name)
        return None if device is None or device.idle_seconds is None else float(device.idle_seconds)

    def max_associations(self, name: str) -> int | None:
        """How many associations the device may have at a time, unless the general number is meant."""
        device = self._devices.get(name)
        return None if device is None else device.max_associations

    @property
    def count(self) -> int:
        """Devices that are not revoked."""
        return sum(device.state is not devices.State.REVOKED for device in self._devices.values())

    def scope(self, actor: Actor) -> catalogue_scope.Scope:
        """The actor's scope as the catalogue compiles it."""
        if actor.kind is ActorKind.HOST:
            return catalogue_scope.EVERYTHING
        scope = actor.scope
        if scope.everything:
            return catalogue_scope.EVERYTHING
        if scope.nothing or scope.departments:
            # labels of departments are not kept yet: a scope that names one reaches nothing rather than too much
            return catalogue_scope.NOTHING
        return catalogue_scope.Scope.of(
            studies=scope.studies,
            sending_devices=scope.sending_devices,
            issuers_of_patient_id=scope.issuers_of_patient_id,
        )


def _entry(connection: apsw.Connection, device: devices.Device) -> identity.DeviceEntry:
    issued = certificates.of_device(connection, device.name)
    if device.state is devices.State.REVOKED:
        issued = certificates_of_device(connection, device.name)  # for the trail to know whose they were
    return identity.DeviceEntry(
        name=device.name,
        ae_title=device.ae_title,
        actions=frozenset(Action(action) for action in device.actions),
        scope=policy_scope(device.scope),
        certificates=tuple(
            identity.Certificate(
                one.fingerprint, datetime.fromtimestamp(one.not_before, UTC), datetime.fromtimestamp(one.expires, UTC)
            )
            for one in issued
        ),
        networks=identity.parse_networks(device.networks),
        doors=device.doors,
        state=identity.DeviceState(device.state.value),
        expires=device.expires,
        receives=device.receives,
        destinations=device.destinations,
        user_identity_type=device.user_identity_type,
    )


def _token(token: tokens.Token) -> TokenEntry:
    return TokenEntry(
        name=token.name,
        digest=token.digest,
        roles=token.roles,
        created=datetime.fromtimestamp(token.created_at, UTC),
        expires=datetime.fromtimestamp(token.expires, UTC),
        scope=policy_scope(token.scope),
        revoked=token.revoked_at is not None,
    )


def policy_scope(scope: Mapping[str, object]) -> PolicyScope:
    """The scope of an entry as the policy knows it; an empty object is no scope at all."""

    def names(key: str) -> frozenset[str]:
        value = scope.get(key)
        return frozenset(str(one) for one in value) if isinstance(value, list) else frozenset()

    return PolicyScope(
        everything=scope.get("everything") is True,
        studies=names("studies"),
        sending_devices=names("sending_devices"),
        departments=names("departments"),
        issuers_of_patient_id=names("issuers_of_patient_id"),
    )
