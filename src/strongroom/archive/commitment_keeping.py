"""
Asking a device whether it keeps a study of ours, and listing every storage commitment, behind a session like everything
else.

A device is asked only about what it may have: its entry has to allow it to retrieve, and its scope bounds the list.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access.policy import Refusal, decide
from strongroom.access.roles import Action
from strongroom.archive import commitment_records as records
from strongroom.archive import recording
from strongroom.archive.committed import MAX_ASKED
from strongroom.catalogue import instances as catalogue
from strongroom.catalogue.query import Target
from strongroom.dicom import uid
from strongroom.dicom.model import Level
from strongroom.errors import ConfigurationError, NotFound
from strongroom.register import commitments as register

if TYPE_CHECKING:
    from strongroom.archive.core import Core
    from strongroom.archive.directory import Directory
    from strongroom.archive.session import Session
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.catalogue.scope import Scope

MAX_LISTED: Final = 1_000
"""Transactions listed at once, the newest."""


@final
class CommitmentKeeper:
    """The keepers' tools for storage commitment."""

    def __init__(self, core: Core, directory: Directory, session: Session) -> None:
        self._core = core
        self._directory = directory
        self._session = session

    async def ask(self, device: str, study_instance_uid: str) -> dict[str, Any]:
        """
        Ask *device* to answer for every instance of a study; its result comes later (`listed`, `shown`).

        Raises AccessDenied, NotFound, OutOfResources, and ConfigurationError when the device may not retrieve or the
        study is too long.
        """
        await self._session.require(Action.CUSTODY)
        theirs = self._directory.actor(device)
        if theirs is None:
            raise NotFound(f"there is no device {device!r} whose entry is in force")
        if isinstance(decide(theirs, Action.RETRIEVE), Refusal):
            raise ConfigurationError("the device may not retrieve, so it is not told what there is (--may)")
        rows = await asyncio.to_thread(self._rows, study_instance_uid, self._directory.scope(theirs))
        if not rows:
            raise NotFound("there is no such study")
        if len(rows) > MAX_ASKED:
            raise ConfigurationError(f"a study of {len(rows)} instances; a device is asked about {MAX_ASKED} at most")
        parts = self._core.parts
        messages = records.asked(parts, recording.party(self._session.actor), rows)
        transaction_uid = uid.from_random(parts.entropy(16))
        number = await self._core.commitments.request(device, transaction_uid, rows, messages)
        return {"id": number, "device": device, "transaction": transaction_uid, "instances": len(rows)}

    async def listed(self) -> dict[str, Any]:
        """The newest transactions of both directions, with their numbers of instances."""
        await self._session.require(Action.REVIEW)

        def read() -> list[dict[str, Any]]:
            with self._core.parts.database.reader() as connection:
                return [_described(one) for one in register.every(connection, limit=MAX_LISTED)]

        return {"commitments": await asyncio.to_thread(read)}

    async def shown(self, number: int) -> dict[str, Any]:
        """One transaction, with the instances that nobody answers for and why; raises NotFound."""
        await self._session.require(Action.REVIEW)

        def read() -> register.Commitment | None:
            with self._core.parts.database.reader() as connection:
                return register.find(connection, number)

        found = await asyncio.to_thread(read)
        if found is None:
            raise NotFound(f"there is no storage commitment {number}")
        failed = [
            {"sop_instance_uid": asked[1], "reason": f"{reason:04X}"}
            for asked, reason in zip(found.asked, found.reasons, strict=False)
            if reason
        ]
        return _described(found) | {"transaction": found.transaction_uid, "not_kept": failed}

    def _rows(self, study_instance_uid: str, scope: Scope) -> list[InstanceRow]:
        target = Target(Level.STUDY, study_instance_uids=(study_instance_uid,))
        with self._core.parts.database.reader() as connection:
            return catalogue.instances(connection, target, scope)


def _described(one: register.Commitment) -> dict[str, Any]:
    answer = one.state is register.State.OVER or (one.state is register.State.KNOWN and not one.ours)
    return {
        "id": one.id,
        "device": one.device,
        "asked_by": "us" if one.ours else "device",
        "state": one.state.value,
        "instances": one.items,
        "failed": one.failed if answer else None,
        "asked": _when(one.asked_at),
        "changed": _when(one.changed_at),
    }


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
