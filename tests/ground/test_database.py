"""The encrypted database: what is committed stays, what is sealed cannot be read, what is newer is refused."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, OutOfResources
from strongroom.ground.database import Database, Migration, format_version, migrate, migrations_in

KEY = bytes(range(32))
CANARY = "CANARY^PATIENT"


@pytest.fixture
def database(tmp_path):
    """An empty database with one table."""
    made = Database(tmp_path / "archive.db", KEY)
    with made.transaction() as connection:
        connection.execute("CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT UNIQUE)")
    yield made
    made.close()


def words(database):
    """All words in the database."""
    with database.reader() as connection:
        return [row[0] for row in connection.execute("SELECT text FROM word ORDER BY id")]


def test_commit_is_seen_and_survives(database, tmp_path):
    """What a transaction committed is there for a reader, and for whoever opens the file later."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO word (text) VALUES ('kept')")

    assert words(database) == ["kept"]
    database.close()
    again = Database(tmp_path / "archive.db", KEY)

    assert words(again) == ["kept"]
    assert not again.created
    again.close()


def test_exception_rolls_back(database):
    """An exception in the body leaves nothing of the transaction and comes out unchanged."""

    def body():
        with database.transaction() as connection:
            connection.execute("INSERT INTO word (text) VALUES ('lost')")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        body()

    assert words(database) == []
    with database.transaction() as connection:
        connection.execute("INSERT INTO word (text) VALUES ('next')")
    assert words(database) == ["next"]


def test_broken_uniqueness_is_a_conflict_without_values(database):
    """A broken uniqueness is a ConflictError whose text names the column and not the value."""
    with pytest.raises(ConflictError) as caught, database.transaction() as connection:
        connection.executemany("INSERT INTO word (text) VALUES (?)", [(CANARY,), (CANARY,)])

    assert "word.text" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_nothing_readable_on_disk(database, tmp_path):
    """Neither file, log nor copy holds a byte of what was written, and only the owner may read them."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO word (text) VALUES (?)", (CANARY,))
    database.copy_to(tmp_path / "copy.db")
    with database.transaction() as connection:
        connection.execute("INSERT INTO word (text) VALUES (?)", (CANARY * 2,))

    files = {path.name: path for path in tmp_path.iterdir()}
    assert {"archive.db", "archive.db-wal", "copy.db"} <= set(files)
    for path in files.values():
        assert CANARY.encode() not in path.read_bytes()
        assert b"SQLite format" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_copy_is_whole(database, tmp_path):
    """A copy opens under the same key and holds every commit."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO word (text) VALUES ('kept')")
    database.copy_to(tmp_path / "copy.db")

    copy = Database(tmp_path / "copy.db", KEY)
    assert words(copy) == ["kept"]
    copy.close()


def test_wrong_key_is_refused(database, tmp_path):
    """Another key does not open the file, and says so as an IntegrityError."""
    with pytest.raises(IntegrityError, match="another key"):
        Database(tmp_path / "archive.db", bytes(32))


def test_flipped_bit_is_never_a_row(database, tmp_path):
    """A changed byte in any page makes reading fail instead of giving another value."""
    with database.transaction() as connection:
        connection.executemany("INSERT INTO word (text) VALUES (?)", [(f"{n:0200d}",) for n in range(300)])
    database.close()
    path = tmp_path / "archive.db"
    whole = path.read_bytes()
    for position in range(50, len(whole), 4096):
        path.write_bytes(whole[:position] + bytes((whole[position] ^ 0x10,)) + whole[position + 1 :])
        with pytest.raises(IntegrityError):  # noqa: PT012 -- the first page fails at opening, the others at reading
            damaged = Database(path, KEY)
            try:
                words(damaged)
                assert damaged.damage()
                raise IntegrityError("named by damage()")
            finally:
                damaged.close()


def test_readable_for_others_is_refused(database, tmp_path):
    """A database file others may read is refused with what to do about it."""
    database.close()
    (tmp_path / "archive.db").chmod(0o640)

    with pytest.raises(ConfigurationError, match="chmod 600"):
        Database(tmp_path / "archive.db", KEY)


def test_link_is_refused(database, tmp_path):
    """A link in the place of the file is not followed."""
    database.close()
    (tmp_path / "link.db").symlink_to(tmp_path / "archive.db")

    with pytest.raises(ConfigurationError):
        Database(tmp_path / "link.db", KEY)


def test_durable_settings(database):
    """Every commit is flushed, foreign keys hold, deleted rows are overwritten, nothing temporary touches the disk."""
    read = {
        name: database.writer.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store")
    }

    assert read == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "temp_store": 2}


def test_reader_cannot_write(database):
    """What a reader lends refuses to write."""
    with pytest.raises(OutOfResources), database.reader() as connection:
        connection.execute("INSERT INTO word (text) VALUES ('no')")

    assert not database.suspect


def test_many_readers_beside_a_writer(database):
    """Readers do not wait for a writer and never see half a transaction."""
    seen = []

    def look():
        seen.extend(len(words(database)) for _ in range(50))

    threads = [threading.Thread(target=look) for _ in range(10)]
    for thread in threads:
        thread.start()
    for number in range(20):
        with database.transaction() as connection:
            connection.executemany("INSERT INTO word (text) VALUES (?)", [(f"{number}a",), (f"{number}b",)])
    for thread in threads:
        thread.join()

    assert len(seen) == 500
    assert all(count % 2 == 0 for count in seen)


def test_failed_commit_closes_writing(database, monkeypatch):
    """When the medium fails during a commit nothing more is written, and reading goes on."""
    import apsw

    with pytest.raises(OutOfResources), database.transaction():
        raise apsw.IOError("IOError: disk I/O error")

    assert database.suspect
    with pytest.raises(OutOfResources, match="failed commit"), database.transaction():
        pass
    assert words(database) == []


