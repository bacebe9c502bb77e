"""The short form of the soak; `make faults` goes on for a minute, `make faults-long` for ten."""

from __future__ import annotations

import pytest

from faults import soak
from faults.scene import ViolationError, seed_of

pytestmark = pytest.mark.xdist_group("soak")

CACHES = 64.0
"""MiB; a tenth is what the middle form allows, after a longer crowd."""


def test_a_crowd_comes_and_goes() -> None:
    """
    Fifty associations and fifty HTTP clients with slow ones and droppers, and 500 silent connections: good clients do not fail, none
    waits a second for C-ECHO, descriptors come back to what they were, and memory does but for caches that fill.
    """
    found = soak.run(15, 10, seed_of(None), caches=CACHES)
    print(found.shown())

    assert found.counts["stored"] > 50
    assert found.counts["web 200"] > 50
    assert found.counts["silent connections"] >= 500
    assert found.counts["dropped stores"]
    assert found.counts["dropped requests"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"waits": [0.1, 1.2]}, "waited 1.20 s"),
        ({"counts": {"failed: _association ConnectionResetError": 1}}, "good clients failed"),
        ({"counts": {"web 503": 1}}, "good clients failed"),
        ({"memory": (100.0, 111.0)}, "memory went from 100 to 111"),
        ({"descriptors": (50, 56)}, "descriptors went from 50 to 56"),
    ],
)
def test_the_soak_can_fail(change: dict[str, object], said: str) -> None:
    """Whoever waits, fails, or leaves something behind makes it fail."""
    good = {
        "echoes": [0.1],
        "waits": [0.1],
        "calls": [0.2],
        "memory": (100.0, 109.0),
        "descriptors": (50, 54),
        "counts": {"web 200": 9},
    }
    soak.judge(soak.Soak(**good))

    with pytest.raises(ViolationError, match=said):
        soak.judge(soak.Soak(**{**good, **change}))
