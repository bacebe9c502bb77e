"""
What became of each instance of a store request, and the answer that says so (PS3.18 §10.5.3, Annex I).

The one table from errors to Failure Reasons of the web services; the numbers are those of C-STORE where PS3.18 Table
I.2-2 has no own (PS3.4 B.2.3, PS3.7 Annex C). Success stands here only for what is durable (I1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote

from strongroom import errors
from strongroom.dicom.values import JsonElement, JsonValue

if TYPE_CHECKING:
    from strongroom.archive import Receipt

__all__ = [
    "CANNOT_UNDERSTAND",
    "OUT_OF_RESOURCES",
    "PROCESSING_FAILURE",
    "REASONS",
    "Failed",
    "Result",
    "Stored",
    "reason_of",
    "response_module",
    "result_of",
    "status_of",
]

PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_SOP_INSTANCE: Final = 0x0111
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NOT_AUTHORIZED: Final = 0x0124
OUT_OF_RESOURCES: Final = 0xA700
COERCION_OF_DATA_ELEMENTS: Final = 0xB000
"""The Warning Reason for what is durable and kept aside: the study is another patient's (PS3.18 Table I.2-1)."""
DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 0xC122

REASONS: Final[dict[type[errors.StrongroomError], int]] = {
    errors.StrongroomError: PROCESSING_FAILURE,
    errors.RemoteProtocolError: CANNOT_UNDERSTAND,
    errors.UnsupportedSyntaxError: TRANSFER_SYNTAX_NOT_SUPPORTED,
    errors.MismatchError: DOES_NOT_MATCH,
    errors.UnsupportedClassError: SOP_CLASS_NOT_SUPPORTED,
    errors.AccessDenied: NOT_AUTHORIZED,
    errors.ErasedError: NOT_AUTHORIZED,
    errors.NotFound: NOT_AUTHORIZED,
    errors.OutOfResources: OUT_OF_RESOURCES,
    errors.ConflictError: DUPLICATE_SOP_INSTANCE,
}

_UID: Final = re.compile(r"[0-9.]{1,64}")


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is durable, now or since earlier."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    warning: int = 0
    """A Warning Reason: it is durable, but kept aside, and cannot be retrieved before a person decides."""


@final
@dataclass(frozen=True, slots=True)
class Failed:
    """An instance, or what should have been one, that is not stored; UIDs are "" where nobody could tell them."""

    reason: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


Result = Stored | Failed


def reason_of(error: errors.StrongroomError) -> int:
    """Return the Failure Reason for *error*: that of the nearest class it derives from."""
    return next(REASONS[cls] for cls in type(error).__mro__ if cls in REASONS)


def result_of(receipt: Receipt, *, duplicate_is_success: bool) -> Result:
    """Return what a receipt means; what is kept aside is answered as the caller's entry says (I3)."""
    if receipt.outcome.value == "conflict" and not duplicate_is_success:
        return Failed(DUPLICATE_SOP_INSTANCE, receipt.sop_class_uid, receipt.sop_instance_uid)
    aside = receipt.outcome.value == "other-patient" and not duplicate_is_success
    return Stored(
        receipt.sop_class_uid,
        receipt.sop_instance_uid,
        receipt.study_instance_uid,
        receipt.series_instance_uid,
        COERCION_OF_DATA_ELEMENTS if aside else 0,
    )


def status_of(results: Sequence[Result], *, whole: bool) -> int:
    """
    Return the HTTP status (PS3.18 Table 10.5.3-1); *whole* when the request was understood to its end.

    Out of resources is told as such only when it is all there is to tell: then the client may send everything again.
    """
    failed = [result for result in results if isinstance(result, Failed)]
    if len(failed) < len(results):
        warned = any(isinstance(result, Stored) and result.warning for result in results)
        return 202 if failed or warned or not whole else 200
    if failed and all(result.reason == OUT_OF_RESOURCES for result in failed):
        return 503
    return 409


def response_module(results: Iterable[Result], base_url: str) -> dict[str, JsonElement]:
    """Make the Store Instances Response Module (PS3.18 Table I.1-1), each sequence in the order of the request."""
    stored: list[JsonValue] = []
    failed: list[JsonValue] = []
    others: list[JsonValue] = []
    studies: set[str] = set()
    for result in results:
        if isinstance(result, Stored):
            study = f"{base_url}/studies/{quote(result.study_instance_uid, safe='')}"
            series = f"{study}/series/{quote(result.series_instance_uid, safe='')}"
            instance = f"{series}/instances/{quote(result.sop_instance_uid, safe='')}"
            studies.add(study)
            item = _reference(result)
            item["00081190"] = {"vr": "UR", "Value": [instance]}
            if result.warning:
                item["00081190"] = {"vr": "UR"}
                item["00081196"] = {"vr": "US", "Value": [result.warning]}
            stored.append(item)
            continue
        reason: JsonElement = {"vr": "US", "Value": [result.reason]}
        if _UID.fullmatch(result.sop_class_uid) and _UID.fullmatch(result.sop_instance_uid):
            failed.append({**_reference(result), "00081197": reason})
        else:  # a reference needs both UIDs (PS3.3 Table 10-11)
            others.append({"00081197": reason})
    module: dict[str, JsonElement] = {"00081190": {"vr": "UR"}}
    if len(studies) == 1:
        module["00081190"] = {"vr": "UR", "Value": [*studies]}
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            module[tag] = {"vr": "SQ", "Value": items}
    return module


def _reference(result: Result) -> dict[str, JsonElement]:
    """SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    return {
        "00081150": {"vr": "UI", "Value": [result.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [result.sop_instance_uid]},
    }
