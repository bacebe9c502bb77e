"""
The second vault: every closed pack once more, in a folder on another disk (docs/formats/backup.md).

1. Nobody who sends waits for it: a job copies, at its own pace, after a pack was closed, at every start and hour.
2. A copy is flushed, read back and looked at record by record before it has its name; a damaged pack is not kept.
3. A disk that is not there, is another one, or is full is an alert, once, and the job is tried again.
4. A pack goes from there only when the register says that it was retired: what the vault lost is what it is for. And
   a longer copy of a pack is never replaced: the home was restored from a backup, and the copy knows more.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from strongroom.archive.acts import Change, Note
from strongroom.audit.codes import EventType
from strongroom.errors import ConfigurationError, IntegrityError, NotFound, OutOfResources, StrongroomError
from strongroom.ground.chain import whole_length
from strongroom.ground.disk import DiskMedium
from strongroom.ground.tombstone_file import ROOT as TOMBSTONES
from strongroom.ground.transfer import Pace, transfer
from strongroom.register import retired, settings
from strongroom.vault.copying import copy_pack, is_there, name_of, numbers_in, pack_id_of
from strongroom.vault.pack import Extent

if TYPE_CHECKING:
    import apsw

    from strongroom.archive.core import Core
    from strongroom.ground.medium import File

KIND: Final = "second-copy"
VAULT: Final = "vault"
MARK: Final = "strongroom-second"
"""The file that tells this disk from an empty folder where it should be mounted."""
SETTING: Final = "second-vault"
EVERY_SECONDS: Final = 3_600.0
ID_BYTES: Final = 16


class Progress(Protocol):
    """The part of a job's task that is needed."""

    async def progress(self, done: int, total: int) -> None:
        """Say how far it is; raises when it was cancelled."""


