"""Bounded memory: a 2 GiB instance in and out, and five hundred idle associations (PERFORMANCE section 2)."""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from pathlib import Path
from typing import Self

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleByteSecondaryCaptureImageStorage, generate_uid

from clients import require
from interop import harness

MEBIBYTE = 1024 * 1024
FRAMES, ROWS, COLUMNS = 2048, 1024, 1024  # one byte a pixel: 2 GiB
GROWTH_OF_ONE_INSTANCE = 96 * MEBIBYTE
GROWTH_OF_500_ASSOCIATIONS = 100 * MEBIBYTE

pytestmark = pytest.mark.xdist_group("memory")


def _large_file(folder: Path) -> Path:
    """A multi-frame object of 2 GiB whose pixel data is a hole in the file, so that only the receiver needs the space."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    data_set.SOPInstanceUID, data_set.StudyInstanceUID, data_set.SeriesInstanceUID = (generate_uid() for _ in range(3))
    data_set.PatientID, data_set.PatientName, data_set.Modality = "LARGE", "Large^Object", "OT"
    data_set.NumberOfFrames, data_set.Rows, data_set.Columns = FRAMES, ROWS, COLUMNS
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 8, 8, 7, 0
    path = folder / "large.dcm"
    data_set.save_as(path, enforce_file_format=True)
    length = FRAMES * ROWS * COLUMNS
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\x00\x00" + struct.pack("<I", length))
        file.truncate(file.tell() + length)
    return path


class _Peak(threading.Thread):
    """Watches the server's resident memory while something happens."""

    def __init__(self, archive: harness.Archive) -> None:
        super().__init__(daemon=True)
        self._archive = archive
        self._ended = threading.Event()
        self.before = archive.resident_bytes()
        self.peak = self.before

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, self._archive.resident_bytes())

    @property
    def growth(self) -> int:
        return self.peak - self.before


def test_a_2_gib_instance_goes_in_and_out_in_bounded_memory(tmp_path: Path) -> None:
    """A 2 GiB multi-frame instance is deposited and retrieved with less than 96 MB of growth, and comes back whole."""
    require("storescu")
    small = pydicom.data.get_testdata_file("CT_small.dcm")
    with harness.archive(tmp_path) as archive:
        device = archive.enrol("CT1")
        send = ["storescu", *device.tls, "-aet", "CT1", "-aec", "STRONGROOM", "localhost", str(archive.port)]
        harness.run(*send, str(small))  # a first image loads what is loaded once
        path = _large_file(tmp_path)
        with _Peak(archive) as deposit:
            harness.run(*send, str(path))
        out = tmp_path / "out"
        out.mkdir()
        uid = pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID
        with harness.tls_front(device, archive.port, tmp_path) as port, _Peak(archive) as retrieve:
            harness.run(
                "getscu", "-S", "-aet", "CT1", "-aec", "STRONGROOM", "-od", str(out), "+B", "-k", "QueryRetrieveLevel=STUDY",
                "-k", f"StudyInstanceUID={uid}", "localhost", str(port),
            )  # fmt: skip
        (returned,) = out.iterdir()
        print(f"growth: deposit {deposit.growth / MEBIBYTE:.0f} MiB, retrieve {retrieve.growth / MEBIBYTE:.0f} MiB")

        assert _same_data_set(path, returned)
        assert deposit.growth < GROWTH_OF_ONE_INSTANCE
        assert retrieve.growth < GROWTH_OF_ONE_INSTANCE


def _same_data_set(first: Path, second: Path) -> bool:
    with first.open("rb") as one, second.open("rb") as two:
        for file in (one, two):
            head = file.read(4096)
            at = head.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
            file.seek(at + 4 + int.from_bytes(head[at : at + 4], "little"))
        while True:
            left, right = one.read(4 * MEBIBYTE), two.read(4 * MEBIBYTE)
            if left != right:
                return False
            if not left:
                return True


def test_500_idle_associations_take_less_than_100_mb(tmp_path: Path) -> None:
    """Five hundred established, idle associations over TLS from ten devices."""
    with harness.archive(tmp_path) as archive:
        devices = [archive.enrol(f"DEV{number}", "deposit") for number in range(10)]
        growth = asyncio.run(_open_and_measure(archive, devices))
        print(f"growth: {growth / MEBIBYTE:.0f} MiB for 500 associations")

        assert growth < GROWTH_OF_500_ASSOCIATIONS


async def _open_and_measure(archive: harness.Archive, devices: list[harness.Bundle]) -> int:
    contexts = []
    for device in devices:
        context = ssl.create_default_context(cafile=device.authority)
        context.load_cert_chain(device.certificate, device.key)
        contexts.append(context)
    writers = []
    for number in range(510):
        device, context = devices[number % 10], contexts[number % 10]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", archive.port, ssl=context, server_hostname="localhost"
        )
        writer.write(association_request(device.ae_title))
        answer = await asyncio.wait_for(reader.readexactly(1), 20)
        assert answer == b"\x02"
        writers.append(writer)
        if number == 9:  # the first of each device has loaded what is loaded once
            await asyncio.sleep(0.5)
            before = archive.resident_bytes()
    await asyncio.sleep(1)
    growth = archive.resident_bytes() - before
    for writer in writers:
        writer.transport.abort()
    return growth


def association_request(calling: str, called: str = "STRONGROOM") -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) for Verification, written by hand so that no code of ours judges itself."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    context = item(0x20, b"\x01\0\0\0" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"2.25.1"))
    body = b"\0\x01\0\0" + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BxI", 1, len(body)) + body
