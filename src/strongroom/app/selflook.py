"""
The look at our own doors from outside, at start and every hour: what would a stranger get?

Made with the survey's probes (`exposure`). Our knocks are known by the address they come from, so they are neither
throttled nor taken for an attack, and the trail says that it was us. A door that lets a stranger in is shut at once
and reported.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, final

from strongroom.app.assembly import WEB_DOOR
from strongroom.archive.acts import Note
from strongroom.audit.codes import EventType, Outcome
from strongroom.exposure.probes import Look, look_at
from strongroom.exposure.territory import Host, Territory
from strongroom.exposure.web_probes import look_at_web

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive

EVERY_SECONDS = 3600.0
_REMEMBERED = 64
"""Own source ports remembered: a few looks' worth, so that a port used again by somebody else is soon nobody's."""


class Doors(Protocol):
    """What the look needs of the server."""

    def open_doors(self) -> list[dict[str, Any]]:
        """Doors that are open now."""

    async def shut(self, name: str, evidence: str) -> None:
        """Shut a door."""

    def looked(self, name: str, evidence: str, when: datetime) -> None:
        """Keep what was seen."""


@final
class SelfLook:
    """Looks, records, and shuts what has to be shut."""

    def __init__(self, archive: Archive, doors: Doors) -> None:
        self._archive = archive
        self._doors = doors
        self._own: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)

    def is_own(self, caller: tuple[str, int]) -> bool:
        """Whether a connection from *caller* is one of our own knocks."""
        return caller in self._own

    async def once(self) -> None:
        """Look at every open door."""
        doors = self._doors.open_doors()
        hosts = []
        for door in doors:
            host, _, port = door["address"].rpartition(":")
            hosts.append((door["name"], host.strip("[]"), int(port)))
        looks = await asyncio.gather(*(self._look(host) for host in Territory.own_doors(hosts)))
        for look in looks:
            await self._judge(look)

    async def hourly(self) -> None:
        """Look again every hour."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.once()

    async def _look(self, host: Host) -> Look:
        if host.label == WEB_DOOR:
            name = self._archive.config.web.names[0]
            return await look_at_web(host, name=name, announce=self._own.append, entropy=os.urandom)
        return await look_at(
            host, called=self._archive.config.dicom.ae_title, announce=self._own.append, entropy=os.urandom
        )

    async def _judge(self, look: Look) -> None:
        parts = self._archive.core.parts
        name, when = look.host.label, parts.clock()
        subject = f"urn:strongroom:door:{name}"
        if look.open:
            await self._doors.shut(name, look.summary)
            message = parts.reporter.alert(
                when, EventType.DOOR_SHUT, subject, f"a stranger got in, the door was shut: {look.summary}"
            )
        else:
            description = f"our own look at the door from outside: {look.summary}"
            message = parts.reporter.alert(when, EventType.SELF_LOOK, subject, description, severity=Outcome.SUCCESS)
        self._doors.looked(name, look.summary, when)
        await self._archive.core.committer.submit(Note((message,)))
