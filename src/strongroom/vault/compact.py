"""
Carrying records out of a pack that is to go, sealed as they are (DESIGN I9: pack bytes never change, packs go whole).

The rule of the file: a record is carried only when its checksum is right, and its copy is looked at again before the
pack it came from may go.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from strongroom.errors import IntegrityError
from strongroom.vault._walk import Gap, walk
from strongroom.vault.blob import Location, SealedRecord, StoredRecord
from strongroom.vault.check import check_record
from strongroom.vault.pack import Lease, Vault

__all__ = ["MAX_CARRIED", "WINDOW_BYTES", "carried", "has_damage", "relayed", "verify"]

MAX_CARRIED: Final = 8 << 20
"""Sealed bytes of a record that is held in memory and appended; a longer one goes through a leased pack."""
WINDOW_BYTES: Final = 1 << 20
"""Sealed bytes of a long record that are held at a time."""


def has_damage(vault: Vault, number: int) -> bool:
    """Whether a pack has bytes that were a record once and are none now: something may still refer to them."""
    file, stop = vault.file(number)
    return any(isinstance(found, Gap) and not found.torn for found in walk(file, stop=stop))


def carried(vault: Vault, record: StoredRecord) -> SealedRecord:
    """Read a record as it stands, to be appended elsewhere. Raises IntegrityError when a byte of it is wrong."""
    verify(vault, record.location, record.blob_id)
    sealed = vault.read(record.location)
    return SealedRecord(record.blob_id, record.key_id, (sealed,), record.trailer)


def relayed(vault: Vault, record: StoredRecord, lease: Lease) -> Generator[int]:
    """
    Write a long record into *lease*, all but its end (`Lease.finish` with its trailer); yield the bytes of each step.

    Raises IntegrityError when a byte of it is wrong: the lease is to be abandoned then.
    """
    verify(vault, record.location, record.blob_id)
    for start in range(0, record.location.length, WINDOW_BYTES):
        window = vault.read(record.location, start, min(start + WINDOW_BYTES, record.location.length))
        lease.write((window,))
        yield len(window)


def verify(vault: Vault, location: Location, blob_id: bytes) -> None:
    """Look at every byte of a record. Raises IntegrityError."""
    finding = check_record(vault, location, blob_id)
    if finding is not None:
        raise IntegrityError(f"{finding.where}: {finding.detail}; `strongroom repair` first")
