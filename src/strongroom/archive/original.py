"""
A file that begins as a program or another document, as it came (PS3.10 §7.5, SECURITY C30, F01, F02): its bytes are
taken beside the deposit of its data set, and kept sealed in quarantine with the instance they belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from strongroom.archive import recording
from strongroom.archive.deposit import Deposit
from strongroom.dicom.uid import EXPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from strongroom.access.policy import Actor
    from strongroom.archive.core import Core
    from strongroom.dicom.model import Identity

__all__ = ["Original"]


@final
class Original:
    """Use: `await begin`, `await feed` everything, then `await keep(identity)` or `await forget()`."""

    __slots__ = ("_core", "_deposit", "_open")

    def __init__(self, core: Core, actor: Actor) -> None:
        self._core = core
        self._deposit = Deposit(
            core, actor, sop_class_uid="", sop_instance_uid="", transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN
        )
        self._deposit.take_unread()
        self._open = True

    @classmethod
    async def begin(cls, core: Core, actor: Actor) -> Original:
        """Begin one; waits while there are as many as are taken at once."""
        await core.originals.acquire()
        return cls(core, actor)

    async def feed(self, view: memoryview) -> None:
        """Take the next bytes of the file, and wait until more may come."""
        self._deposit.feed(view)
        await self._deposit.ready()

    async def keep(self, identity: Identity | None) -> None:
        """Make it durable in quarantine, as belonging to the instance *identity*; raises OutOfResources."""
        try:
            await self._deposit.keep(identity, recording.DISGUISED)
        finally:
            self._release()

    async def forget(self) -> None:
        """Drop it; nothing happens when it was kept."""
        try:
            await self._deposit.forget()
        finally:
            self._release()

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._core.originals.release()
