"""
Pieces of SQL and the values that belong to them; the only way conditions are put together here.

The rule of the file: text of a `Condition` is written by us, values come from a peer and are only ever bound. Nothing
in this package puts a value into SQL text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

SqlValue = str | int | float | bytes | None


@final
@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression and the values for its question marks, in their order."""

    sql: str
    values: tuple[SqlValue, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        return every((self, other))

    def __or__(self, other: Condition) -> Condition:
        return either((self, other))

    def __invert__(self) -> Condition:
        if self == TRUE:
            return FALSE
        return TRUE if self == FALSE else Condition(f"NOT ({self.sql})", self.values)


TRUE: Final = Condition("TRUE")
FALSE: Final = Condition("FALSE")


def every(conditions: Iterable[Condition]) -> Condition:
    """All of *conditions* hold; TRUE when there are none."""
    kept = [condition for condition in conditions if condition != TRUE]
    if FALSE in kept:
        return FALSE
    return _joined(kept, " AND ") if kept else TRUE


def either(conditions: Iterable[Condition]) -> Condition:
    """One of *conditions* holds; FALSE when there are none."""
    kept = [condition for condition in conditions if condition != FALSE]
    if TRUE in kept:
        return TRUE
    return _joined(kept, " OR ") if kept else FALSE


def some_row(rows: str, values: tuple[SqlValue, ...] = ()) -> Condition:
    """
    Return the condition that *rows* (from FROM on, about the row at hand) is not empty.

    Not written as EXISTS: SQLite may turn that into a join and then begin with the other table.
    """
    return Condition(f"(SELECT 1 {rows} LIMIT 1) IS NOT NULL", values)


def _joined(conditions: list[Condition], operator: str) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    text = operator.join(condition.sql for condition in conditions)
    return Condition(f"({text})", tuple(value for condition in conditions for value in condition.values))
