"""
The DICOM JSON model (PS3.18 Annex F): data set bytes to a dict of elements, and back.

The dict (`{"00100010": {"vr": "PN", "Value": [...]}}`) is what find, catalogue and web services hand to each other.
Bytes from outside give a dict or DataSetError, and nothing else.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from strongroom.dicom.json_reader import Reader, Scope
from strongroom.dicom.json_writer import Writer
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.uid import TransferSyntax, transfer_syntax
from strongroom.dicom.values import JsonElement, JsonValue
from strongroom.errors import DataSetError

__all__ = [
    "JsonElement",
    "JsonValue",
    "decode_dataset",
    "dumps",
    "element_to_json",
    "encode_dataset",
    "loads_trusted",
    "to_json",
]

MAX_INFLATED_IDENTIFIER: Final = 64 << 20  # bytes; identifiers are a few KiB
_CHARACTER_SET_KEY: Final = "00080005"


def _syntax(uid: str) -> TransferSyntax:
    syntax = transfer_syntax(uid)
    if syntax is None:
        raise DataSetError("the transfer syntax is not one of a data set")
    return syntax


def to_json(
    head: bytes,
    transfer_syntax_uid: str,
    *,
    bulk_threshold: int = 1024,
    declare_utf_8: bool = True,
    limits: Limits = DEFAULT,
) -> dict[str, JsonElement]:
    """
    Decode the data set bytes before Pixel Data (`Header.head`, inflated where the syntax is a deflated one).

    Binary values longer than *bulk_threshold*, text and numbers above 64 KiB, and pixel data become
    `{"vr": ..., "BulkDataURI": "00880200/0/7FE00010"}`: the tags on the way to it, item numbers from 0. Specific
    Character Set says ISO_IR 192, which JSON text is, unless *declare_utf_8* is False. Raises DataSetError.
    """
    syntax = _syntax(transfer_syntax_uid)
    scope = Scope(explicit=syntax.explicit, little_endian=syntax.little_endian)
    reader = Reader(head, bulk_threshold=bulk_threshold, declare_utf_8=declare_utf_8, limits=limits)
    reader.data_set(0, len(head), scope)
    return scope.elements


def element_to_json(
    tag: int,
    vr: str,
    raw: bytes,
    character_sets: tuple[str, ...],
    *,
    explicit: bool = True,
    little_endian: bool = True,
) -> JsonElement:
    """
    Decode one element's value, everything inline; *raw* of a sequence is its items, with or without the delimiter.

    *explicit* and *little_endian* say how the data set is written that it was taken from. Raises DataSetError for a
    sequence that is not whole, never for another VR.
    """
    scope = Scope(explicit=explicit, little_endian=little_endian, character_sets=character_sets)
    return Reader(raw).element(tag, vr, 0, len(raw), scope)


def decode_dataset(data: bytes, transfer_syntax_uid: str, *, limits: Limits = DEFAULT) -> dict[str, JsonElement]:
    """
    Decode an identifier (PS3.4 §C.4.1): everything inline, elements without a value kept, character set as declared.

    A deflated one is inflated within MAX_INFLATED_IDENTIFIER and the ratio of *limits*. Raises DataSetError only.
    """
    syntax = _syntax(transfer_syntax_uid)
    if syntax.deflated:
        data = _inflate(data, limits)
    scope = Scope(explicit=syntax.explicit, little_endian=syntax.little_endian)
    Reader(data, limits=limits).data_set(0, len(data), scope)
    return scope.elements


def _inflate(data: bytes, limits: Limits) -> bytes:
    """Inflate a whole data set (PS3.5 §A.5: RFC 1951, no header), bounded."""
    limit = min(MAX_INFLATED_IDENTIFIER, limits.max_inflate_ratio * len(data) + 1024)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise DataSetError("the data set does not inflate") from error
    if len(inflated) > limit:
        raise LimitExceeded("max_inflate_ratio", limit, len(inflated))
    if not inflater.eof:
        raise DataSetError(f"{len(data)} deflated bytes end before the deflated stream does")
    return inflated


def encode_dataset(
    elements: dict[str, JsonElement], transfer_syntax_uid: str, character_set: str = "ISO_IR 192"
) -> bytes:
    r"""
    Encode elements in the order of their tags, values padded, sequences with defined lengths.

    *character_set* (several values with `\` between) is what text is written in. It is declared in (0008,0005) when a
    text needed it or *elements* names it; whatever value stands there. Raises DataSetError on content that no data set
    can hold: a wrong tag, VR or value, bulk data.
    """
    syntax = _syntax(transfer_syntax_uid)
    if syntax.encapsulated:
        raise DataSetError("a data set of its own is not written in a transfer syntax of encapsulated pixel data")
    terms = tuple(character_set.split("\\"))
    writer = Writer(explicit=syntax.explicit, little_endian=syntax.little_endian, character_sets=terms)
    before = writer.data_set({key: elements[key] for key in elements if key < _CHARACTER_SET_KEY})
    after = writer.data_set({key: elements[key] for key in elements if key > _CHARACTER_SET_KEY})
    declared = writer.extended or _CHARACTER_SET_KEY in elements
    encoded = before + (writer.character_set(terms) if declared and character_set else b"") + after
    if not syntax.deflated:
        return encoded
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(encoded) + deflater.flush()
    return deflated + b"\0" if len(deflated) & 1 else deflated


def dumps(elements: object) -> bytes:
    """Write the model as JSON text in UTF-8."""
    return msgspec.json.encode(elements)


def loads_trusted(text: bytes) -> dict[str, JsonElement]:
    """
    Read JSON text that we wrote ourselves and kept sealed; nothing but its syntax is checked.

    Raises DataSetError when it is no JSON object.
    """
    try:
        elements = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataSetError(f"{len(text)} bytes are no JSON") from error
    if not isinstance(elements, dict):
        raise DataSetError(f"{len(text)} bytes of JSON are no object")
    return elements
