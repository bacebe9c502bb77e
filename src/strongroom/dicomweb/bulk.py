"""
Bulk data of a request: which part an element means, and the element written out (PS3.18 §8.6.1.2, PS3.5 §A.4).

A reference is compared with the names of the parts of the same request and never looked up anywhere (SECURITY W08,
C35): what names another place is refused before anything of its instance is stored.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast, final

from strongroom.dicom.json import JsonElement
from strongroom.dicomweb.media_type import MediaType
from strongroom.errors import DataSetError, MismatchError

__all__ = ["Content", "Place", "element_header", "encapsulated", "inside", "names_of", "references"]

MAX_REFERENCE_LENGTH: Final = 1024
"""Characters of a BulkDataURI: clients name their parts by number, UUID or tag path."""
MAX_REFERENCES: Final = 10_000
"""References of one data set: as many as a request has parts."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OPAQUE: Final = ("cid:", "urn:", "uuid:")
_FRAMES: Final = re.compile(r"(.+)/frames/[0-9]+")
_ITEM: Final = 0xFFFEE000
_SEQUENCE_END: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_UNDEFINED: Final = 0xFFFFFFFF
_LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV"})
_FULL: Final = 0xFFFFFFFE  # what a length of 32 bits can say

Place = tuple[str | int, ...]
"""The way to an element: tags, with the number of an item behind each tag of a sequence."""


@final
@dataclass(slots=True)
class Content:
    """What has come for one reference: one part, or one for each frame."""

    media_type: MediaType
    parts: list[bytearray] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Bytes held."""
        return sum(map(len, self.parts))


def references(elements: Mapping[str, JsonElement], base_url: str) -> dict[str, Place]:
    """
    Return the references of a data set to bulk data, and where they stand.

    Raises MismatchError on one that means another place, or stands twice.
    """
    found: dict[str, Place] = {}
    for place, uri in _walk(elements, ()):
        if len(uri) > MAX_REFERENCE_LENGTH or not _is_ours(uri, base_url):
            raise MismatchError("bulk data is referred to by something else than a part of the request")
        if found.setdefault(uri, place) is not place or len(found) > MAX_REFERENCES:
            raise MismatchError("bulk data is referred to twice, or too often")
    return found


def _walk(elements: Mapping[str, JsonElement], way: Place) -> Iterator[tuple[Place, str]]:
    """Its depth was bounded when the JSON was read."""
    for tag, element in elements.items():
        uri = element.get("BulkDataURI")
        if uri is not None:
            yield (*way, tag), uri
        elif element["vr"] == "SQ":
            for number, item in enumerate(element.get("Value", [])):
                yield from _walk(item or {}, (*way, tag, number))  # type: ignore[arg-type] # an item, as `loads` makes it


def _is_ours(uri: str, base_url: str) -> bool:
    """Relative, opaque, or below our own address."""
    if uri.startswith(("//", "\\")) or not uri:
        return False
    return _SCHEME.match(uri) is None or uri.lower().startswith(_OPAQUE) or uri.startswith(f"{base_url}/")


def names_of(headers: Mapping[str, str]) -> list[str]:
    """Return what a part may be called: its Content-Location, without a frame number too, and its Content-ID."""
    names = []
    location = headers.get("content-location", "").strip()
    if location:
        names.append(location)
        frames = _FRAMES.fullmatch(location)
        if frames is not None:
            names.append(frames[1])
    identifier = headers.get("content-id", "").strip()
    if identifier:
        names.append("cid:" + identifier.removeprefix("<").removesuffix(">"))
    return names


def inside(elements: dict[str, JsonElement], place: Place) -> dict[str, JsonElement]:
    """Return the data set, or the item of a sequence in it, in which the element at *place* stands."""
    found: Any = elements
    for tag, number in zip(place[:-1:2], place[1:-1:2], strict=True):
        found = found[tag]["Value"][number]
    return cast("dict[str, JsonElement]", found)


def element_header(tag: int, vr: str, length: int | None) -> bytes:
    """Encode what stands in front of a value, Explicit VR Little Endian; None: of undefined length."""
    if vr not in _LONG_VRS or (length is not None and length > _FULL):
        raise DataSetError("an element cannot hold a value of this kind or length")
    code = _UNDEFINED if length is None else length + (length & 1)
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr.encode(), code)


def encapsulated(frames: Sequence[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """Yield the items of encapsulated Pixel Data, a fragment for each frame (PS3.5 §A.4)."""
    offsets: list[int] = []
    at = 0
    for frame in frames:
        offsets.append(at)
        at += 8 + len(frame) + (len(frame) & 1)
    table = offsets if len(offsets) > 1 and offsets[-1] <= _FULL else []
    yield _item(4 * len(table)) + struct.pack(f"<{len(table)}I", *table)
    for frame in frames:
        yield _item(len(frame) + (len(frame) & 1))
        yield frame
        if len(frame) & 1:
            yield b"\0"
    yield _SEQUENCE_END


def _item(length: int) -> bytes:
    return struct.pack("<HHI", _ITEM >> 16, _ITEM & 0xFFFF, length)
