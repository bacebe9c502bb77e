"""The data sets of storage commitment: what is asked, and what is told (PS3.4 tables J.3-1 and J.3-2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, cast

from strongroom.archive import MAX_ASKED, Commitment, Reference
from strongroom.dicom.json import JsonValue, decode_dataset, encode_dataset
from strongroom.errors import DataSetError, OutOfResources
from strongroom.scp.ports import Identifier

__all__ = ["INSTANCE", "MAX_LENGTH", "decode", "encode"]

INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The well-known SOP instance (PS3.4 J.3.5)."""
MAX_LENGTH: Final = 4 * 1024 * 1024
"""Bytes of such a data set: that many instances with the longest UIDs there are."""

TRANSACTION_UID: Final = "00081195"
FAILED_SOP_SEQUENCE: Final = "00081198"
REFERENCED_SOP_SEQUENCE: Final = "00081199"
FAILURE_REASON: Final = "00081197"
REFERENCED_SOP_CLASS_UID: Final = "00081150"
REFERENCED_SOP_INSTANCE_UID: Final = "00081155"
_PROCESSING_FAILURE: Final = 0x0110
_USABLE_UID: Final = re.compile(r"[0-9.]{1,64}")


def encode(commitment: Commitment, transfer_syntax_uid: str) -> bytes:
    """Encode a request, or a result: what is kept in one sequence, what is not in the other, an empty one left out."""
    reasons = commitment.reasons or (0,) * len(commitment.references)
    kept: list[JsonValue] = []
    failed: list[JsonValue] = []
    for reference, reason in zip(commitment.references, reasons, strict=True):
        item: Identifier = {
            REFERENCED_SOP_CLASS_UID: {"vr": "UI", "Value": [reference.sop_class_uid]},
            REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [reference.sop_instance_uid]},
        }
        if reason:
            failed.append(item | {FAILURE_REASON: {"vr": "US", "Value": [reason]}})
        else:
            kept.append(item)
    elements: Identifier = {TRANSACTION_UID: {"vr": "UI", "Value": [commitment.transaction_uid]}}
    for tag, items in ((FAILED_SOP_SEQUENCE, failed), (REFERENCED_SOP_SEQUENCE, kept)):
        if items:
            elements[tag] = {"vr": "SQ", "Value": items}
    return encode_dataset(elements, transfer_syntax_uid)


def decode(data: bytes, transfer_syntax_uid: str, *, is_result: bool) -> Commitment:
    """
    Decode a request or a result; an instance that stands twice counts once.

    Raises DataSetError when something is missing or malformed, OutOfResources when there are too many references.
    """
    elements = decode_dataset(data, transfer_syntax_uid)
    transaction_uid = _uid(elements, TRANSACTION_UID)
    found: dict[Reference, int] = {}
    for item in _items(elements, REFERENCED_SOP_SEQUENCE):
        found[_reference(item)] = 0
    for item in _items(elements, FAILED_SOP_SEQUENCE) if is_result else ():
        found[_reference(item)] = _reason(item)
    if not found:
        raise DataSetError("a storage commitment without references")
    return Commitment(transaction_uid, tuple(found), tuple(found.values()) if is_result else ())


def _items(elements: Identifier, tag: str) -> list[Identifier]:
    items = _values(elements, tag)
    if len(items) > MAX_ASKED:
        raise OutOfResources(f"{len(items)} references, the limit is {MAX_ASKED}")
    if not all(isinstance(one, dict) for one in items):
        raise DataSetError("a sequence of references is no sequence")
    return [cast("Identifier", one) for one in items]


def _reference(item: Identifier) -> Reference:
    return Reference(_uid(item, REFERENCED_SOP_CLASS_UID), _uid(item, REFERENCED_SOP_INSTANCE_UID))


def _uid(elements: Identifier, tag: str) -> str:
    values = _values(elements, tag)
    if len(values) != 1 or not isinstance(values[0], str) or not _USABLE_UID.fullmatch(values[0]):
        raise DataSetError(f"({tag[:4]},{tag[4:]}) is missing or no UID")
    return values[0]


def _reason(item: Identifier) -> int:
    """A failure without a reason is a failure."""
    values = _values(item, FAILURE_REASON)
    value = values[0] if values else None
    return value if isinstance(value, int) and 0 < value <= 0xFFFF else _PROCESSING_FAILURE


def _values(elements: Identifier, tag: str) -> Sequence[JsonValue]:
    element = elements.get(tag)
    return () if element is None else element.get("Value") or ()
