"""Small facts about a home that belong to no other table, by name."""

from __future__ import annotations

import apsw

from strongroom.register.rows import select

__all__ = ["find", "put"]


def find(connection: apsw.Connection, name: str) -> str | None:
    """Return the value of *name*, None when it was never set."""
    found = select(connection, "SELECT value FROM setting WHERE name = ?", (name,))
    return str(found[0][0]) if found else None


def put(connection: apsw.Connection, name: str, value: str) -> None:
    """Set *name*, in place of what it was."""
    connection.execute(
        "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
