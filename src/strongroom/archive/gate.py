"""
The gate: the only maker of sessions (DESIGN section 2, decision 3).

1. A device is who its certificate, AE title, network and door say together (access.identity); a refusal is durable in
   the trail before the caller hears of it, and every caller hears the same.
2. The host is who the kernel says runs the command; it has no patient data without a written reason.
3. The system is the archive itself, for its own named tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from strongroom.access.identity import Caller, Door, Rejection
from strongroom.access.policy import EVERYTHING, Actor
from strongroom.access.roles import SYSTEM_TASKS, ActorKind
from strongroom.archive import recording
from strongroom.archive.acts import Change, Note
from strongroom.archive.credentials import Credential, DeviceCredential, HostCredential
from strongroom.archive.session import Session
from strongroom.errors import AccessDenied
from strongroom.register import callers, devices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from strongroom.archive.core import Core
    from strongroom.archive.directory import Directory

SEEN_SECONDS = 60.0
"""How often a device's "last seen" is written: not with every association."""


@final
class Gate:
    """Admits callers; holds the doors' rules and the directory of who is enrolled."""

    def __init__(self, core: Core, directory: Directory, doors: Mapping[str, Door]) -> None:
        self._core = core
        self._directory = directory
        self._doors = doors
        self._seen: dict[str, float] = {}

    async def admit(self, credential: Credential) -> Session:
        """Return a session, or raise AccessDenied once the refusal is recorded."""
        if isinstance(credential, DeviceCredential):
            return await self._admit_device(credential)
        if isinstance(credential, HostCredential):
            actor = Actor(
                ActorKind.HOST,
                f"uid {credential.uid}",
                scope=EVERYTHING,
                address="localhost",
                written_reason=credential.reason or "",
            )
            return Session(self._core, self._directory, actor)
        if credential.task in SYSTEM_TASKS:
            return Session(self._core, self._directory, Actor(ActorKind.SYSTEM, credential.task, scope=EVERYTHING))
        raise AccessDenied("unknown-credential")

    async def _admit_device(self, credential: DeviceCredential) -> Session:
        door = self._doors.get(credential.door)
        if door is None:
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
            await self._reject(credential, found)
            raise AccessDenied(found.reason.value)
        await self._note_seen(found.name)
        return Session(self._core, self._directory, found)

    async def _reject(self, credential: DeviceCredential, rejection: Rejection) -> None:
        parts = self._core.parts
        at = parts.clock().timestamp()
        change = Change(
            lambda connection: callers.note(
                connection,
                address=credential.address,
                ae_title=credential.calling_ae_title,
                door=credential.door,
                reason=rejection.reason.value,
                at=at,
                fingerprint=rejection.fingerprint,
            ),
            (recording.not_admitted(parts, credential, rejection),),
        )
        await self._core.committer.submit(change)

    async def turned_away(self, door: str, address: str, port: int, reason: str) -> None:
        """Record a connection that came to no association request: TLS, a deadline or a quota ended it."""
        parts = self._core.parts
        message = recording.turned_away(parts, door, f"{address}:{port}", reason)
        at = parts.clock().timestamp()
        await self._core.committer.submit(
            Change(
                lambda connection: callers.note(
                    connection, address=address, ae_title="", door=door, reason=reason, at=at
                ),
                (message,),
            )
        )

    async def turned_away_again(self, kind: tuple[str, ...], times: int, since: datetime) -> None:
        """
        Record how often the same happened once more: (address, door, reason), or nothing when there were too many
        kinds.
        """
        await self._core.committer.submit(Note((recording.turned_away_again(self._core.parts, kind, times, since),)))

    async def _note_seen(self, name: str) -> None:
        now = self._core.parts.clock().timestamp()
        if now - self._seen.get(name, 0.0) < SEEN_SECONDS:
            return
        self._seen[name] = now
        await self._core.committer.submit(Change(lambda connection: devices.seen(connection, name, at=now), ()))
