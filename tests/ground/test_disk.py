"""What only a real disk can do wrong: links, modes, kill -9, a full file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, OutOfResources
from strongroom.ground.disk import DiskMedium


@pytest.fixture
def medium(tmp_path):
    """A medium in an empty folder."""
    made = DiskMedium(tmp_path / "home")
    yield made
    made.close()


def test_private_modes(medium, tmp_path):
    """The root, its folders and its files are for their owner only, whatever the umask is."""
    before = os.umask(0)
    try:
        medium.make_directory("vault")
        medium.open("vault/a", create=True).close()
        medium.lock("lock").release()
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / "home" / name).stat().st_mode) for name in ("", "vault", "vault/a", "lock")}

    assert modes == {"": 0o700, "vault": 0o700, "vault/a": 0o600, "lock": 0o600}


def test_planted_links_lead_nowhere(medium, tmp_path):
    """Neither a link to a file nor a link to a folder is followed (attack H07)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"secret")
    (tmp_path / "home" / "link").symlink_to(outside / "a")
    (tmp_path / "home" / "folder").symlink_to(outside)

    with pytest.raises(IntegrityError):
        medium.open("link")
    with pytest.raises(IntegrityError):
        medium.open("folder/a")
    with pytest.raises(IntegrityError):
        medium.open("folder/new", create=True)
    with pytest.raises(IntegrityError):
        medium.lock("link")
    assert sorted(path.name for path in outside.iterdir()) == ["a"]


def test_link_as_root_is_refused(tmp_path):
    """A link in the place of the home is refused."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigurationError):
        DiskMedium(tmp_path / "link")


def test_root_others_may_write_is_refused(tmp_path):
    """A home others may write into is refused with what to do."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home").chmod(0o770)

    with pytest.raises(ConfigurationError, match="chmod 700"):
        DiskMedium(tmp_path / "home")


def test_special_files_are_refused(medium, tmp_path):
    """A folder in the place of a file is an IntegrityError."""
    (tmp_path / "home" / "folder").mkdir()

    with pytest.raises(IntegrityError):
        medium.open("folder")
    with pytest.raises(IntegrityError):
        medium.open("folder", writable=False)


def test_full_disk_refuses_but_is_not_suspect(medium, monkeypatch):
    """A full file system refuses the write; once there is room writing goes on."""
    file = medium.open("a", create=True)
    real = os.pwritev

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OutOfResources, match="No space left"):
        file.pwrite([b"data"], 0)
    monkeypatch.setattr(os, "pwritev", real)

    assert not medium.suspect
    assert file.pwrite([b"data"], 0) == 4


def test_short_writes_are_completed(medium, monkeypatch):
    """A kernel that takes a few bytes at a time still gets all of them, in order."""
    file = medium.open("a", create=True)
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: real(fd, [b"".join(buffers)[:7]], offset))
    file.pwrite([b"one", b"two", b"three", b"four", b"five"], 3)

    assert file.pread(99, 3) == b"onetwothreefourfive"


def test_input_output_error_makes_suspect(medium, monkeypatch):
    """An I/O error in a write leaves unknown what is there: the medium is suspect."""
    file = medium.open("a", create=True)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwritev", broken)
    with pytest.raises(OutOfResources):
        file.pwrite([b"data"], 0)

    assert medium.suspect


def test_unreadable_sector_is_an_integrity_error(medium, monkeypatch):
    """What the disk cannot read back is an IntegrityError, not a crash."""
    file = medium.open("a", create=True)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(IntegrityError, match="cannot be read at 0"):
        file.pread(4, 0)


def test_lock_survives_nothing_after_kill(medium, tmp_path):
    """Another process is refused while the holder lives, and gets the lock once the holder was killed with kill -9."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        DiskMedium(tmp_path / "home").lock("lock")
        os.write(tell, b"x")
        os.read(os.pipe()[0], 1)  # holds it for ever
    os.read(ready, 1)
    try:
        with pytest.raises(ConflictError, match="another process"):
            medium.lock("lock")
        assert int((tmp_path / "home" / "lock").read_text()) == child
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)

    medium.lock("lock").release()


def test_removed_lock_file_does_not_open_a_second_way(medium, tmp_path):
    """A lock on a file that was replaced meanwhile is not the lock: the new file's is."""
    first = medium.lock("lock")
    (tmp_path / "home" / "lock").unlink()
    second = medium.lock("lock")

    with pytest.raises(ConflictError):
        medium.lock("lock")
    first.release()
    second.release()


def test_forgotten_file_is_closed(medium):
    """A file nobody refers to gives its handle back."""
    handles = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        medium.open(f"f{number}", create=True)

    assert len(list(Path("/proc/self/fd").iterdir())) == handles
