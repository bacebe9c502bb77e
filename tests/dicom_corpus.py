"""
What the tests of `dicom` are fed with: real files, and made ones.

The real files are those that pydicom ships and, when it is installed, those of pydicom-data: found through the
packages, never downloaded. The made ones are trees of elements, written by an encoder that shares nothing with what
it tests.
"""

from __future__ import annotations

import importlib.util
import random
import struct
import warnings
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from hypothesis import strategies as st

from strongroom.dicom.part10 import FileMeta, Part10Reader
from strongroom.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

BROKEN = {
    "MR_truncated.dcm": "its Pixel Data ends early",
    "rtplan_truncated.dcm": "a value ends early",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "the last fragments are missing",
    "DICOMDIR-nooffset": "elements were taken out of its items, whose lengths still count them",
    "SC_rgb_jpeg.dcm": "implicit VR under a transfer syntax that says explicit VR",
}
"""Files of pydicom that are not structurally whole, on purpose."""


@dataclass(frozen=True)
class RealFile:
    """One file taken apart: its data set bytes and the transfer syntax they are in."""

    path: Path
    meta: FileMeta
    data_set: bytes

    @property
    def transfer_syntax_uid(self) -> str:
        return self.meta.transfer_syntax_uid

    @property
    def whole(self) -> bool:
        return self.path.name not in BROKEN

    def read(self) -> pydicom.Dataset:
        """Read it with pydicom, silently."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(BytesIO(self.path.read_bytes()), force=True)


def split(content: bytes) -> tuple[FileMeta, bytes]:
    """Take a file in memory apart."""
    reader = Part10Reader()
    parts = [bytes(view) for view in reader.feed(content)]
    parts += [bytes(view) for view in reader.finish()]
    assert reader.meta is not None
    return reader.meta, b"".join(parts)


def _is_candidate(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".dcm" or file.read(132)[128:] == b"DICM"


@cache
def paths() -> tuple[Path, ...]:
    """Every DICOM file at hand."""
    folders = []
    for package in ("pydicom", "data_store"):
        spec = importlib.util.find_spec(package)
        places = (spec.submodule_search_locations or []) if spec is not None else []
        folders.extend(Path(place) / "data" for place in places)
    found = {path for folder in folders for path in folder.rglob("*") if _is_candidate(path)}
    return tuple(sorted(found, key=lambda path: (path.name, str(path))))


@cache
def reals() -> tuple[RealFile, ...]:
    """Those files that begin like DICOM, taken apart."""
    taken = []
    for path in paths():
        try:
            meta, data_set = split(path.read_bytes())
        except DataSetError:
            continue
        taken.append(RealFile(path, meta, data_set))
    return tuple(taken)


def name(file: RealFile) -> str:
    """Name it in a test's name."""
    return file.path.name


def cuts(length: int, seed: int, count: int = 12) -> list[int]:
    """Give random places to cut *length* bytes at: some anywhere, some close together."""
    rng = random.Random(seed)
    places = [rng.randint(0, length) for _ in range(count)]
    near = rng.randint(0, length)
    places += [min(length, near + rng.randint(0, 30)) for _ in range(count)]
    return sorted(places)


