"""
In what two contents differ, for whoever has to decide between them: which attributes, and if he may see patient data,
their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from strongroom.archive.extract import metadata_of_record
from strongroom.dicom.dictionary import keyword_of
from strongroom.dicom.model import TAGS, Level

if TYPE_CHECKING:
    from strongroom.archive.core import Parts
    from strongroom.catalogue.instances import InstanceRow

__all__ = ["between"]

MAX_SHOWN: Final = 200
"""Differing attributes that are listed: nobody compares more by eye."""
MAX_VALUE: Final = 128
"""Characters of a value that are shown: a name or a description."""
_OF_PATIENT: Final = frozenset(f"{tag:08X}" for level in (Level.PATIENT, Level.STUDY) for tag in TAGS[level])


def between(parts: Parts, first: InstanceRow, second: InstanceRow, *, of_patient: bool) -> list[dict[str, str]]:
    """
    Compare two data sets without their pixels, in a worker thread: tag, keyword and both values of what differs.

    *of_patient*: only what says whose study it is, for they are two images. Raises IntegrityError.
    """
    one, other = (msgspec.json.decode(metadata_of_record(parts, row)) for row in (first, second))
    differing = [tag for tag in sorted(one.keys() | other.keys()) if one.get(tag) != other.get(tag)]
    return [
        {
            "tag": f"({tag[:4]},{tag[4:]})",
            "keyword": keyword_of(int(tag, 16)) or "",
            "first": _text(one.get(tag)),
            "second": _text(other.get(tag)),
        }
        for tag in differing
        if not of_patient or tag in _OF_PATIENT
    ][:MAX_SHOWN]


def _text(element: dict[str, Any] | None) -> str:
    if element is None:
        return "absent"
    if "InlineBinary" in element or "BulkDataURI" in element:
        return "bytes"
    values = element.get("Value", [])
    if element.get("vr") == "SQ":
        return f"{len(values)} items"
    return "\\".join("=".join(one.values()) if isinstance(one, dict) else str(one or "") for one in values)[:MAX_VALUE]
