"""
What persons decided about conflicts and quarantine: who, when, why and what. A later decision about the same takes the
place of an earlier one; that one stays listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

import apsw

from strongroom.register.rows import select

__all__ = ["Decision", "Verdict", "add", "find"]


@final
class Verdict(StrEnum):
    """What was decided: the first three about a conflict, the others about quarantine."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"
    RELEASED = "released"
    DISCARDED = "discarded"


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """One decision."""

    id: int
    at: float
    actor: str
    reason: str
    verdict: Verdict


def add(connection: apsw.Connection, *, at: float, actor: str, reason: str, verdict: Verdict) -> int:
    """Write a decision down; return its number."""
    connection.execute(
        "INSERT INTO decision (at, actor, reason, outcome) VALUES (?, ?, ?, ?)", (at, actor, reason, verdict.value)
    )
    return connection.last_insert_rowid()


def find(connection: apsw.Connection, number: int) -> Decision | None:
    """Return the decision of that number."""
    rows = select(connection, "SELECT id, at, actor, reason, outcome FROM decision WHERE id = ?", (number,))
    if not rows:
        return None
    found, at, actor, reason, outcome = rows[0]
    return Decision(found, at, actor, reason, Verdict(outcome))
