"""Work beside other work: it runs meanwhile, it is waited for, and what it raises comes out where it is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from strongroom.archive.beside import Beside
from strongroom.errors import OutOfResources


@pytest.fixture
def beside() -> Iterator[Beside]:
    """A thread that ends with the test."""
    one = Beside("test")
    yield one
    one.stop()


def test_body_and_work_run_at_the_same_time(beside: Beside) -> None:
    """Each waits for something the other does: one after the other they would never end."""
    begun, seen = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert seen.wait(10)

    with beside.run(work) as done:
        assert begun.wait(10)
        seen.set()
        done()


def test_waiting_returns_when_the_work_has_ended(beside: Beside) -> None:
    """The second piece of work begins only after the first: the same thread does them in turn."""
    ended: list[int] = []
    for number in range(100):
        with beside.run(lambda number=number: ended.append(number)) as done:  # type: ignore[misc]
            done()

        assert list(range(number + 1)) == ended


def test_what_the_work_raises_is_raised_where_it_is_waited_for(beside: Beside) -> None:
    """Once, and the next piece of work has nothing to do with it."""

    def fail() -> None:
        raise OutOfResources("full")

    with pytest.raises(OutOfResources, match="full"), beside.run(fail) as done:
        done()
    with beside.run(lambda: None) as done:
        done()


def test_a_body_that_fails_waits_all_the_same(beside: Beside) -> None:
    """Its own error comes out, after the work has ended, even when that failed too."""
    ended = threading.Event()

    def fail() -> None:
        ended.set()
        raise OutOfResources("full")

    with pytest.raises(ValueError, match="body"), beside.run(fail):
        raise ValueError("body")

    assert ended.is_set()
    with beside.run(lambda: None) as done:
        done()
