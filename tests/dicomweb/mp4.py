"""MP4 files as far as an archive reads them: boxes made by hand (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct

AVC = bytes.fromhex("01640029") + bytes(4)
"""avcC: High profile, level 4.1."""


def box(kind: bytes, content: bytes) -> bytes:
    """One box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def hevc(profile: int, level: int) -> bytes:
    """An hvcC configuration."""
    return bytes([1, profile]) + bytes(10) + bytes([level]) + bytes(10)


def mp4(
    *,
    rows: int = 480,
    columns: int = 640,
    frames: int = 250,
    seconds: int = 10,
    entry: bytes = b"avc1",
    configuration: bytes = AVC,
    handler: bytes = b"vide",
    media: bytes = b"frames",
    long: bool = False,
) -> bytes:
    """A film: its index behind the media, as cameras write it."""
    kind = b"avcC" if entry.startswith(b"avc") else b"hvcC"
    sample = bytes(24) + struct.pack(">HH", columns, rows) + bytes(50) + box(kind, configuration)
    table = box(b"stsd", bytes(4) + struct.pack(">I", 1) + box(entry, sample)) + box(
        b"stsz", bytes(8) + struct.pack(">I", frames)
    )
    header = (
        b"\1" + bytes(19) + struct.pack(">IQ", 600, 600 * seconds)
        if long
        else bytes(12) + struct.pack(">II", 600, 600 * seconds)
    )
    track = box(
        b"mdia",
        box(b"mdhd", header + bytes(4))
        + box(b"hdlr", bytes(8) + handler + bytes(12))
        + box(b"minf", box(b"stbl", table)),
    )
    sound = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + b"soun" + bytes(12))))
    return (
        box(b"ftyp", b"isom" + bytes(4))
        + box(b"mdat", media)
        + box(b"moov", box(b"mvhd", bytes(100)) + sound + box(b"trak", box(b"tkhd", bytes(84)) + track))
    )
