"""
`import`: DICOM files of this machine through `session.deposit`, a few at a time.

Symbolic links are not followed and nothing outside the named folder is read, whatever a DICOMDIR says (SECURITY F19).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from strongroom.archive import FileDeposit
from strongroom.errors import DataSetError, NotFound, StrongroomError, UnsupportedClassError

if TYPE_CHECKING:
    from strongroom.archive import Session

AT_ONCE = 4
"""Files under way together: they share group commits without much memory."""
_CHUNK = 256 * 1024


@final
@dataclass(slots=True)
class Tally:
    """What became of the files."""

    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    not_dicom: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files seen to their end."""
        return self.stored + self.duplicates + self.conflicts + self.not_dicom + len(self.refused)

    def result(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "stored": self.stored,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "not_dicom": self.not_dicom,
            "refused": self.refused,
        }


async def import_path(session: Session, path: str) -> AsyncGenerator[dict[str, Any]]:
    """Import *path*, a file or a folder; yields progress and the result."""
    root = Path(path)
    try:
        kind = (await asyncio.to_thread(root.lstat)).st_mode
    except OSError as error:
        raise NotFound(f"{path} cannot be read by the archive ({error.strerror})") from error
    files = [root] if stat.S_ISREG(kind) else await asyncio.to_thread(lambda: sorted(_files(root)))
    tally = Tally()
    yield {"progress": {"done": 0, "total": len(files)}}
    waiting = iter(files)
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            for file in waiting:
                running.add(asyncio.create_task(_import_file(session, file, root, tally)))
                if len(running) >= AT_ONCE:
                    break
            if not running:
                break
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            yield {"progress": {"done": tally.done, "total": len(files)}}
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    yield {"result": tally.result()}


def _files(root: Path) -> Iterator[Path]:
    """Regular files below *root*, links not followed."""
    for folder, _, names in os.walk(root, followlinks=False):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


async def _import_file(session: Session, file: Path, root: Path, tally: Tally) -> None:
    try:
        outcome = await _deposit(session, file)
    except (StrongroomError, OSError) as error:
        shown = str(file.relative_to(root)) if file != root else file.name
        tally.refused.append(
            {"file": shown, "reason": str(error) if isinstance(error, StrongroomError) else "cannot be read"}
        )
        return
    if outcome == "stored":
        tally.stored += 1
    elif outcome == "duplicate":
        tally.duplicates += 1
    elif outcome in ("conflict", "other-patient"):
        tally.conflicts += 1
    else:
        tally.not_dicom += 1


async def _deposit(session: Session, file: Path) -> str:
    """Feed one file; 'not DICOM' when it does not begin like one."""
    descriptor = await asyncio.to_thread(os.open, file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    deposit = FileDeposit(session)
    try:
        while chunk := await asyncio.to_thread(os.read, descriptor, _CHUNK):
            await deposit.feed(memoryview(chunk))
        receipt = await deposit.finish()
    except UnsupportedClassError:
        return "not DICOM"  # a DICOMDIR: no class of its own is refused here
    except DataSetError:
        if not deposit.begun:
            return "not DICOM"
        raise
    else:
        return receipt.outcome.value
    finally:
        await asyncio.shield(deposit.abandon("import-failed"))
        os.close(descriptor)
