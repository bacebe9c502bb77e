"""What codestreams say of themselves, and which ones no codec gets to see (SECURITY F13, F14)."""

from __future__ import annotations

import struct
import time

import pytest

from imaging.corpus import named
from strongroom.imaging.codestream import check, codestream_of, jpeg2000_header, jpeg_header
from strongroom.imaging.errors import UnreadablePixelsError
from strongroom.imaging.pixels import PixelDescription


def jpeg(rows: int = 8, columns: int = 8, *, components: int = 1, marker: int = 0xC0, scans: int = 1) -> bytes:
    """A JPEG with a header and empty scans."""
    frame = struct.pack(">BHHB", 8, rows, columns, components) + b"".join(
        bytes((number, 0x11, 0)) for number in range(1, components + 1)
    )
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    return b"\xff\xd8\xff" + bytes((marker,)) + struct.pack(">H", len(frame) + 2) + frame + scan * scans + b"\xff\xd9"


def j2k(
    rows: int = 8,
    columns: int = 8,
    *,
    components: int = 1,
    tile: int | None = None,
    layers: int = 1,
    levels: int = 5,
    cut: int | None = None,
) -> bytes:
    """A JPEG 2000 main header."""
    size = struct.pack(
        ">HIIIIIIIIH", 0, columns, rows, 0, 0, tile or max(columns, 1), tile or max(rows, 1), 0, 0, components
    )
    size += b"\7\1\1" * components
    coding = struct.pack(">BBHBBBBBB", 0, 0, layers, 0, levels, 4, 4, 0, 1)
    data = b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size
    data += b"\xff\x52" + struct.pack(">H", len(coding) + 2) + coding + b"\xff\x90\0\x0a" + bytes(8)
    return data[:cut]


PIXELS = PixelDescription(rows=8, columns=8, transfer_syntax_uid="1.2.840.10008.1.2.4.90")


@pytest.mark.parametrize(
    ("name", "process", "precision"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", 0xC0, 8),
        ("JPGExtended.dcm", 0xC1, 12),
        ("JPEG-LL.dcm", 0xC3, 16),
        ("MR_small_jpeg_ls_lossless.dcm", 0xF7, 16),
    ],
)
def test_a_real_jpeg_header_is_read(name: str, process: int, precision: int) -> None:
    """Size, components, process and precision."""
    image = named(name)
    header = jpeg_header(image.frame(1))

    assert (process, precision) == (header.process, header.precision)
    check(header, image.pixels)


@pytest.mark.parametrize(("name", "precision"), [("693_J2KR.dcm", 14), ("US1_J2KI.dcm", 8), ("MR2_J2KR.dcm", 12)])
def test_a_real_jpeg_2000_header_is_read(name: str, precision: int) -> None:
    """Size, components and precision."""
    image = named(name)
    header = jpeg2000_header(image.frame(1))

    assert precision == header.precision
    check(header, image.pixels)


def test_headers_that_are_right_pass() -> None:
    """The made ones below fail for what is wrong in them and for nothing else."""
    check(jpeg_header(jpeg()), PIXELS)
    check(jpeg2000_header(j2k()), PIXELS)


@pytest.mark.parametrize(
    "header",
    [
        jpeg_header(jpeg(65_535, 65_535)),
        jpeg_header(jpeg(components=3)),
        jpeg2000_header(j2k(65_535, 65_535)),
        jpeg2000_header(j2k(0xFFFFFFFF, 8)),
    ],
)
def test_a_codestream_of_another_size_is_refused(header) -> None:
    """A codec would allocate by what the codestream says."""
    with pytest.raises(UnreadablePixelsError):
        check(header, PIXELS)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(scans=80_000),
        jpeg(scans=0),
        jpeg(marker=0xC9),
        jpeg(marker=0xC5),
        b"\xff\xd8" + b"\xff\1" * 100_000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000,
        b"\xff\xd8\xff\xe0\0\1",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xc0\0\x06\x08\0\1\0",
        b"GIF89a",
    ],
    ids=range(10),
)
def test_jpegs_that_no_scanner_writes_are_refused(data: bytes) -> None:
    """80,000 scans, arithmetic coding, a loop of markers, lengths that lie."""
    with pytest.raises(UnreadablePixelsError):
        jpeg_header(data)


@pytest.mark.parametrize(
    "data",
    [
        j2k(65_535, 65_535, tile=1),
        j2k(components=16_384),
        j2k(components=0),
        j2k(0, 8),
        j2k(layers=65_535),
        j2k(levels=33),
        j2k(cut=30),
        j2k(cut=50),
        j2k().replace(b"\xff\x90", b"\xff\x64"),
    ],
    ids=range(9),
)
def test_jpeg_2000_that_no_scanner_writes_is_refused(data: bytes) -> None:
    """Thousands of tiles, components, layers; headers that end early."""
    with pytest.raises(UnreadablePixelsError):
        jpeg2000_header(data)


def test_every_prefix_of_a_header_gives_an_error_of_ours() -> None:
    """Cut anywhere, both readers say unreadable and nothing else."""
    for whole, read in ((jpeg(), jpeg_header), (j2k(), jpeg2000_header)):
        for length in range(len(whole) - 14):
            with pytest.raises(UnreadablePixelsError):
                read(whole[:length])


def test_the_codestream_is_taken_out_of_a_jp2_file() -> None:
    """Some archives keep the box around it, which PS3.5 A.4.4 does not want."""
    boxed = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40) + j2k()

    assert j2k() == codestream_of(boxed)
    with pytest.raises(UnreadablePixelsError):
        codestream_of(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x01"])
def test_filling_is_not_read_for_long(filling: bytes) -> None:
    """Megabytes of fill bytes or bare markers are refused after some kilobytes of them."""
    start = time.process_time()
    with pytest.raises(UnreadablePixelsError, match="fill bytes"):
        jpeg_header(b"\xff\xd8" + filling * (8 << 20))

    assert time.process_time() - start < 0.5
