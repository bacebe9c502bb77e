"""Where the chains of the trail end, and the records that are durable here before they are there."""

from __future__ import annotations

import pytest

from register.registry import register
from strongroom.errors import IntegrityError
from strongroom.ground.chain import Head
from strongroom.register import heads
from strongroom.register.heads import SavedHead


@pytest.fixture
def connection():
    """An empty register."""
    return register()


def head(sequence, chain="main"):
    """The head of a chain after that many records."""
    return Head(chain, sequence, bytes([sequence]) * 32)


def test_the_newest_head_of_each_chain_is_kept(connection):
    """Where it ended, and up to where its own file is flushed for certain."""
    heads.save(connection, head(0), head(0), [b"1"])
    heads.save(connection, head(1), head(0), [b"2"])
    heads.save(connection, head(5, "cli"), head(5, "cli"))

    assert heads.find(connection, "main") == SavedHead(head(1), head(0))
    assert heads.find(connection, "none") is None
    assert [saved.head.chain for saved in heads.every(connection)] == ["cli", "main"]


def test_records_wait_in_the_outbox_until_they_are_flushed(connection):
    """Each under its number; what the chain's own file holds for certain is no longer kept twice."""
    heads.save(connection, head(0), head(0), [b"1", b"2"])
    heads.save(connection, head(2), head(0), [b"3"])
    heads.save(connection, head(0, "cli"), head(0, "cli"), [b"x"])
    assert heads.outbox(connection, "main", after=0) == (b"1", b"2", b"3")
    assert heads.outbox(connection, "main", after=2) == (b"3",)
    heads.save(connection, head(3), head(2), [b"4"])

    assert heads.outbox(connection, "main", after=2) == (b"3", b"4")
    assert heads.outbox(connection, "main", after=4) == ()
    assert heads.outbox(connection, "cli", after=0) == (b"x",)


def test_an_outbox_that_is_tidy_is_left_alone(connection):
    """Who knows that nothing more was flushed need not look for what may leave."""
    heads.save(connection, head(0), head(0), [b"1"])
    heads.save(connection, head(1), head(1), [b"2"], tidy=False)

    assert heads.outbox(connection, "main", after=0) == (b"1", b"2")


def test_a_gap_between_chain_and_outbox_is_tampering(connection):
    """A chain that ends before the first record of the outbox lost more than a crash can take."""
    heads.save(connection, head(0), head(0), [b"1", b"2"])
    heads.save(connection, head(2), head(1), [b"3"])

    with pytest.raises(IntegrityError, match="record 1"):
        heads.outbox(connection, "main", after=0)


@pytest.mark.parametrize(("ends", "flushed"), [(2, 2), (3, 1), (2, 1)])
def test_a_chain_never_goes_back(connection, ends, flushed):
    """Neither its end nor what was flushed of it: refused, and nothing changed."""
    heads.save(connection, head(3), head(2), [b"4"])
    with pytest.raises(IntegrityError, match="go back"):
        heads.save(connection, head(ends), head(flushed), [b"other"])

    assert heads.find(connection, "main") == SavedHead(head(3), head(2))
    assert heads.outbox(connection, "main", after=3) == (b"4",)
