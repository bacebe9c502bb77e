"""
Tokens of services: what one looks like, what it may be given, and whether it is good now (DESIGN section 6, Actors).

A token is `srt_` and 256 random bits in base64url (RFC 4648 §5). The archive keeps its SHA-256 and nothing else; so
many random bits need neither salt nor a slow hash. It is good when every check holds; the first that does not is the
reason in the trail:
1. the door is open, and the address lies in its networks;
2. it has the form of a token, which is looked at before anything is computed from it;
3. its hash is in the register;
4. it was not revoked, its time has begun and is not over.
All checks run on every call, an unknown token against an entry that matches nobody, and the caller hears of none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

from strongroom.access.identity import Door, Rejected, Rejection, door_faults, first_fault
from strongroom.access.policy import NOTHING, Actor, Scope
from strongroom.access.roles import ADMINISTRATOR, CEILING, ROLES, ActorKind
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PREFIX: Final = "srt_"
"""Ours: so that whoever finds one in a file or a log, a scanner for secrets included, knows what it is."""
SECRET_BYTES: Final = 32
LEAST_LIFE: Final = timedelta(minutes=1)
MAX_LIFE: Final = timedelta(days=825)
"""As long as a device's certificate: nothing that opens the archive holds for ever."""
LEEWAY_SECONDS: Final = 60.0
"""How far the clock may have been put back since the token was made (SECURITY C56)."""
MAX_NAME: Final = 64

_TOKEN: Final = re.compile(r"srt_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(rf"[^\W_][\w.@+-]{{0,{MAX_NAME - 1}}}")
_LIFE: Final = re.compile(r"([1-9][0-9]{0,6})([mhdw])")
_UNITS: Final = MappingProxyType(
    {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
)


@final
@dataclass(frozen=True, slots=True)
class TokenEntry:
    """What the register holds about one token."""

    name: str
    digest: bytes
    roles: frozenset[str]
    created: datetime
    expires: datetime
    scope: Scope = NOTHING
    revoked: bool = False

    def holds(self, now: datetime) -> bool:
        """Whether it is good at *now*."""
        return not any(failed for failed, _ in _time_faults(self, now))


_NOBODY: Final = TokenEntry(
    "", bytes(32), frozenset(), datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), revoked=True
)
"""Matches no token: nothing that could be hashed to 32 zero bytes is known."""


@final
class Tokens:
    """The tokens that were made, looked up by hash; built anew when the register changes."""

    __slots__ = ("_by_digest", "_by_name")

    def __init__(self, entries: Iterable[TokenEntry]) -> None:
        known = tuple(entries)
        self._by_digest: Mapping[bytes, TokenEntry] = MappingProxyType({entry.digest: entry for entry in known})
        self._by_name: Mapping[str, TokenEntry] = MappingProxyType({entry.name: entry for entry in known})

    def with_digest(self, digest: bytes) -> TokenEntry | None:
        """The token of this hash."""
        return self._by_digest.get(digest)

    def named(self, name: str) -> TokenEntry | None:
        """The token called *name*."""
        return self._by_name.get(name)


def new_token(entropy: Callable[[int], bytes]) -> str:
    """A new token; *entropy* gives that many random bytes."""
    return PREFIX + urlsafe_b64encode(entropy(SECRET_BYTES)).rstrip(b"=").decode("ascii")


def digest_of(token: str) -> bytes:
    """SHA-256 of the whole text of a token: what the register keeps."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def admit_token(token: str, address: str, door: Door, tokens: Tokens, now: datetime) -> Actor | Rejection:
    """
    Say which service shows *token* at *door*, or why nobody is let in.

    *now* is aware (UTC). Called once per request; raises nothing for what a peer sent.
    """
    well_formed = _TOKEN.fullmatch(token) is not None
    digest = digest_of(token if well_formed else PREFIX)
    entry = tokens.with_digest(digest)
    tried = entry or _NOBODY
    # the look-up above goes by hash, so its timing tells nothing about a secret; this comparison tells nothing either
    same = hmac.compare_digest(tried.digest, digest)
    faults = (
        *door_faults(door, address, now),
        (not well_formed, Rejected.TOKEN_MALFORMED),
        (not same, Rejected.TOKEN_UNKNOWN),
        *_time_faults(tried, now),
    )
    reason = first_fault(faults)
    if reason is not None:
        return Rejection(reason, entry.name if entry is not None else "")
    assert entry is not None
    return Actor(ActorKind.SERVICE, entry.name, roles=entry.roles, scope=entry.scope, address=address)


def _time_faults(entry: TokenEntry, now: datetime) -> tuple[tuple[bool, Rejected], ...]:
    """Check 4."""
    return (
        (entry.revoked, Rejected.TOKEN_REVOKED),
        ((now - entry.created).total_seconds() < -LEEWAY_SECONDS, Rejected.TOKEN_NOT_YET_VALID),
        (now >= entry.expires, Rejected.TOKEN_EXPIRED),
    )


def check_name(name: str) -> None:
    """Raise ConfigurationError unless *name* can be a token's: it stands in the trail and on command lines."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a token's name has 1 to {MAX_NAME} letters, digits and . _ - @ +, and begins with a letter or digit"
        )


def check_roles(roles: Iterable[str]) -> frozenset[str]:
    """Return *roles* as a set; raises ConfigurationError with a sentence for one that a service cannot hold."""
    wanted = frozenset(roles)
    if not wanted:
        raise ConfigurationError(f"a token needs a role: {', '.join(service_roles())}")
    for name in sorted(wanted):
        role = ROLES.get(name)
        if role is None:
            raise ConfigurationError(f"there is no role {name!r}; a token takes {', '.join(service_roles())}")
        if name == ADMINISTRATOR:
            raise ConfigurationError(
                "a token cannot be administrator: changing who may do what wants a person who answers for it"
            )
        if role.de_identified and not role.actions:
            raise ConfigurationError(
                f"a token cannot be {name} yet: it would retrieve de-identified copies, which this version cannot make"
            )
        if not role.actions & CEILING[ActorKind.SERVICE]:
            never = ", ".join(sorted(role.actions))
            raise ConfigurationError(
                f"a token cannot be {name}: what that may do ({never}) wants a person who answers for it"
            )
    return wanted


def service_roles() -> tuple[str, ...]:
    """The roles that give a service something."""
    useful = CEILING[ActorKind.SERVICE]
    return tuple(name for name, role in ROLES.items() if name != ADMINISTRATOR and role.actions & useful)


def parse_life(text: str) -> timedelta:
    """Read how long a token holds, such as 90d, 12h, 52w or 30m; raises ConfigurationError."""
    found = _LIFE.fullmatch(text)
    life = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if not LEAST_LIFE <= life <= MAX_LIFE:
        raise ConfigurationError(
            f"--for takes a number with m, h, d or w, from 1m to {MAX_LIFE.days}d, for example 90d; not {text[:20]!r}"
        )
    return life
