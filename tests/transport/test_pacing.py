"""How fast a peer has to be, on a clock the test holds."""

from __future__ import annotations

from strongroom.transport.pacing import Pacer


def test_a_drip_is_slow_after_the_grace_period_and_not_before() -> None:
    """Ten bytes a second are too slow for a rate of 1024, but only once the grace period is over."""
    pacer = Pacer()
    assert not any(pacer.slow(received=10 * second, now=float(second), rate=1024, grace=10) for second in range(10))
    assert pacer.slow(received=100, now=10.0, rate=1024, grace=10)


def test_each_grace_period_is_judged_by_itself() -> None:
    """A megabyte at the beginning does not pay for a drip afterwards."""
    pacer = Pacer()
    assert not pacer.slow(0, 0.0, 1024, 10)
    assert not pacer.slow(1_000_000, 10.0, 1024, 10)
    assert pacer.slow(1_000_100, 20.0, 1024, 10)


def test_reset_forgets_the_period() -> None:
    """Time in which it was not the peer's turn does not count."""
    pacer = Pacer()
    pacer.slow(0, 0.0, 1024, 10)
    pacer.reset()
    assert not pacer.slow(0, 100.0, 1024, 10)


def test_a_peer_that_takes_nothing_is_stalled() -> None:
    """What waits to be sent has to change within the limit."""
    pacer = Pacer()
    assert not pacer.stalled(500, 0.0, 60)
    assert not pacer.stalled(500, 59.0, 60)
    assert not pacer.stalled(400, 60.0, 60)
    assert not pacer.stalled(400, 119.0, 60)
    assert pacer.stalled(400, 120.0, 60)


def test_quiet_means_nothing_came_since_it_was_asked() -> None:
    """The first quiet look after traffic is the one a tick later."""
    pacer = Pacer()
    assert [pacer.quiet(received) for received in (10, 10, 11, 11)] == [False, True, False, True]
