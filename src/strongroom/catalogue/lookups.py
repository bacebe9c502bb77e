"""Looking instances up by what is not a DICOM attribute: their blob ids."""

from __future__ import annotations

import apsw

__all__ = ["has_blob"]


def has_blob(reader: apsw.Connection, blob_id: bytes) -> bool:
    """Whether a row names the blob; one scan of the instances, for the few records `check` finds no row for."""
    return bool(reader.execute("SELECT 1 FROM instance WHERE blob_id = ? LIMIT 1", (blob_id,)).fetchall())
