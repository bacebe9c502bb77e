"""From a row to the opener of its blob: the one place where key, place and seal come together for reading."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, final

from strongroom.archive import places
from strongroom.catalogue.blob import BlobLocation
from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.label import open_label
from strongroom.ground.seal import HEADER, Opener, Slot, associated_data
from strongroom.vault.blob import Location

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.catalogue.blob import Location as Place
    from strongroom.catalogue.instances import InstanceRow
    from strongroom.register.kept import KeptBlob


class Row(Protocol):
    """What has to be known of a blob to open it."""

    @property
    def blob_id(self) -> bytes:
        """Its id."""

    @property
    def key_id(self) -> bytes:
        """The id of the key it is sealed under."""

    @property
    def location(self) -> Place:
        """Where it lies."""


@final
@dataclass(frozen=True, slots=True)
class Blob:
    """One blob of the archive, whoever's: an instance's, or one that is kept aside. *table* and *id* name its row."""

    table: str
    id: int
    sop_instance_uid: str
    blob_id: bytes
    key_id: bytes
    digest: bytes
    location: Location

    @property
    def what(self) -> str:
        """Its row, for a person."""
        return f"{self.table.replace('_', ' ')} {self.id}"


def of_row(row: InstanceRow) -> Blob:
    """The blob of an instance."""
    return Blob("instance", row.id, row.sop_instance_uid, row.blob_id, row.key_id, row.digest, place(row))


def of_kept(table: str, number: int, kept: KeptBlob) -> Blob:
    """The blob of something kept aside."""
    where = Location(kept.pack, kept.offset, kept.length, kept.plain_length)
    return Blob(table, number, kept.sop_instance_uid, kept.blob_id, kept.key_id, kept.digest, where)


def opener_of(parts: Parts, row: Row, header: bytes) -> Opener:
    """Prepare to open a blob that begins with *header*; raises IntegrityError, NotFound without its key."""
    key = parts.keyring.get(row.key_id)
    opener = Opener(key.secret, associated_data(row.blob_id, row.key_id, Slot.DATA_SET), row.location.length, header)
    if opener.plain_length != row.location.plain_length:
        raise IntegrityError(f"{row.location.plain_length} bytes were received, {opener.plain_length} are sealed")
    return opener


def open_blob(parts: Parts, row: Row) -> Opener:
    """
    Prepare to open the blob of *row*; raises IntegrityError when its length or header are not those of a sealed blob.
    """
    return opener_of(parts, row, parts.vault.read(place(row), 0, HEADER))


def place(row: Row) -> Location:
    """Where the row's blob lies, as the vault says it."""
    location = row.location
    return Location(location.pack, location.offset, location.length, location.plain_length)


def found_again(parts: Parts, row: InstanceRow) -> InstanceRow:
    """
    The row with the place its blob has now, for whoever holds one from before its pack was compacted.

    Raises NotFound when it was erased, or when it is where the row says.
    """
    with parts.database.reader() as connection:
        found = places.find(connection, row.blob_id, row.sop_instance_uid)
    if found is None or (found.pack, found.offset) == (row.location.pack, row.location.offset):
        raise NotFound("the blob is not there any more")
    return replace(row, location=BlobLocation(found.pack, found.offset, found.length, found.plain_length))


def prove(parts: Parts, blob: Blob) -> str:
    """
    Open every byte of a blob and compare its digest; return "" or what is wrong with it.

    Raises IntegrityError when it does not open, NotFound when its pack or key is not there.
    """
    opener = open_blob(parts, blob)
    digest = hashlib.sha256()
    for cover in opener.windows():
        digest.update(opener.open(parts.vault.read(blob.location, cover.sealed_start, cover.sealed_stop), cover))
    if digest.digest() != blob.digest:
        return "the data set is not the one that was received"
    stored = parts.vault.record(blob.location)
    key = parts.keyring.get(blob.key_id)
    label = open_label(stored.trailer, key.secret, blob.blob_id, blob.key_id)
    if label.digest != blob.digest:
        return "the label names another digest than the row"
    return ""


__all__ = ["Blob", "Row", "found_again", "of_kept", "of_row", "open_blob", "opener_of", "place", "prove"]
