"""
What the pixels of an instance are (PS3.3 §C.7.6.3, PS3.5 §8): sizes, cells, colour, and what showing them needs.

Every number comes from outside and is checked here, before anybody allocates by it (SECURITY C33, F10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, final

from strongroom.dicom.uid import TransferSyntax, transfer_syntax
from strongroom.dicom.values import JsonElement
from strongroom.errors import DataSetError
from strongroom.imaging import presentation as presentations
from strongroom.imaging.errors import NoPixelDataError
from strongroom.imaging.presentation import Presentation
from strongroom.imaging.reading import integer, integers, text

__all__ = ["MAX_FRAMES", "MAX_FRAME_BYTES", "MAX_PIXELS", "PixelDescription"]

MAX_PIXELS: Final = 1 << 28
"""Pixels of one frame (SECURITY C33): 16,384 x 16,384."""

MAX_FRAME_BYTES: Final = 1 << 28
"""Bytes of one decoded frame: ten times the largest mammogram; a worker holds it several times."""

MAX_FRAMES: Final = 200_000
"""Frames of one instance (SECURITY C33)."""

MAX_SIDE: Final = 65_535
"""Rows or columns (VR US)."""

_PIXEL_DATA: Final = "7FE00010"
_FLOAT: Final = "7FE00008"
_DOUBLE: Final = "7FE00009"
_ALLOCATIONS: Final = (1, 8, 16, 32, 64)
_COLOURS: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"})


@final
@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The frames of one instance. Make it with `from_json`, change it with `dataclasses.replace`."""

    rows: int
    columns: int
    transfer_syntax_uid: str
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_allocated: int = 8
    bits_stored: int = 8
    high_bit: int = 7
    pixel_representation: int = 0
    planar_configuration: int = 0
    number_of_frames: int = 1
    tag: str = _PIXEL_DATA
    """Which element holds them: Pixel Data, Float Pixel Data or Double Float Pixel Data."""
    vr: str = "OW"
    """OB or OW as the data set says it: in a big endian one, words of 16 bits changed places (PS3.5 §7.3)."""
    presentation: Presentation = field(default_factory=Presentation)

    def __post_init__(self) -> None:
        """Refuse what no frame can be; raises DataSetError."""
        if not (1 <= self.rows <= MAX_SIDE and 1 <= self.columns <= MAX_SIDE):
            raise DataSetError(f"{self.rows} rows and {self.columns} columns are no image")
        if self.samples_per_pixel not in (1, 3):
            raise DataSetError(f"{self.samples_per_pixel} samples per pixel are not supported")
        if self.bits_allocated not in _ALLOCATIONS or (self.tag != _PIXEL_DATA and self.bits_allocated not in (32, 64)):
            raise DataSetError(f"{self.bits_allocated} bits allocated are not supported")
        if not (1 <= self.bits_stored <= self.bits_allocated and 0 <= self.high_bit < self.bits_allocated):
            raise DataSetError(f"{self.bits_stored} bits stored, high bit {self.high_bit} do not fit their cell")
        if self.high_bit + 1 < self.bits_stored:
            raise DataSetError(f"{self.bits_stored} bits stored do not end at high bit {self.high_bit}")
        if self.pixel_representation not in (0, 1) or self.planar_configuration not in (0, 1):
            raise DataSetError("pixel representation and planar configuration are 0 or 1")
        if self.bits_allocated == 1 and self.samples_per_pixel != 1:
            raise DataSetError("single bits have one sample per pixel")
        if not 1 <= self.number_of_frames <= MAX_FRAMES:
            raise DataSetError(f"{self.number_of_frames} frames are not between 1 and {MAX_FRAMES}")
        if (self.samples_per_pixel == 3) != (self.photometric_interpretation in _COLOURS):
            raise DataSetError(f"the colour does not go with {self.samples_per_pixel} samples per pixel")
        if self.rows * self.columns > MAX_PIXELS or self.native_length > MAX_FRAME_BYTES:
            raise DataSetError(f"{self.rows} x {self.columns} pixels of {self.bits_allocated} bits are too many")

    @classmethod
    def from_json(
        cls,
        metadata: Mapping[str, JsonElement],
        transfer_syntax_uid: str,
        *,
        frame: int | None = None,
        bulk: Mapping[str, bytes] | None = None,
    ) -> PixelDescription:
        """
        Describe the pixels of a data set in the DICOM JSON model (`dicom.json`), Pixel Data as a BulkDataURI included.

        *frame* (from 1) takes window and rescale of that frame out of the functional groups (PS3.3 §C.7.6.16). *bulk*
        holds the values that `presentation.bulk_paths` named, as they stand in the data set; without one, what needs
        it cannot be rendered but decoded all the same. Raises NoPixelDataError, and DataSetError for sizes that are
        none.
        """
        syntax = _syntax(transfer_syntax_uid)
        tag = next((tag for tag in (_PIXEL_DATA, _FLOAT, _DOUBLE) if tag in metadata), None)
        if tag is None or "00280010" not in metadata:
            raise NoPixelDataError("the instance has no pixel data")
        allocated = {_PIXEL_DATA: integer(metadata, "00280100", 0), _FLOAT: 32, _DOUBLE: 64}[tag]
        stored = integer(metadata, "00280101", allocated) if tag == _PIXEL_DATA else allocated
        samples = integer(metadata, "00280002", 1)
        colour = text(metadata, "00280004") or ("RGB" if samples == 3 else "MONOCHROME2")
        pixel_representation = integer(metadata, "00280103", 0) if tag == _PIXEL_DATA else 0
        frames = integers(metadata, "00280008")
        return cls(
            rows=integer(metadata, "00280010", 0),
            columns=integer(metadata, "00280011", 0),
            transfer_syntax_uid=transfer_syntax_uid,
            samples_per_pixel=samples,
            photometric_interpretation=colour if len(colour) <= 16 else "",
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=integer(metadata, "00280102", stored - 1) if tag == _PIXEL_DATA else allocated - 1,
            pixel_representation=pixel_representation,
            planar_configuration=integer(metadata, "00280006", 0) if samples > 1 else 0,
            number_of_frames=frames[0] if frames else 1,
            tag=tag,
            vr=metadata[tag]["vr"],
            presentation=presentations.from_json(
                metadata,
                little_endian=syntax.little_endian,
                signed=pixel_representation == 1,
                frame=frame,
                bulk=bulk or {},
            ),
        )

    @property
    def syntax(self) -> TransferSyntax:
        """The transfer syntax; raises DataSetError when it is none we know."""
        return _syntax(self.transfer_syntax_uid)

    @property
    def real(self) -> bool:
        """Whether cells are floating point numbers (7FE00008, 7FE00009)."""
        return self.tag != _PIXEL_DATA

    @property
    def native_length(self) -> int:
        """Bytes of one frame, decoded: colour by pixel, no subsampling; single bits packed, the last byte filled."""
        if self.bits_allocated == 1:
            return (self.rows * self.columns + 7) // 8
        return self.rows * self.columns * self.samples_per_pixel * (self.bits_allocated // 8)

    @property
    def low_justified(self) -> bool:
        """Whether the stored bits begin at bit 0, as every current IOD has it (PS3.5 §8.1.1)."""
        return self.high_bit == self.bits_stored - 1

    def bare(self) -> PixelDescription:
        """The same without what only rendering needs: tables can have half a megabyte."""
        return replace(self, presentation=Presentation())


def _syntax(uid: str) -> TransferSyntax:
    found = transfer_syntax(uid)
    if found is None:
        raise DataSetError("the transfer syntax is not one of a data set")
    return found
