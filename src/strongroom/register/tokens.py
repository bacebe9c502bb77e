"""
Tokens of services: hash, roles, scope and end of each (DESIGN section 6, Actors).

A token itself is never kept. A name is taken for good, since the trail names services by it; it is no device's name
either, since what a service deposits is listed under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import apsw
import msgspec

from strongroom.errors import ConflictError, NotFound
from strongroom.register.rows import select

__all__ = ["Token", "add", "every", "find", "revoke", "used"]

_COLUMNS: Final = "name, digest, roles, scope, created_at, expires, revoked_at, last_used_at"
_texts = msgspec.json.Decoder(tuple[str, ...]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


@final
@dataclass(frozen=True, slots=True)
class Token:
    """One entry. *roles* are names of `access.roles`; *scope* is a JSON object, as a device's."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the token."""
    roles: frozenset[str]
    scope: Mapping[str, Any]
    created_at: float
    expires: float
    revoked_at: float | None = None
    last_used_at: float | None = None


def add(connection: apsw.Connection, token: Token) -> None:
    """Keep a token that was just made; raises ConflictError when its name was ever used, by a device too."""
    if select(connection, "SELECT 1 FROM token WHERE name = ?", (token.name,)):
        raise ConflictError(f"the name {token.name!r} is taken; names are never used twice")
    if select(connection, "SELECT 1 FROM device WHERE name = ?", (token.name,)):
        raise ConflictError(f"the name {token.name!r} is a device's")
    connection.execute(
        f"INSERT INTO token ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- our text
        (
            token.name,
            token.digest,
            msgspec.json.encode(sorted(token.roles)).decode(),
            msgspec.json.encode(token.scope).decode(),
            token.created_at,
            token.expires,
            token.revoked_at,
            token.last_used_at,
        ),
    )


def find(connection: apsw.Connection, name: str) -> Token | None:
    """Return the token called *name*, in whatever state."""
    rows = select(connection, f"SELECT {_COLUMNS} FROM token WHERE name = ?", (name,))  # noqa: S608 -- our text
    return _token(rows[0]) if rows else None


def every(connection: apsw.Connection) -> tuple[Token, ...]:
    """Return all tokens, expired and revoked ones too, in the order of their names."""
    return tuple(_token(row) for row in select(connection, f"SELECT {_COLUMNS} FROM token ORDER BY name"))  # noqa: S608 -- our text


def revoke(connection: apsw.Connection, name: str, *, at: float) -> None:
    """End a token for good; raises NotFound, and ConflictError when that was done before."""
    found = find(connection, name)
    if found is None:
        raise NotFound(f"no token is called {name!r}")
    if found.revoked_at is not None:
        raise ConflictError(f"the token {name!r} is revoked, which is for good")
    connection.execute("UPDATE token SET revoked_at = ? WHERE name = ?", (at, name))


def used(connection: apsw.Connection, name: str, *, at: float) -> None:
    """Remember when a token was last let in; an unknown name changes nothing."""
    connection.execute(
        "UPDATE token SET last_used_at = max(coalesce(last_used_at, ?), ?) WHERE name = ?", (at, at, name)
    )


def _token(row: tuple[Any, ...]) -> Token:
    return Token(row[0], row[1], frozenset(_texts(row[2])), _object(row[3]), *row[4:])
