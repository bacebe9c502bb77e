"""Studies, series and instances as DICOM: forms, syntaxes, ranges, and what the trail says of them."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from archive.world import aio

from dicomweb.place import EXPLICIT, Place, data_set_of, deposit_shipped, parts_of, running

OHIF = 'multipart/related; type="application/dicom"'
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
WEASIS = "multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.1,multipart/related;type=application/dicom;transfer-syntax=*"


@aio
async def test_an_instance_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """As a part and as a file of its own, whatever its syntax."""
    async with running(tmp_path / "home") as place:
        for kept in await deposit_shipped(
            place, "CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"
        ):
            answer = await place.ask(kept.url, ANY)
            (part,) = parts_of(answer)

            assert 200 == answer.status_code
            assert f"application/dicom; transfer-syntax={kept.syntax}" == part.headers["content-type"]
            assert (kept.syntax, kept.data) == data_set_of(part.content)
            assert len(answer.content) == int(answer.headers["content-length"])

            alone = await place.ask(kept.url, 'application/dicom; transfer-syntax="*"')
            assert (kept.syntax, kept.data) == data_set_of(alone.content)
            assert len(alone.content) == int(alone.headers["content-length"])
