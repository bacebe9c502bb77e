"""The keepers' tools for backups: make one, say what is there, read it through. Each asks the policy first."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from strongroom.access.roles import Action
from strongroom.archive import manifest as manifests
from strongroom.archive import recording
from strongroom.archive.acts import Note
from strongroom.archive.backup import BackupRun, SnapshotAct
from strongroom.archive.backup_check import damaged
from strongroom.audit.codes import EventType
from strongroom.errors import ConfigurationError, ConflictError, StrongroomError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.transfer import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from strongroom.archive.core import Core
    from strongroom.archive.manifest import Manifest, ManifestKey
    from strongroom.archive.session import Session
    from strongroom.audit.message import AuditMessage

LOCK = "lock"


@final
class Backups:
    """Backups of one archive; *small* gives the files of the home that a manifest holds whole."""

    def __init__(
        self, core: Core, session: Session, home: Path, key: ManifestKey, small: Callable[[], dict[str, bytes]]
    ) -> None:
        self._core = core
        self._session = session
        self._home = home
        self._key = key
        self._small = small

    async def make(
        self, destination: Path, *, mebibytes_per_second: float, verify_all: bool, afresh: bool
    ) -> AsyncGenerator[dict[str, Any]]:
        """
        Back up to the folder *destination* (made if need be); yields progress and the result.

        Raises ConfigurationError for a folder that cannot be one, ConflictError while another backup goes there.
        """
        await self._session.require(Action.CUSTODY)
        refuse_place(self._home, destination)
        pace = Pace(mebibytes_per_second)
        medium = await asyncio.to_thread(DiskMedium, destination)
        try:
            with contextlib.closing(medium), _locked(medium):
                run = BackupRun(
                    self._core.parts,
                    destination,
                    self._key,
                    self._small,
                    pace=pace,
                    verify_all=verify_all,
                    afresh=afresh,
                )
                with contextlib.closing(run):
                    async for reply in self._run(run):
                        yield reply
        except StrongroomError as failed:
            await self._note(f"backup failed: {type(failed).__name__}")
            raise

    async def _run(self, run: BackupRun) -> AsyncGenerator[dict[str, Any]]:
        core = self._core
        async with core.upkeep:
            await asyncio.to_thread(run.previous)  # another archive's folder is refused before anything is written
            act = SnapshotAct((self._message("backup begun"),))
            snapshot, extents = await core.committer.submit(act)
            steps = run.steps(snapshot, extents, core.parts.clock().timestamp())
            try:
                while (done := await asyncio.to_thread(next, steps, None)) is not None:
                    yield {"progress": {"done": done[0], "total": done[1]}}
            finally:
                await asyncio.to_thread(steps.close)
                snapshot.close()
        made = run.manifest
        assert made is not None
        figures = run.figures
        await self._note("backup complete", ("Packs", f"{figures.packs}, {figures.copied} of them copied"))
        if figures.damage:
            await core.committer.submit(Note((recording.integrity_alert(core.parts, len(figures.damage)),)))
        yield {
            "result": _described(made)
            | {"copied": figures.copied, "damage": figures.damage, "keep_elsewhere": ["keys/master.key"]}
        }

    async def listed(self, destination: Path) -> dict[str, Any]:
        """What the complete backup in *destination* holds. Raises NotFound, ConfigurationError, IntegrityError."""
        await self._session.require(Action.REVIEW)
        return await asyncio.to_thread(self._listed, destination)

    def _listed(self, destination: Path) -> dict[str, Any]:
        with contextlib.closing(existing(destination)) as medium:
            return _described(manifests.read(medium, self._key))

    async def verify(self, destination: Path, *, mebibytes_per_second: float) -> AsyncGenerator[dict[str, Any]]:
        """Read a whole backup and compare every digest; yields progress and the result with its findings."""
        await self._session.require(Action.CUSTODY)
        medium = await asyncio.to_thread(existing, destination)
        with contextlib.closing(medium):
            found = await asyncio.to_thread(manifests.read, medium, self._key)
            findings: list[str] = []
            steps = damaged(medium, found, findings, Pace(mebibytes_per_second))
            while (done := await asyncio.to_thread(next, steps, None)) is not None:
                yield {"progress": {"done": done, "total": found.length}}
        await self._note("backup verified", ("Findings", str(len(findings))))
        yield {"result": _described(found) | {"findings": findings}}

    async def _note(self, what: str, *details: tuple[str, str]) -> None:
        await self._core.committer.submit(Note((self._message(what, *details),)))

    def _message(self, what: str, *details: tuple[str, str]) -> AuditMessage:
        parts = self._core.parts
        who = recording.party(self._session.actor)
        return parts.reporter.changed(parts.clock(), who, EventType.BACKUP, "urn:strongroom:backup", what, *details)


def refuse_place(home: Path, destination: Path) -> None:
    """Raise ConfigurationError when there cannot be a copy in *destination*: nested, a link, no folder above it."""
    refuse_nested(home, destination)
    if not destination.parent.is_dir():
        raise ConfigurationError(f"there is no folder {destination.parent}: is the disk there?")


def refuse_nested(home: Path, destination: Path) -> None:
    """Raise ConfigurationError when a copy in *destination* would not be one: inside the home, around it, a link."""
    if destination.is_symlink():
        raise ConfigurationError(f"{destination} is a link; name the folder itself")
    inner, outer = destination.resolve(), home.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise ConfigurationError(f"{destination} and the home lie within one another; a copy belongs on another disk")


def existing(destination: Path) -> DiskMedium:
    """Open a folder that has to be there. Raises ConfigurationError."""
    if not destination.is_dir():
        raise ConfigurationError(f"there is no folder {destination}")
    return DiskMedium(destination)


@contextlib.contextmanager
def _locked(medium: DiskMedium) -> Any:
    try:
        lock = medium.lock(LOCK)
    except ConflictError as held:
        raise ConflictError("another backup to this folder is under way") from held
    try:
        yield
    finally:
        lock.release()


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "number": manifest.number,
        "made": datetime.fromtimestamp(manifest.made_at, UTC).isoformat(timespec="seconds"),
        "instances": manifest.instances,
        "packs": len(manifest.packs),
        "bytes": manifest.length,
    }
