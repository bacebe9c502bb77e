"""Tombstones and retired packs in the register."""

from __future__ import annotations

from register.registry import register
from strongroom.ground.tombstone_file import Tombstone
from strongroom.register import retired, tombstones


def tombstone(number: int, study: str = "1.2.3", *, released_at: float | None = None) -> Tombstone:
    """The tombstone of that number."""
    key_ids = (bytes([number]) * 16, bytes([number + 100]) * 16)
    return Tombstone(bytes([number]) * 16, study, key_ids, 7, float(number), bytes(32), released_at)


def test_a_tombstone_comes_back_as_it_was_put() -> None:
    """Twice does no harm."""
    connection = register()
    for one in (tombstone(2), tombstone(1, "1.9"), tombstone(2)):
        tombstones.put(connection, one)

    assert [tombstone(1, "1.9"), tombstone(2)] == list(tombstones.every(connection))
    assert 2 == tombstones.count(connection)
    assert {"1.2.3", "1.9"} == tombstones.in_force(connection)
    assert {bytes([one]) * 16 for one in (1, 2, 101, 102)} == tombstones.key_ids(connection)


def test_a_released_study_may_come_again_and_its_keys_stay_shredded() -> None:
    """What a release gives back is what the file has to say; a second release changes nothing."""
    connection = register()
    tombstones.put(connection, tombstone(1))

    assert (tombstone(1, released_at=50.0),) == tombstones.release(connection, "1.2.3", at=50.0)
    assert () == tombstones.release(connection, "1.2.3", at=60.0)
    assert frozenset() == tombstones.in_force(connection)
    assert () == tombstones.of_study(connection, "1.2.3")
    assert bytes([1]) * 16 in tombstones.key_ids(connection)
    tombstones.put(connection, tombstone(1))

    assert [50.0] == [one.released_at for one in tombstones.every(connection)]


def test_a_release_that_only_the_file_knew_is_taken_over() -> None:
    """Putting the released one over the one in force."""
    connection = register()
    tombstones.put(connection, tombstone(1))
    tombstones.put(connection, tombstone(1, released_at=50.0))

    assert frozenset() == tombstones.in_force(connection)


def test_only_the_first_of_what_is_sent_again_is_news() -> None:
    """One alert for a study, however many instances a sender tries."""
    connection = register()
    tombstones.put(connection, tombstone(1))

    assert [True, False, False] == [tombstones.sent_again(connection, "1.2.3") for _ in range(3)]
    assert not tombstones.sent_again(connection, "1.2.4")


def test_a_retired_pack_waits_no_longer() -> None:
    """What is due and what is gone."""
    connection = register()
    retired.put_due(connection, [3, 1, 3], at=1.0)
    assert (1, 3) == retired.due(connection)

    retired.retire(connection, 3, at=2.0, reason="erased")
    retired.retire(connection, 3, at=2.0, reason="erased")

    assert (1,) == retired.due(connection)
    assert {3} == retired.numbers(connection)
