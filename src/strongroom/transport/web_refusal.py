"""What the web door says in its own words, and what it is called in a report: a fixed sentence for each status."""

from __future__ import annotations

from email.utils import formatdate
from types import MappingProxyType
from typing import Final

from strongroom.transport.ends import Refused
from strongroom.transport.web_rules import METHODS

SENTENCES: Final = MappingProxyType(
    {
        400: "The request is not valid HTTP.",
        405: "This method is not known here.",
        408: "The request took too long.",
        413: "The body is longer than is taken here.",
        417: "This expectation cannot be met.",
        431: "The head of the request is too long.",
        500: "The archive could not process this request.",
        505: "This version of HTTP is not spoken here.",
    }
)
"""Everything the door itself says; nothing of a request is ever in it."""

REASONS: Final = MappingProxyType(
    {
        400: "Bad Request",
        405: "Method Not Allowed",
        408: "Request Timeout",
        413: "Content Too Large",
        417: "Expectation Failed",
        431: "Request Header Fields Too Large",
        500: "Internal Server Error",
        505: "HTTP Version Not Supported",
    }
)

_CODES: Final = MappingProxyType(
    {408: Refused.REQUEST_TIMEOUT, 413: Refused.REQUEST_TOO_LARGE, 431: Refused.REQUEST_TOO_LARGE}
)


def code(status: int) -> Refused:
    """The short code that stands for *status* in the trail."""
    return _CODES.get(status, Refused.REQUEST_MALFORMED)


def date() -> bytes:
    """The time, as HTTP writes it (RFC 9110 §6.6.1)."""
    return formatdate(usegmt=True).encode("ascii")


def fields(status: int) -> list[tuple[bytes, bytes]]:
    """The header fields of a refusal; the connection ends with it."""
    found = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(SENTENCES[status])),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if status == 405:
        found.append((b"allow", ", ".join(METHODS).encode("ascii")))
    return found


def encode(status: int) -> bytes:
    """The whole answer."""
    lines = [b"HTTP/1.1 %d %s" % (status, REASONS[status].encode("ascii"))]
    lines += [name + b": " + value for name, value in ((b"date", date()), *fields(status))]
    return b"\r\n".join([*lines, b"", SENTENCES[status].encode("ascii")])


__all__ = ["SENTENCES", "code", "date", "encode", "fields"]
