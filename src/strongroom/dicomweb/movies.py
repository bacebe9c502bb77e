"""
What a video says of itself: the boxes of an MP4 file (ISO/IEC 14496-12, 14496-15), as far as an instance needs them.

Nothing is decoded. The file goes into the instance as it is; the transfer syntax is told by profile and level (PS3.5
§8.2.5 to §8.2.8, PS3.6 Table A-1), and what none of them allows is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error
from typing import Final, final

from strongroom.errors import DataSetError, UnsupportedSyntaxError

__all__ = ["Movie", "read"]

MAX_BOXES: Final = 10_000
"""Boxes looked at on the way to the first video track: a film has some dozens."""
MAX_MOVIE_FRAMES: Final = 1 << 24
"""Frames of a video: days at 60 a second. More than other instances may have, for nobody cuts it into frames."""

_H264_4_1: Final = "1.2.840.10008.1.2.4.102"
_H264_4_2: Final = "1.2.840.10008.1.2.4.104"
_HEVC: Final = "1.2.840.10008.1.2.4.107"
_HEVC_10: Final = "1.2.840.10008.1.2.4.108"
_BASELINE, _MAIN, _HIGH = 66, 77, 100
_CONSTRAINED: Final = 0x40  # constraint_set1_flag: a baseline stream that decoders of Main, and so of High, read
_BOX: Final = Struct(">I4s")
_LONG: Final = Struct(">Q")
_ENTRY: Final = Struct(">24xHH")
_ENTRY_LENGTH: Final = 78
_FULL: Final = 4  # version and flags


@final
@dataclass(frozen=True, slots=True)
class Movie:
    """The first video track of a file."""

    rows: int
    columns: int
    number_of_frames: int
    frames_per_second: float
    bits: int
    transfer_syntax_uid: str


def read(data: bytes | bytearray) -> Movie:
    """Read an MP4 file; raises DataSetError, or UnsupportedSyntaxError for a video DICOM has no syntax for."""
    view = memoryview(data)
    if bytes(view[4:8]) != b"ftyp":
        raise DataSetError("a part does not begin like MP4")
    budget = [MAX_BOXES]
    try:
        movie = _only(view, budget, b"moov")
        for kind, track in _boxes(movie, budget):
            if kind != b"trak":
                continue
            media = _only(track, budget, b"mdia")
            if bytes(_only(media, budget, b"hdlr")[8:12]) == b"vide":
                return _track(media, budget)
    except (error, IndexError, ZeroDivisionError) as cut:
        raise DataSetError("a part is no whole MP4 file") from cut
    raise DataSetError("a part is an MP4 file without video")


def _boxes(view: memoryview, budget: list[int]) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the boxes in *view*: kind and content."""
    at = 0
    while at + 8 <= len(view):
        budget[0] -= 1
        if budget[0] < 0:
            raise DataSetError(f"an MP4 file has more than {MAX_BOXES} boxes in front of its video")
        length, kind = _BOX.unpack_from(view, at)
        begin = at + 8
        if length == 1:
            (length,) = _LONG.unpack_from(view, begin)
            begin += 8
        end = len(view) if length == 0 else at + length
        if not begin <= end <= len(view):
            raise DataSetError("a box of an MP4 file ends outside of what it is in")
        yield kind, view[begin:end]
        at = end


def _only(view: memoryview, budget: list[int], *way: bytes) -> memoryview:
    """The content of the first box of that kind, inside the first of the one before."""
    for name in way:
        found = next((content for kind, content in _boxes(view, budget) if kind == name), None)
        if found is None:
            raise DataSetError("an MP4 file lacks a box that describes its video")
        view = found
    return view


def _number(view: memoryview, at: int, size: int = 4) -> int:
    if at + size > len(view):
        raise IndexError(at)
    return int.from_bytes(view[at : at + size], "big")


def _track(media: memoryview, budget: list[int]) -> Movie:
    header = _only(media, budget, b"mdhd")
    long = header[0] == 1
    scale = _number(header, 20 if long else 12)
    duration = _number(header, 24 if long else 16, 8 if long else 4)
    table = _only(media, budget, b"minf", b"stbl")
    frames = _number(_only(table, budget, b"stsz"), 8)
    if not 1 <= frames <= MAX_MOVIE_FRAMES or not duration:
        raise DataSetError(f"an MP4 file with {frames} frames of video is none for DICOM")
    for kind, entry in _boxes(_only(table, budget, b"stsd")[8:], budget):
        columns, rows = _ENTRY.unpack_from(entry)
        if not rows or not columns:
            raise DataSetError("a video has no rows or columns")
        inner = entry[_ENTRY_LENGTH:]
        if kind in (b"avc1", b"avc3"):
            bits, uid = 8, _h264(_only(inner, budget, b"avcC"))
        elif kind in (b"hvc1", b"hev1"):
            bits, uid = _hevc(_only(inner, budget, b"hvcC"))
        else:
            break
        return Movie(rows, columns, frames, frames * scale / duration, bits, uid)
    raise UnsupportedSyntaxError("a video is neither H.264 nor H.265")


def _h264(configuration: memoryview) -> str:
    """The syntax by profile and level (PS3.5 Tables 8.2.6-1, 8.2.7-1): a decoder of High reads the two below it."""
    profile, constraints, level = (
        _number(configuration, 1, 1),
        _number(configuration, 2, 1),
        _number(configuration, 3, 1),
    )
    if profile in (_MAIN, _HIGH) or (profile == _BASELINE and constraints & _CONSTRAINED):
        if level <= 41:
            return _H264_4_1
        if level <= 42:
            return _H264_4_2
    raise UnsupportedSyntaxError(f"H.264 of profile {profile}, level {level} is in no transfer syntax")


def _hevc(configuration: memoryview) -> tuple[int, str]:
    """Bits and syntax by profile and level, which is thirty times its number (PS3.5 Table 8.2.8-1)."""
    profile, level = _number(configuration, 1, 1) & 0x1F, _number(configuration, 12, 1)
    if profile in (1, 2) and level <= 153:
        return (8, _HEVC) if profile == 1 else (10, _HEVC_10)
    raise UnsupportedSyntaxError(f"H.265 of profile {profile}, level {level} is in no transfer syntax")
