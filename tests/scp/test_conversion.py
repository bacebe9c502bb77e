"""Instances that go out with other pixels than they are kept with: C-GET and C-MOVE, with real workers (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.corpus import as_pydicom, named
from scp.test_get import Taker, as_scp
from scp.test_move import Mover, Receiver, peer_of
from scp.world import CT, EXPLICIT, IMPLICIT, STUDY_GET, Archive, Destination, Peer, Session, Stored, aio
from strongroom.imaging.pool import Pool
from strongroom.upper_layer.events import AcceptedContext

JPEG_LS = "1.2.840.10008.1.2.4.80"
RLE = "1.2.840.10008.1.2.5"
GET = AcceptedContext(1, STUDY_GET, IMPLICIT)


def kept(archive: Archive, *names: str, data: bytes | None = None) -> list[Stored]:
    """Shipped images in the archive, all in one study, as CT images."""
    found = []
    for name in names:
        image = named(name)
        uid = f"1.2.3.4.{len(archive.instances)}"
        attributes = {"0020000D": {"vr": "UI", "Value": ["1.2.3.1"]}, "00080018": {"vr": "UI", "Value": [uid]}}
        attributes |= {"00100020": {"vr": "LO", "Value": ["P"]}, "0020000E": {"vr": "UI", "Value": ["1.2.3.1.1"]}}
        found.append(Stored(CT, uid, image.uid, image.data if data is None else data, attributes))
        archive.instances[uid] = found[-1]
    return found


STUDY = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.1"}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, JPEG_LS, RLE])
@aio
async def test_a_receiver_gets_the_syntax_it_takes(syntax: str) -> None:
    """A compressed image, a native one and a lossless one of several frames: the pixels are those pydicom sees."""
    names = ["MR2_J2KR.dcm", "693_UNCR.dcm", "emri_small_RLE.dcm"]
    archive = Archive()
    kept(archive, *names)
    pool = Pool(1)
    await pool.start()
    async with Peer(Session(archive), [GET, as_scp(3, CT, syntax)], pool=pool) as peer:
        taker = await Taker(peer).get(**STUDY)
    await pool.stop()

    assert (taker.final.status, taker.counts) == (0x0000, (None, 3, 0, 0))
    for name, (_, data) in zip(names, taker.taken, strict=True):
        assert np.array_equal(named(name).array, as_pydicom(data, syntax).pixel_array), name


@aio
async def test_what_was_lossy_goes_out_decoded_and_says_so() -> None:
    """JPEG to explicit little endian: RGB, colour by pixel, and still marked as lossy."""
    archive = Archive()
    kept(archive, "SC_rgb_jpeg_dcmtk.dcm")
    pool = Pool(1)
    await pool.start()
    async with Peer(Session(archive), [GET, as_scp(3, CT, EXPLICIT)], pool=pool) as peer:
        taker = await Taker(peer).get(**STUDY)
    await pool.stop()

    dataset = as_pydicom(taker.taken[0][1], EXPLICIT)
    assert ("RGB", 0, "01") == (
        dataset.PhotometricInterpretation,
        dataset.PlanarConfiguration,
        dataset.LossyImageCompression,
    )
    assert np.array_equal(named("SC_rgb_jpeg_dcmtk.dcm").array, dataset.pixel_array)


@aio
async def test_what_cannot_be_converted_is_a_failed_suboperation_that_says_why() -> None:
    """Damaged pixels, single bits for RLE, a lossy image for RLE: the others arrive."""
    archive = Archive()
    kept(archive, "MR_small.dcm", "liver_1frame.dcm", "JPEG2000.dcm")
    pool = Pool(1)
    await pool.start()
    async with Peer(Session(archive), [GET, as_scp(3, CT, RLE)], pool=pool) as peer:
        taker = await Taker(peer).get(**STUDY)
    await pool.stop()

    assert (taker.final.status, taker.counts) == (0xB000, (None, 1, 2, 0))
    reasons = [entry[2] for entry in archive.diary if entry[0] == "failed"]
    assert ["not-convertible", "syntax-not-accepted"] == reasons


@aio
async def test_a_damaged_frame_costs_its_instance_only() -> None:
    """The worker says it cannot read it; the association stands and the next instance arrives."""
    archive = Archive()
    image = named("MR2_J2KR.dcm")
    damaged = bytearray(image.data)
    damaged[image.range_of(1)[0][0] + 8 : image.range_of(1)[0][0] + 16] = b"\xff" * 8
    kept(archive, "MR2_J2KR.dcm", data=bytes(damaged))
    kept(archive, "MR2_J2KR.dcm")
    pool = Pool(1)
    await pool.start()
    async with Peer(Session(archive), [GET, as_scp(3, CT, EXPLICIT)], pool=pool) as peer:
        taker = await Taker(peer).get(**STUDY)
    await pool.stop()

    assert (taker.final.status, taker.counts) == (0xB000, (None, 1, 1, 0))
    assert ("failed", "1.2.3.4.0", "not-convertible") in archive.diary
    assert taker.final.error_comment == "1 not sent: its pixels cannot be converted"


@aio
async def test_a_destination_that_takes_nothing_compressed_gets_it_decoded() -> None:
    """C-MOVE proposes the stored syntax and the decoded ones, and sends what was accepted."""
    archive = Archive(destinations={"READER": Destination("reader", "READER")})
    kept(archive, "MR2_J2KR.dcm")
    receiver = Receiver(syntaxes=frozenset({IMPLICIT}))
    pool = Pool(1)
    await pool.start()
    async with peer_of(archive, receiver, pool=pool) as peer:
        mover = await Mover(peer).move(**STUDY)
    await pool.stop()

    assert (mover.final.status, mover.counts) == (0x0000, (None, 1, 0, 0))
    assert np.array_equal(named("MR2_J2KR.dcm").array, as_pydicom(receiver.taken[0][1], IMPLICIT).pixel_array)
