"""Looking instances up by what is not a DICOM attribute."""

from __future__ import annotations

from catalogue.holding import Holding, blob
from strongroom.catalogue import lookups


def test_a_blob_of_a_row_is_known():
    """And one of no row is not."""
    holding = Holding()
    holding.record()

    assert lookups.has_blob(holding.connection, blob(1).blob_id)
    assert not lookups.has_blob(holding.connection, blob(2).blob_id)
