"""What is said of pixels, checked before anybody allocates by it (SECURITY F10)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import msgspec
import pytest

from imaging.corpus import images, name_of, named
from strongroom.errors import DataSetError
from strongroom.imaging.errors import NoPixelDataError
from strongroom.imaging.pixels import PixelDescription

EXPLICIT = "1.2.840.10008.1.2.1"


def metadata(**changes) -> dict:
    """The elements of a small CT image."""
    values = {
        "00280002": 1,
        "00280004": "MONOCHROME2",
        "00280010": 512,
        "00280011": 256,
        "00280100": 16,
        "00280101": 12,
        "00280102": 11,
        "00280103": 1,
    } | changes
    made = {tag: {"vr": "US", "Value": [value]} for tag, value in values.items() if value is not None}
    return made | {"7FE00010": {"vr": "OW", "BulkDataURI": "7FE00010"}}


@pytest.mark.parametrize("image", images(), ids=name_of)
def test_a_shipped_image_is_described_as_pydicom_reads_it(image) -> None:
    """Size, cells, colour and number of frames."""
    dataset, pixels = image.dataset, image.pixels
    expected = [dataset.get(key) for key in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation")]
    expected += [dataset.get(key) for key in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")]

    assert expected == [
        pixels.rows,
        pixels.columns,
        pixels.samples_per_pixel,
        pixels.photometric_interpretation,
        pixels.bits_allocated,
        pixels.bits_stored,
        pixels.high_bit,
        pixels.pixel_representation,
    ]
    assert not pixels.presentation.broken


def test_what_the_description_is_for() -> None:
    """Bytes of a decoded frame; it cannot be changed, travels to a worker, and leaves its tables behind when asked."""
    pixels = PixelDescription.from_json(metadata(), EXPLICIT)
    palette = named("OBXXXX1A.dcm").pixels

    assert 512 * 256 * 2 == pixels.native_length
    assert pixels == msgspec.msgpack.decode(msgspec.msgpack.encode(pixels), type=PixelDescription)
    assert palette == msgspec.msgpack.decode(msgspec.msgpack.encode(palette), type=PixelDescription)
    assert len(msgspec.msgpack.encode(palette.bare())) < 1000
    with pytest.raises(FrozenInstanceError):
        pixels.rows = 1


@pytest.mark.parametrize(
    "changes",
    [
        {"00280010": 65_536, "00280011": 65_536},
        {"00280010": 65_535, "00280011": 65_535},
        {"00280010": 0},
        {"00280011": -3},
        {"00280010": "many"},
        {"00280100": 0},
        {"00280100": 7},
        {"00280100": 255},
        {"00280101": 17},
        {"00280101": 0},
        {"00280102": 16},
        {"00280102": 10},
        {"00280103": 2},
        {"00280002": 255},
        {"00280002": 3},
        {"00280002": 4, "00280004": "CMYK"},
        {"00280004": "RGB"},
        {"00280004": "X" * 100_000, "00280002": 3},
        {"00280008": 2**31 - 1},
        {"00280008": 0},
        {"00280100": 1, "00280101": 1, "00280102": 0, "00280002": 3, "00280004": "RGB"},
        {"00280010": 20_000, "00280011": 20_000, "00280100": 8, "00280101": 8, "00280102": 7},
        {"00280010": 16_384, "00280011": 16_384},
    ],
)
def test_what_is_no_image_is_refused(changes: dict) -> None:
    """Multiplied sizes too, before anything is allocated."""
    with pytest.raises(DataSetError):
        PixelDescription.from_json(metadata(**changes), EXPLICIT)


def test_no_pixels_are_named_as_such() -> None:
    """A report is no broken image."""
    plain = metadata()
    del plain["7FE00010"]

    with pytest.raises(NoPixelDataError):
        PixelDescription.from_json(plain, EXPLICIT)
    with pytest.raises(DataSetError):
        PixelDescription.from_json(metadata(), "1.2.3")


def test_float_pixels_have_the_size_their_element_says() -> None:
    """Float and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)."""
    elements = metadata(**{"00280100": None, "00280101": None, "00280102": None, "00280103": None})
    del elements["7FE00010"]
    found = [
        PixelDescription.from_json(elements | {tag: {"vr": "OF", "BulkDataURI": tag}}, EXPLICIT)
        for tag in ("7FE00008", "7FE00009")
    ]

    assert [(32, True), (64, True)] == [(one.bits_allocated, one.real) for one in found]


def test_the_number_of_frames_may_be_text() -> None:
    """An IS that came as JSON text."""
    assert 12 == PixelDescription.from_json(metadata(**{"00280008": " 12 "}), EXPLICIT).number_of_frames


def test_single_bits_are_packed() -> None:
    """The last byte is filled up."""
    pixels = replace(
        PixelDescription(rows=3, columns=3, transfer_syntax_uid=EXPLICIT), bits_stored=1, high_bit=0, bits_allocated=1
    )

    assert 2 == pixels.native_length


def test_nobody_outside_a_worker_loads_a_codec() -> None:
    """What front doors import brings neither numpy nor a codec into the process that holds the keys."""
    script = (
        "import sys, json\n"
        "import strongroom.imaging.pool, strongroom.imaging.instance, strongroom.imaging.annotation\n"
        "print(json.dumps([name for name in ('numpy', 'PIL', 'imagecodecs', 'openjpeg', 'rle', 'jpeg_ls', '_CharLS')"
        " if name in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert [] == json.loads(run.stdout)
