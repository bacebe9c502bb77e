"""The keyring: a key is durable twice before anybody seals with it, and either copy heals the other, aloud."""

from __future__ import annotations

import stat
import threading

import apsw
import pytest

from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, NotFound, OutOfResources
from strongroom.ground import keyring as module
from strongroom.ground.database import Database
from strongroom.ground.keyring import DataKey, Keyring
from strongroom.ground.master import MasterKey
from strongroom.ground.memory import MemoryMedium

MASTER = MasterKey(bytes(range(32)))
COPY = "keyring/keys.1-00000001.chain"
STUDY = "1.2.840.99999.4711"


@pytest.fixture
def home(tmp_path):
    """A folder and a medium with a keyring of some keys; the keyring is closed."""
    medium = MemoryMedium()
    keyring = Keyring.create(tmp_path, MASTER, medium)
    keys = {f"1.2.{number}": keyring.for_study(f"1.2.{number}") for number in range(30)}
    keyring.close()
    return tmp_path, medium, keys


def opened(home):
    """Open a home's keyring."""
    return Keyring.open(home[0], MASTER, home[1])


def assert_all_there(keyring, keys):
    """Every key is there by study and by id, and both copies are well."""
    for study, key in keys.items():
        assert keyring.for_study(study) == key
        assert keyring.get(key.key_id) == key
    assert keyring.check() == ()


def test_one_key_per_study(home):
    """A study keeps its key, two studies never share one, and a key is 32 random bytes."""
    keyring = opened(home)

    assert keyring.notices == ()
    assert_all_there(keyring, home[2])
    assert len({key.secret for key in home[2].values()}) == 30
    assert all((len(key.key_id), len(key.secret)) == (16, 32) for key in home[2].values())
    keyring.close()


def test_find_never_touches_the_disk(home):
    """`find` knows what was used, and nothing else."""
    keyring = opened(home)
    assert keyring.find("1.2.3") is None
    key = keyring.for_study("1.2.3")
    assert keyring.find("1.2.3") == key
    assert keyring.find("9.9") is None
    keyring.close()


def test_memory_is_bounded(home, monkeypatch):
    """Keys that were not used for long leave memory and are still there."""
    monkeypatch.setattr(module, "CACHED", 10)
    keyring = opened(home)
    assert_all_there(keyring, home[2])

    assert sum(keyring.find(study) is not None for study in home[2]) == 10
    keyring.close()


