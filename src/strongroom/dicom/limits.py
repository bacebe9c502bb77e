"""
How much of a data set is taken before it is refused (SECURITY C33): each number with its reason.

A limit is checked before anything is allocated for what it limits. All of them are far above what scanners send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from strongroom.errors import DataSetError

__all__ = ["DEFAULT", "LimitExceeded", "Limits"]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


@final
class LimitExceeded(DataSetError):  # noqa: N818 -- says what happened, like every error of this program
    """A data set goes beyond one of the documented limits; *name* is the field of Limits."""

    def __init__(self, name: str, limit: int, found: int) -> None:
        super().__init__(f"the data set exceeds {name}: {found} is more than {limit}")
        self.name = name
        self.limit = limit
        self.found = found


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one data set; lengths are bytes."""

    max_depth: int = 64
    """
    Sequences within sequences. Structured reports come to about 15; DCMTK stops at 64; pydicom overflows its stack
    near 100.
    """
    max_elements: int = 1_000_000
    """Elements, items and fragments at every depth. A 2,000-frame enhanced object has about 200,000."""
    max_top_level_elements: int = 65_536
    """Elements outside sequences, of each of which an index entry is kept. The whole dictionary has 5,000."""
    max_value_length: int = 2 * _GIB
    """One value; many readers keep lengths in signed 32-bit numbers."""
    max_data_set_length: int = 16 * _GIB
    """
    One data set, as received and as inflated (several values of 2 GiB: whole slide levels come in one instance each).
    """
    max_captured: int = 16 * _MIB
    """What is kept in memory of a data set besides Pixel Data, in front of it and behind it each."""
    max_captured_value: int = 64 * _KIB
    """A value kept as an element; longer ones are only located. The attributes of the index are below 1 KiB."""
    max_inflate_ratio: int = 100
    """Bytes out per byte in of a deflated data set; images deflate 2:1 to 10:1, bombs 1000:1."""
    inflate_allowance: int = 4 * _MIB
    """
    Inflated bytes before the ratio counts: an empty 16-bit image of 1024 x 1024 is legitimate and deflates 1000:1.
    """
    max_inflated_length: int = 4 * _GIB
    """A whole deflated data set when inflated, whatever the ratio."""
    max_meta_length: int = 64 * _KIB
    """The File Meta Information of a file (PS3.10 §7.1); 200 to 600 bytes are usual."""


DEFAULT: Final = Limits()
