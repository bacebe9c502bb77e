"""
What the catalogue keeps of a sealed blob: where it lies and under which key, as plain values (the vault is not known
here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

__all__ = ["BlobLocation", "Location", "StoredBlob"]


class Location(Protocol):
    """The shape of a place in the vault."""

    @property
    def pack(self) -> int:
        """Number of the pack."""

    @property
    def offset(self) -> int:
        """Where the record begins in it."""

    @property
    def length(self) -> int:
        """Sealed bytes."""

    @property
    def plain_length(self) -> int:
        """Bytes of the data set."""


@final
@dataclass(frozen=True, slots=True)
class BlobLocation:
    """A place in the vault as the catalogue gives it back; equal fields mean the same place."""

    pack: int
    offset: int
    length: int
    plain_length: int


@final
@dataclass(frozen=True, slots=True)
class StoredBlob:
    """
    A blob that lies in the vault, with what is known of its data set as bytes; *device* is the sender's register
    name.
    """

    location: Location
    blob_id: bytes
    key_id: bytes
    digest: bytes
    transfer_syntax_uid: str
    received_at: float
    device: str
    content_digest: bytes | None = None
