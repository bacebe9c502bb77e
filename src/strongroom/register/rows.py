"""Reading rows: the one place where what SQL gives back has no type yet."""

from __future__ import annotations

from typing import Any

import apsw

__all__ = ["Row", "select"]

Row = tuple[Any, ...]


def select(
    connection: apsw.Connection, statement: str, values: tuple[str | int | float | bytes | None, ...] = ()
) -> list[Row]:
    """Run *statement* to its end and return its rows; their types are those of the STRICT tables."""
    return connection.execute(statement, values).fetchall()
