"""
The metadata of an instance as web services give it (PS3.18 §10.4.1.1.2): its data set in DICOM JSON, long values as
bulk data, Pixel Data among them.

Values that make viewers show nothing are left out here, at every depth (the data set itself keeps them): a pixel
spacing of zero, a rescale slope of zero, a window without width, and whatever of these is no finite number.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from strongroom.dicom.json import to_json
from strongroom.dicom.json_reader import Reader, Scope
from strongroom.dicom.limits import DEFAULT, Limits
from strongroom.dicom.walk import PIXEL_DATA_TAGS
from strongroom.errors import DataSetError

if TYPE_CHECKING:
    from strongroom.dicom.header import Header
    from strongroom.dicom.json import JsonElement
    from strongroom.dicom.skeleton import Skeleton

__all__ = ["of_head", "of_skeleton", "of_what_is_captured"]

BULK_THRESHOLD: Final = 1024
"""Binary values longer than this are referred to; the shortest a viewer wants inline are tables of a few entries."""
MAX_ELEMENTS: Final = 400_000
"""Elements and items shown of one instance: twice those of a 2,000-frame enhanced object; each is a Python object."""

_SPACINGS: Final = ("00280030", "00181164", "00182010", "00189404", "00280034")
"""Pixel Spacing, those of the imager, nominal and in the beam's centre, and Pixel Aspect Ratio: each above zero."""
_RESCALE_SLOPE: Final = "00281053"
_WINDOW_CENTER: Final = "00281050"
_WINDOW_WIDTH: Final = "00281051"
_WINDOW_EXPLANATION: Final = "00281055"


def of_head(header: Header, *, limits: Limits = DEFAULT) -> dict[str, JsonElement] | None:
    """
    Make the metadata out of a header; None when it does not hold everything, and a `Skeleton` has to be made.

    Raises DataSetError.
    """
    offset = header.pixel_data_offset
    if header.head is None or (offset is not None and header.elements.behind(offset)):
        return None
    elements = to_json(header.head, header.encoding_uid, bulk_threshold=BULK_THRESHOLD, limits=_bounded(limits))
    _add_pixel_data(elements, header)
    if header.disorder:
        elements = dict(sorted(elements.items()))
    return _without_what_blinds(elements)


def of_skeleton(skeleton: Skeleton, *, limits: Limits = DEFAULT) -> dict[str, JsonElement]:
    """Make the metadata out of a finished skeleton; raises DataSetError."""
    elements = to_json(
        bytes(skeleton.data),
        skeleton.encoding_uid,
        bulk_threshold=BULK_THRESHOLD,
        elided=skeleton.elided,
        limits=_bounded(limits),
    )
    return _without_what_blinds(dict(sorted(elements.items())))


def of_what_is_captured(header: Header) -> dict[str, JsonElement]:
    """
    Make what can be made of a header that nothing else can be made of: elements outside sequences, one by one.

    For data sets whose sequences are beyond every limit, or contradict themselves; it never fails.
    """
    scope = Scope(explicit=header.explicit, little_endian=header.little_endian, character_sets=header.character_set)
    elements: dict[str, JsonElement] = {}
    for tag in sorted(header.elements):
        element = header.elements[tag]
        if element.vr == "SQ" or not tag & 0xFFFF:
            continue
        reader = Reader(element.value, bulk_threshold=BULK_THRESHOLD, declare_utf_8=True)
        try:
            elements[f"{tag:08X}"] = reader.element(tag, element.vr, 0, len(element.value), scope)
        except DataSetError:
            continue
    _add_pixel_data(elements, header)
    return _without_what_blinds(dict(sorted(elements.items())))


def _bounded(limits: Limits) -> Limits:
    return replace(limits, max_elements=min(limits.max_elements, MAX_ELEMENTS))


def _add_pixel_data(elements: dict[str, JsonElement], header: Header) -> None:
    for tag in PIXEL_DATA_TAGS:
        place = header.elements.place(tag)
        if place is not None:
            elements[f"{tag:08X}"] = {"vr": place.vr, "BulkDataURI": f"{tag:08X}"}


def _without_what_blinds(elements: dict[str, JsonElement]) -> dict[str, JsonElement]:
    """Take out what the module says, in place."""
    for key in _SPACINGS:
        if key in elements and not all(_number(value) > 0 for value in elements[key].get("Value", ())):
            del elements[key]
    slope = elements.get(_RESCALE_SLOPE)
    if slope is not None and not all(_number(value) for value in slope.get("Value", ())):
        del elements[_RESCALE_SLOPE]
    if _WINDOW_WIDTH in elements:
        _check_windows(elements)
    for element in elements.values():
        if element["vr"] == "SQ":
            for item in element.get("Value", ()):
                _without_what_blinds(item)  # type: ignore[arg-type] # what a sequence holds
    return elements


def _number(value: Any) -> float:
    """A finite number, or 0 for what is none."""
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _check_windows(elements: dict[str, JsonElement]) -> None:
    """Take out windows without width, and what belongs to them (PS3.3 §C.11.2.1.2)."""
    widths = elements[_WINDOW_WIDTH].get("Value", [])
    wrong = {at for at, width in enumerate(widths) if _number(width) <= 0}
    if not wrong:
        return
    for key in (_WINDOW_CENTER, _WINDOW_WIDTH, _WINDOW_EXPLANATION):
        element = elements.get(key)
        values = element.get("Value", []) if element is not None else []
        kept = [value for at, value in enumerate(values) if at not in wrong]
        if element is None:
            continue
        if kept and len(values) == len(widths):
            element["Value"] = kept
        else:
            del elements[key]
