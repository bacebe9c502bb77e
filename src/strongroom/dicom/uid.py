"""
Unique identifiers (PS3.5 Chapter 9 and Annex B; PS3.6 Annex A): their form, their names, the transfer syntaxes.

The table is parsed at the first question, not at import; nothing here knows a clock or makes randomness.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final, final

from strongroom.dicom import _tables

__all__ = [
    "EXPLICIT_VR_BIG_ENDIAN",
    "EXPLICIT_VR_LITTLE_ENDIAN",
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "IMPLICIT_VR_LITTLE_ENDIAN",
    "NON_PATIENT_SOP_CLASSES",
    "STORAGE_SOP_CLASSES",
    "TRANSFER_SYNTAXES",
    "TransferSyntax",
    "clean",
    "from_random",
    "is_valid",
    "name_of",
    "transfer_syntax",
]

# Made once, by the rule of PS3.5 Annex B.2; it never changes with a version (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID: Final = "2.25.241923628348260661699431262567992317803"
IMPLEMENTATION_VERSION_NAME: Final = "STRONGROOM_0_1"  # <= 16 characters (PS3.7 D.3.3.2.4)

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

_VALID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
_MAX_LENGTH = 64


def is_valid(uid: str) -> bool:
    """Tell whether *uid* has the form of PS3.5 §9.1: at most 64 characters, numbers without leading zeros, dots."""
    return len(uid) <= _MAX_LENGTH and _VALID.fullmatch(uid) is not None


def clean(raw: bytes) -> str:
    """Decode a UID value without its padding: a NUL by the standard, a space by habit. Other bytes show as escapes."""
    return raw.rstrip(b"\0 ").decode("ascii", "backslashreplace")


def from_random(random_bytes: bytes) -> str:
    """Make a UID out of 16 random bytes, as a version 4 UUID under 2.25 (PS3.5 §B.2)."""
    if len(random_bytes) != 16:
        raise ValueError(f"a UID takes 16 random bytes, not {len(random_bytes)}")
    number = int.from_bytes(random_bytes, "big")
    number = number & ~(0xF << 76) | 4 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    return f"2.25.{number}"


@final
@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set is written as bytes (PS3.5 Chapter 10 and Annex A)."""

    uid: str
    name: str
    explicit: bool
    little_endian: bool
    encapsulated: bool
    deflated: bool


_GE_PRIVATE: Final = "1.2.840.113619.5.2"
_PAPYRUS: Final = "1.2.840.10008.1.20"
_IMPLICIT = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, _PAPYRUS, _GE_PRIVATE})
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
# JPIP data sets carry an address in place of Pixel Data, so nothing in them is encapsulated.
_NATIVE = (
    _IMPLICIT
    | _DEFLATED
    | {EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204"}
)
# Not encodings of a data set that could be stored: MIME, XML (both retired) and the SMPTE ST 2110 real-time streams.
_NOT_A_DATA_SET = ("1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.")
# Objects that belong to no patient (PS3.4 Annex GG), and so have no Study Instance UID.
_NON_PATIENT = (
    "1.2.840.10008.5.1.4.1.1.200.1",
    "1.2.840.10008.5.1.4.1.1.200.3",
    "1.2.840.10008.5.1.4.1.1.200.7",
    "1.2.840.10008.5.1.4.1.1.201.1",
    "1.2.840.10008.5.1.4.38.1",
    "1.2.840.10008.5.1.4.39.1",
    "1.2.840.10008.5.1.4.43.1",
    "1.2.840.10008.5.1.4.44.1",
    "1.2.840.10008.5.1.4.45.1",
)
_MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_STORAGE_NAME = re.compile(r"Storage(?: SOP Class)?(?: - (?:For Presentation|For Processing|Trial))?(?: \(Retired\))?$")


@cache
def _uids() -> dict[str, tuple[str, str]]:
    """Kind and name by UID."""
    rows = (row.split(" ", 2) for row in _tables.UIDS.splitlines())
    return {uid: (kind, name) for uid, kind, name in rows}


def name_of(uid: str) -> str | None:
    """Return the name PS3.6 Annex A gives a UID, None when it is not registered there."""
    found = _uids().get(uid)
    return found[1] if found else None


@cache
def _transfer_syntaxes() -> dict[str, TransferSyntax]:
    names = {uid: name for uid, (kind, name) in _uids().items() if kind == "T" and not uid.startswith(_NOT_A_DATA_SET)}
    # Implicit VR little endian whose Pixel Data words are big endian: old GE scanners and the discs they wrote.
    names[_GE_PRIVATE] = "GE Private Implicit VR Little Endian, Big Endian Pixel Data"
    return {
        uid: TransferSyntax(
            uid=uid,
            name=name,
            explicit=uid not in _IMPLICIT,
            little_endian=uid != EXPLICIT_VR_BIG_ENDIAN,
            encapsulated=uid not in _NATIVE,
            deflated=uid in _DEFLATED,
        )
        for uid, name in names.items()
    }


def transfer_syntax(uid: str) -> TransferSyntax | None:
    """Return what is known about a transfer syntax, None when no data set can be read in it."""
    return TRANSFER_SYNTAXES.get(uid)


TRANSFER_SYNTAXES: Final = _transfer_syntaxes()

STORAGE_SOP_CLASSES: Final = frozenset(
    uid
    for uid, (kind, name) in _uids().items()
    if kind == "C" and uid != _MEDIA_STORAGE_DIRECTORY and _STORAGE_NAME.search(name)
)
"""Every storage SOP class of the standard (PS3.4 §B.5 and Annex GG), retired ones included: old scanners still send."""

NON_PATIENT_SOP_CLASSES: Final = frozenset(_NON_PATIENT)
"""The storage SOP classes of PS3.4 Annex GG: their instances have no patient and no study."""
