"""One suite that every medium passes: what vault, trail and keyring may rely on."""

from __future__ import annotations

import pytest

from strongroom.errors import ConflictError, NotFound, OutOfResources
from strongroom.ground.medium import DiskMedium, MemoryMedium


@pytest.fixture(params=["disk", "memory"])
def medium(request, tmp_path):
    """An empty medium of each kind."""
    made = DiskMedium(tmp_path / "home") if request.param == "disk" else MemoryMedium()
    yield made
    made.close()


def test_written_bytes_are_read(medium):
    """Several buffers are written one behind the other and read back from any place."""
    file = medium.open("a.file", create=True)
    written = file.pwrite([b"one", bytearray(b"two"), memoryview(b"three")], 5)

    assert written == 11
    assert file.size() == 16
    assert file.pread(11, 5) == b"onetwothree"
    assert file.pread(3, 8) == b"two"
    assert file.pread(100, 13) == b"ree"
    assert file.pread(1, 16) == b""
    assert file.pread(5, 0) == bytes(5)
    file.close()


def test_more_buffers_than_one_call_takes(medium):
    """Thousands of buffers arrive whole and in order."""
    file = medium.open("a.file", create=True)
    pieces = [number.to_bytes(4, "big") for number in range(5000)]
    file.pwrite(pieces, 0)

    assert file.pread(20000, 0) == b"".join(pieces)


def test_empty_write(medium):
    """Writing nothing writes nothing."""
    file = medium.open("a.file", create=True)

    assert file.pwrite([], 0) == 0
    assert file.pwrite([b""], 7) == 0


def test_create_refuses_what_is_there(medium):
    """A file is created once."""
    medium.open("a.file", create=True).close()

    with pytest.raises(ConflictError):
        medium.open("a.file", create=True)


def test_absent_file(medium):
    """A missing file is named, its size is None, and removing it does no harm."""
    with pytest.raises(NotFound):
        medium.open("a.file")
    with pytest.raises(NotFound):
        medium.open("folder/a.file", create=True)
    medium.unlink("a.file")

    assert medium.size("a.file") is None
    assert medium.size("folder/a.file") is None


def test_folders_and_listing(medium):
    """A folder is made once and lists its own names only, sorted."""
    assert medium.listing("vault") == []
    for _ in range(2):
        medium.make_directory("vault")
    for name in ("vault/b", "vault/a", "c"):
        medium.open(name, create=True).close()

    assert medium.listing("vault") == ["a", "b"]
    assert medium.listing("") == ["c", "vault"]
    assert medium.size("vault/a") == 0


def test_rename_replaces(medium):
    """A rename takes the content along and replaces what has the new name."""
    medium.open("old", create=True).pwrite([b"new content"], 0)
    medium.open("new", create=True).pwrite([b"x"], 0)
    medium.rename("old", "new")
    medium.sync_directory()

    assert medium.listing("") == ["new"]
    assert medium.open("new", writable=False).pread(99, 0) == b"new content"


def test_unlink_keeps_open_files(medium):
    """Whoever has a removed file open goes on reading it."""
    file = medium.open("a.file", create=True)
    file.pwrite([b"here"], 0)
    medium.unlink("a.file")

    assert medium.size("a.file") is None
    assert file.pread(4, 0) == b"here"


def test_allocate_writes_zeros_only_behind_the_end(medium):
    """Allocating never touches bytes that are there."""
    file = medium.open("a.file", create=True)
    file.pwrite([b"data"], 0)
    file.allocate(0, 3_000_000)

    assert file.size() == 3_000_000
    assert file.pread(4, 0) == b"data"
    assert not any(file.pread(3_000_000, 4))
    file.allocate(0, 10)
    assert file.size() == 3_000_000


def test_truncate(medium):
    """Cutting a file takes its end away for good."""
    file = medium.open("a.file", create=True)
    file.pwrite([b"0123456789"], 0)
    file.truncate(4)
    file.pwrite([b"x"], 6)

    assert file.pread(99, 0) == b"0123\0\0x"


def test_lock_excludes_and_is_given_back(medium):
    """A lock has one holder; released, it can be taken again, and releasing twice does no harm."""
    lock = medium.lock("lock")
    with pytest.raises(ConflictError):
        medium.lock("lock")
    lock.release()
    lock.release()

    medium.lock("lock").release()


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "A", "a b", "x\0", ".hidden", "a/", "1.2..3"]
)
def test_names_are_our_own(medium, name):
    """Nothing but our own spelling becomes a path."""
    with pytest.raises(ValueError, match="not a name"):
        medium.open(name, create=True)
    with pytest.raises(ValueError, match="not a name"):
        medium.unlink(name)


def fail_next_flush(medium, monkeypatch):
    """Let the medium's next flush fail as a broken disk does."""
    if isinstance(medium, MemoryMedium):
        medium.fail_flushes()
        return
    import os

    real = os.fdatasync
    failures = iter([OSError(5, "Input/output error")])

    def failing(handle):
        for failure in failures:
            raise failure
        real(handle)

    monkeypatch.setattr(os, "fdatasync", failing)


def test_failed_flush_makes_the_medium_suspect(medium, monkeypatch):
    """After a failed flush nothing is written any more, not even when the disk says it works again; reading goes on."""
    file = medium.open("a.file", create=True)
    file.pwrite([b"data"], 0)
    fail_next_flush(medium, monkeypatch)
    with pytest.raises(OutOfResources, match="cannot be made durable"):
        file.fdatasync()

    assert medium.suspect
    refused = (
        file.fdatasync,
        lambda: file.pwrite([b"x"], 0),
        lambda: file.truncate(0),
        lambda: file.allocate(0, 10),
        lambda: medium.open("b.file", create=True),
        lambda: medium.open("a.file"),
        lambda: medium.make_directory("d"),
        lambda: medium.rename("a.file", "b"),
        lambda: medium.unlink("a.file"),
        medium.sync_directory,
    )
    for act in refused:
        with pytest.raises(OutOfResources, match="failed flush"):
            act()
    assert file.pread(4, 0) == b"data"
    assert medium.open("a.file", writable=False).pread(4, 0) == b"data"
    assert medium.listing("") == ["a.file"]
