"""Blob ids are random and say nothing."""

from __future__ import annotations

from strongroom.vault.blob import new_blob_id


def test_ids_are_random():
    """Sixteen random bytes, never twice the same."""
    ids = {new_blob_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert {len(blob_id) for blob_id in ids} == {16}
    assert new_blob_id(bytes) == bytes(16)
