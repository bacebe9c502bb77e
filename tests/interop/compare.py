"""
Are two data sets the same, element by element, whoever encoded them?

DCMTK's senders decode what they read and encode it again, and the archive converts between the little endian syntaxes: group lengths, the
lengths of sequences, padding and the VR of private elements may differ then, the value bytes may not. pydicom only takes the data sets
apart here; values are compared as bytes, never decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

_PADDING = 0xFFFCFFFC
_WIDTHS = {
    "US": 2,
    "SS": 2,
    "OW": 2,
    "AT": 2,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "OF": 4,
    "OL": 4,
    "FD": 8,
    "OD": 8,
    "UV": 8,
    "SV": 8,
    "OV": 8,
}
"""VR -> bytes of one number, which turn round in a big endian data set (PS3.5 7.3)."""
UNDECODABLE = {"JPEG2000-embedded-sequence-delimiter.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"}
"""Files whose frames are damaged on purpose."""
Leaves = dict[tuple[object, ...], bytes]


def leaves(path: Path) -> Leaves:
    """Every value of a file, little endian, by its place in the data set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        return dict(_walk(data_set, (), big=data_set.original_encoding == (False, False)))


def _walk(data_set: Dataset, place: tuple[object, ...], *, big: bool) -> Iterator[tuple[tuple[object, ...], bytes]]:
    raws = {tag: data_set.get_item(tag) for tag in sorted(data_set.keys())}  # all, before a look at one decodes another
    for tag, raw in raws.items():
        if tag.element == 0 or tag == _PADDING:
            continue
        here = (*place, f"{tag:08X}")
        if isinstance(raw, RawDataElement) and not _is_sequence(data_set, raw):
            yield here, _normal(raw, big=big)
            continue
        items = data_set[tag].value
        if data_set[tag].VR != "SQ":
            yield here, str(items or "").encode()  # the character set: pydicom reads it as soon as it sees it
            continue
        yield here, b"%d items" % len(items)
        for number, item in enumerate(items):
            yield from _walk(item, (*here, number), big=big)


def _is_sequence(data_set: Dataset, raw: RawDataElement) -> bool:
    if raw.VR not in {"SQ", "UN", None}:
        return False
    return data_set[raw.tag].VR == "SQ"


def _normal(raw: RawDataElement, *, big: bool) -> bytes:
    value = bytes(raw.value or b"")
    width = _WIDTHS.get(str(raw.VR), 1)
    if big and width > 1:
        value = b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))
    return value


def _same(one: bytes, other: bytes) -> bool:
    """Whether two values are equal but for padding: spaces, or the one NUL that makes a length even (PS3.5 6.2, 7.1.1)."""
    if one == other or one.rstrip(b" ") == other.rstrip(b" "):
        return True
    short, long = sorted((one, other), key=len)
    return len(short) % 2 == 1 and long == short + b"\0"


def differences(sent: Path, returned: Path) -> list[str]:
    """The places where two files differ; no values, so that a failing test stays readable."""
    left, right = leaves(sent), leaves(returned)
    missing = [f"{place} is gone" for place in left.keys() - right.keys()]
    added = [f"{place} came up" for place in right.keys() - left.keys()]
    changed = [
        f"{place} differs ({len(left[place])}, {len(right[place])} bytes)"
        for place in left.keys() & right.keys()
        if not _same(left[place], right[place])
    ]
    return sorted(missing + added + changed)


def pixels_differ(sent: Path, returned: Path) -> bool:
    """Whether pydicom decodes the two to other pixels; what it cannot decode of the first is not compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = pydicom.dcmread(sent, force=True)
        try:
            expected = before.pixel_array
        except Exception:  # noqa: BLE001 -- of any kind: no decoder for JPEG lossless, a file that is damaged on purpose
            return False
        return not np.array_equal(expected, pydicom.dcmread(returned).pixel_array)
