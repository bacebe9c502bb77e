"""
multipart/related taken apart as it comes (RFC 2046 §5.1, RFC 2387; PS3.18 §8.6.1.2), bounded in every direction
(SECURITY C34, W02).

No I/O, no clock; any bytes give events or MultipartError. What a part holds is passed on as views and never gathered:
kept between two pieces are the headers of one part, or the few bytes that may be the beginning of a boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from strongroom.dicomweb.media_type import MediaType
from strongroom.dicomweb.problems import HttpProblem

__all__ = [
    "DEFAULT",
    "Event",
    "Finished",
    "Limits",
    "Multipart",
    "MultipartError",
    "PartBegan",
    "PartData",
    "PartEnded",
    "boundary_of",
]

_MAX_BOUNDARY_LENGTH: Final = 70  # RFC 2046 §5.1.1
_MAX_PADDING: Final = 64  # white space behind a boundary, which only mail gateways ever added
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_LINE_END: Final = b"\r\n"
_BEHIND: Final = re.compile(rb"--|[ \t]{0,%d}\r\n" % _MAX_PADDING)
_BEHIND_BEGUN: Final = re.compile(rb"-?|[ \t]{0,%d}\r?" % _MAX_PADDING)
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")
_FOLDED: Final = re.compile(rb"\r\n[ \t]++")
_IDENTITY: Final = frozenset({"", "identity", "binary", "8bit", "7bit"})


class MultipartError(HttpProblem):
    """The body is not what its Content-Type says, or beyond a limit; what was complete before it stays."""


@final
@dataclass(frozen=True, slots=True)
class PartBegan:
    """A part begins; header names are lower case."""

    headers: Mapping[str, str]


@final
@dataclass(frozen=True, slots=True)
class PartData:
    """Bytes of the part that began last; the view is valid until the next piece is fed."""

    view: memoryview


@final
@dataclass(frozen=True, slots=True)
class PartEnded:
    """The part is complete: the boundary behind it has come."""


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """The last boundary has come; what still follows means nothing."""


Event = PartBegan | PartData | PartEnded | Finished


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one body; lengths are bytes."""

    max_parts: int = 10_000
    """As many instances as the longest series have, in one request."""
    max_headers_length: int = 16 << 10
    """All headers of one part: four lines of some hundred bytes are usual."""
    max_headers: int = 32
    """Lines of headers of one part."""
    max_around: int = 16 << 10
    """What may stand in front of the first boundary, and behind the last: nobody needs it."""
    max_part_length: int = 16 << 30
    """One part: the longest data set the archive takes."""
    max_body_length: int = 16 << 30
    """All of it; a front door's own setting stands in front of this."""


DEFAULT: Final = Limits()


class _State(Enum):
    PREAMBLE = "preamble"
    HEADERS = "headers"
    DATA = "data"
    EPILOGUE = "epilogue"


def boundary_of(media_type: MediaType) -> str:
    """Return the boundary that a Content-Type names; raises MultipartError when it names none that is allowed."""
    boundary = media_type.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartError(
            400, f"The boundary has {len(boundary)} characters: 1 to {_MAX_BOUNDARY_LENGTH} of RFC 2046 are allowed."
        )
    return boundary


