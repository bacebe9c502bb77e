"""
The DICOM JSON model (PS3.18 Annex F): data set bytes to a dict of elements, and back.

The dict (`{"00100010": {"vr": "PN", "Value": [...]}}`) is what find, catalogue and web services hand to each other.
Bytes from outside give a dict or DataSetError, and nothing else.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from strongroom.dicom.json_reader import Reader, Scope
from strongroom.dicom.json_writer import Writer
from strongroom.dicom.limits import DEFAULT, LimitExceeded, Limits
from strongroom.dicom.uid import TransferSyntax, transfer_syntax
from strongroom.dicom.values import BINARY_VRS, VRS, JsonElement, JsonValue, decode_values, encode_element, tag_text
from strongroom.errors import DataSetError

__all__ = [
    "JsonElement",
    "JsonValue",
    "decode_dataset",
    "dumps",
    "element_to_json",
    "encode_around",
    "encode_dataset",
    "loads",
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
    elided: AbstractSet[int] = frozenset(),
    limits: Limits = DEFAULT,
) -> dict[str, JsonElement]:
    """
    Decode the data set bytes before Pixel Data (`Header.head`, inflated where the syntax is a deflated one).

    Binary values longer than *bulk_threshold*, text and numbers above 64 KiB, and pixel data become
    `{"vr": ..., "BulkDataURI": "00880200/0/7FE00010"}`: the tags on the way to it, item numbers from 0. Specific
    Character Set says ISO_IR 192, which JSON text is, unless *declare_utf_8* is False. *elided* is that of a
    `Skeleton`, whose `data` may be given as well. Raises DataSetError.
    """
    syntax = _syntax(transfer_syntax_uid)
    scope = Scope(explicit=syntax.explicit, little_endian=syntax.little_endian)
    reader = Reader(head, bulk_threshold=bulk_threshold, declare_utf_8=declare_utf_8, elided=elided, limits=limits)
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
    if vr not in VRS:
        vr = "UN"
    if vr not in BINARY_VRS and vr != "SQ":
        values = decode_values(raw, vr, character_sets, little_endian=little_endian)
        return {"vr": vr, "Value": values} if values else {"vr": vr}
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


def encode_around(elements: dict[str, JsonElement], tag: int, character_set: str = "ISO_IR 192") -> tuple[bytes, bytes]:
    """
    Encode what stands in front of an element and what stands behind it, Explicit VR Little Endian.

    For a value that is too long to go through JSON: whoever has it writes it in between. Otherwise as
    `encode_dataset`; *tag* stands behind the Specific Character Set, and an element of that tag is left out.
    """
    key = f"{tag:08X}"
    terms = tuple(character_set.split("\\"))
    writer = Writer(explicit=True, little_endian=True, character_sets=terms)
    before = writer.data_set({one: elements[one] for one in elements if one < _CHARACTER_SET_KEY})
    between = writer.data_set({one: elements[one] for one in elements if _CHARACTER_SET_KEY < one < key})
    behind = writer.data_set({one: elements[one] for one in elements if one > key})
    declared = writer.extended or _CHARACTER_SET_KEY in elements
    return before + (writer.character_set(terms) if declared else b"") + between, behind


def dumps(elements: object) -> bytes:
    """Write the model as JSON text in UTF-8."""
    return msgspec.json.encode(elements)


def loads(text: bytes, *, limits: Limits = DEFAULT) -> dict[str, JsonElement]:
    """
    Read the JSON text of one data set from outside (SECURITY C33, C35, W07).

    Too deep, too many names, names that stand twice, wrong tags, VRs, types of values and Base64 are refused with
    DataSetError; a BulkDataURI is text that the caller has to judge. Members the model does not know are left out. How
    long *text* may be is the caller's to say.
    """
    model = loads_trusted(text)
    names = _count_names(text, limits)
    counted, elements = _checked(model)
    if counted != names:
        raise DataSetError(f"{names - counted} names stand twice in an object")
    return elements


# A string, perhaps a name; an opening or a closing bracket. Linear in text that is JSON, where every string ends.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*+:)?+|[\[{]|[\]}]')
_KEY = re.compile(r"[0-9A-F]{8}")
_LEVELS_PER_SEQUENCE: Final = 3  # element, list of items, item


def _count_names(text: bytes, limits: Limits) -> int:
    """Count the names of all objects in valid JSON text; refuse it when it is nested too deep or names too many."""
    names = depth = 0
    max_depth = _LEVELS_PER_SEQUENCE * (limits.max_depth + 1)
    max_names = _LEVELS_PER_SEQUENCE * limits.max_elements
    for found in _TOKEN.finditer(text):
        if found[1] is not None:
            names += 1
            if names > max_names:
                raise LimitExceeded("max_elements", limits.max_elements, names // _LEVELS_PER_SEQUENCE)
        elif found[0] in b"[{":
            depth += 1
            if depth > max_depth:
                raise LimitExceeded("max_depth", limits.max_depth, depth // _LEVELS_PER_SEQUENCE)
        elif found[0] in b"]}":
            depth -= 1
    return names


def _names(value: object) -> int:
    """Count the names in any JSON value; its depth has been bounded."""
    if isinstance(value, dict):
        return len(value) + sum(map(_names, value.values()))
    return sum(map(_names, value)) if isinstance(value, list) else 0


def _checked(model: object) -> tuple[int, dict[str, JsonElement]]:
    """Return how many names an object has at every depth, and the elements in it; refuse what is no data set."""
    if not isinstance(model, dict):
        raise DataSetError("an item is no object")
    names, elements = len(model), {}
    for key, member in model.items():
        vr = member.get("vr") if isinstance(member, dict) else None
        if not isinstance(vr, str) or vr not in VRS or not _KEY.fullmatch(key):
            raise DataSetError("an element has no valid tag or VR")
        element: JsonElement = {"vr": vr}
        contents = [name for name in ("Value", "InlineBinary", "BulkDataURI") if name in member]
        if len(contents) > 1:
            raise DataSetError(f"element {key} has {len(contents)} forms of content")
        if element["vr"] == "SQ" and contents == ["Value"] and isinstance(member["Value"], list):
            items: list[JsonValue] = []
            names += len(member) + sum(_names(other) for name, other in member.items() if name != "Value")
            for item in member["Value"]:
                inside, inner = _checked({} if item is None else item)
                names += inside
                items.append(inner)
            element["Value"] = items
        else:
            names += _names(member)
            _check_content(int(key, 16), member, contents, element)
        elements[key] = element
    return names, elements


def _check_content(tag: int, member: dict[str, Any], contents: list[str], element: JsonElement) -> None:
    """Copy content into *element* if a data set can hold it: what encodes is right."""
    if contents == ["BulkDataURI"]:
        if not isinstance(member["BulkDataURI"], str):
            raise DataSetError(f"element {tag_text(tag)} refers to bulk data by what is no text")
        element["BulkDataURI"] = member["BulkDataURI"]
        return
    if contents and (element["vr"] == "SQ" or (contents == ["InlineBinary"]) != (element["vr"] in BINARY_VRS)):
        raise DataSetError(f"element {tag_text(tag)} has the content of another VR")
    if contents == ["Value"]:
        element["Value"] = member["Value"]
    elif contents:
        element["InlineBinary"] = member["InlineBinary"]
    if element["vr"] != "SQ":
        encode_element(tag, element, element["vr"], ("ISO_IR 192",), little_endian=True)


def loads_trusted(text: bytes) -> dict[str, JsonElement]:
    """
    Read JSON text that we wrote ourselves and kept sealed; nothing but its syntax is checked. For any other: `loads`.

    Raises DataSetError when it is no JSON object.
    """
    try:
        elements = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DataSetError(f"{len(text)} bytes are no JSON") from error
    if not isinstance(elements, dict):
        raise DataSetError(f"{len(text)} bytes of JSON are no object")
    return elements
