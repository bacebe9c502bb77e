"""A held state of a database, copied while others write: consistent, encrypted, under any key."""

from __future__ import annotations

import pytest

from strongroom.errors import IntegrityError, OutOfResources
from strongroom.ground.database import Database
from strongroom.ground.snapshot import Snapshot

KEY, OTHER = bytes(range(32)), bytes(32)
WORD = b"Lastname^Firstname"


@pytest.fixture
def database(tmp_path):
    """A table of a few thousand rows."""
    opened = Database(tmp_path / "archive.db", KEY)
    with opened.transaction() as connection:
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(WORD.decode() * 40,) for _ in range(5_000)])
    yield opened
    opened.close()


def rows(path, key):
    """How many there are."""
    opened = Database(path, key)
    try:
        with opened.reader() as connection:
            return connection.execute("SELECT count(*) FROM t").fetchone()[0]
    finally:
        opened.close()


@pytest.mark.parametrize("key", [None, OTHER])
def test_a_copy_is_the_state_that_was_held(database, tmp_path, key):
    """What is committed while it is written is not in it; it opens under its key, holds no clear text, and is private."""
    snapshot = Snapshot(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES ('later')")
    target = tmp_path / "copy.db"
    for step, _ in enumerate(snapshot.write(target, key=key)):
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (?)", (str(step),))
    snapshot.close()

    assert WORD not in target.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("copy.db*")] == ["copy.db"]
    assert rows(target, key or KEY) == 5_000
    with pytest.raises(IntegrityError):
        Database(target, bytes([9]) * 32)


def test_it_never_replaces_a_file(database, tmp_path):
    """A name that is taken is refused."""
    (tmp_path / "copy.db").write_text("")
    snapshot = Snapshot(database)
    with pytest.raises((OutOfResources, FileExistsError)):
        list(snapshot.write(tmp_path / "copy.db"))
    snapshot.close()
    snapshot.close()


def test_a_damaged_page_is_not_copied_over(database, tmp_path):
    """A page that does not authenticate ends the copy."""
    database.close()
    path = tmp_path / "archive.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    opened = Database(path, KEY)
    try:
        snapshot = Snapshot(opened)
        with pytest.raises(IntegrityError):
            list(snapshot.write(tmp_path / "copy.db"))
        snapshot.close()
    finally:
        opened.close()
