"""
The shipped images as `imaging` meets them: described, and their frames found without anything of Strongroom's.

Frames are cut by pydicom's encapsulation functions or by multiplication; what they decode to is compared with pydicom.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import pydicom
from pydicom.encaps import parse_basic_offsets, parse_fragments

import dicom_corpus
from strongroom.dicom.inflate import Inflater
from strongroom.dicom.json import to_json
from strongroom.dicom.uid import transfer_syntax
from strongroom.dicom.walk import PIXEL_DATA_TAGS, Walker
from strongroom.errors import DataSetError
from strongroom.imaging.pixels import PixelDescription

if TYPE_CHECKING:
    import numpy as np

KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}


def inflated(data: bytes) -> bytes:
    """A deflated data set as it is read by ranges."""
    inflater = Inflater()
    return b"".join([*map(bytes, inflater.feed(data)), *map(bytes, inflater.finish())])


@dataclass(frozen=True)
class Image:
    """One image file: its (inflated) data set, and where Pixel Data is in it."""

    name: str
    uid: str
    data: bytes
    tag: int
    vr: str
    start: int
    value: int
    length: int

    @property
    def transfer_syntax_uid(self) -> str:
        return self.uid

    @cached_property
    def metadata(self):
        """Everything in front of Pixel Data, and that it is there."""
        syntax = transfer_syntax(self.uid)
        read_as = "1.2.840.10008.1.2.1" if syntax.deflated else self.uid
        metadata = to_json(self.data[: self.start], read_as)
        metadata[f"{self.tag:08X}"] = {"vr": self.vr, "BulkDataURI": f"{self.tag:08X}"}
        return metadata

    @cached_property
    def bulk(self) -> dict[str, bytes]:
        """Palettes and tables, as pydicom reads them."""
        elements = self.dataset
        found = {}
        for tag in (0x00281201, 0x00281202, 0x00281203, 0x00281221, 0x00281222, 0x00281223, 0x00282000):
            if tag in elements and isinstance(elements[tag].value, bytes):
                found[f"{tag:08X}"] = elements[tag].value
        for tag in (0x00283000, 0x00283010):
            for number, item in enumerate(elements.get(tag, ()) and elements[tag].value):
                if isinstance(item[0x00283006].value, bytes):
                    found[f"{tag:08X}/{number}/00283006"] = item[0x00283006].value
        return found

    @cached_property
    def pixels(self) -> PixelDescription:
        return PixelDescription.from_json(self.metadata, self.uid, bulk=self.bulk)

    @cached_property
    def dataset(self) -> pydicom.Dataset:
        return as_pydicom(self.data, "1.2.840.10008.1.2.1" if transfer_syntax(self.uid).deflated else self.uid)

    @cached_property
    def array(self) -> np.ndarray | None:
        """What pydicom decodes, None when it cannot."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.dataset.pixel_array
            except Exception:  # noqa: BLE001 -- of any kind: a codec that is not there, a damaged file
                return None

    def expected(self, frame: int) -> np.ndarray:
        """One frame of it, from 1."""
        return self.array[frame - 1] if self.pixels.number_of_frames > 1 else self.array

    # ------------------------------------------------------------------------------------- imaging.instance.Frames
    @property
    def frames(self) -> Image:
        return self

    @property
    def number_of_frames(self) -> int:
        return self.pixels.number_of_frames

    @property
    def native(self) -> bool:
        return not transfer_syntax(self.uid).encapsulated

    @cached_property
    def whole(self) -> list[tuple[int, int]]:
        if self.native:
            return [(self.value, self.value + self.length)]
        return [(first, last) for frame in range(1, self.number_of_frames + 1) for first, last in self.range_of(frame)]

    def range_of(self, frame: int) -> list[tuple[int, int]]:
        if self.native:
            bits = self._frame_bits
            begin, end = (frame - 1) * bits, frame * bits
            return [(self.value + begin // 8, self.value + -(-end // 8))]
        return self._fragments[frame - 1]

    def aligned(self, frame: int, data: bytes) -> bytes:
        shift = (frame - 1) * self._frame_bits % 8 if self.native else 0
        if not shift:
            return data
        number = int.from_bytes(data, "little") >> shift & (1 << self._frame_bits) - 1
        return number.to_bytes(-(-self._frame_bits // 8), "little")

    @cached_property
    def _frame_bits(self) -> int:
        pixels = self.pixels
        if pixels.bits_allocated == 1:
            return pixels.rows * pixels.columns
        return pixels.native_length * 8 * (2 if pixels.photometric_interpretation == "YBR_FULL_422" else 3) // 3

    @cached_property
    def _fragments(self) -> list[list[tuple[int, int]]]:
        stream = io.BytesIO(self.data[self.value :])
        basic = parse_basic_offsets(stream)
        base = stream.tell()
        _, places = parse_fragments(stream)
        count = self.number_of_frames
        lengths = [int.from_bytes(self.data[self.value + at + 4 : self.value + at + 8], "little") for at in places]
        ranges = [(self.value + at + 8, self.value + at + 8 + size) for at, size in zip(places, lengths, strict=True)]
        if count == 1:
            return [ranges]
        if count == len(ranges):
            return [[one] for one in ranges]
        firsts = [places.index(base + offset) for offset in basic]
        return [ranges[first:last] for first, last in zip(firsts, [*firsts[1:], len(ranges)], strict=True)]

    def frame(self, number: int) -> bytes:
        """The stored bytes of one frame; of big endian words with the padding, behind which the last byte stands."""
        words = self.uid == "1.2.840.10008.1.2.2" and self.vr == "OW"
        ranges = ((first, last + (last - first) % 2 * words) for first, last in self.range_of(number))
        return self.aligned(number, b"".join(self.data[first:last] for first, last in ranges))

    async def read(self, first: int, last: int | None):
        """Its bytes, in pieces that end anywhere."""
        part = self.data[first:last]
        for at in range(0, len(part), 50_000):
            yield memoryview(part)[at : at + 50_000]


def as_pydicom(data: bytes, uid: str) -> pydicom.Dataset:
    """Read a data set with pydicom as if it came out of a file."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = uid
    meta.MediaStorageSOPClassUID = "1.2.3"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    out = io.BytesIO()
    out.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(out, meta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(out.getvalue() + data), force=True)


def taken(name: str, uid: str, data: bytes) -> Image | None:
    """An image out of a data set, None when it holds no pixel data."""
    syntax = transfer_syntax(uid)
    if syntax is None:
        return None
    walker = Walker(explicit=syntax.explicit, little_endian=syntax.little_endian)
    marks = (mark for at in range(0, len(data), 1 << 20) for mark in walker.feed(data[at : at + (1 << 20)]))
    for tag, vr, offset, length in marks:
        if tag in PIXEL_DATA_TAGS:
            return Image(name, uid, data, tag, vr or "OW", offset - (12 if syntax.explicit else 8), offset, length)
    return None


@cache
def images() -> tuple[Image, ...]:
    """Every shipped file that is an image and whole."""
    found = []
    for real in dicom_corpus.reals():
        syntax = transfer_syntax(real.transfer_syntax_uid)
        if syntax is None or not real.whole:
            continue
        try:
            data = inflated(real.data_set) if syntax.deflated else real.data_set
            image = taken(real.path.name, real.transfer_syntax_uid, data)
            if image is not None:
                image.pixels  # noqa: B018 -- those that cannot be described are no images
                found.append(image)
        except DataSetError:
            continue
    return tuple(found)


def named(name: str) -> Image:
    """One of them."""
    return next(image for image in images() if image.name == name)


def name_of(image: Image) -> str:
    """Its name in a test's name."""
    return f"{image.name}-{image.uid.removeprefix('1.2.840.10008.1.2')}"
