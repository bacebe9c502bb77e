"""Places and delays, on a clock the test holds."""

from __future__ import annotations

import pytest

from strongroom.transport.ends import Refused
from strongroom.transport.quotas import Failures, Places, Quota, Waiting, source_of


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
    ],
)
def test_sources_are_addresses_or_sites(address: str, source: str) -> None:
    """An IPv4 address counts alone, an IPv6 customer as one."""
    assert source_of(address) == source


def test_one_address_takes_few_places() -> None:
    """The ninth connection of an address finds none, that of another does; a place given back can be taken again."""
    waiting = Waiting(Quota(knocking_per_address=8))
    assert [waiting.enter("a") for _ in range(9)] == [None] * 8 + [Refused.ADDRESS_FULL]
    assert waiting.enter("b") is None
    waiting.leave("a")
    assert waiting.enter("a") is None
    assert len(waiting) == 9


def test_all_addresses_together_take_few_places() -> None:
    """Fifty addresses do not take more than the pool has, and an address that was refused holds nothing."""
    waiting = Waiting(Quota(knocking=20, knocking_per_address=8))
    answers = [waiting.enter(f"a{number % 50}") for number in range(60)]
    assert answers.count(None) == 20
    assert set(answers[20:]) == {Refused.POOL_FULL}
    for number in range(20):
        waiting.leave(f"a{number}")
    assert len(waiting) == 0
    assert not waiting._by_source


def test_who_has_stood_longest_gives_way() -> None:
    """With all places taken the oldest of them goes, each once, if it has stood for longer than a handshake takes."""
    waiting = Waiting(Quota(knocking=2, knocking_seconds=1.0))
    gone: list[str] = []
    for number, name in enumerate(("a", "b")):
        assert waiting.enter(name, float(number)) is None
        waiting.stand(name, float(number), lambda name=name: gone.append(name))
    assert waiting.enter("c", 0.9) is Refused.POOL_FULL
    assert waiting.enter("c", 1.5) is None
    assert waiting.enter("d", 1.9) is Refused.POOL_FULL
    assert gone == ["a"]
    waiting.leave("a", "a")
    waiting.leave("b", "b")
    assert waiting.enter("d", 9.0) is None
    assert waiting.enter("e", 9.0) is Refused.POOL_FULL
    assert gone == ["a"]


def test_a_device_takes_no_more_than_its_own() -> None:
    """A device is bound by the general number or by its own, and all by the whole."""
    places = Places(Quota(associations=5, associations_per_device=2))
    assert [places.enter("a") for _ in range(3)] == [None, None, Refused.DEVICE_FULL]
    assert [places.enter("b", most=1) for _ in range(2)] == [None, Refused.DEVICE_FULL]
    assert [places.enter("c", most=9) for _ in range(3)] == [None, None, Refused.ARCHIVE_FULL]
    places.leave("c")
    assert places.enter("d") is None
    assert len(places) == 5


def test_failures_delay_more_and_more_up_to_a_bound() -> None:
    """Ten failures are free, then the delay doubles to the longest; after a quiet time all begins anew."""
    failures = Failures(Quota(failures_before_delay=10, first_delay_seconds=0.25, longest_delay_seconds=4))
    delays = []
    for _ in range(16):
        failures.add("a", now=100.0)
        delays.append(failures.delay("a", now=100.0))
    assert delays[:9] == [0.0] * 9
    assert delays[9:] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert failures.delay("b", now=100.0) == 0.0
    assert failures.delay("a", now=399.9) == 4.0
    assert failures.delay("a", now=400.0) == 0.0
    assert failures.add("a", now=400.0) == 1


def test_the_table_of_failures_is_bounded() -> None:
    """A flood of sources pushes out the one that failed longest ago."""
    failures = Failures(Quota(sources=100))
    for number in range(1000):
        failures.add(f"a{number}", now=1.0)
    assert len(failures) == 100
    assert failures.count("a999", now=1.0) == 1
    assert failures.count("a0", now=1.0) == 0
