"""Bodies of several parts, byte by byte and as an ordinary parser reads them."""

from __future__ import annotations

from email.parser import BytesParser

import pytest

from strongroom.dicomweb.multipart_writer import Multipart

RANDOM = bytes(range(16))


def test_bytes_of_a_body() -> None:
    """It begins with the delimiter; the header of a part is spelled as viewers look for it."""
    parts = Multipart("image/jls", RANDOM)
    body = (
        parts.begin("image/jls", "1.2.840.10008.1.2.4.80", length=3) + b"abc" + parts.begin("image/jls") + parts.end()
    )
    line = b"--strongroom-000102030405060708090a0b0c0d0e0f"

    assert (
        line + b"\r\nContent-Type: image/jls; transfer-syntax=1.2.840.10008.1.2.4.80\r\nContent-Length: 3\r\n\r\nabc\r\n"
        + line + b"\r\nContent-Type: image/jls\r\n\r\n\r\n"
        + line + b"--\r\n"
    ) == body  # fmt: skip


def test_an_ordinary_parser_reads_it() -> None:
    """Python's own mail parser finds the parts and their fields."""
    parts = Multipart("application/dicom", RANDOM)
    body = (
        parts.begin("application/dicom", headers={"Content-Location": "https://a/b"})
        + b"one"
        + parts.begin("application/dicom")
        + b"two"
        + parts.end()
    )
    read = BytesParser().parsebytes(f"Content-Type: {parts.content_type}\r\n\r\n".encode() + body)

    assert [b"one", b"two"] == [part.get_payload(decode=True) for part in read.get_payload()]  # type: ignore[union-attr]
    assert "https://a/b" == read.get_payload()[0]["Content-Location"]  # type: ignore[index]


def test_no_part_at_all() -> None:
    """Still a body that ends."""
    assert Multipart("a/b", RANDOM).end().startswith(b"--strongroom-")


def test_a_boundary_needs_all_its_randomness() -> None:
    """A short one could appear in an image."""
    with pytest.raises(ValueError, match="16"):
        Multipart("a/b", b"short")
