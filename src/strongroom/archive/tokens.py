"""
Making, listing and revoking tokens, behind a session like everything else. Each method asks the policy for its action
first; a token itself leaves `issue` once and is kept nowhere.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from strongroom.access import tokens as access
from strongroom.access.roles import Action
from strongroom.archive import recording
from strongroom.archive.acts import Change
from strongroom.audit.codes import EventType
from strongroom.dicom import uid
from strongroom.errors import ConfigurationError, NotFound
from strongroom.register import devices, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import apsw

    from strongroom.archive.core import Core
    from strongroom.archive.directory import Directory
    from strongroom.archive.session import Session

MAX_SCOPE: Final = 1_000
"""Parts of one token's scope: each is looked at with every search."""
_MAX_PART: Final = 64
_PARTS: Final = {"study": "studies", "issuer": "issuers_of_patient_id", "device": "sending_devices"}
"""What `--scope` calls the parts of a scope, and what the register does."""


@final
class Tokens:
    """The keepers' tools for tokens."""

    def __init__(self, core: Core, directory: Directory, session: Session) -> None:
        self._core = core
        self._directory = directory
        self._session = session

    async def issue(self, *, name: str, roles: Iterable[str], scope: Iterable[str], life: str) -> dict[str, Any]:
        """
        Make a token for the service *name*; the result holds it, this once.

        *scope* has the words of `--scope`, *life* is such as 90d. Raises ConfigurationError, ConflictError, NotFound.
        """
        await self._session.require(Action.ADMINISTER)
        access.check_name(name)
        parts = self._core.parts
        now = parts.clock().replace(microsecond=0)
        secret = access.new_token(parts.entropy)
        token = tokens.Token(
            name=name,
            digest=access.digest_of(secret),
            roles=access.check_roles(roles),
            scope=read_scope(scope),
            created_at=now.timestamp(),
            expires=(now + access.parse_life(life)).timestamp(),
        )
        message = parts.reporter.changed(
            parts.clock(),
            recording.party(self._session.actor),
            EventType.USER_SECURITY_CHANGED,
            f"urn:strongroom:token:{name}",
            "token made",
            ("Token", name),
            ("Roles", ", ".join(sorted(token.roles))),
            ("Scope", ", ".join(scope_words(token.scope))),
            ("Until", _when(token.expires)),
        )
        await self._core.committer.submit(Change(lambda connection: _add(connection, token), (message,)))
        self._directory.reload()
        return _described(token) | {"token": secret}

    async def revoke(self, name: str) -> dict[str, Any]:
        """End a token for good; open sessions of it are refused from now on. Raises NotFound, ConflictError."""
        await self._session.require(Action.ADMINISTER)
        parts = self._core.parts
        now = parts.clock()
        message = parts.reporter.changed(
            now,
            recording.party(self._session.actor),
            EventType.USER_SECURITY_CHANGED,
            f"urn:strongroom:token:{name}",
            "token revoked",
            ("Token", name),
        )
        at = now.timestamp()
        await self._core.committer.submit(Change(lambda connection: tokens.revoke(connection, name, at=at), (message,)))
        self._directory.reload()
        return {"name": name, "state": "revoked"}

    async def listed(self) -> dict[str, Any]:
        """Every token that was made, without the tokens themselves."""
        await self._session.require(Action.REVIEW)
        return await asyncio.to_thread(self._listed)

    def _listed(self) -> dict[str, Any]:
        now = self._core.parts.clock().timestamp()
        with self._core.parts.database.reader() as connection:
            found = tokens.every(connection)
        return {
            "tokens": [
                _described(token)
                | {
                    "state": _state(token, now),
                    "created": _when(token.created_at),
                    "last_used": None if token.last_used_at is None else _when(token.last_used_at),
                }
                for token in found
            ]
        }


def read_scope(words: Iterable[str]) -> dict[str, Any]:
    """The scope that `--scope` means, as the register keeps it; raises ConfigurationError."""
    given = list(dict.fromkeys(words))
    if given == ["all"]:
        return {"everything": True}
    if not given:
        raise ConfigurationError("a token needs a scope: all, study:UID, issuer:NAME or device:NAME")
    if len(given) > MAX_SCOPE:
        raise ConfigurationError(f"a scope has at most {MAX_SCOPE} parts, not {len(given)}")
    scope: dict[str, list[str]] = {}
    for word in given:
        kind, _, value = word.partition(":")
        _check_part(word, kind, value)
        scope.setdefault(_PARTS[kind], []).append(value)
    return {key: sorted(values) for key, values in scope.items()}


def _check_part(word: str, kind: str, value: str) -> None:
    if kind == "all":
        raise ConfigurationError("--scope all is the whole archive: leave out the others, or leave out all")
    if kind == "department":
        raise ConfigurationError("--scope department: is not there yet, since studies have no department labels yet")
    if kind not in _PARTS:
        raise ConfigurationError(f"--scope takes all, study:UID, issuer:NAME or device:NAME, not {_short(word)!r}")
    if not value or len(value) > _MAX_PART or not value.isprintable():
        raise ConfigurationError(f"--scope {kind}: wants 1 to {_MAX_PART} printable characters behind the colon")
    if kind == "study" and not uid.is_valid(value):
        raise ConfigurationError(f"--scope study: {_short(value)!r} is not a UID (PS3.5 9.1)")


def scope_words(scope: Mapping[str, Any]) -> list[str]:
    """A scope of the register in the words of `--scope`."""
    if scope.get("everything") is True:
        return ["all"]
    return [f"{word}:{value}" for word, key in _PARTS.items() for value in scope.get(key, ())]


def _add(connection: apsw.Connection, token: tokens.Token) -> None:
    for device in token.scope.get("sending_devices", ()):
        # a name that was mistyped would be a scope that reaches nothing, and nobody would know why
        if devices.find(connection, device) is None and tokens.find(connection, device) is None:
            raise NotFound(f"--scope device: no device or token is called {device!r}")
    tokens.add(connection, token)


def _described(token: tokens.Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "roles": sorted(token.roles),
        "scope": scope_words(token.scope),
        "expires": _when(token.expires),
    }


def _state(token: tokens.Token, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if now >= token.expires else "active"


def _short(text: str) -> str:
    return text[:_MAX_PART]


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