FIRST = Migration(1, "CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1);")
SECOND = Migration(2, "ALTER TABLE a ADD COLUMN more TEXT; UPDATE a SET more = 'x';")


def test_migrations_run_once_and_in_order(database):
    """Missing steps run in order, those done are not run again, and the version says which."""
    ran = [migrate(database.writer, "a", steps) for steps in ((FIRST,), (FIRST, SECOND), (FIRST, SECOND))]

    assert ran == [1, 1, 0]
    assert format_version(database.writer, "a") == 2
    assert database.writer.execute("SELECT id, more FROM a").fetchall() == [(1, "x")]


def test_newer_format_is_refused_untouched(database):
    """A newer format is refused with what to do, and nothing in the file changes."""
    migrate(database.writer, "a", (FIRST, SECOND))
    with pytest.raises(ConfigurationError, match="format 2, this program knows up to 1"):
        migrate(database.writer, "a", (FIRST,))

    assert format_version(database.writer, "a") == 2


def test_failed_migration_leaves_the_old_format(database):
    """A step that fails takes the steps before it back too."""
    import apsw

    migrate(database.writer, "a", (FIRST,))
    with pytest.raises(apsw.SQLError):
        migrate(database.writer, "a", (FIRST, SECOND, Migration(3, "CREATE TABLE b (id); NONSENSE;")))

    assert format_version(database.writer, "a") == 1
    assert database.writer.execute("SELECT * FROM a").fetchall() == [(1,)]


def test_two_sets_of_tables_in_one_file(database):
    """Two sets of tables count their versions apart."""
    migrate(database.writer, "a", (FIRST, SECOND))
    migrate(database.writer, "b", (Migration(1, "CREATE TABLE b (id INTEGER)"),))

    assert (format_version(database.writer, "a"), format_version(database.writer, "b")) == (2, 1)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with migration files that a test may write."""
    folder = tmp_path / "lib" / "stepsfortest"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    yield folder
    sys.modules.pop("stepsfortest", None)


def test_scripts_of_a_package(package):
    """Numbered scripts are read in their order, other files are passed over."""
    (package / "0002_more.sql").write_text("two")
    (package / "0001_first.sql").write_text("one")
    (package / "notes.txt").write_text("no")

    assert migrations_in("stepsfortest") == (Migration(1, "one"), Migration(2, "two"))


def test_a_script_calls_functions_of_its_package(package, database):
    """What SQL cannot say a package gives to its scripts; an exception in it takes the migration back."""
    (package / "__init__.py").write_text("FUNCTIONS = {'doubled': lambda text: text * 2, 'broken': lambda: 1 / 0}")
    (package / "0001_first.sql").write_text("CREATE TABLE a (x); INSERT INTO a VALUES (doubled('ab'));")
    migrate(database.writer, "a", migrations_in("stepsfortest"))
    (package / "0002_second.sql").write_text("INSERT INTO a VALUES (broken());")

    with pytest.raises(ZeroDivisionError):
        migrate(database.writer, "a", migrations_in("stepsfortest"))
    assert database.writer.execute("SELECT x FROM a").fetchall() == [("abab",)]
    assert format_version(database.writer, "a") == 1


def test_gap_in_the_numbers_is_refused(package):
    """A missing number is a mistake of ours and is named."""
    (package / "0001_first.sql").write_text("one")
    (package / "0003_third.sql").write_text("three")

    with pytest.raises(ConfigurationError, match=r"\[1, 3\]"):
        migrations_in("stepsfortest")


def test_older_format_is_copied_first(package, tmp_path):
    """Before an older format is migrated a whole copy of the file is made, which still opens as it was."""
    (package / "0001_first.sql").write_text(FIRST.script)
    database = Database(tmp_path / "home.db", KEY)
    assert database.migrate("a", "stepsfortest") == 1
    assert not list(tmp_path.glob("*.before-*"))
    (package / "0002_second.sql").write_text(SECOND.script)

    assert database.migrate("a", "stepsfortest") == 1
    database.close()
    copy = Database(tmp_path / "home.db.before-a-1", KEY)
    assert format_version(copy.writer, "a") == 1
    assert copy.writer.execute("SELECT * FROM a").fetchall() == [(1,)]
    copy.close()


def test_uncommitted_work_is_gone_after_kill(tmp_path):
    """A process killed inside a transaction leaves the last commit and nothing else."""
    path = tmp_path / "archive.db"
    child = os.fork()
    if child == 0:
        made = Database(path, KEY)
        with made.transaction() as connection:
            connection.execute("CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT)")
            connection.execute("INSERT INTO word (text) VALUES ('kept')")
        with made.transaction() as connection:
            connection.execute("INSERT INTO word (text) VALUES ('lost')")
            os.kill(os.getpid(), 9)
    _, status = os.waitpid(child, 0)

    assert os.WTERMSIG(status) == 9
    after = Database(path, KEY)
    assert words(after) == ["kept"]
    after.close()


def test_a_reserved_log_is_as_long_as_asked_and_loses_nothing(tmp_path: Path) -> None:
    """Reserving makes the log file long, leaves what was committed, and commits are flushed as before."""
    database = Database(tmp_path / "a.db", bytes(32))
    with database.transaction() as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
        connection.execute("INSERT INTO t VALUES (7)")
    database.reserve_log(1 << 20)

    assert (tmp_path / "a.db-wal").stat().st_size > 900_000
    assert [(2,)] == database.writer.execute("PRAGMA synchronous").fetchall()
    with database.reader() as connection:
        assert [(7,)] == connection.execute("SELECT x FROM t").fetchall()
    database.close()
