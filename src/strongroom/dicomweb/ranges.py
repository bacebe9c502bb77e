"""
Bodies of known length, of which a client may have one range (RFC 9110 §14; SECURITY W14).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure
from strongroom.dicomweb.answers import Streamed
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.segments import Segment, cut, pieces, total

__all__ = ["range_of", "ranged"]

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


def range_of(header: str | None, length: int) -> tuple[int, int] | None:
    """
    Read the Range field of a request for a body of *length* bytes: first byte, and the one behind the last.

    None where the whole is to be sent: no field, another unit, or more than one range (SECURITY W14). Raises
    HttpProblem (416) when it asks for nothing that is there.
    """
    found = None if header is None else _RANGE.fullmatch(header.replace(" ", ""))
    if found is None:
        return None
    if found[3] is not None:
        first, last = max(length - int(found[3]), 0), length
    else:
        first = int(found[1])
        last = min(int(found[2]) + 1, length) if found[2] else length
        if found[2] and int(found[2]) < first:
            return None
    if first >= last:
        raise HttpProblem(416, "The range lies outside.", {"Content-Range": f"bytes */{length}"})
    return first, last


def ranged(
    call: Call,
    disclosure: Disclosure,
    segments: Sequence[Segment],
    held: contextlib.AsyncExitStack,
    *,
    media_type: str,
    headers: dict[str, str] | None = None,
) -> Response:
    """A body of known length, or the one range of it that is asked for."""
    length = total(segments)
    fields = {"Accept-Ranges": "bytes", **(headers or {})}
    # If-Range names a state that nobody was told: then the whole is sent.
    asked = None if "if-range" in call.request.headers else call.request.headers.get("range")
    found = range_of(asked, length) if call.request.method == "GET" else None
    status = 200
    if found is not None:
        status, segments = 206, cut(segments, *found)
        fields["Content-Range"] = f"bytes {found[0]}-{found[1] - 1}/{length}"
    return Streamed(
        pieces(disclosure, segments),
        held.pop_all(),
        media_type=media_type,
        status=status,
        length=total(segments),
        headers=fields,
    )
