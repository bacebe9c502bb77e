"""What an MP4 file says of its video (ISO/IEC 14496-12), and the transfer syntax that follows (PS3.5 §8.2.6-8.2.8)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.mp4 import box, hevc, mp4
from strongroom.dicomweb.movies import MAX_BOXES, Movie, read
from strongroom.errors import DataSetError, UnsupportedSyntaxError


@pytest.mark.parametrize("long", [False, True])
def test_a_film_is_described_by_its_index(long: bool) -> None:
    """Size, frames and their rate are those of the first video track, sound is passed over."""
    assert Movie(480, 640, 250, 25.0, 8, "1.2.840.10008.1.2.4.102") == read(mp4(long=long))


@pytest.mark.parametrize(
    ("entry", "configuration", "syntax"),
    [
        (b"avc1", bytes((1, 100, 0, 41)), "102"),
        (b"avc1", bytes((1, 77, 0, 30)), "102"),
        (b"avc3", bytes((1, 66, 0xC0, 31)), "102"),
        (b"avc1", bytes((1, 100, 0, 42)), "104"),
        (b"avc1", bytes((1, 100, 0, 51)), None),
        (b"avc1", bytes((1, 66, 0x80, 31)), None),
        (b"avc1", bytes((1, 110, 0, 41)), None),
        (b"hvc1", hevc(1, 123), "107"),
        (b"hev1", hevc(2, 153), "108"),
        (b"hvc1", hevc(1, 156), None),
        (b"hvc1", hevc(3, 120), None),
        (b"mp4v", b"", None),
    ],
)
def test_profile_and_level_tell_the_transfer_syntax(entry: bytes, configuration: bytes, syntax: str | None) -> None:
    """What no transfer syntax allows is refused as that, not stored under a wrong name."""
    data = mp4(entry=entry, configuration=configuration)
    if syntax is not None:
        assert f"1.2.840.10008.1.2.4.{syntax}" == read(data).transfer_syntax_uid
        return
    with pytest.raises(UnsupportedSyntaxError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF",
        box(b"ftyp", b"isom"),
        mp4(rows=0),
        mp4(frames=0),
        mp4(seconds=0),
        mp4(handler=b"soun"),
        mp4(configuration=b"\1"),
        mp4()[:-20],
        box(b"ftyp", b"isom") + b"\xff\xff\xff\xffmoov",
        box(b"ftyp", b"isom") + box(b"free", b"") * (MAX_BOXES + 1),
    ],
)
def test_what_is_no_film_is_refused(data: bytes) -> None:
    """Cut off, empty, with sound only, with boxes that lie or never end: DataSetError."""
    with pytest.raises(DataSetError):
        read(data)


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=6), st.integers(0, 900))
def test_damage_gives_a_film_or_the_error(changes: list[tuple[int, int]], length: int) -> None:
    """Whatever is changed or cut away, nothing else comes out."""
    data = bytearray(mp4())[:length]
    for at, value in changes:
        if at < len(data):
            data[at] = value
    found = None
    with contextlib.suppress(DataSetError):
        found = read(data)

    assert found is None or found.rows
