"""Legal holds: studies that nobody may delete or erase, each with who said so, when, why and until when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, final

import apsw
import msgspec

from strongroom.register.rows import select

__all__ = ["Hold", "active", "add", "count", "listed", "release"]

_COLUMNS: Final = "id, study_instance_uid, reason, actor, at, expires, released_at, released_by"
_ACTIVE: Final = "released_at IS NULL AND (expires IS NULL OR expires > ?)"


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """One study on hold; times are seconds since 1970 UTC."""

    id: int
    study_instance_uid: str
    reason: str
    actor: str
    at: float
    expires: float | None
    released_at: float | None
    released_by: str | None

    def is_active(self, at: float) -> bool:
        """Whether it holds at that time."""
        return self.released_at is None and (self.expires is None or self.expires > at)


def add(
    connection: apsw.Connection, study_instance_uid: str, *, reason: str, actor: str, at: float, expires: float | None
) -> int:
    """Put a study on hold, once more if it is already; return the number of the hold."""
    connection.execute(
        "INSERT INTO hold (study_instance_uid, reason, actor, at, expires) VALUES (?, ?, ?, ?, ?)",
        (study_instance_uid, reason, actor, at, expires),
    )
    return connection.last_insert_rowid()


def active(connection: apsw.Connection, study_instance_uids: Collection[str], *, at: float) -> frozenset[str]:
    """Those of the studies that are on hold at that time."""
    rows = select(
        connection,
        "SELECT DISTINCT study_instance_uid FROM hold"  # noqa: S608 -- our text
        f" WHERE study_instance_uid IN (SELECT value FROM json_each(?)) AND {_ACTIVE}",
        (msgspec.json.encode(sorted(study_instance_uids)).decode(), at),
    )
    return frozenset(row[0] for row in rows)


def release(connection: apsw.Connection, number: int, *, actor: str, at: float) -> str | None:
    """End a hold; return its study, None when there is none of that number in force."""
    found = select(connection, f"SELECT study_instance_uid FROM hold WHERE id = ? AND {_ACTIVE}", (number, at))  # noqa: S608 -- our text
    if not found:
        return None
    connection.execute("UPDATE hold SET released_at = ?, released_by = ? WHERE id = ?", (at, actor, number))
    return str(found[0][0])


def listed(connection: apsw.Connection, *, limit: int = 1_000) -> tuple[Hold, ...]:
    """Return the holds, the newest first, ended ones too, at most *limit* of them."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM hold ORDER BY id DESC LIMIT ?", (limit,))  # noqa: S608 -- our text
    return tuple(Hold(*row) for row in rows)


def count(connection: apsw.Connection, *, at: float) -> int:
    """How many studies are on hold."""
    return int(select(connection, f"SELECT count(DISTINCT study_instance_uid) FROM hold WHERE {_ACTIVE}", (at,))[0][0])  # noqa: S608 -- our text
