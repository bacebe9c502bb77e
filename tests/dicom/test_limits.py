"""The limits are those of SECURITY C33, and an excess says which, how much is allowed and how much came."""

from __future__ import annotations

from strongroom.dicom.limits import DEFAULT, LimitExceeded
from strongroom.errors import DataSetError


def test_defaults_are_the_documented_ones() -> None:
    """Changing one is a decision, not a side effect."""
    assert (DEFAULT.max_depth, DEFAULT.max_elements, DEFAULT.max_inflate_ratio) == (64, 1_000_000, 100)
    assert (DEFAULT.max_value_length, DEFAULT.max_data_set_length) == (2 * 1024**3, 16 * 1024**3)
    assert DEFAULT.max_captured == 16 * 1024**2


def test_an_excess_carries_its_numbers() -> None:
    """The numbers are fields and stand in the sentence."""
    fault = LimitExceeded("max_depth", 64, 65)

    assert isinstance(fault, DataSetError)
    assert (fault.name, fault.limit, fault.found) == ("max_depth", 64, 65)
    assert str(fault) == "the data set exceeds max_depth: 65 is more than 64"
