"""What the trail says of a rotation of the master key; the policy is asked before anything begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.audit.codes import EventType

if TYPE_CHECKING:
    from strongroom.archive.core import Core
    from strongroom.archive.session import Session


@final
class Rotation:
    """Asks and records, for *session*; the files are `app.rotating`'s part, with the archive closed."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def begin(self) -> None:
        """Ask the policy and record that it begins; raises AccessDenied."""
        await self._session.require(Action.ADMINISTER)
        await self._record("rotation of the master key begun")

    async def done(self, old: str, new: str) -> None:
        """Record the change; *old* and *new* are fingerprints."""
        await self._record("master key replaced", ("Before", old), ("Now", new))

    async def _record(self, what: str, *details: tuple[str, str]) -> None:
        parts = self._core.parts
        who = recording.party(self._session.actor)
        message = parts.reporter.changed(
            parts.clock(), who, EventType.KEY_ROTATED, "urn:strongroom:master-key", what, *details
        )
        await self._core.committer.submit(Note((message,)))
