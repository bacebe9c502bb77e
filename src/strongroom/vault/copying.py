"""
Packs in another place: a backup, a second vault. The same bytes under the same names, closed packs and the durable
front of open ones (docs/formats/backup.md).

No key is needed: what is copied stays sealed, and a record's own checksum says whether it was whole when it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from strongroom.errors import IntegrityError, NotFound
from strongroom.ground.medium import Medium
from strongroom.ground.transfer import Pace, transfer
from strongroom.vault._layout import PACK_HEADER, decode_pack_header
from strongroom.vault._walk import Gap, checksum_fits, walk
from strongroom.vault.pack import Extent, Vault

MOST_DAMAGE = 20
"""Findings named for one pack: a pack that is broken throughout is broken."""


@final
@dataclass(frozen=True, slots=True)
class Copied:
    """A pack that was copied and read back; *damage* was in the source already."""

    number: int
    pack_id: bytes
    length: int
    closed: bool
    digest: bytes
    damage: tuple[str, ...]


def name_of(root: str, number: int, *, closed: bool) -> str:
    """Return what a pack is called in *root*, as in a vault."""
    return f"{root}/{number:08d}.{'pack' if closed else 'open'}"


def pack_id_of(vault: Vault, number: int) -> bytes:
    """Return the id in the header of a pack. Raises NotFound, IntegrityError."""
    return decode_pack_header(vault.file(number)[0].pread(PACK_HEADER, 0)).pack_id


def is_there(target: Medium, root: str, extent: Extent, pack_id: bytes) -> bool:
    """Whether *target* holds just this pack, by length and id; its bytes are not read."""
    name = name_of(root, extent.number, closed=extent.closed)
    if target.size(name) != extent.length:
        return False
    try:
        file = target.open(name, writable=False)
    except NotFound:
        return False
    try:
        return decode_pack_header(file.pread(PACK_HEADER, 0)).pack_id == pack_id
    except IntegrityError:
        return False
    finally:
        file.close()


def copy_pack(vault: Vault, extent: Extent, target: Medium, root: str, pace: Pace) -> Copied:
    """
    Copy the durable bytes of a pack; look at the copy record by record.

    Raises NotFound when the pack is gone, IntegrityError when it cannot be read, OutOfResources.
    """
    file, _ = vault.file(extent.number)
    name = name_of(root, extent.number, closed=extent.closed)
    pack_id = decode_pack_header(file.pread(PACK_HEADER, 0)).pack_id
    digest = transfer(file, extent.length, target, name, pace)
    damage = tuple(_damage(target, name, extent))
    return Copied(extent.number, pack_id, extent.length, extent.closed, digest, damage[:MOST_DAMAGE])


def _damage(target: Medium, name: str, extent: Extent) -> Iterator[str]:
    """Name what was no whole record any more when it was copied."""
    file = target.open(name, writable=False)
    try:
        for found in walk(file, stop=extent.length):
            if isinstance(found, Gap):
                if not found.torn:
                    yield f"pack {extent.number} at {found.offset}: {found.end - found.offset} bytes are no record"
            elif not checksum_fits(file, found):
                yield f"pack {extent.number} at {found.offset}: the checksum of the record is wrong"
    finally:
        file.close()


def numbers_in(target: Medium, root: str) -> dict[str, int]:
    """Return the packs in *root* of another place: file name and number."""
    return {
        name: int(name[:8])
        for name in target.listing(root)
        if len(name) == 13 and name[:8].isdigit() and name[8:] in (".pack", ".open")
    }
