"""
The Native DICOM Model (PS3.19 Annex A.1): DICOM JSON elements to XML text, element by element.

What XML 1.0 cannot hold (control characters other than tab and line ends, surrogates) becomes U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from strongroom.dicom.dictionary import keyword_of
from strongroom.dicom.limits import DEFAULT, LimitExceeded
from strongroom.dicom.values import JsonElement

__all__ = ["to_xml"]

_NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD: Final = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{_NAMESPACE}" xml:space="preserve">'
_TAIL: Final = "</NativeDicomModel>\n"
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_UNWRITABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A carriage return that stands as it is reads as a line feed (XML 1.0 2.11), which would change the value.
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


def to_xml(elements: Mapping[str, JsonElement]) -> Iterator[str]:
    """
    Yield the document of one data set in pieces: its beginning, each element in the order of tags, its end.

    Raises LimitExceeded when sequences lie too deep in each other.
    """
    yield _HEAD
    for tag in sorted(elements):
        yield from _attribute(tag, elements[tag], elements, 0)
    yield _TAIL


def _attribute(tag: str, element: JsonElement, among: Mapping[str, JsonElement], depth: int) -> Iterator[str]:
    keyword = keyword_of(int(tag, 16))
    named = f' keyword="{keyword}"' if keyword else ""
    yield f'<DicomAttribute tag="{tag}" vr="{_text(element["vr"])}"{named}{_private_creator(tag, among)}>'
    if "BulkDataURI" in element:
        yield f'<BulkData uri="{_text(element["BulkDataURI"])}"/>'
    elif "InlineBinary" in element:
        yield f"<InlineBinary>{_text(element['InlineBinary'])}</InlineBinary>"
    else:
        for number, value in enumerate(element.get("Value") or (), 1):
            yield from _value(element["vr"], number, value, depth)
    yield "</DicomAttribute>"


def _value(vr: str, number: int, value: object, depth: int) -> Iterator[str]:
    if vr == "SQ":
        yield from _item(number, cast("Mapping[str, JsonElement]", value or {}), depth + 1)
    elif value in (None, "", {}):
        yield f'<Value number="{number}"/>' if vr != "PN" else f'<PersonName number="{number}"/>'
    elif vr == "PN":
        yield _person_name(number, value)
    else:
        yield f'<Value number="{number}">{_text(value)}</Value>'


def _item(number: int, item: Mapping[str, JsonElement], depth: int) -> Iterator[str]:
    if depth > DEFAULT.max_depth:
        raise LimitExceeded("max_depth", DEFAULT.max_depth, depth)
    yield f'<Item number="{number}">'
    for tag in sorted(item):
        yield from _attribute(tag, item[tag], item, depth)
    yield "</Item>"


def _person_name(number: int, value: object) -> str:
    groups = value if isinstance(value, Mapping) else {"Alphabetic": value}
    written = "".join(f"<{group}>{_components(groups[group])}</{group}>" for group in _GROUPS if groups.get(group))
    return f'<PersonName number="{number}">{written}</PersonName>'


def _components(group: object) -> str:
    # More than five components break PS3.5 6.2.1; the last one keeps them, so that nothing is lost.
    parts = str(group).split("^", len(_COMPONENTS) - 1)
    return "".join(f"<{name}>{_text(part)}</{name}>" for name, part in zip(_COMPONENTS, parts, strict=False) if part)


def _private_creator(tag: str, among: Mapping[str, JsonElement]) -> str:
    """Who reserved the block of a private element (PS3.5 7.8.1), where the data set says it."""
    if not int(tag[3], 16) & 1 or tag[4:6] == "00":
        return ""
    creator = among.get(f"{tag[:4]}00{tag[4:6]}")
    values = creator.get("Value") if creator is not None else None
    return f' privateCreator="{_text(values[0])}"' if values else ""


def _text(value: object) -> str:
    return _UNWRITABLE.sub("\ufffd", str(value)).translate(_ESCAPES)
