"""What is kept aside: conflicts and quarantine."""

from __future__ import annotations

import pytest

from register.registry import label, register, stored
from strongroom.register import conflicts, quarantine


@pytest.fixture
def connection():
    """An empty register."""
    return register()


def test_a_conflict_comes_back_whole(connection):
    """UIDs, digest, sender and the place of its blob."""
    number = conflicts.add(connection, label(), stored(5))
    [conflict] = conflicts.listed(connection)
    kept = conflict.kept

    assert conflict.id == number
    assert (kept.sop_instance_uid, kept.study_instance_uid, kept.series_instance_uid) == ("1.1.1.1", "1.1", "1.1.1")
    assert (kept.pack, kept.offset, kept.length, kept.plain_length) == (1, 5 * 4096, 1100, 1000)
    assert (kept.blob_id, kept.key_id, kept.digest) == (stored(5).blob_id, bytes(16), b"d" * 32)
    assert (kept.device, kept.received_at) == ("CT1", 1_700_000_000.5)


def test_the_same_conflict_is_found(connection):
    """A sender that tries again brings nothing new; another content under the same UID is another conflict."""
    conflicts.add(connection, label(), stored(1))

    assert conflicts.find(connection, "1.1.1.1", b"d" * 32).id == 1
    assert conflicts.find(connection, "1.1.1.1", b"e" * 32) is None
    conflicts.add(connection, label(digest=b"e" * 32), stored(2))
    assert conflicts.find(connection, "1.1.1.1", b"e" * 32).id == 2
    assert conflicts.count(connection) == 2


def test_quarantine_says_why(connection):
    """A refused data set may lack its UIDs; our code for the fault stands beside it."""
    quarantine.add(connection, label(sop_instance_uid=""), stored(1), "DataSetError")
    [found] = quarantine.listed(connection)

    assert (found.fault, found.kept.sop_instance_uid, found.kept.blob_id) == ("DataSetError", "", stored(1).blob_id)
    assert quarantine.count(connection) == 1


@pytest.mark.parametrize("kind", [conflicts, quarantine])
def test_lists_come_in_pages(connection, kind):
    """A page begins behind a number, never at a count of rows."""
    fault = ("fault",) if kind is quarantine else ()
    for number in range(5):
        kind.add(connection, label(), stored(number), *fault)

    assert [one.id for one in kind.listed(connection, after=2, limit=2)] == [3, 4]
    assert [one.id for one in kind.listed(connection, after=4)] == [5]
