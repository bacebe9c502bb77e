"""
What the pool and its workers say to each other: a header in MessagePack and raw parts behind it, each with its length.

A request is `<IQ` (bytes of header, bytes of all parts), the header (`Request`), the parts. A reply is the same with a
`Reply` and one part. The pool believes nothing of a reply before it has compared it with what it may be.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, TypeAlias, final

import msgspec

from strongroom.imaging.options import RenderOptions
from strongroom.imaging.pixels import PixelDescription

__all__ = [
    "FRAMING",
    "MAX_REPLY_HEADER",
    "Decode",
    "Encode",
    "Fault",
    "Job",
    "Picture",
    "PictureInfo",
    "Render",
    "Reply",
    "Request",
    "Transcode",
]

FRAMING: Final = Struct("<IQ")

MAX_REPLY_HEADER: Final = 64 << 10
"""Bytes of a reply's header: some numbers and one sentence."""


@final
class Decode(msgspec.Struct, frozen=True, tag="decode"):
    """A stored frame to native little endian."""

    pixels: PixelDescription


@final
class Encode(msgspec.Struct, frozen=True, tag="encode"):
    """A native frame to another transfer syntax."""

    pixels: PixelDescription
    uid: str


@final
class Transcode(msgspec.Struct, frozen=True, tag="transcode"):
    """A stored frame to another transfer syntax."""

    pixels: PixelDescription
    uid: str


@final
class Render(msgspec.Struct, frozen=True, tag="render"):
    """Stored frames to a picture."""

    pixels: PixelDescription
    options: RenderOptions


@final
class Picture(msgspec.Struct, frozen=True, tag="picture"):
    """An ordinary picture to what an instance holds."""

    media_type: str


Job: TypeAlias = Decode | Encode | Transcode | Render | Picture


@final
class PictureInfo(msgspec.Struct, frozen=True):
    """What an ordinary picture is; *kept* says that the part is the JPEG itself, ready to be encapsulated."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    transfer_syntax_uid: str
    number_of_frames: int = 1
    lossy: bool = False


@final
class Request(msgspec.Struct, frozen=True):
    """One job; *parts* are the lengths of what follows."""

    job: Job
    parts: tuple[int, ...]


class Fault:
    """Why a job gave nothing."""

    UNREADABLE: Final = "unreadable"
    MEMORY: Final = "memory"


@final
class Reply(msgspec.Struct, frozen=True):
    """What became of a job; *sentence* is one of ours, with numbers and no values."""

    fault: str = ""
    sentence: str = ""
    picture: PictureInfo | None = None
    confined: tuple[str, ...] = ()
    """Of the first reply, which says that the worker is ready: what confines it here."""