@final
class SecondPacks:
    """The packs of the second vault for whoever heals from them; nothing while the disk is not there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, number: int) -> File | None:
        """Open the copy of pack *number* for reading, None when there is none. Raises IntegrityError."""
        if not self._root.is_dir():
            return None
        try:
            medium = DiskMedium(self._root)
        except ConfigurationError:
            return None
        with contextlib.closing(medium), contextlib.suppress(NotFound):
            return medium.open(name_of(VAULT, number, closed=True), writable=False)
        return None


@final
class SecondVault:
    """Keeps the folder *root* up with the vault, at most *mebibytes_per_second* (0: as fast as it goes)."""

    def __init__(self, core: Core, home: Path, root: Path, mebibytes_per_second: float) -> None:
        self._core = core
        self._home = home
        self._root = root
        self._pace = Pace(mebibytes_per_second)
        self._there: set[int] = set()
        """Packs that were seen there since the disk was found."""
        self._problem = ""
        self._waking: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ when

    def register(self) -> None:
        """Name the handler, keep one job waiting, and hear of every pack that is closed."""
        core = self._core
        core.jobs.handle(KIND, self.run)
        core.jobs.every(KIND, EVERY_SECONDS, first=0.0)
        loop = asyncio.get_running_loop()

        def closed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: the next start catches up
                loop.call_soon_threadsafe(self._wake_soon)

        core.parts.vault.closed = closed

    def _wake_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.wake())
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def wake(self) -> None:
        """See to it that a job catches up soon."""
        with contextlib.suppress(OutOfResources):  # stopping, or a full disk: the next start or hour does
            await self._core.jobs.enqueue(KIND, {}, key=KIND)

    # ------------------------------------------------------------------ what

    async def run(self, task: Progress) -> None:
        """Copy what is missing there and remove what was retired. Raises what stopped it; the first time alerts."""
        core = self._core
        try:
            medium = await self._medium()
            with contextlib.closing(medium):
                wanted = await asyncio.to_thread(self._closed)
                for done, number in enumerate(wanted):
                    await task.progress(done, len(wanted))
                    if number not in self._there:
                        async with core.upkeep:  # for one pack at a time: others remove and replace packs
                            await asyncio.to_thread(self._bring, medium, number)
                await task.progress(len(wanted), len(wanted))
                async with core.upkeep:
                    await asyncio.to_thread(self._tidy, medium)
        except StrongroomError as error:
            self._there.clear()
            await self._failed(error)
            raise
        if self._problem:
            self._problem = ""
            await self._alert("the second vault is up again", good=True)

    def _closed(self) -> list[int]:
        vault = self._core.parts.vault
        still_open = set(vault.open_packs())
        return [number for number in vault.packs() if number not in still_open]

    def _bring(self, medium: DiskMedium, number: int) -> None:
        vault = self._core.parts.vault
        try:
            length = vault.file(number)[0].size()
            pack_id = pack_id_of(vault, number)
        except NotFound:
            return  # retired since it was listed
        extent = Extent(number, length, closed=True)
        if not is_there(medium, VAULT, extent, pack_id):
            if (medium.size(name_of(VAULT, number, closed=True)) or 0) > length:
                raise IntegrityError(
                    f"the second vault holds more of pack {number} than the vault: was this home restored? Keep that "
                    "disk as it is and give vault.second another folder"
                )
            copied = copy_pack(vault, extent, medium, VAULT, self._pace)
            if copied.damage:
                medium.unlink(name_of(VAULT, number, closed=True))
                raise IntegrityError(f"the vault's own pack is damaged: {copied.damage[0]}; run `strongroom check`")
        self._there.add(number)

    def _tidy(self, medium: DiskMedium) -> None:
        """Remove retired packs; bring the tombstones, so that they are beside every copy."""
        parts = self._core.parts
        with parts.database.reader() as connection:
            gone = retired.numbers(connection)
        for name, number in numbers_in(medium, VAULT).items():
            if number in gone:
                medium.unlink(f"{VAULT}/{name}")
                self._there.discard(number)
        medium.sync_directory(VAULT)
        names = [name for name in parts.medium.listing(TOMBSTONES) if name.endswith(".chain")]
        if names:
            medium.make_directory(TOMBSTONES)
        for name in names:
            file = parts.medium.open(f"{TOMBSTONES}/{name}", writable=False)
            try:
                transfer(file, whole_length(file), medium, f"{TOMBSTONES}/{name}", self._pace)
            finally:
                file.close()

    # ------------------------------------------------------------------ is it the right disk

    async def _medium(self) -> DiskMedium:
        """Open the folder; make its mark the first time. Raises OutOfResources when it is not there or another one."""
        with self._core.parts.database.reader() as connection:
            known = settings.find(connection, SETTING)
        path, _, mark = (known or "").partition("\n")
        if path != str(self._root):
            mark = ""
        if not self._root.is_dir():
            raise OutOfResources(f"the second vault {self._root} is not there; is the disk mounted?")
        medium = await asyncio.to_thread(DiskMedium, self._root)
        try:
            found = _mark(medium)
            self._compare(found, mark)
            if not found:
                found = self._core.parts.entropy(ID_BYTES).hex()
                await asyncio.to_thread(_put_mark, medium, found)
            if not mark:
                value = f"{self._root}\n{found}"
                await self._core.committer.submit(Change(lambda connection: _remember(connection, value), ()))
            await asyncio.to_thread(medium.make_directory, VAULT)
        except BaseException:
            medium.close()
            raise
        return medium

    def _compare(self, found: str, mark: str) -> None:
        if mark and found != mark:
            raise OutOfResources(
                f"{self._root} is not the second vault that was there before; is the disk mounted? To begin anew on "
                f"this one, empty, write {mark} into a file {MARK} in it"
            )

    # ------------------------------------------------------------------ what is said of it

    async def _failed(self, error: StrongroomError) -> None:
        said, self._problem = self._problem, str(error)
        if said != self._problem:
            await self._alert(self._problem, good=False)

    async def _alert(self, text: str, *, good: bool) -> None:
        parts = self._core.parts
        detail = ("State", "up to date" if good else "behind")
        message = parts.reporter.alert(
            parts.clock(), EventType.SECOND_VAULT, "urn:strongroom:second-vault", text, detail
        )
        await self._core.committer.submit(Note((message,)))

    def state(self) -> dict[str, Any]:
        """How far it is, for `status`; asks the disk."""
        closed = self._closed()
        there: set[int] = set()
        if self._root.is_dir():
            with contextlib.suppress(StrongroomError), contextlib.closing(DiskMedium(self._root)) as medium:
                there = {number for name, number in numbers_in(medium, VAULT).items() if name.endswith(".pack")}
        return {
            "folder": str(self._root),
            "packs": len(closed),
            "behind": len(set(closed) - there),
            "problem": self._problem,
            "same_disk": self._root.is_dir() and self._root.stat().st_dev == self._home.stat().st_dev,
        }


def _mark(medium: DiskMedium) -> str:
    try:
        file = medium.open(MARK, writable=False)
    except NotFound:
        return ""
    try:
        return file.pread(ID_BYTES * 2, 0).decode("ascii", "replace")
    finally:
        file.close()


def _put_mark(medium: DiskMedium, mark: str) -> None:
    file = medium.open(MARK, create=True)
    try:
        file.pwrite((mark.encode(),), 0)
        file.fdatasync()
    finally:
        file.close()
    medium.sync_directory()


def _remember(connection: apsw.Connection, value: str) -> None:
    settings.put(connection, SETTING, value)
