"""Status categories (PS3.7 Annex C)."""

from __future__ import annotations

import pytest

from strongroom.dimse import status
from strongroom.dimse.status import Category


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0x0000, Category.SUCCESS),
        (0xFF00, Category.PENDING),
        (0xFF01, Category.PENDING),
        (0xFE00, Category.CANCEL),
        (0x0001, Category.WARNING),
        (0x0107, Category.WARNING),
        (0x0116, Category.WARNING),
        (0xB000, Category.WARNING),
        (0xB007, Category.WARNING),
        (0x0111, Category.FAILURE),
        (0x0124, Category.FAILURE),
        (0x0211, Category.FAILURE),
        (0xA700, Category.FAILURE),
        (0xA900, Category.FAILURE),
        (0xC123, Category.FAILURE),
        (0xFF02, Category.FAILURE),
        (0x1234, Category.FAILURE),
    ],
)
def test_each_status_has_its_category(value: int, expected: Category) -> None:
    """The ranges of PS3.7 Annex C, and failure for what is in none."""
    assert expected == status.category(value)
