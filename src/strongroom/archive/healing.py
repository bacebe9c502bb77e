"""
Blobs that are not what was written: reported once, never served, and made right from a copy where there is one.

Healing goes by whole packs (vault.heal), one at a time under `core.upkeep`; an open pack is closed first, by the
committer, so that nothing is appended to what is being replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.archive.acts import Change, Note
from strongroom.audit.codes import EventType
from strongroom.catalogue import places
from strongroom.errors import OutOfResources, StrongroomError
from strongroom.register import jobs
from strongroom.register import places as kept
from strongroom.vault.heal import Healing, heal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from strongroom.archive.committer import Group
    from strongroom.archive.core import Core
    from strongroom.archive.job_task import Task
    from strongroom.audit.message import AuditMessage
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.vault.heal import PackSource

HEAL: Final = "heal"
"""The kind of job that heals a pack from the second vault; its payload: {"pack": number}."""
MAX_REPORTED: Final = 10_000
"""Damaged blobs remembered as reported; after so many the oldest knowledge is dropped and they are named again."""


@final
class Damage:
    """Hears of damaged blobs from any thread, and tells the trail of each of them once."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._reported: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def met(self, row: InstanceRow, served: bool) -> None:  # noqa: FBT001 -- the form of `Parts.damaged`
        """A blob did not open; *served*: its copy is read instead."""
        with contextlib.suppress(RuntimeError):  # the loop ended: nobody is left to ask for it either
            self._loop.call_soon_threadsafe(self._begin, row.blob_id, row.sop_instance_uid, row.location.pack, served)

    def _begin(self, blob_id: bytes, sop_instance_uid: str, pack: int, served: bool) -> None:  # noqa: FBT001
        task = self._loop.create_task(self._quietly(blob_id, sop_instance_uid, pack, served=served))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, blob_id: bytes, sop_instance_uid: str, pack: int, *, served: bool) -> None:
        with contextlib.suppress(StrongroomError):  # the next one who meets it tries again
            await self.report(blob_id, sop_instance_uid, pack, served=served)

    async def report(self, blob_id: bytes, sop_instance_uid: str, pack: int, *, served: bool) -> None:
        """Record that a blob is damaged, unless that was recorded already, and ask for healing."""
        if blob_id in self._reported:
            return
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(blob_id)
        try:
            await alert(self._core, sop_instance_uid, pack, served=served)
        except StrongroomError:
            self._reported.discard(blob_id)
            raise

    def healed(self) -> None:
        """Something was made right: what is damaged from now on is news."""
        self._reported.clear()

    async def settle(self) -> None:
        """Wait until everything that was met is recorded."""
        await asyncio.sleep(0)
        while self._tasks:
            await asyncio.wait(self._tasks)


async def alert(core: Core, sop_instance_uid: str, pack: int, *, served: bool) -> None:
    """Record a Security Alert that names an instance whose bytes are damaged, and ask for healing in the same group."""
    parts = core.parts
    at = parts.clock()
    text = "the stored bytes of an instance are not what was written; "
    text += "they are read from the second vault" if served else "they are not served"
    subject = f"urn:strongroom:instance:{sop_instance_uid}"
    message = parts.reporter.alert(at, EventType.INTEGRITY, subject, text, ("Pack", str(pack)))

    def change(connection: apsw.Connection) -> None:
        if parts.second is not None:
            jobs.enqueue(connection, HEAL, {"pack": pack}, at=at.timestamp(), key=f"pack {pack}")

    await core.committer.submit(Change(change, (message,)))
    if parts.second is not None:
        core.jobs.wake()


@final
class ClosePack:
    """Close an open pack before its time; the result says whether it is closed."""

    __slots__ = ("_pack", "result")
    size = 0

    def __init__(self, pack: int) -> None:
        self._pack = pack
        self.result = False

    def write(self, group: Group) -> None:
        """In the committer's thread nobody appends meanwhile."""
        self.result = group.parts.vault.close_pack(self._pack)

    def index(self, group: Group) -> None:
        """Nothing for the database."""

    def records(self, group: Group) -> Sequence[AuditMessage]:  # noqa: ARG002 -- the form of an act
        """Nothing for the trail: nothing changes for anybody."""
        return ()


async def plan(core: Core, pack: int, sources: Sequence[PackSource]) -> Healing:
    """Say what could be made right in a pack; an open one is looked at as it would be closed."""
    if pack in core.parts.vault.open_packs():
        return Healing(pack, refused="records are still added to it: it is closed first")
    return await asyncio.to_thread(_heal, core, pack, sources, apply=False)


async def heal_pack(core: Core, pack: int, sources: Sequence[PackSource]) -> Healing:
    """Make a pack right from *sources*, as far as they hold what is damaged; raises OutOfResources."""
    async with core.upkeep:
        if not await core.committer.submit(ClosePack(pack)):
            return Healing(pack, refused="a long instance is just being written to it; try again later")
        healing = await asyncio.to_thread(_heal, core, pack, sources, apply=True)
        if healing.changes:
            core.parts.vault.forget(pack)
            core.damage.healed()
            await core.committer.submit(Note((_message(core, healing),)))
    return healing


def _heal(core: Core, pack: int, sources: Sequence[PackSource], *, apply: bool) -> Healing:
    vault = core.parts.vault
    with core.parts.database.reader() as connection:
        expected = {row.offset: row.blob_id for row in places.in_pack(connection, pack)}
        expected |= {row[3]: row[2] for row in kept.in_pack(connection, pack)}
    return heal(vault.medium, vault.root, pack, sources, expected=expected, apply=apply)


def _message(core: Core, healing: Healing) -> AuditMessage:
    parts = core.parts
    made = [f"{len(healing.records)} records"] if healing.records else []
    made += ["its header"] if healing.header else []
    made += ["its index"] if healing.index else []
    return parts.reporter.alert(
        parts.clock(),
        EventType.INTEGRITY,
        f"urn:strongroom:pack:{healing.pack}",
        f"a damaged pack was made right: {', '.join(made)}",
        ("Still lost", str(len(healing.lost))),
    )


def handler(core: Core) -> Callable[[Task], Any]:
    """The handler of `heal` jobs."""

    async def do(task: Task) -> None:
        source = core.parts.second
        if source is None:
            return  # the second vault was taken away; what is lost is named by `check`
        healing = await heal_pack(core, int(task.payload["pack"]), (source,))
        if healing.lost or healing.index_lost:
            raise OutOfResources(f"pack {healing.pack} is not whole yet: the second vault does not hold all of it")
        if healing.refused:
            raise OutOfResources(f"pack {healing.pack} was not healed: {healing.refused}")

    return do


__all__ = ["HEAL", "ClosePack", "Damage", "alert", "handler", "heal_pack", "plan"]
