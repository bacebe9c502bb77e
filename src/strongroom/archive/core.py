"""
What the archive is made of, held together: vault, keyring, database, trail, and the one committer that writes to them.

`app` builds it and gives it to the gate alone; front doors never see it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from strongroom.archive.committer import Committer
    from strongroom.archive.fragments import Fragments
    from strongroom.archive.jobs import Jobs
    from strongroom.audit.report import Reporter
    from strongroom.audit.trail import Trail
    from strongroom.catalogue.record import Recorder
    from strongroom.dicom.limits import Limits
    from strongroom.ground.database import Database
    from strongroom.ground.keyring import Keyring
    from strongroom.ground.medium import Medium
    from strongroom.vault.pack import Lease, Vault

MAX_LEASES = 8
"""
Packs that long instances write to at once; a ninth long instance waits (back-pressure) instead of opening one more
file.
"""


@final
@dataclass(slots=True)
class Parts:
    """The parts that hold state; only the committer's thread writes to them (the keyring guards itself)."""

    ae_title: str
    vault: Vault
    keyring: Keyring
    database: Database
    trail: Trail
    trail_root: str
    trail_key: bytes
    medium: Medium
    recorder: Recorder
    reporter: Reporter
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    header_limits: Limits


@final
@dataclass(slots=True)
class Core:
    """Parts, committer and the few things that go beside them."""

    parts: Parts
    committer: Committer
    fragments: Fragments = field(init=False)
    jobs: Jobs = field(init=False)
    leases: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_LEASES))
    upkeep: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whatever removes or replaces files of the vault, and by whatever copies them: one at a time."""

    async def lease(self, blob_id: bytes, key_id: bytes) -> Lease:
        """Take a pack for a long instance; waits while all are taken."""
        await self.leases.acquire()
        taking = asyncio.ensure_future(asyncio.to_thread(self.parts.vault.lease, blob_id, key_id))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # the thread goes on: what it takes is given back, by nobody else
            taking.add_done_callback(self._give_back)
            raise
        except BaseException:
            self.leases.release()
            raise

    async def end_lease(self, lease: Lease) -> None:
        """Give the pack back; what was written stays as skippable dead bytes unless the lease was finished."""
        try:
            await asyncio.to_thread(lease.abandon)
        finally:
            self.leases.release()

    def _give_back(self, taken: asyncio.Future[Lease]) -> None:
        if not taken.cancelled() and taken.exception() is None:
            taken.result().abandon()
        self.leases.release()
