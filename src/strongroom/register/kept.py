"""What conflicts and quarantine have in common: the sealed blob of a data set that is not in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, final

from strongroom.ground.label import Label

__all__ = ["COLUMNS", "KeptBlob", "Location", "Stored", "columns_of", "kept_blob"]

COLUMNS: Final = (
    "sop_instance_uid, sop_class_uid, series_instance_uid, study_instance_uid, transfer_syntax_uid, device,"
    " received_at, digest, blob_id, key_id, pack, pack_offset, sealed_length, plain_length"
)


class Location(Protocol):
    """A place in the vault."""

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


class Stored(Protocol):
    """A blob that lies in the vault, as the catalogue describes it."""

    @property
    def location(self) -> Location:
        """Where."""

    @property
    def blob_id(self) -> bytes:
        """Its id."""

    @property
    def key_id(self) -> bytes:
        """The id of the data key it is sealed under."""


@final
@dataclass(frozen=True, slots=True)
class KeptBlob:
    """A data set kept aside; UIDs are empty when they never came."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    device: str
    received_at: float
    digest: bytes
    blob_id: bytes
    key_id: bytes
    pack: int
    offset: int
    length: int
    plain_length: int


def columns_of(label: Label, stored: Stored) -> tuple[str | int | float | bytes, ...]:
    """The values of COLUMNS."""
    place = stored.location
    return (
        label.sop_instance_uid,
        label.sop_class_uid,
        label.series_instance_uid,
        label.study_instance_uid,
        label.transfer_syntax_uid,
        label.device_id,
        label.received_at,
        label.digest,
        stored.blob_id,
        stored.key_id,
        place.pack,
        place.offset,
        place.length,
        place.plain_length,
    )


def kept_blob(row: tuple[Any, ...]) -> KeptBlob:
    """Make it out of a row of COLUMNS."""
    return KeptBlob(*row)
