"""
The sealed label behind every blob: what the blob is, in its own words, so that packs and keys alone rebuild the index
(I2).

A label is JSON, sealed under the blob's data key in the slot LABEL. It holds nothing a program could act on without
the key.
"""

from __future__ import annotations

import os
from typing import final

import msgspec

from strongroom.errors import IntegrityError
from strongroom.ground.seal import Randomness, Slot, associated_data, open_small, seal_small

LABEL_VERSION = 1
LONGEST = 65_536  # bytes of a sealed label; UIDs are at most 64 each


@final
class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """
    What is known about a blob when it is written. *digest* is SHA-256 of the data set's *plain_length* bytes as
    received.

    *received_at* is seconds since 1970 UTC. A later version may add fields with defaults; unknown ones are ignored on
    reading.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    digest: bytes
    plain_length: int
    received_at: float
    device_id: str
    quarantine: str = ""  # our word for why the data set was refused; such a blob is never indexed
    version: int = LABEL_VERSION

    def __repr__(self) -> str:
        """Say nothing a log should not hold."""
        return f"Label(plain_length={self.plain_length})"


_DECODER = msgspec.json.Decoder(Label)


def seal_label(
    label: Label, key: bytes, blob_id: bytes, key_id: bytes, *, randomness: Randomness = os.urandom
) -> bytes:
    """Return the trailer of the blob's record."""
    return seal_small(
        key, msgspec.json.encode(label), associated_data(blob_id, key_id, Slot.LABEL), randomness=randomness
    )


def open_label(sealed: bytes | memoryview, key: bytes, blob_id: bytes, key_id: bytes) -> Label:
    """Open a record's trailer. Raises IntegrityError, also for a label of a newer version."""
    plain = open_small(key, sealed, associated_data(blob_id, key_id, Slot.LABEL))
    try:
        label = _DECODER.decode(plain)
    except msgspec.MsgspecError as wrong:
        raise IntegrityError("a sealed label does not hold what a label holds") from wrong
    if label.version > LABEL_VERSION:
        raise IntegrityError(f"a sealed label is of version {label.version}, this program knows {LABEL_VERSION}")
    return label
