"""
`export`: a study or series to a folder or a ZIP archive of this machine, with its DICOMDIR, through the gate.

It is a retrieve like any other: with a written reason, begun and ended in the trail. Nothing that exists is written
over, what is written is for its owner alone, and what could not be finished is taken away again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

from strongroom.access.policy import MIN_WRITTEN_REASON, Reason
from strongroom.archive import Target
from strongroom.dicom.dicomdir import MAX_FILES, file_name
from strongroom.dicom.model import Level
from strongroom.dicom.part10 import encode_header
from strongroom.dicom.uid import from_random
from strongroom.dicomweb.archive_zip import directory_of
from strongroom.dicomweb.zip_writer import ZipWriter
from strongroom.errors import AccessDenied, ConfigurationError, ConflictError, NotFound, OutOfResources

if TYPE_CHECKING:
    from strongroom.archive import Disclosure, Instance, Session

_LEVELS = {"study": Level.STUDY, "series": Level.SERIES}
_DIRECTORY = ("DICOMDIR",)
_SUFFIX = ".zip"
_NO_REASON = (
    f"patient data leaves the machine with a written reason only: --reason, a word of {MIN_WRITTEN_REASON} characters "
    f"at least; it stands in the trail"
)


async def export(session: Session, *, level: str, uid: str, out: str) -> AsyncGenerator[dict[str, Any]]:
    """Write what *uid* names to *out*, an absolute path; yields progress and the result."""
    path = Path(out)
    if level not in _LEVELS or not path.is_absolute():
        raise ConfigurationError("an export is of a study or series, to an absolute path")
    target = Target(
        _LEVELS[level],
        study_instance_uids=(uid,) if level == "study" else (),
        series_instance_uids=(uid,) if level == "series" else (),
    )
    try:
        disclosure = await session.retrieve(target)
    except AccessDenied as error:
        if error.reason != Reason.WRITTEN_REASON_MISSING:
            raise
        raise AccessDenied(_NO_REASON) from error
    count = len(disclosure.instances)
    if not count:
        raise NotFound(f"there is no such {level}")
    if count > MAX_FILES:
        raise ConflictError(f"a set of files holds at most {MAX_FILES}; export it series by series")
    sink: _Sink = _Archive(path) if path.suffix.lower() == _SUFFIX else _Folder(path)
    written = 0
    with _removed_unless_whole(sink):
        async with disclosure:
            yield {"progress": {"done": 0, "total": count}}
            syntaxes = {one.number: one.transfer_syntax_uid for one in disclosure.instances}
            directory = (await directory_of(disclosure, syntaxes)).encode(sop_instance_uid=from_random(os.urandom(16)))
            await _write(sink, _DIRECTORY, [directory], len(directory))
            for number, instance in enumerate(disclosure.instances, 1):
                written += await _instance(sink, disclosure, instance, number)
                disclosure.sent(instance)
                yield {"progress": {"done": number, "total": count}}
        await asyncio.to_thread(sink.finish)
    yield {"result": {"instances": count, "bytes": written, "out": str(path)}}


class _Sink(Protocol):
    """Where files go; only one at a time is open."""

    def begin(self, name: tuple[str, ...], length: int) -> None:
        """Make the file *name*."""

    def write(self, piece: bytes | memoryview) -> None:
        """Write the next bytes of it."""

    def end(self) -> None:
        """Close it."""

    def finish(self) -> None:
        """All is written: make it durable."""

    def remove(self) -> None:
        """Take away what was written."""


async def _instance(sink: _Sink, disclosure: Disclosure, instance: Instance, number: int) -> int:
    header = encode_header(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    length = len(header) + instance.length
    await asyncio.to_thread(sink.begin, file_name(number), length)
    await asyncio.to_thread(sink.write, header)
    async for piece in disclosure.open(instance):
        await asyncio.to_thread(sink.write, piece)
    await asyncio.to_thread(sink.end)
    return length


async def _write(sink: _Sink, name: tuple[str, ...], pieces: list[bytes], length: int) -> None:
    await asyncio.to_thread(sink.begin, name, length)
    for piece in pieces:
        await asyncio.to_thread(sink.write, piece)
    await asyncio.to_thread(sink.end)


@contextlib.contextmanager
def _removed_unless_whole(sink: _Sink) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sink.remove()
        raise OutOfResources(f"the export could not be written ({error.strerror})") from error
    except BaseException:
        sink.remove()
        raise


@final
class _Folder:
    """A new or empty folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[Path] = []
        self._folders: list[Path] = []
        self._file = -1
        try:
            path.mkdir(mode=0o700)
            self._folders.append(path)
        except FileExistsError:
            if not path.is_dir() or path.is_symlink() or any(path.iterdir()):
                raise ConflictError(f"{path} is there already, and nothing is written over") from None
        except OSError as error:
            raise NotFound(f"{path} cannot be made by the archive ({error.strerror})") from error

    def begin(self, name: tuple[str, ...], length: int) -> None:  # noqa: ARG002 -- the form of a sink
        folder = self._path.joinpath(*name[:-1])
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self._folders.append(folder)
        self._file = _create(folder / name[-1])
        self._files.append(folder / name[-1])

    def write(self, piece: bytes | memoryview) -> None:
        _write_all(self._file, piece)

    def end(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def finish(self) -> None:
        for folder in self._folders:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)

    def remove(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        for file in self._files:
            file.unlink(missing_ok=True)
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


@final
class _Archive:
    """A new ZIP archive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip = ZipWriter()
        try:
            self._file = _create(path)
        except FileExistsError:
            raise ConflictError(f"{path} is there already, and nothing is written over") from None
        except OSError as error:
            raise NotFound(f"{path} cannot be made by the archive ({error.strerror})") from error

    def begin(self, name: tuple[str, ...], length: int) -> None:
        _write_all(self._file, self._zip.begin("/".join(name), length=length))

    def write(self, piece: bytes | memoryview) -> None:
        self._zip.note(piece)
        _write_all(self._file, piece)

    def end(self) -> None:
        _write_all(self._file, self._zip.end())

    def finish(self) -> None:
        _write_all(self._file, self._zip.finish())
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def remove(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._path.unlink(missing_ok=True)


def _create(path: Path) -> int:
    """A new file that its owner alone can read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _write_all(descriptor: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
