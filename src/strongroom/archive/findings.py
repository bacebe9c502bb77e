"""What `check`, `repair` and `rebuild` say is wrong: a kind, a place and our own words; no value out of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, final


@final
@unique
class Kind(Enum):
    """What is wrong; the first ones are those of `vault.check`."""

    MISSING_PACK = "missing-pack"
    DAMAGED_PACK = "damaged-pack"
    DAMAGED_INDEX = "damaged-index"
    DAMAGED_RECORD = "damaged-record"
    GAP = "gap"
    TORN = "torn"
    STRAY_BYTES = "stray-bytes"
    DAMAGED_BLOB = "damaged-blob"  # it does not open under its key
    WRONG_DIGEST = "wrong-digest"  # it opens, and is not what was received
    WRONG_LABEL = "wrong-label"  # its label says something else than the catalogue or the data set
    ORPHAN = "orphan"  # a record that nothing knows
    KEYRING = "keyring"
    DATABASE = "database"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. *what* says whose blob it is ("instance 12"), empty where it is a pack's."""

    kind: Kind
    detail: str
    pack: int | None = None
    offset: int | None = None
    what: str = ""
    file: str = ""

    @property
    def where(self) -> str:
        """Say where, for a person."""
        place = "" if self.pack is None else f"pack {self.pack} at {self.offset}"
        return ", ".join(part for part in (self.what, place, self.file) if part)

    def shown(self) -> dict[str, Any]:
        """As --json has it."""
        return {
            "kind": self.kind.value,
            "where": self.where,
            "detail": self.detail,
            "pack": self.pack,
            "offset": self.offset,
        }
