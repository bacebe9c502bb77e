"""What stands in front of a file (PS3.10 §7.1, §7.5; SECURITY F01, F02)."""

from __future__ import annotations

import pytest

from strongroom.dicom.preamble import Kind, kind_of

DISGUISES = [
    b"MZ\x90\0",
    b"\x7fELF\2\1\1",
    b"\xcf\xfa\xed\xfe\7\0\0\1",
    b"\xfe\xed\xfa\xce",
    b"\xca\xfe\xba\xbe",
    b"#!/bin/sh\n",
    b"PK\x03\x04",
    b"%PDF-1.7",
    b"<html><script>",
    b"<script>",
    b" \r\n\t<!DOCTYPE html>",
    b"\xef\xbb\xbf#!/bin/sh",
    b"\xff\xfe<\0h\0t\0m\0l\0",
    b"\xfe\xff\0<\0h\0t\0m\0l",
    b"\0asm\1\0\0\0",
    b"\x1f\x8b\x08",
    b"@echo off",
    b"L\0\0\0\1\x14\2\0\0\0",
    b"{\\rtf1",
]


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"", Kind.BLANK),
        (bytes(128), Kind.BLANK),
        (b"II*\0\x08\0\0\0", Kind.TIFF),
        (b"MM\0*\0\0\0\x08", Kind.TIFF),
        (b"II+\0\x08\0\0\0", Kind.TIFF),
        (b"MM\0+\0\x08\0\0", Kind.TIFF),
        (b"MMM", Kind.FOREIGN),
        (b"made by a scanner", Kind.FOREIGN),
        (b"\xff" * 128, Kind.FOREIGN),
        (b"\x89PNG\r\n", Kind.FOREIGN),
        *((one, Kind.DISGUISE) for one in DISGUISES),
        *((one.swapcase(), Kind.DISGUISE) for one in DISGUISES if one.isascii()),
    ],
    ids=repr,
)
def test_the_kind_of_a_preamble(beginning: bytes, kind: Kind) -> None:
    """Told by its first bytes, whatever letters a shell or browser would take for the same."""
    assert kind is kind_of(beginning.ljust(128, b"\0") if beginning else b"")