def pieces(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Cut *data*."""
    for start, stop in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:stop]


def in_steps(data: bytes, step: int) -> Iterator[bytes]:
    """Cut *data* into pieces of *step* bytes."""
    for start in range(0, len(data), step):
        yield data[start : start + step]


# ---------------------------------------------------------------- made data sets


@dataclass(frozen=True)
class Leaf:
    """An element with a value, little endian."""

    tag: int
    vr: str
    value: bytes


@dataclass(frozen=True)
class Sequence:
    """An element with items."""

    tag: int
    items: tuple[tuple[Leaf | Sequence, ...], ...]
    undefined: bool = True
    undefined_items: bool = True
    vr: str = "SQ"


_WIDE = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_SIZES = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4}
_SIZES |= {"FD": 8, "OD": 8, "SV": 8, "UV": 8, "OV": 8}


def _swap(value: bytes, size: int) -> bytes:
    return b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))


def encode(elements: tuple[Leaf | Sequence, ...], uid: str, *, stream: bool = False) -> bytes:
    """Write a tree of elements; with *stream* every length of a sequence and item is undefined, odd values are padded."""
    order = ">" if uid == BIG else "<"
    out = []
    for element in elements:
        if isinstance(element, Sequence):
            body, length = _encode_items(element, uid, stream=stream)
            vr = "SQ" if stream else element.vr
        else:
            body = _swap(element.value, _SIZES.get(element.vr, 1)) if uid == BIG else element.value
            if stream and len(body) % 2:
                body += b"\0" if element.vr in _WIDE - {"UC", "UR", "UT"} or element.vr == "UI" else b" "
            length, vr = len(body), element.vr
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if uid == IMPLICIT:
            out.append(struct.pack(order + "HHI", group, number, length))
        elif vr in _WIDE:
            out.append(struct.pack(order + "HH2sHI", group, number, vr.encode(), 0, length))
        else:
            out.append(struct.pack(order + "HH2sH", group, number, vr.encode(), length))
        out.append(body)
    return b"".join(out)


def _encode_items(sequence: Sequence, uid: str, *, stream: bool) -> tuple[bytes, int]:
    order = ">" if uid == BIG else "<"
    out = []
    for item in sequence.items:
        body = encode(item, uid, stream=stream)
        if stream or sequence.undefined_items:
            out.append(struct.pack(order + "HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + body)
            out.append(struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0))
        else:
            out.append(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(body)) + body)
    if sequence.undefined or (stream and sequence.items):
        return b"".join(out) + struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0), 0xFFFFFFFF
    return b"".join(out), sum(map(len, out))


# Numbers of whole units, whose bytes can change places; text and bytes of any length, odd ones included.
TEXT = st.sampled_from(["LO", "CS", "UI", "UT", "PN", "OB", "UN", "ST"])
NUMBERS = st.sampled_from([("US", 2), ("SL", 4), ("FD", 8), ("AT", 2), ("OW", 2), ("OF", 4), ("OV", 8), ("SV", 8)])
PLAIN = st.tuples(TEXT, st.binary(max_size=40))
COUNTED = st.tuples(NUMBERS, st.binary(max_size=6)).map(lambda made: (made[0][0], made[1] * made[0][1]))


@st.composite
def trees(draw, depth: int = 0):
    """Draw the elements of a data set or item: private tags, so that no dictionary decides anything."""
    elements = []
    for number in range(draw(st.integers(0 if depth else 1, 4))):
        tag = 0x00111000 + depth * 0x00100000 + number
        if depth < 3 and draw(st.integers(0, 3)) == 0:
            items = tuple(draw(trees(depth + 1)) for _ in range(draw(st.integers(0, 3))))
            elements.append(Sequence(tag, items, draw(st.booleans()), draw(st.booleans())))
        else:
            elements.append(Leaf(tag, *draw(st.one_of(PLAIN, COUNTED))))
    return tuple(elements)


def nest(depth: int, uid: str, *, undefined: bool) -> bytes:
    """Make a data set of *depth* sequences within one another."""
    explicit = uid == EXPLICIT
    if undefined:
        begin = (b"\x40\x00\x30\xa7SQ\0\0" if explicit else b"\x40\x00\x30\xa7") + b"\xff\xff\xff\xff"
        begin += b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        return begin * depth + (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
    layers, length = [], 0
    for _ in range(depth):
        layer = b"\x40\x00\x30\xa7" + (b"SQ\0\0" if explicit else b"") + struct.pack("<I", length + 8)
        layer += b"\xfe\xff\x00\xe0" + struct.pack("<I", length)
        layers.append(layer)
        length += len(layer)
    return b"".join(reversed(layers))
