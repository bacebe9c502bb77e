"""From a catalogue row to the opener of its blob: the one place where key, place and seal come together for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import IntegrityError
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
