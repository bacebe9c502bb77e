"""
Metadata fragments of a series, merged and compressed when it is quiet, so that the metadata of a study is a few reads
(DESIGN section 6, Metadata).

One merged blob holds neighbouring instances of one series, about MAX_PLAIN bytes of text, under the study's key;
fragments that are in it are taken out of the catalogue. docs/formats/metadata.md has its bytes.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final, Self, final

from strongroom.errors import IntegrityError
from strongroom.ground.seal import Slot, associated_data, open_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.archive.core import Parts
    from strongroom.catalogue.extracts import Merged

__all__ = ["MAX_PLAIN", "Opened", "open_merged", "pack"]

MAX_PLAIN: Final = 1 << 20
"""Text in one merged blob: it is opened whole for one instance too, which then costs 3 ms."""
LEVEL: Final = 6
_VERSION: Final = 1
_FRONT: Final = struct.Struct(">BxxxII")  # version, instances, bytes of text
_ENTRY: Final = struct.Struct(">QI")  # instance, bytes of its text


@final
class Opened:
    """A merged blob in memory."""

    __slots__ = ("_places", "_text", "last")

    def __init__(self, places: dict[int, tuple[int, int]], text: bytes) -> None:
        self._places = places
        self._text = text
        self.last = max(places)
        """The last instance in it."""

    def text(self, instance_id: int) -> bytes | None:
        """The text of an instance, None when it is not in it."""
        place = self._places.get(instance_id)
        return None if place is None else self._text[place[0] : place[1]]

    def items(self) -> list[tuple[int, bytes]]:
        """Every instance with its text, in order."""
        return [(number, self._text[start:stop]) for number, (start, stop) in self._places.items()]

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Read what `pack` made; raises IntegrityError."""
        try:
            version, count, length = _FRONT.unpack_from(data)
            if version != _VERSION:
                raise IntegrityError(f"merged metadata of version {version}")
            entries = [_ENTRY.unpack_from(data, _FRONT.size + at * _ENTRY.size) for at in range(count)]
            inflater = zlib.decompressobj()
            text = inflater.decompress(memoryview(data)[_FRONT.size + count * _ENTRY.size :], length)
        except (struct.error, zlib.error) as error:
            raise IntegrityError(f"{len(data)} bytes are no merged metadata") from error
        places, at = {}, 0
        for number, size in entries:
            places[number] = at, at + size
            at += size
        if not places or at != len(text) or at != length:
            raise IntegrityError(f"merged metadata of {len(text)} bytes has entries for {at}")
        return cls(places, text)


def pack(texts: Sequence[tuple[int, bytes]]) -> bytes:
    """Join the texts of instances, in order, and compress them."""
    joined = b"".join(text for _, text in texts)
    entries = b"".join(_ENTRY.pack(number, len(text)) for number, text in texts)
    return _FRONT.pack(_VERSION, len(texts), len(joined)) + entries + zlib.compress(joined, LEVEL)


def open_merged(parts: Parts, merged: Merged) -> Opened:
    """Open a merged blob; raises IntegrityError."""
    key = parts.keyring.get(merged.key_id)
    ad = associated_data(merged.merged_id, merged.key_id, Slot.MERGED)
    return Opened.unpacked(open_small(key.secret, merged.sealed, ad))
