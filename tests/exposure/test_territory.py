"""Where the survey may knock."""

from __future__ import annotations

import pytest

from strongroom.errors import AccessDenied
from strongroom.exposure.territory import Host, Territory


def test_own_doors_need_nothing_but_owning_them() -> None:
    """A territory of own doors holds them in order, with their labels."""
    territory = Territory.own_doors([("dicom", "127.0.0.1", 2762), ("legacy", "127.0.0.1", 11112)])
    assert len(territory) == 2
    assert [(host.label, host.address, host.port) for host in territory] == [
        ("dicom", "127.0.0.1", 2762),
        ("legacy", "127.0.0.1", 11112),
    ]


@pytest.mark.parametrize("forged", [None, object(), True, "own doors"])
def test_a_host_comes_out_of_a_territory_only(forged: object) -> None:
    """A probe cannot be aimed by making its target."""
    with pytest.raises(AccessDenied):
        Host("192.0.2.1", 104, "elsewhere", forged)


def test_a_host_cannot_be_aimed_elsewhere_afterwards() -> None:
    """Nothing of a host changes once it was made."""
    (host,) = Territory.own_doors([("dicom", "127.0.0.1", 2762)])
    with pytest.raises(AttributeError):
        host.address = "192.0.2.1"  # type: ignore[misc]