def test_two_threads_get_the_same_key(home):
    """Associations that bring the same new study at the same time get one key."""
    keyring = opened(home)
    found = []
    threads = [threading.Thread(target=lambda: found.append(keyring.for_study("7.7"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    keyring.close()


def test_unassigned_key_is_assigned_once(home):
    """A quarantine key becomes a study's; to a second study it cannot be given."""
    keyring = opened(home)
    key = keyring.unassigned()
    assert keyring.assign(key.key_id, STUDY) == key
    assert keyring.assign(key.key_id, STUDY) == key
    with pytest.raises(ConflictError):
        keyring.assign(key.key_id, "1.2.3")
    with pytest.raises(NotFound):
        keyring.assign(b"x" * 16, STUDY)
    keyring.close()
    again = opened(home)

    assert again.for_study(STUDY) == key
    assert again.check() == ()
    again.close()


def test_assigned_key_does_not_displace_the_first(home):
    """A study that has a key goes on using it after a second one was assigned; both open."""
    keyring = opened(home)
    second = keyring.assign(keyring.unassigned().key_id, "1.2.3")

    assert keyring.for_study("1.2.3") == home[2]["1.2.3"]
    assert keyring.get(second.key_id) == second
    keyring.close()


def test_absent_key(home):
    """An unknown key id is not found."""
    keyring = opened(home)
    with pytest.raises(NotFound):
        keyring.get(bytes(16))
    keyring.close()


def test_created_once_and_opened_only_when_there(home, tmp_path):
    """A keyring is not created over another, and not opened where there is none."""
    with pytest.raises(ConflictError):
        Keyring.create(home[0], MASTER, home[1])
    with pytest.raises(ConflictError):
        Keyring.create(tmp_path / "other", MASTER, home[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError):
        Keyring.open(tmp_path / "empty", MASTER, MemoryMedium())


def test_another_master_key_is_refused_and_harms_nothing(home):
    """With another master key nothing opens, nothing is healed, and the right one still opens everything."""
    with pytest.raises(IntegrityError, match="another home's master key"):
        Keyring.open(home[0], MasterKey(bytes(32)), home[1])
    (home[0] / "keyring.db").rename(home[0] / "kept")
    with pytest.raises(IntegrityError):
        Keyring.open(home[0], MasterKey(bytes(32)), home[1])
    (home[0] / "kept").rename(home[0] / "keyring.db")
    keyring = opened(home)

    assert keyring.notices == ()
    assert_all_there(keyring, home[2])
    keyring.close()


def test_nothing_readable_on_the_media(home):
    """Neither copy shows a study's UID or a secret, and only the owner may read the first."""
    keyring = opened(home)
    key = keyring.for_study(STUDY)
    for content in (*(path.read_bytes() for path in home[0].glob("keyring.db*")), home[1].content(COPY)):
        assert STUDY.encode() not in content
        assert key.secret not in content
    for path in home[0].glob("keyring.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.secret.hex() not in repr(key)
    assert STUDY not in repr(keyring)
    keyring.close()


def test_damaged_first_copy_heals_and_says_so(home):
    """Bit rot in any page of the first copy is healed out of the second; the damaged file is kept aside."""
    path = home[0] / "keyring.db"
    whole = path.read_bytes()
    for number, position in enumerate(range(100, len(whole), 4096), 1):
        damaged = bytearray(path.read_bytes())
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        keyring = opened(home)
        assert len(keyring.notices) == 1
        assert "made anew out of its second copy" in keyring.notices[0]
        assert (home[0] / f"keyring.db.damaged-{number}").read_bytes() == damaged
        assert_all_there(keyring, home[2])
        keyring.close()
        quiet = opened(home)
        assert quiet.notices == ()
        quiet.close()


def test_missing_first_copy_heals(home):
    """A first copy that is gone, or cut, is made anew."""
    path = home[0] / "keyring.db"
    for act in (path.unlink, lambda: path.write_bytes(path.read_bytes()[:5000])):
        act()
        keyring = opened(home)
        assert len(keyring.notices) == 1
        assert_all_there(keyring, home[2])
        keyring.close()


def test_damage_met_later_heals(home, monkeypatch):
    """Damage that shows only when a key is wanted is healed then, and the key comes."""
    monkeypatch.setattr(module, "QUICKLY_CHECKED", 0)
    path = home[0] / "keyring.db"
    whole = bytearray(path.read_bytes())
    pages = len(whole) // 4096
    for page in range(1, pages):
        whole[page * 4096 + 2000] ^= 0x01
    path.write_bytes(whole)
    keyring = opened(home)
    for study, key in home[2].items():
        assert keyring.for_study(study) == key

    assert any("made anew out of its second copy" in notice for notice in keyring.notices)
    assert keyring.check() == ()
    keyring.close()


def test_damaged_second_copy_heals_and_says_so(home):
    """Damage anywhere in the second copy is healed out of the first."""
    medium = home[1]
    stop = len(medium.content(COPY).rstrip(b"\0"))
    for position in range(0, stop, 211):
        name = f"keyring/{medium.listing('keyring')[-1]}"
        medium.corrupt(name, position)
        keyring = opened(home)
        assert len(keyring.notices) == 1
        assert "second copy was made anew out of the first" in keyring.notices[0]
        assert len(medium.listing("keyring")) == 1
        assert_all_there(keyring, home[2])
        keyring.close()


def test_missing_second_copy_heals(home):
    """A second copy that is gone, or was cut to an older state, is made anew."""
    medium = home[1]
    cut = medium.content(COPY)[:1000]
    for act in (lambda: medium.unlink(COPY), lambda: medium.overwrite(f"keyring/{medium.listing('keyring')[0]}", cut)):
        act()
        keyring = opened(home)
        assert len(keyring.notices) == 1
        assert_all_there(keyring, home[2])
        keyring.close()


def test_both_damaged_loses_nothing_quietly(home):
    """When both copies are damaged opening fails and changes neither."""
    path = home[0] / "keyring.db"
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    home[1].corrupt(COPY, 500)
    before = home[1].content(COPY)
    with pytest.raises(IntegrityError):
        opened(home)

    assert path.read_bytes() == damaged
    assert home[1].content(COPY) == before


def test_older_first_copy_takes_over_what_the_second_knows(home):
    """A first copy restored from yesterday gets today's keys back out of the second."""
    old = (home[0] / "keyring.db").read_bytes()
    keyring = opened(home)
    newer = {study: keyring.for_study(study) for study in ("8.1", "8.2")}
    keyring.close()
    (home[0] / "keyring.db").write_bytes(old)
    again = opened(home)

    assert_all_there(again, {**home[2], **newer})
    again.close()


def test_crash_between_the_two_writes(home, monkeypatch):
    """A key only the second copy got before a crash is taken over at the next start."""
    keyring = opened(home)

    def crash(_self):
        raise OutOfResources("the power went")

    monkeypatch.setattr(Database, "transaction", crash)
    with pytest.raises(OutOfResources):
        keyring.for_study(STUDY)
    monkeypatch.undo()
    keyring.close()
    again = opened(home)

    assert again.notices == ()
    assert_all_there(again, home[2])
    assert isinstance(again.for_study(STUDY), DataKey)
    assert again.check() == ()
    again.close()


def test_power_cut_keeps_every_key_that_was_given_out(home):
    """After a power cut every key anybody was given is in the second copy."""
    keyring = opened(home)
    given = {study: keyring.for_study(study) for study in ("8.1", "8.2", "8.3")}
    after = home[1].power_cut()
    (home[0] / "keyring.db").unlink()
    again = Keyring.open(home[0], MASTER, after)

    assert_all_there(again, {**home[2], **given})
    again.close()
    keyring.close()


def test_no_key_without_both_copies(home):
    """When the second copy cannot be flushed no key is given out."""
    keyring = opened(home)
    home[1].fail_flushes()
    with pytest.raises(OutOfResources):
        keyring.for_study(STUDY)

    assert keyring.find(STUDY) is None
    assert keyring.get(home[2]["1.2.3"].key_id) == home[2]["1.2.3"]
    keyring.close()


def test_swapped_key_is_refused(home):
    """A wrapped key put in another's row is found by the commitment."""
    database = Database(home[0] / "keyring.db", MASTER.derive("keyring database 1"))
    with database.transaction() as connection:
        (wrapped,) = connection.execute("SELECT wrapped FROM keys WHERE study = '1.2.4'").fetchone()
        connection.execute("UPDATE keys SET wrapped = ? WHERE study = '1.2.3'", (wrapped,))
    database.close()
    keyring = opened(home)

    assert keyring.check() != ()
    assert keyring.get(home[2]["1.2.3"].key_id) == home[2]["1.2.3"]  # out of the second copy
    keyring.close()


def test_check_names_a_damaged_second_copy(home):
    """`check` names damage in the second copy while the first serves on."""
    keyring = opened(home)
    home[1].corrupt(COPY, 700)

    assert any("second copy" in finding for finding in keyring.check())
    keyring.close()


def raw(path, key):
    """Every page of a database, opened, with what is free inside of it."""
    copy = path.with_name("plain.db")
    copy.write_bytes(path.read_bytes())
    connection = apsw.Connection(str(copy))
    for pragma in ("cipher = 'chacha20'", f"key = 'raw:{key.hex()}'", "journal_mode = delete", "rekey = ''"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.close()
    data = copy.read_bytes()
    copy.unlink()
    return data


def wrapped_of(keyring, key_id):
    """The wrapped key as it stands in the first copy."""
    return keyring._row("key_id = ?", key_id).wrapped


def test_a_shredded_key_is_in_no_byte_of_either_copy(home):
    """Not in a page, a free page, the log, the new generation or what was damaged once; the others are all there."""
    keyring = opened(home)
    (home[0] / "keyring.db.damaged-1").write_bytes(b"left of a first copy")
    gone = home[2].pop("1.2.7")
    wrapped = wrapped_of(keyring, gone.key_id)
    assert keyring.get(gone.key_id) == gone
    assert keyring.of_study("1.2.7") == (gone.key_id,)

    assert keyring.shred([gone.key_id, bytes(16)]) == 1

    with pytest.raises(NotFound):
        keyring.get(gone.key_id)
    assert keyring.find("1.2.7") is None
    assert_all_there(keyring, home[2])
    assert (home[0] / "keyring.db-wal").stat().st_size == 0
    keyring.close()
    assert not (home[0] / "keyring.db.damaged-1").exists()
    pages = raw(home[0] / "keyring.db", MASTER.derive("keyring database 1"))
    assert wrapped not in pages
    assert gone.key_id not in pages
    (name,) = home[1].listing("keyring")
    assert name == "keys.2-00000001.chain"
    again = opened(home)
    assert again.notices == ()
    assert again.for_study("1.2.7") != gone
    again.close()


@pytest.mark.parametrize("step", ["rewrite", "_note_head", "truncate_log"])
def test_shredding_that_was_cut_short_is_done_when_asked_again(home, step, monkeypatch):
    """No key of another study is lost at any step, whatever a crash leaves."""

    class KilledError(BaseException):
        pass

    def kill(*_arguments, **_named):
        raise KilledError

    keyring = opened(home)
    gone = home[2].pop("1.2.7")
    target = {"rewrite": type(keyring._copy), "_note_head": Keyring, "truncate_log": Database}[step]
    with monkeypatch.context() as patch:
        patch.setattr(target, step, kill)
        with pytest.raises(KilledError):
            keyring.shred([gone.key_id])
    keyring._database.close()
    again = opened(home)
    again.shred([gone.key_id])

    with pytest.raises(NotFound):
        again.get(gone.key_id)
    assert_all_there(again, home[2])
    again.close()
    last = opened(home)
    assert last.notices == ()
    assert_all_there(last, home[2])
    last.close()
