"""Where frames lie: against pydicom's own reading, and never outside Pixel Data whatever a table says (F17)."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels.utils import get_expected_length

from dicom_corpus import RealFile, name, reals
from strongroom.dicom.frames import FrameIndex, Tables, is_stream
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.shape import MAX_FRAMES, Shape
from strongroom.dicom.walk import MAX_FRAGMENTS
from strongroom.errors import DataSetError, NotFound

EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
SOI = b"\xff\xd8\xff\xf7"
WITH_PIXELS = [
    file for file in reals() if file.whole and file.path.name != "badVR.dcm" and b"\xe0\x7f\x10\x00" in file.data_set
]


def header_of(data: bytes, uid: str) -> Any:
    """The header as a deposit reads it."""
    reader = HeaderReader(uid)
    reader.feed(data)
    return reader.finish()


def index_of(data: bytes, uid: str) -> FrameIndex:
    """The index as the archive makes it, out of a header and a way to read the data set."""
    header = header_of(data, uid)
    shape = Shape.of(header)
    if not header.fragments:
        place = header.elements.place(0x7FE00010)
        return FrameIndex.of_native(shape, place.offset, place.length)
    at, length = header.fragments[:2]
    tables = Tables(
        data[at : at + length], header.elements.value(0x7FE00001) or b"", header.elements.value(0x7FE00002) or b""
    )
    return FrameIndex.of_fragments(
        shape.number_of_frames,
        header.fragments,
        tables,
        stream=is_stream(uid),
        starts=lambda offsets: [data[at : at + 12] for at in offsets],
    )


def frame(index: FrameIndex, data: bytes, number: int) -> bytes:
    """One frame's bytes."""
    return index.aligned(number, b"".join(data[start:stop] for start, stop in index.range_of(number)))


