"""
The gate: the only maker of sessions (DESIGN section 2, decision 3).

1. A device is who its certificate, AE title, network and door say together (access.identity); on the web door its
   certificate, network and door. A service is who its token says (access.tokens).
2. A refusal is durable in the trail before the caller hears of it, unless the same was refused many times within the
   minute: then it is counted (archive.refusals). Every caller hears the same.
3. The host is who the kernel says runs the command; it has no patient data without a written reason.
4. The system is the archive itself, for its own named tasks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, final

from strongroom.access.identity import Caller, Door, DoorKind, Rejection, WebCaller
from strongroom.access.policy import ARCHIVE, EVERYTHING, Actor, Refusal, decide
from strongroom.access.roles import SYSTEM_TASKS, Action, ActorKind
from strongroom.archive import recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.credentials import (
    Credential,
    DeviceCredential,
    HostCredential,
    SystemCredential,
    TokenCredential,
    WebCertificateCredential,
)
from strongroom.archive.refusals import Kind, Refusals, noted
from strongroom.archive.session import Session
from strongroom.errors import AccessDenied, StrongroomError
from strongroom.register import devices, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.archive.core import Core
    from strongroom.archive.directory import Directory

SEEN_SECONDS = 60.0
"""How often a device's "last seen" and a token's "last used" are written: not with every association or request."""
LOGIN_SECONDS = 3600.0
"""A service that goes on using its token from one address is recorded as signed in again after so long."""
MAX_LOGINS = 4096
"""Pairs of token and address remembered for that; beyond, the one recorded longest ago is recorded anew."""


def require_of_host(uid: int, action: Action) -> None:
    """
    Raise AccessDenied unless the host may do *action* to the archive as a whole.

    For what works on a home that cannot be opened: `rebuild`. Whatever it did is recorded by a session afterwards.
    """
    decision = decide(Actor(ActorKind.HOST, f"uid {uid}", scope=EVERYTHING, address="localhost"), action, ARCHIVE)
    if isinstance(decision, Refusal):
        raise AccessDenied(decision.reason.value)


@final
class Gate:
    """Admits callers; holds the doors' rules and the directory of who is enrolled."""

    def __init__(self, core: Core, directory: Directory, doors: Mapping[str, Door]) -> None:
        self._core = core
        self._directory = directory
        self._doors = doors
        self._seen: dict[tuple[ActorKind, str], float] = {}
        self._logins: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.refusals = Refusals(core)
        """What doors report of callers that came to no request goes to its `turned_away`, which never waits."""

    async def admit(self, credential: Credential) -> Session:
        """Return a session, or raise AccessDenied once the refusal is recorded."""
        match credential:
            case DeviceCredential():
                return await self._admit_device(credential)
            case TokenCredential():
                return await self._admit_token(credential)
            case WebCertificateCredential():
                return await self._admit_web_certificate(credential)
            case HostCredential():
                return self._session(
                    Actor(
                        ActorKind.HOST,
                        f"uid {credential.uid}",
                        scope=EVERYTHING,
                        address="localhost",
                        written_reason=credential.reason or "",
                    )
                )
            case SystemCredential() if credential.task in SYSTEM_TASKS:
                return self._session(Actor(ActorKind.SYSTEM, credential.task, scope=EVERYTHING))
        raise AccessDenied("unknown-credential")

    def _session(self, actor: Actor) -> Session:
        return Session(self._core, self._directory, actor)

    async def _admit_device(self, credential: DeviceCredential) -> Session:
        door = self._doors.get(credential.door)
        if door is None or door.kind is DoorKind.WEB:
            raise AccessDenied("unknown-door")
        caller = Caller(
            calling_ae_title=credential.calling_ae_title,
            called_ae_title=credential.called_ae_title,
            address=credential.address,
            encrypted=credential.encrypted,
            certificate=credential.certificate,
            user_identity_type=credential.user_identity_type,
        )
        found = self._directory.admit(caller, door)
        if isinstance(found, Rejection):
            await self._reject(credential, found, ae_title=credential.calling_ae_title)
            raise AccessDenied(found.reason.value)
        await self._note_seen(found)
        return self._session(found)

    async def _admit_token(self, credential: TokenCredential) -> Session:
        found = self._directory.admit_token(credential.token, credential.address, self._web_door(credential.door))
        if isinstance(found, Rejection):
            await self._reject(credential, found)
            await self.refusals.slow(credential.address)
            raise AccessDenied(found.reason.value)
        await self._note_login(found)
        await self._note_seen(found)
        return self._session(found)

    async def _admit_web_certificate(self, credential: WebCertificateCredential) -> Session:
        caller = WebCaller(credential.address, credential.certificate)
        found = self._directory.admit_web(caller, self._web_door(credential.door))
        if isinstance(found, Rejection):
            await self._reject(credential, found)
            await self.refusals.slow(credential.address)
            raise AccessDenied(found.reason.value)
        await self._note_seen(found)
        return self._session(found)

    def _web_door(self, name: str) -> Door:
        door = self._doors.get(name)
        if door is None or door.kind is not DoorKind.WEB:
            raise AccessDenied("unknown-door")
        return door

    async def _reject(
        self,
        credential: DeviceCredential | TokenCredential | WebCertificateCredential,
        rejection: Rejection,
        *,
        ae_title: str = "",
    ) -> None:
        parts = self._core.parts
        kind = Kind(credential.address, credential.door, rejection.reason.value)
        if isinstance(credential, TokenCredential):
            message = recording.not_signed_in(parts, credential, rejection)
        else:
            message = recording.not_admitted(parts, credential, rejection, ae_title)
        change = noted(kind, parts.clock(), message, ae_title=ae_title, fingerprint=rejection.fingerprint)
        await self.refusals.refuse(kind, change)

    async def turned_away(self, door: str, address: str, port: int, reason: str) -> None:
        """Record one who asked without a credential (`NoCredential`), before it is answered; counted as the others."""
        parts = self._core.parts
        message = recording.turned_away(parts, door, f"{address}:{port}", reason)
        kind = Kind(address, door, reason)
        await self.refusals.refuse(kind, noted(kind, parts.clock(), message))

    async def _note_login(self, actor: Actor) -> None:
        """Record that a service uses its token from this address, for the first time or after an hour."""
        pair = (actor.name, actor.address)
        parts = self._core.parts
        now = parts.clock()
        if 0 <= now.timestamp() - self._logins.get(pair, 0.0) < LOGIN_SECONDS:
            return
        self._logins[pair] = now.timestamp()
        self._logins.move_to_end(pair)
        if len(self._logins) > MAX_LOGINS:
            self._logins.popitem(last=False)
        try:
            await self._core.committer.submit(Note((parts.reporter.authenticated(now, recording.party(actor)),)))
        except StrongroomError:
            self._logins.pop(pair, None)
            raise

    async def _note_seen(self, actor: Actor) -> None:
        now = self._core.parts.clock().timestamp()
        if now - self._seen.get((actor.kind, actor.name), 0.0) < SEEN_SECONDS:
            return
        self._seen[actor.kind, actor.name] = now
        seen = tokens.used if actor.kind is ActorKind.SERVICE else devices.seen
        await self._core.committer.submit(Change(lambda connection: seen(connection, actor.name, at=now), ()))
