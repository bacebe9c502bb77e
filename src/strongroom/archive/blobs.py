"""From a catalogue row to the opener of its blob: the one place where key, place and seal come together for reading."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from strongroom.archive import places
from strongroom.catalogue.blob import BlobLocation
from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.seal import HEADER, Opener, Slot, associated_data
from strongroom.vault.blob import Location

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow


def open_blob(parts: Parts, row: InstanceRow) -> Opener:
    """
    Prepare to open the blob of *row*; raises IntegrityError when its length or header are not those of a sealed blob.
    """
    key = parts.keyring.get(row.key_id)
    header = parts.vault.read(place(row), 0, HEADER)
    opener = Opener(key.secret, associated_data(row.blob_id, row.key_id, Slot.DATA_SET), row.location.length, header)
    if opener.plain_length != row.plain_length:
        raise IntegrityError(f"{row.plain_length} bytes were received, {opener.plain_length} are sealed")
    return opener


def place(row: InstanceRow) -> Location:
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
