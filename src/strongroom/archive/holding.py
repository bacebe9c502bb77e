"""Legal holds: what a person says must stay, stays; deleting and erasing it is refused until somebody releases it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.policy import is_written_reason
from strongroom.access.roles import Action
from strongroom.archive import places, recording
from strongroom.archive.acts import Change
from strongroom.audit.codes import EventType
from strongroom.errors import ConfigurationError, NotFound
from strongroom.register import holds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from strongroom.archive.core import Core
    from strongroom.archive.session import Session

MAX_HELD_AT_ONCE: Final = 1_000
"""Studies of one command."""
MAX_REASON: Final = 1_024
"""Characters of a reason: a sentence or two."""


@final
class Holding:
    """The keepers' tools for holds, behind a session."""

    def __init__(self, core: Core, session: Session) -> None:
        self._core = core
        self._session = session

    async def add(self, studies: Sequence[str], *, reason: str, until: str | None) -> list[dict[str, Any]]:
        """Put studies on hold; raises NotFound when one of them is not here, ConfigurationError for what is asked."""
        await self._session.require(Action.CUSTODY)
        uids = checked_studies(studies, reason)
        now = self._core.parts.clock()
        expires = None if until is None else _end_of(until)
        if expires is not None and expires <= now.timestamp():
            raise ConfigurationError("--until lies in the past; a hold ends at the end of that day (UTC)")
        who = recording.party(self._session.actor)

        def change(connection: apsw.Connection) -> list[int]:
            must_be_here(connection, uids)
            at = now.timestamp()
            actor = f"{who.kind}:{who.name}"
            return [holds.add(connection, uid, reason=reason, actor=actor, at=at, expires=expires) for uid in uids]

        messages = [
            self._core.parts.reporter.changed(
                now,
                who,
                EventType.LEGAL_HOLD,
                f"urn:strongroom:study:{uid}",
                "a study was put on legal hold",
                ("Hold reason", reason),
            )
            for uid in uids
        ]
        numbers = await self._core.committer.submit(Change(change, messages))
        return [{"id": number, "study": uid} for number, uid in zip(numbers, uids, strict=True)]

    async def release(self, number: int, *, reason: str) -> dict[str, Any]:
        """End a hold; raises NotFound when none of that number is in force."""
        await self._session.require(Action.CUSTODY)
        checked_reason(reason)
        now = self._core.parts.clock()
        who = recording.party(self._session.actor)

        def change(connection: apsw.Connection) -> str:
            study = holds.release(connection, number, actor=f"{who.kind}:{who.name}", at=now.timestamp())
            if study is None:
                raise NotFound(f"no hold {number} is in force; `strongroom hold list` shows them")
            return study

        message = self._core.parts.reporter.changed(
            now,
            who,
            EventType.LEGAL_HOLD,
            f"urn:strongroom:hold:{number}",
            "a legal hold was released",
            ("Hold reason", reason),
        )
        return {"id": number, "study": await self._core.committer.submit(Change(change, (message,)))}

    async def listed(self) -> list[dict[str, Any]]:
        """The holds, the newest first; ended ones too."""
        await self._session.require(Action.REVIEW)
        now = self._core.parts.clock().timestamp()

        def read() -> list[dict[str, Any]]:
            with self._core.parts.database.reader() as connection:
                return [
                    {
                        "id": one.id,
                        "study": one.study_instance_uid,
                        "state": "active" if one.is_active(now) else ("released" if one.released_at else "expired"),
                        "since": when(one.at),
                        "who": one.actor,
                        "reason": one.reason,
                        "until": when(one.expires),
                        "released": when(one.released_at),
                        "released_by": one.released_by,
                    }
                    for one in holds.listed(connection)
                ]

        return await asyncio.to_thread(read)


def checked_reason(reason: str) -> None:
    """Raises ConfigurationError unless *reason* can pass for one."""
    if not is_written_reason(reason) or len(reason) > MAX_REASON:
        raise ConfigurationError(f"say why with --reason, a word at least and {MAX_REASON} characters at most")


def checked_studies(studies: Sequence[str], reason: str) -> list[str]:
    """The studies in their order, once each; raises ConfigurationError."""
    checked_reason(reason)
    uids = list(dict.fromkeys(studies))
    if not 0 < len(uids) <= MAX_HELD_AT_ONCE:
        raise ConfigurationError(f"name 1 to {MAX_HELD_AT_ONCE} studies by their Study Instance UID")
    return uids


def must_be_here(connection: apsw.Connection, uids: Sequence[str]) -> None:
    """Raises NotFound for a study of which nothing is here: a UID that was mistyped protects and erases nothing."""
    for number, uid in enumerate(uids, 1):
        if not places.of_study(connection, uid):
            raise NotFound(f"study {number} of those named is not here; nothing was changed")


def when(timestamp: float | None) -> str | None:
    """A point in time as results have it."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")


def _end_of(day: str) -> float:
    try:
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as wrong:
        raise ConfigurationError("--until is a day, such as 2031-12-31") from wrong
    return start.timestamp() + 86_400