@final
class Multipart:
    """
    One body. Use: `feed` every piece and exhaust what it yields, then `finish`.

    A boundary counts only where a line begins and where it ends the line: data that looks like one is data.
    """

    __slots__ = ("_delimiter", "_held", "_length", "_limits", "_part_length", "_parts", "_skip", "_state")

    def __init__(self, boundary: str, *, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first boundary needs no line end in front of it, so one is put there; `_skip` bytes are not passed on.
        self._held = _LINE_END
        self._skip = len(_LINE_END)
        self._state = _State.PREAMBLE
        self._length = 0
        self._parts = 0
        self._part_length = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Take the next bytes; raises MultipartError after the events that were good."""
        self._length += len(piece)
        if self._length > self._limits.max_body_length:
            raise _too_large("The body", self._limits.max_body_length)
        buffer = self._held + piece if self._held else piece
        at: int | None = 0
        while at is not None:
            self._held = b""
            if self._state is _State.EPILOGUE:
                self._around(len(buffer) - at)
                return
            if self._state is _State.HEADERS:
                end = self._end_of_headers(buffer, at)
                if end is None:
                    self._held = buffer[at:]
                    return
                yield PartBegan(self._headers(buffer[at:end]))
                # The empty line may be the line end of a boundary: then the part is empty.
                self._state, self._skip, self._part_length, at = _State.DATA, len(_LINE_END), 0, end
                continue
            stop, behind, last = self._next(buffer, at)
            begin = min(at + self._skip, stop)
            self._skip -= begin - at
            if stop > begin:
                yield from self._content(buffer, begin, stop)
            if behind is None:
                self._held = buffer[stop:]
            else:
                yield from self._boundary(last=last)
            at = behind

    def finish(self) -> None:
        """Raise MultipartError unless the last boundary has come."""
        if self._state is not _State.EPILOGUE:
            raise MultipartError(400, f"The body ends after {self._length} bytes, without its last boundary.")

    def _next(self, buffer: bytes, at: int) -> tuple[int, int | None, bool]:
        """Where content ends, where what follows its boundary begins (None: not here yet), whether it is the last."""
        start = at
        while (found := buffer.find(self._delimiter, start)) >= 0:
            end = found + len(self._delimiter)
            behind = _BEHIND.match(buffer, end)
            if behind is not None:
                return found, behind.end(), behind[0] == b"--"
            if _BEHIND_BEGUN.fullmatch(buffer, end):
                return found, None, False
            start = found + 1
        return self._undecided(buffer, max(start, len(buffer) - len(self._delimiter) + 1)), None, False

    def _undecided(self, buffer: bytes, start: int) -> int:
        """Where the bytes begin that may turn out to be a boundary when more come."""
        while (start := buffer.find(b"\r", start)) >= 0:
            if self._delimiter.startswith(buffer[start:]):
                return start
            start += 1
        return len(buffer)

    def _content(self, buffer: bytes, begin: int, stop: int) -> Iterator[Event]:
        if self._state is _State.PREAMBLE:
            self._around(stop - begin)
            return
        self._part_length += stop - begin
        if self._part_length > self._limits.max_part_length:
            raise _too_large("A part", self._limits.max_part_length)
        yield PartData(memoryview(buffer)[begin:stop])

    def _around(self, length: int) -> None:
        """Count what stands in front of the first boundary or behind the last."""
        self._part_length += length
        if self._part_length > self._limits.max_around:
            raise MultipartError(
                400,
                f"More than {self._limits.max_around} bytes stand in front of the first boundary or behind the last.",
            )

    def _boundary(self, *, last: bool) -> Iterator[Event]:
        """A boundary has come."""
        if self._state is _State.DATA:
            yield PartEnded()
        self._skip = self._part_length = 0
        if last:
            self._state = _State.EPILOGUE
            yield Finished()
            return
        self._state = _State.HEADERS
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise _too_large("The number of parts", self._limits.max_parts)

    def _end_of_headers(self, buffer: bytes, at: int) -> int | None:
        """Where the empty line behind the headers begins."""
        if buffer.startswith(_LINE_END, at):
            return at
        most = self._limits.max_headers_length
        found = buffer.find(b"\r\n\r\n", at, at + most + 4)
        if found >= 0:
            return found + len(_LINE_END)
        if len(buffer) - at > most:
            raise _too_large("The headers of a part", most)
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        """Read the headers of a part, and refuse those that would make another content of it."""
        lines = _FOLDED.sub(b" ", block).split(_LINE_END)[:-1] if block else []
        if len(lines) > self._limits.max_headers:
            raise _too_large("The number of headers of a part", self._limits.max_headers)
        headers: dict[str, str] = {}
        for line in lines:
            found = _HEADER.fullmatch(line)
            if found is None:
                raise MultipartError(400, "A part has a malformed header line.")
            name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1").rstrip(" \t")
            if name in headers and name.startswith("content-"):
                raise MultipartError(400, "A part has a header twice.")
            headers[name] = value
        for name in ("content-encoding", "content-transfer-encoding"):
            if headers.get(name, "").lower() not in _IDENTITY:
                raise MultipartError(415, "A part is encoded once more; only plain binary parts are taken.")
        if headers.get("content-type", "").lstrip().lower().startswith("multipart/"):
            raise MultipartError(415, "A part is multipart itself.")
        return headers


def _too_large(what: str, limit: int) -> MultipartError:
    return MultipartError(413, f"{what} goes beyond {limit}.")
