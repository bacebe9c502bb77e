"""ZIP archives as Python's zipfile and `unzip` read them."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from strongroom.dicomweb.zip_writer import ZipWriter
from strongroom.errors import LocalProtocolError

FILES = {"DICOMDIR": b"directory" * 99, "DICOM/IM000001": bytes(100_000), "DICOM/IM000002": b""}


def made(files: dict[str, bytes], *, known: bool = True) -> bytes:
    """An archive, every file in two pieces."""
    writer, out = ZipWriter(), []
    for name, data in files.items():
        out.append(writer.begin(name, length=len(data) if known else None))
        for piece in (data[:10], data[10:]):
            writer.note(piece)
            out.append(piece)
        out.append(writer.end())
    return b"".join([*out, writer.finish()])


@pytest.mark.parametrize("known", [True, False])
def test_python_reads_it(known: bool) -> None:
    """Names, bytes and check values; with and without ZIP64 fields."""
    with zipfile.ZipFile(io.BytesIO(made(FILES, known=known))) as archive:
        assert archive.testzip() is None
        assert FILES == {name: archive.read(name) for name in archive.namelist()}
        assert {zipfile.ZIP_STORED} == {info.compress_type for info in archive.infolist()}


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
@pytest.mark.parametrize("known", [True, False])
def test_unzip_reads_it(tmp_path: Path, known: bool) -> None:
    """The program everybody has."""
    (tmp_path / "a.zip").write_bytes(made(FILES, known=known))
    result = subprocess.run(["unzip", "-tqq", "a.zip"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (0, "") == (result.returncode, result.stdout + result.stderr)


def test_many_files() -> None:
    """More than 65,535 need ZIP64 at the end."""
    files = {f"{number:06d}": b"x" for number in range(70_000)}
    with zipfile.ZipFile(io.BytesIO(made(files))) as archive:
        assert 70_000 == len(archive.namelist())
        assert b"x" == archive.read("069999")


def test_an_offset_beyond_4_gibibytes() -> None:
    """Where the second file begins needs 64 bits; the first is not kept, only counted."""
    writer = ZipWriter()
    first = writer.begin("a", length=(1 << 32) + 5)
    writer._length = (1 << 32) + 5
    descriptor = writer.end()
    second = writer.begin("b", length=1) + b"z"
    writer.note(b"z")
    end = writer.end() + writer.finish()
    read = zipfile.ZipFile(Sparse(first, (1 << 32) + 5, descriptor + second + end))

    assert b"z" == read.read("b")
    assert (1 << 32) + 5 == read.getinfo("a").file_size


def test_files_one_after_the_other() -> None:
    """A second file cannot begin inside the first."""
    writer = ZipWriter()
    writer.begin("a", length=1)

    with pytest.raises(LocalProtocolError):
        writer.begin("b", length=1)


class Sparse(io.RawIOBase):
    """A file with a hole of zeros in it."""

    def __init__(self, head: bytes, hole: int, tail: bytes) -> None:
        self.head, self.hole, self.tail, self.at = head, hole, tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        size = len(self.head) + self.hole + len(self.tail)
        self.at = offset if whence == 0 else self.at + offset if whence == 1 else size + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        start = self.at - len(self.head) - self.hole
        if start < 0:
            data = self.head[self.at : self.at + size] if self.at < len(self.head) else bytes(size)
        else:
            data = self.tail[start : start + size if size >= 0 else None]
        self.at += len(data)
        return data
