"""
What an HTTP request may look like and how long it may take (RFC 9110, RFC 9112; SECURITY C12, C13, T25, T26, W01).

llhttp, the parser below, is strict about line ends, folded lines, header characters and Content-Length. What it lets
through and we do not is checked here, on the whole head, before the application hears of the request:
1. HTTP/1.1 or HTTP/1.0; nothing older, newer, or of another name.
2. A known method; never CONNECT or TRACE.
3. No upgrade.
4. The target is a path with an optional query: no other form, no fragment, no broken percent-encoding, no control
   characters.
5. One Host (in HTTP/1.0 at most one).
6. `Transfer-Encoding: chunked` alone and once, in HTTP/1.1 only.
7. A body of at most the length that is taken, and no expectation but 100-continue.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.transport.quotas import Quota

if TYPE_CHECKING:
    from collections.abc import Sequence

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers; sizes in bytes."""

    head_bytes: int = 32_768
    """Request line and header fields."""
    head_fields: int = 100
    framing_bytes: int = 16_384
    """Chunk extensions and trailers in a row, without a byte of the body."""
    body_bytes: int = 16 << 30
    handshake_seconds: float = 10.0
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its head, whatever trickles in meanwhile."""
    body_seconds: float = 6 * 3600.0
    minimum_rate: int = 1024
    """Bytes a second of a body, averaged over each grace period."""
    grace_seconds: float = 10.0
    idle_seconds: float = 60.0
    """Between two requests of an admitted caller; a stranger has `head_seconds`."""
    stall_seconds: float = 60.0
    """The period over which a reader has to take `minimum_rate` of an answer."""
    linger_seconds: float = 2.0
    """How long what still comes is dropped after a refusal, so that the refusal arrives."""
    tick_seconds: float = 1.0


WEB_KNOCKING_PER_ADDRESS: Final = 32
"""A browser has six, and behind a proxy all callers share one address."""
WEB_CONNECTIONS: Final = 1024
WEB_CONNECTIONS_PER_CALLER: Final = 256
QUOTA: Final = Quota(
    knocking_per_address=WEB_KNOCKING_PER_ADDRESS,
    associations=WEB_CONNECTIONS,
    associations_per_device=WEB_CONNECTIONS_PER_CALLER,
)
"""Connections of the web door, in the words of the DICOM doors."""


@final
@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the web door is bound by."""

    limits: Limits = Limits()
    quota: Quota = QUOTA


DEFAULT_RULES: Final = Rules()

_TARGET: Final = re.compile(rb"/(?:[!-\"$&->@-~]|%[0-9A-Fa-f]{2})*(?:\?(?:[!-\"$&-~]|%[0-9A-Fa-f]{2})*)?")
"""Visible ASCII without `#`; a percent sign stands before two hexadecimal digits."""


@final
@dataclass(frozen=True, slots=True)
class Head:
    """A request's line and fields, as the parser read them; names in lower case."""

    version: str
    method: str
    target: bytes
    fields: Sequence[tuple[bytes, bytes]]
    upgrade: bool

    def all(self, name: bytes) -> list[bytes]:
        """The values of a field, in order, without the space around them."""
        return [value.strip(b" \t") for found, value in self.fields if found == name]


def fault(head: Head, limits: Limits) -> int | None:
    """Return the status *head* is refused with, or None (rules 1 to 7)."""
    if head.version not in ("1.1", "1.0"):
        return 505
    if head.method not in METHODS:
        return 405
    if head.upgrade or head.all(b"upgrade"):
        return 400
    if _TARGET.fullmatch(head.target) is None or path_of(head.target) is None:
        return 400
    hosts = len(head.all(b"host"))
    if hosts > 1 or (not hosts and head.version == "1.1"):
        return 400
    return _body_fault(head, limits)


def _body_fault(head: Head, limits: Limits) -> int | None:
    """Rules 6 and 7."""
    codings = head.all(b"transfer-encoding")
    if codings and (head.version != "1.1" or [one.lower() for one in codings] != [b"chunked"]):
        return 400
    lengths = head.all(b"content-length")
    if len(lengths) > 1 or (lengths and (codings or not lengths[0].isdigit())):
        return 400  # the parser's own rules as well; what frames a message is looked at twice
    if lengths and int(lengths[0]) > limits.body_bytes:
        return 413
    if any(one.lower() != b"100-continue" for one in head.all(b"expect")):
        return 417
    return None


def path_of(target: bytes) -> str | None:
    """The decoded path of *target*, or None when it is not UTF-8 or holds control characters."""
    try:
        path = urllib.parse.unquote(target.partition(b"?")[0].decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        return None
    return path if path.isprintable() else None


__all__ = ["DEFAULT_RULES", "METHODS", "QUOTA", "Head", "Limits", "Rules", "fault", "path_of"]
