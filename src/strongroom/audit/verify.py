"""
Is the trail whole? Every chain in the folder is proved from its first record to the head that the register remembers.

1. Each chain that is there is proved by `ground.chain`: any record edited, removed, put elsewhere or cut off at the
end is found, and the loss of whole segments.
2. Each chain a head is remembered of has to be there.
3. A tail torn by a crash is named apart: it lies behind everything that was promised, and is no finding.
4. A chain that seems damaged is read once more before it is said so: it may have been written to while it was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, final

from strongroom.ground import chain
from strongroom.ground.chain import Head, Torn

if TYPE_CHECKING:
    from strongroom.ground.medium import Medium


@final
class Kind(Enum):
    """What was done to the trail."""

    EDITED = "edited"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    """A segment of another chain, or sealed under another key."""
    MISSING = "missing"
    """A whole chain which the register remembers."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing which does not fit: *sequence* is the record it is about (0: the file itself)."""

    kind: Kind
    where: str
    sequence: int
    detail: str


@final
@dataclass(frozen=True, slots=True)
class Verification:
    """What was seen: heads to be compared elsewhere, how many records opened, what does not fit, what a crash tore."""

    heads: tuple[Head, ...]
    records: int
    findings: tuple[Finding, ...]
    torn: tuple[Torn, ...]

    @property
    def whole(self) -> bool:
        """Whether every record that was promised is there, unchanged and in its place."""
        return not self.findings


def verify(medium: Medium, root: str, key: bytes, expected_heads: Iterable[Head]) -> Verification:
    """
    Prove every chain of the trail in *root*; never raises for what it finds, it lists it.

    *expected_heads* come from the register, read before this is called. A chain without one is proved as far as it
    goes: that its newest records were cut off at a record's end cannot be seen then.
    """
    expected = {head.chain: head for head in expected_heads}
    there = chain.chains(medium, root)
    heads: list[Head] = []
    findings: list[Finding] = []
    torn: list[Torn] = []
    records = 0
    for name in there:
        seen = _proved(medium, root, name, key, expected.get(name))
        heads.append(seen.head)
        records += seen.records
        if seen.torn is not None:
            torn.append(seen.torn)
        damage = (one for one in seen.findings if one.kind is not chain.Kind.TORN_TAIL)
        findings.extend(Finding(Kind(one.kind.value), one.where, one.sequence, one.detail) for one in damage)
    for name in sorted(expected.keys() - set(there)):
        lost = expected[name]
        if lost.sequence:
            detail = f"the chain {name} with {lost.sequence} records is not there"
            findings.append(Finding(Kind.MISSING, root, lost.sequence, detail))
    return Verification(tuple(heads), records, tuple(findings), tuple(torn))


def _proved(medium: Medium, root: str, name: str, key: bytes, expected: Head | None) -> chain.Verification:
    """Rule 4: what is found twice is true."""
    seen = chain.verify(medium, root, name, key, expected=expected)
    return chain.verify(medium, root, name, key, expected=expected) if seen.tampered else seen
