"""Where the chains of the trail end."""

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


def test_the_newest_head_is_kept_with_its_group(connection):
    """Sequence, hash and the instances of the last group only; and the head before it, which was durable."""
    heads.save(connection, Head("main", 1, b"a" * 32), [1, 2])
    heads.save(connection, Head("main", 3, b"b" * 32), [7])
    heads.save(connection, Head("cli", 1, b"c" * 32))

    assert heads.find(connection, "main") == SavedHead(
        Head("main", 3, b"b" * 32), (7,), before=Head("main", 1, b"a" * 32)
    )
    assert heads.find(connection, "none") is None
    assert [saved.head.chain for saved in heads.every(connection)] == ["cli", "main"]


@pytest.mark.parametrize("sequence", [2, 3])
def test_a_chain_never_goes_back(connection, sequence):
    """A head that is not newer than the one kept means lost records: refused, nothing changed."""
    heads.save(connection, Head("main", 3, b"a" * 32))
    with pytest.raises(IntegrityError):
        heads.save(connection, Head("main", sequence, b"b" * 32))

    assert heads.find(connection, "main").head == Head("main", 3, b"a" * 32)


def test_start_up_goes_back_to_what_was_durable_and_no_further(connection):
    """A crash can lose the records of the last group, never those of the one before: that would be tampering."""
    for sequence in (1, 5, 9):
        heads.save(connection, Head("main", sequence, bytes([sequence]) * 32), [sequence])
    with pytest.raises(IntegrityError):
        heads.go_back(connection, Head("main", 4, b"x" * 32))
    heads.go_back(connection, Head("main", 6, b"y" * 32))

    assert heads.find(connection, "main") == SavedHead(Head("main", 6, b"y" * 32), ())
    heads.save(connection, Head("main", 7, b"z" * 32))
    assert heads.find(connection, "main").before == Head("main", 6, b"y" * 32)
