"""
Bodies of several parts (RFC 2046 §5.1.1, RFC 2387), written so that every client reads them.

The body begins with the delimiter and not with a line break; the header of a part is `Content-Type: TYPE;
transfer-syntax=UID` in just this spelling, because viewers look for it so. Nothing of a part is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

__all__ = ["Multipart"]

_BOUNDARY_BYTES: Final = 16
"""Random bytes of a delimiter: it appears in no image by chance."""


@final
class Multipart:
    """The text around the parts of one body, and how long all of it is."""

    __slots__ = ("_boundary", "_first", "_media_type")

    def __init__(self, media_type: str, random: bytes) -> None:
        """*random*: 16 random bytes that become the boundary."""
        if len(random) != _BOUNDARY_BYTES:
            raise ValueError(f"a boundary takes {_BOUNDARY_BYTES} random bytes, not {len(random)}")
        self._media_type = media_type
        self._boundary = f"strongroom-{random.hex()}"
        self._first = True

    @property
    def content_type(self) -> str:
        """The value of the Content-Type field of the whole."""
        return f'multipart/related; type="{self._media_type}"; boundary={self._boundary}'

    def begin(
        self,
        media_type: str,
        transfer_syntax: str | None = None,
        *,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """What stands in front of the next part; its content follows, then the next `begin` or `end`."""
        lead = "--" if self._first else "\r\n--"
        self._first = False
        syntax = f"; transfer-syntax={transfer_syntax}" if transfer_syntax else ""
        lines = [f"{lead}{self._boundary}", f"Content-Type: {media_type}{syntax}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def end(self) -> bytes:
        """What stands behind the last part."""
        return (f"--{self._boundary}--\r\n" if self._first else f"\r\n--{self._boundary}--\r\n").encode("ascii")