@pytest.mark.parametrize("file", [file for file in WITH_PIXELS if file.transfer_syntax_uid != DEFLATED], ids=name)
def test_frames_are_those_pydicom_finds(file: RealFile) -> None:
    """Every frame of every file: fragments joined, or the part of native Pixel Data it is; kept and read again too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = file.read()
        if "PixelData" not in read or "Rows" not in read:
            return
        frames = int(read.get("NumberOfFrames") or 1)
        if header_of(file.data_set, file.transfer_syntax_uid).fragments:
            expected = list(generate_frames(read.PixelData, number_of_frames=frames))
        else:
            whole = read.PixelData
            length = get_expected_length(read, unit="bytes") // frames
            if read.BitsAllocated == 1 and frames > 1 and read.Rows * read.Columns % 8:
                pytest.skip("pydicom has no bytes of such a frame")
            expected = [whole[at * length : (at + 1) * length] for at in range(frames)]
    made = index_of(file.data_set, file.transfer_syntax_uid)
    again = FrameIndex.decode(made.encode())

    assert made.number_of_frames == frames
    for index in (made, again):
        got = [frame(index, file.data_set, number) for number in range(1, frames + 1)]
        assert [one.rstrip(b"\0") for one in expected] == [one.rstrip(b"\0") for one in got]


def encapsulated(frames: list[bytes], **options: Any) -> tuple[bytes, list[int]]:
    """Pixel Data of these frames as bytes, and its fragments as the walk notes them."""
    data = encapsulate(frames, **options) if "extended" not in options else options["extended"]
    return data, fragments_in(data)


def fragments_in(data: bytes) -> list[int]:
    """Offset and length of each item."""
    found, at = [], 0
    while at < len(data) and data[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        found += [at + 8, length]
        at += 8 + length
    return found


def basic_of(data: bytes) -> bytes:
    """The Basic Offset Table."""
    return data[8 : 8 + int.from_bytes(data[4:8], "little")]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.binary(min_size=2, max_size=60), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from(["basic", "starts"]),
)
def test_several_fragments_make_a_frame(contents: list[bytes], per_frame: int, how: str) -> None:
    """By the Basic Offset Table, or by where codestreams begin when it is empty."""
    frames = [SOI + content.replace(b"\xff", b"\xfe") + b"\xfe" * 8 for content in contents]
    frames = [one + b"\0" * (len(one) % 2) for one in frames]
    data, fragments = encapsulated(frames, fragments_per_frame=per_frame, has_bot=how == "basic")
    index = FrameIndex.of_fragments(
        len(frames), fragments, Tables(basic_of(data)), starts=lambda offsets: [data[at : at + 12] for at in offsets]
    )

    got = [frame(index, data, number) for number in range(1, len(frames) + 1)]
    assert [one.rstrip(b"\0") for one in frames] == [one.rstrip(b"\0") for one in got]


def test_the_extended_offset_table_trims_padding() -> None:
    """Its lengths are those of the frames, without the byte that makes a fragment even."""
    frames = [b"\x01" * 7, b"\x02" * 10, b"\x03" * 3]
    data, offsets, _ = encapsulate_extended(frames)
    lengths = struct.pack("<3Q", *map(len, frames))
    index = FrameIndex.of_fragments(3, fragments_in(data), Tables(b"", offsets, lengths))

    assert frames == [frame(index, data, number) for number in (1, 2, 3)]


def three() -> tuple[bytes, list[int]]:
    """Three frames of two fragments each, 10 bytes every one."""
    data, fragments = encapsulated([bytes([number]) * 20 for number in (1, 2, 3)], fragments_per_frame=2, has_bot=True)
    return data, fragments


@pytest.mark.parametrize(
    "places",
    [
        [0, 36, 0xFFFFFFF0],
        [0, 36, 108],
        [0, 72, 36],
        [0, 36, 36],
        [36, 72, 72],
        [18, 36, 72],
        [0, 1, 2],
        [0, 36],
        [0, 36, 72, 90],
        [],
    ],
    ids=str,
)
def test_a_basic_offset_table_that_does_not_fit_is_refused(places: list[int]) -> None:
    """Outside, unsorted, overlapping, between items, too few, too many: DataSetError, and no range at all."""
    _, fragments = three()
    with pytest.raises(DataSetError):
        FrameIndex.of_fragments(
            3, fragments, Tables(struct.pack(f"<{len(places)}I", *places)), starts=lambda at: [b""] * len(at)
        )


@pytest.mark.parametrize(
    ("places", "lengths"),
    [
        ([0, 18, 1 << 60], [10, 10, 10]),
        ([0, 36, 18], [10, 10, 10]),
        ([0, 18, 36], [10, 10, 11]),
        ([0, 18, 36], [10, 10]),
        ([0, 18], [10, 10]),
        ([18, 36, 54], [10, 10, 10]),
    ],
    ids=str,
)
def test_an_extended_offset_table_that_does_not_fit_is_refused(places: list[int], lengths: list[int]) -> None:
    """The same for 64 bits, and for lengths beyond their fragments."""
    _, fragments = encapsulated([bytes([number]) * 10 for number in (1, 2, 3)], has_bot=False)
    tables = Tables(b"", struct.pack(f"<{len(places)}Q", *places), struct.pack(f"<{len(lengths)}Q", *lengths))
    with pytest.raises(DataSetError):
        FrameIndex.of_fragments(3, fragments, tables)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40), st.binary(max_size=80), st.binary(max_size=80), st.integers(1, 8))
def test_no_table_leads_outside(basic: bytes, extended: bytes, lengths: bytes, frames: int) -> None:
    """Any bytes as tables: DataSetError, or ranges inside the fragments, ascending, none twice."""
    _, fragments = encapsulated([bytes([number]) * 10 for number in range(1, 9)], has_bot=False)
    starts = [SOI, b"", SOI, SOI, b"", b"", SOI, b""]
    try:
        index = FrameIndex.of_fragments(frames, fragments, Tables(basic, extended, lengths), starts=lambda _: starts)
    except DataSetError:
        return
    ranges = [part for number in range(1, frames + 1) for part in index.range_of(number)]
    allowed = set(zip(fragments[2::2], fragments[3::2], strict=True))

    assert ranges == sorted(set(ranges))
    assert all(any(start == at and stop <= at + length for at, length in allowed) for start, stop in ranges)


def test_more_fragments_than_are_noted_are_refused() -> None:
    """A million fragments: their places are not kept, so nobody guesses where frames lie (F17)."""
    header = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    reader = HeaderReader(RLE)
    reader.feed(header)
    for _ in range(10):
        reader.feed(item * (MAX_FRAGMENTS // 8))
    reader.feed(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    fragments = reader.finish().fragments

    assert len(fragments) <= 2 * MAX_FRAGMENTS + 2
    with pytest.raises(DataSetError):
        FrameIndex.of_fragments(1, fragments, Tables())


def test_fragments_of_icons_are_none_of_the_image() -> None:
    """Only those of the first top-level Pixel Data are noted."""
    icon = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + encapsulate([b"icon"], has_bot=False)
    icon += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(icon)) + icon
    data = struct.pack("<HH2sHI", 0x0088, 0x0200, b"SQ", 0, len(item)) + item
    image = encapsulate([b"image1", b"image2"], has_bot=False)
    data += (
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + image + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
    header = header_of(data, RLE)

    assert [b"", b"image1", b"image2"] == [
        data[at : at + length] for at, length in zip(header.fragments[::2], header.fragments[1::2], strict=True)
    ]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.randoms(use_true_random=False))
def test_frames_of_one_bit_follow_one_another_without_padding(
    rows: int, columns: int, frames: int, random: Any
) -> None:
    """A frame may begin inside a byte (PS3.5 8.2); `aligned` gives it a beginning of its own."""
    bits = [[random.getrandbits(1) for _ in range(rows * columns)] for _ in range(frames)]
    flat = [bit for one in bits for bit in one]
    packed = bytes(sum(bit << at for at, bit in enumerate(flat[start : start + 8])) for start in range(0, len(flat), 8))
    index = FrameIndex.of_native(Shape(rows, columns, 1, 1, frames), 0, len(packed))
    for number in range(1, frames + 1):
        got = frame(index, packed, number)
        assert bits[number - 1] == [got[at // 8] >> at % 8 & 1 for at in range(rows * columns)]
        assert len(got) == (rows * columns + 7) // 8


def test_a_video_has_a_whole_and_no_frames() -> None:
    """Its frames depend on one another."""
    data, fragments = encapsulated([b"\0\0\1\xb3" * 10], fragments_per_frame=2)
    index = FrameIndex.of_fragments(100, fragments, Tables(), stream=is_stream("1.2.840.10008.1.2.4.102"))

    assert index.stream
    assert b"\0\0\1\xb3" * 10 == b"".join(data[start:stop] for start, stop in index.whole)
    with pytest.raises(DataSetError):
        index.range_of(1)
    assert not is_stream("1.2.840.10008.1.2.4.110")


@pytest.mark.parametrize("number", [0, -1, 4, 1 << 40])
def test_a_frame_that_is_not_there_is_not_found(number: int) -> None:
    """Whatever number is asked for."""
    _, fragments = encapsulated([b"ab", b"cd", b"ef"])
    with pytest.raises(NotFound):
        FrameIndex.of_fragments(3, fragments, Tables()).range_of(number)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(0, 5, 1, 8, 1),
        Shape(5, 5, 1, 0, 1),
        Shape(5, 5, 1, 7, 1),
        Shape(5, 5, 1, 255, 1),
        Shape(65535, 65535, 255, 64, 1),
        Shape(5, 5, 1, 8, 2),
        Shape(5, 5, 3, 8, MAX_FRAMES),
    ],
    ids=str,
)
def test_impossible_shapes_are_refused(shape: Shape) -> None:
    """Nothing, too much, or more than is there (F10): checked before anything is read."""
    with pytest.raises(DataSetError):
        FrameIndex.of_native(shape, 100, 26)


@pytest.mark.parametrize(
    ("value", "frames"), [(b"", 1), (b"0 ", 1), (b"12", 12), (b"200000", 200_000), (b" 5 ", 5), (b"3\\4", 3)]
)
def test_number_of_frames(value: bytes, frames: int) -> None:
    """One when nothing is said."""
    assert frames == Shape.of(with_frames(value)).number_of_frames


@pytest.mark.parametrize(
    "value", [b"200001", b"2147483647", b"-1", b"1e3 ", b"x", b"9" * 400], ids=lambda value: value[:9]
)
def test_numbers_of_frames_beyond_the_limit_are_refused(value: bytes) -> None:
    """More than 200,000, negative ones, and what is none (F10)."""
    with pytest.raises(DataSetError):
        Shape.of(with_frames(value))


def with_frames(value: bytes) -> Any:
    """A header with that Number of Frames."""
    value += b" " * (len(value) % 2)
    return header_of(struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", len(value)) + value, EXPLICIT)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120))
def test_what_is_no_index_is_refused(noise: bytes) -> None:
    """A stored index is sealed, and checked all the same."""
    with pytest.raises(DataSetError):
        FrameIndex.decode(b"\x02" + noise)
    good = FrameIndex.of_native(Shape(2, 2, 1, 8, 1), 10, 4).encode()
    with pytest.raises(DataSetError):
        FrameIndex.decode(good + b"\0")
