"""
What a backup says of itself: every file with its length and digest, sealed under a key of the master key
(docs/formats/backup.md).

The rule of the file: nothing in a backup is believed that the manifest does not name, and the manifest is believed only
when it opens.
"""

from __future__ import annotations

import struct
from typing import Final, final

import msgspec

from strongroom.errors import ConfigurationError, IntegrityError, NotFound
from strongroom.ground.medium import Medium
from strongroom.ground.seal import open_small, seal_small

NAME: Final = "manifest"
PURPOSE: Final = "backup manifest 1"
"""What its key is derived from the master key for."""
MOST_BYTES: Final = 256 << 20
"""A manifest's sealed bytes: two million packs."""
_FRONT: Final = struct.Struct(">4sB3x8s")
_MAGIC: Final = b"SRbk"
_VERSION: Final = 1


@final
class PackEntry(msgspec.Struct, frozen=True, array_like=True):
    """One pack: its first *length* bytes have this SHA-256."""

    number: int
    pack_id: bytes
    length: int
    closed: bool
    digest: bytes


@final
class FileEntry(msgspec.Struct, frozen=True, array_like=True):
    """One other file: *name* is where it lies in the backup, *home* where it belongs in a home."""

    name: str
    home: str
    length: int
    digest: bytes


@final
class Manifest(msgspec.Struct, frozen=True):
    """One complete backup. *small* are files of a home that are held here whole; *instances* counts rows."""

    number: int
    made_at: float
    instances: int
    packs: tuple[PackEntry, ...]
    files: tuple[FileEntry, ...]
    small: dict[str, bytes]

    @property
    def length(self) -> int:
        """Bytes of everything it names."""
        return sum(one.length for one in self.packs) + sum(one.length for one in self.files)


@final
class ManifestKey(msgspec.Struct, frozen=True):
    """The key of manifests, and the fingerprint of the master key it comes from (16 hex digits, no secret)."""

    secret: bytes
    fingerprint: str

    def __repr__(self) -> str:
        return f"ManifestKey({self.fingerprint})"


def write(medium: Medium, key: ManifestKey, manifest: Manifest) -> None:
    """Replace the manifest at once, durably: from here on the new backup is the complete one."""
    front = _FRONT.pack(_MAGIC, _VERSION, bytes.fromhex(key.fingerprint))
    data = front + seal_small(key.secret, msgspec.msgpack.encode(manifest), front)
    partial = NAME + ".partial"
    medium.unlink(partial)
    file = medium.open(partial, create=True)
    try:
        file.pwrite((data,), 0)
        file.fdatasync()
    finally:
        file.close()
    if read(medium, key, name=partial) != manifest:
        raise IntegrityError("the manifest reads back as something else; look at that disk")
    medium.rename(partial, NAME)
    medium.sync_directory()


def read(medium: Medium, key: ManifestKey, *, name: str = NAME) -> Manifest:
    """
    Open the manifest.

    Raises NotFound, ConfigurationError (another master key, a newer format), IntegrityError (it was changed).
    """
    try:
        file = medium.open(name, writable=False)
    except NotFound:
        raise NotFound("there is no complete backup here (no manifest)") from None
    try:
        data = file.pread(MOST_BYTES, 0)
    finally:
        file.close()
    if len(data) < _FRONT.size or data[:4] != _MAGIC:
        raise IntegrityError("the manifest of the backup is damaged")
    _, version, fingerprint = _FRONT.unpack_from(data)
    if version != _VERSION:
        raise ConfigurationError(f"the backup is of format {version}, this program knows {_VERSION}")
    if fingerprint.hex() != key.fingerprint:
        raise ConfigurationError(
            f"the backup was made under the master key {fingerprint.hex()}, this one is {key.fingerprint}: "
            "give the master key that the home had when the backup was made"
        )
    plain = open_small(key.secret, data[_FRONT.size :], data[: _FRONT.size])
    try:
        return msgspec.msgpack.decode(plain, type=Manifest)
    except msgspec.MsgspecError as wrong:
        raise IntegrityError("the manifest of the backup cannot be read") from wrong
