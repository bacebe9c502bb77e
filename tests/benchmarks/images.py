"""CT images of 526 KB (512x512, 16 bit, explicit little endian, about 260 elements), with new UIDs for every run."""

from __future__ import annotations

import random
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

UID_LENGTH = 60
_ROOT = "1.2.826.0.1.3680043.10.1"


def uid(generator: random.Random) -> str:
    """A UID of exactly 60 characters, so that it can be replaced in place."""
    digits = "".join(generator.choice("123456789") for _ in range(UID_LENGTH - len(_ROOT) - 1))
    return f"{_ROOT}.{digits}"


class Template:
    """One encoded image and where its UIDs stand in it."""

    def __init__(self, seed: int = 1) -> None:
        generator = random.Random(seed)
        data_set = dcmread(str(get_testdata_file("CT_small.dcm")))
        data_set.Rows = data_set.Columns = 512
        # noise around soft tissue over a round body: what a scanner sends, though nobody on this way compresses it
        pixels = bytearray(512 * 512 * 2)
        for row in range(512):
            for column in range(512):
                inside = (row - 256) ** 2 + (column - 256) ** 2 < 200**2
                value = (1040 + generator.randrange(-40, 40)) if inside else generator.randrange(0, 24)
                pixels[(row * 512 + column) * 2 : (row * 512 + column) * 2 + 2] = value.to_bytes(2, "little")
        data_set.PixelData = bytes(pixels)
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        self._marks = [uid(generator) for _ in range(3)]
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = self._marks
        data_set.file_meta.MediaStorageSOPInstanceUID = self._marks[2]
        path = Path("/tmp") / f"strongroom-bench-template-{seed}.dcm"
        data_set.save_as(path, enforce_file_format=True)
        self._bytes = path.read_bytes()
        path.unlink()

    def write(self, folder: Path, count: int, seed: int, study: str = "") -> Path:
        """Write *count* images of one new study (or *study*) with one new series into *folder*."""
        generator = random.Random(seed)
        study, series = study or uid(generator), uid(generator)
        folder.mkdir(parents=True, exist_ok=True)
        common = self._bytes.replace(self._marks[0].encode(), study.encode()).replace(
            self._marks[1].encode(), series.encode()
        )
        mark = self._marks[2].encode()
        for number in range(count):
            (folder / f"{number:05}.dcm").write_bytes(common.replace(mark, uid(generator).encode()))
        return folder


def multi_frame(path: Path, generator: random.Random, frames: int) -> tuple[str, str, str]:
    """Write one uncompressed multi-frame object of 256x256 images to *path*; its study, series and instance UID."""
    data_set = dcmread(str(get_testdata_file("CT_small.dcm")))
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    data_set.Rows = data_set.Columns = 256
    data_set.NumberOfFrames = frames
    data_set.PixelData = generator.randbytes(256 * 256 * 2 * frames)
    uids = uid(generator), uid(generator), uid(generator)
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = uids
    data_set.file_meta.MediaStorageSOPInstanceUID = uids[2]
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.save_as(path, enforce_file_format=True)
    return uids
