"""
The scrub: every blob is opened and compared again and again, in the background, the one that waits longest first.

A blob is due three quarters of a period after it was last looked at, so that the last one is done within the period.
It reads no faster than it is told to, and stands aside while images come in.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from strongroom.archive.proving import BATCH, Proving, look_at, remember
from strongroom.catalogue import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.archive.blobs import Blob
    from strongroom.archive.core import Core
    from strongroom.archive.job_task import Task

SCRUB: Final = "scrub"
EVERY_SECONDS: Final = 3_600.0
"""How often it is looked whether anything is due."""
FIRST_SECONDS: Final = 60.0
"""And after the first start of all: a new archive has nothing to scrub, a restored one has."""
DUE: Final = 0.75
ASIDE_SECONDS: Final = 1.0
"""After the last write of a deposit it waits so long."""
REPORT_SECONDS: Final = 10.0
"""How often it says how far it is, which also keeps its lease."""


def handler(core: Core, *, days: float, bytes_per_second: float) -> Callable[[Task], Any]:
    """The handler of `scrub` jobs."""

    async def do(task: Task) -> None:
        parts, loop = core.parts, asyncio.get_running_loop()
        before = parts.clock().timestamp() - days * 86_400 * DUE
        with parts.database.reader() as connection:
            total = places.due_count(connection, before=before)[0]
        coming, done, good, reported = Proving(parts, before=before).blobs(), 0, [], loop.time()
        while (blob := await asyncio.to_thread(next, coming, None)) is not None:
            await _stand_aside(core, task, done, total)
            began = loop.time()
            if await scrub_one(core, blob):
                good.append(blob)
            done += 1
            if len(good) >= BATCH:
                await remember(core, good)
                good = []
            if loop.time() - reported > REPORT_SECONDS:
                await task.progress(done, max(total, done))
                reported = loop.time()
            await asyncio.sleep(max(0.0, blob.location.length / bytes_per_second - (loop.time() - began)))
        await remember(core, good)
        await task.progress(done, max(total, done))

    return do


async def scrub_one(core: Core, blob: Blob) -> bool:
    """Look at one blob; when it is damaged, the trail names it and a healing job is made."""
    finding = await asyncio.to_thread(look_at, core.parts, blob)
    if finding is None:
        return True
    await core.damage.report(blob.blob_id, blob.sop_instance_uid, blob.location.pack, served=False)
    return False


async def _stand_aside(core: Core, task: Task, done: int, total: int) -> None:
    loop = asyncio.get_running_loop()
    reported = loop.time()
    while loop.time() - core.committer.last_write < ASIDE_SECONDS or core.committer.busy_senders:
        await asyncio.sleep(ASIDE_SECONDS / 4)
        if loop.time() - reported > REPORT_SECONDS:
            await task.progress(done, max(total, done))
            reported = loop.time()
