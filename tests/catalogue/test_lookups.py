"""Looking instances up by row ids and blob ids."""

from __future__ import annotations

from catalogue.holding import Holding, blob
from strongroom.catalogue import lookups


def test_rows_are_found_by_their_ids():
    """Those that are there, in their order."""
    holding = Holding()
    for _ in range(3):
        holding.record()

    assert [row.id for row in lookups.with_ids(holding.connection, [3, 9, 1])] == [1, 3]
    assert lookups.with_ids(holding.connection, []) == []


def test_a_blob_of_a_row_is_known():
    """And one of no row is not."""
    holding = Holding()
    holding.record()

    assert lookups.has_blob(holding.connection, blob(1).blob_id)
    assert not lookups.has_blob(holding.connection, blob(2).blob_id)
