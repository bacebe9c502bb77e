"""A flood of strangers is counted exactly and stays small; nobody else's records suffer."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from strongroom.audit.flood import FIRST, OTHERS, WINDOW, Flood, Repeated

NOW = datetime(2026, 10, 5, tzinfo=UTC)
SCAN = ("10.9.9.9", "certificate-missing", "dicom")


def test_the_first_are_recorded_and_the_rest_counted():
    """Of a hundred thousand, ten records and one with the exact number of the others (H02)."""
    flood = Flood()
    recorded = sum(flood.record(SCAN, NOW) for _ in range(100_000))

    assert recorded == FIRST
    assert flood.due(NOW) == []
    assert flood.due(NOW + WINDOW) == [Repeated(SCAN, 100_000 - FIRST, NOW)]


def test_a_few_are_never_summed_up():
    """What was recorded one by one needs no second record."""
    flood = Flood()
    assert all(flood.record(SCAN, NOW) for _ in range(FIRST))
    assert flood.due(NOW + WINDOW) == []


def test_a_new_window_records_again():
    """After a window has ended, the next event is seen at once."""
    flood = Flood()
    for _ in range(20):
        flood.record(SCAN, NOW)
    flood.due(NOW + WINDOW)
    assert flood.record(SCAN, NOW + WINDOW)


def test_kinds_do_not_hide_each_other():
    """A second source is recorded from its first try, however loud another one is."""
    flood = Flood()
    for _ in range(1000):
        flood.record(SCAN, NOW)
    assert flood.record(("10.9.9.8", "certificate-missing", "dicom"), NOW)


def test_stopping_loses_no_count():
    """At the end everything still open is handed out."""
    flood = Flood()
    for _ in range(15):
        flood.record(SCAN, NOW)
    assert flood.due(NOW, everything=True) == [Repeated(SCAN, 5, NOW)]
    assert flood.due(NOW, everything=True) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5))))
def test_every_event_is_recorded_or_counted_once(events):
    """Whatever comes in whatever order, over any number of kinds: recorded plus counted is all there was, and memory is bounded."""
    flood = Flood(first=2, window=timedelta(seconds=10), max_kinds=5)
    now = NOW
    recorded: Counter[bool] = Counter()
    counted = 0
    for source, pause in events:
        now += timedelta(seconds=pause)
        counted += sum(one.times for one in flood.due(now))
        recorded[flood.record((str(source),), now)] += 1
        assert len(flood._kinds) <= 6
    rest = flood.due(now, everything=True)

    assert recorded[True] + counted + sum(one.times for one in rest) == len(events)
    assert all(one.times > 0 for one in rest)


def test_what_is_beyond_the_bound_shares_a_kind():
    """Thousands of sources at once become one count, so that an attacker with many addresses fills neither memory nor trail."""
    flood = Flood(first=2, max_kinds=3)
    recorded = [flood.record((str(source),), NOW) for source in range(10)]

    assert recorded == [True] * 3 + [False] * 7
    assert flood.due(NOW + WINDOW) == [Repeated(OTHERS, 7, NOW)]


def test_what_could_not_be_recorded_is_counted():
    """One that was to stand by itself and could not (a full queue, a full disk) is counted, also after its window."""
    flood = Flood()
    assert flood.record(SCAN, NOW)
    flood.take_back(SCAN, NOW)
    assert flood.due(NOW + WINDOW) == [Repeated(SCAN, 1, NOW)]

    assert flood.record(SCAN, NOW)
    assert flood.due(NOW + WINDOW) == []
    flood.take_back(SCAN, NOW + WINDOW)
    assert flood.due(NOW + 2 * WINDOW) == [Repeated(SCAN, 1, NOW + WINDOW)]


def test_a_count_that_could_not_be_recorded_is_counted_on():
    """It comes again with what happened since, from its own beginning; without room of its own in the common kind."""
    flood = Flood(first=1, max_kinds=1)
    for _ in range(5):
        flood.record(SCAN, NOW)
    (repeated,) = flood.due(NOW + WINDOW)
    flood.record(SCAN, NOW + WINDOW)
    flood.put_back(repeated)

    assert flood.due(NOW + WINDOW) == [Repeated(SCAN, 4, NOW)]
    flood.record(("another",), NOW)
    flood.put_back(repeated)
    assert flood.due(NOW, everything=True) == [Repeated(OTHERS, 4, NOW)]
