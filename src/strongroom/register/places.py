"""What was kept aside or deleted, by where its blobs lie and by when these were last opened: for check and scrub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import apsw

from strongroom.register.kept import COLUMNS, KeptBlob, kept_blob
from strongroom.register.rows import select

__all__ = ["TABLES", "checked", "due", "in_pack", "oldest_check"]

TABLES: Final = ("conflict", "quarantine", "deleted_instance")


def in_pack(connection: apsw.Connection, pack: int) -> Iterator[tuple[str, int, bytes, int, int]]:
    """Yield table, row, blob id, offset and sealed length of what lies in a pack."""
    for table in TABLES:
        rows = connection.execute(
            f"SELECT id, blob_id, pack_offset, sealed_length FROM {table} WHERE pack = ? ORDER BY pack_offset",  # noqa: S608 -- our text
            (pack,),
        )
        for row in rows:
            yield (table, *row)


def due(
    connection: apsw.Connection, table: str, *, before: float, after: tuple[float, int] | None, limit: int
) -> list[tuple[float, int, KeptBlob]]:
    """Return (when, row, blob) of what was not opened since *before*, behind *after*; -1 where it never was."""
    when, number = (-2.0, 0) if after is None else after
    rows = select(
        connection,
        f"SELECT coalesce(checked_at, -1), id, {COLUMNS} FROM {table}"  # noqa: S608 -- our text
        " WHERE (coalesce(checked_at, -1), id) > (?, ?) AND coalesce(checked_at, received_at) < ?"
        " ORDER BY 1, 2 LIMIT ?",
        (when, number, before, limit),
    )
    return [(row[0], row[1], kept_blob(row[2:])) for row in rows]


def checked(connection: apsw.Connection, table: str, rows: Sequence[int], at: float) -> None:
    """Remember that these blobs were opened and found whole."""
    if table not in TABLES:
        raise ValueError(f"{table} keeps no blobs")
    connection.executemany(f"UPDATE {table} SET checked_at = ? WHERE id = ?", [(at, number) for number in rows])  # noqa: S608


def oldest_check(connection: apsw.Connection) -> float | None:
    """When the blob here that waits longest was last found whole, or came in if it never was."""
    times = [
        row[0]
        for table in TABLES
        for row in select(connection, f"SELECT min(coalesce(checked_at, received_at)) FROM {table}")  # noqa: S608 -- our text
        if row[0] is not None
    ]
    return min(times, default=None)
