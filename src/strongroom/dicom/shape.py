"""
How many bits the frames of an image have (PS3.3 §C.7.6.3, §C.7.6.6): what is needed to find them, and no more.

Whatever the elements say gives a Shape within the limits or DataSetError (SECURITY F10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, final

from strongroom.errors import DataSetError

if TYPE_CHECKING:
    from strongroom.dicom.header import Header

__all__ = ["Shape"]

MAX_FRAMES: Final = 200_000
"""Frames of one instance: four hours of fluoroscopy at 15 a second; the largest slide levels have as many tiles."""
MAX_FRAME_BITS: Final = 1 << 35
"""Bits of one frame: 2^28 pixels of four samples of 32 bits; real ones end at 2^32."""

_SAMPLES_PER_PIXEL: Final = 0x00280002
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_NUMBER_OF_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS_ALLOCATED: Final = 0x00280100
_WIDEST_SAMPLE: Final = 64  # bits: Double Float Pixel Data
_HALVED: Final = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}
"""Colours that are stored for some pixels only (PS3.3 §C.7.6.3.1.2): the share of the samples that is there."""


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """What the frames of native Pixel Data measure; 0 where an element is absent."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    number_of_frames: int
    photometric_interpretation: str = ""

    @classmethod
    def of(cls, header: Header) -> Self:
        """Read it out of a header; raises DataSetError when Number of Frames is none or too large."""
        return cls(
            _number(header, _ROWS),
            _number(header, _COLUMNS),
            _number(header, _SAMPLES_PER_PIXEL) or 1,
            _number(header, _BITS_ALLOCATED),
            _frames(header),
            header.text(_PHOTOMETRIC_INTERPRETATION),
        )

    def frame_bits(self, length: int) -> int:
        """
        Return how many bits one frame of native Pixel Data has; *length* bytes are there for all of them.

        Raises DataSetError when the elements that say it are absent, or beyond what an image can be.
        """
        bits = self.bits_allocated
        if not (self.rows > 0 and self.columns > 0 and (bits == 1 or (bits % 8 == 0 and 0 < bits <= _WIDEST_SAMPLE))):
            raise DataSetError(f"an image of {self.rows} x {self.columns} with {bits} bits allocated has no frames")
        whole = self.rows * self.columns * self.samples_per_pixel * bits
        if whole > MAX_FRAME_BITS:
            raise DataSetError(f"a frame of {whole} bits is more than {MAX_FRAME_BITS}")
        share = _HALVED.get(self.photometric_interpretation)
        # some write all samples and leave the name that their lossy original had
        if share is None or length * 8 >= whole * self.number_of_frames:
            return whole
        return whole * share[0] // share[1]


def _number(header: Header, tag: int) -> int:
    """Return an unsigned number of 16 or 32 bits, as real files have them; 0 when it is anything else."""
    raw = header.elements.value(tag)
    if raw is None or len(raw) not in (2, 4):
        return 0
    return int.from_bytes(raw, "little" if header.little_endian else "big")


def _frames(header: Header) -> int:
    """Number of Frames, 1 when it is absent, empty or 0."""
    raw = (header.elements.value(_NUMBER_OF_FRAMES) or b"").partition(b"\\")[0].strip(b" \0")
    if not raw:
        return 1
    if not raw.isdigit() or len(raw) > 12:
        raise DataSetError("Number of Frames is no number of frames")
    frames = int(raw)
    if frames > MAX_FRAMES:
        raise DataSetError(f"{frames} frames are more than {MAX_FRAMES}")
    return frames or 1
