"""
How stored values become grey and colour (PS3.3 §C.11.1, §C.11.2, §C.7.6.3.1.5, §C.7.6.16.2): what a data set says.

Nothing here is trusted: a table that is too short or absent makes `Presentation.broken` true, which stops rendering
and not decoding. The tables stay bytes; `render` clips every index to them (SECURITY F11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from strongroom.dicom.values import JsonElement
from strongroom.imaging.reading import binary, integers, item, items, real, reals, text

__all__ = ["Lut", "Presentation", "Window", "bulk_paths", "from_json"]

MAX_WINDOWS: Final = 16
"""Windows and VOI tables kept of an image; the first is what is shown."""

MAX_ICC_BYTES: Final = 1 << 20
"""An ICC profile that is embedded; scanners' profiles have some KiB."""

LINEAR: Final = "LINEAR"
_FUNCTIONS: Final = frozenset({LINEAR, "LINEAR_EXACT", "SIGMOID"})
_WHOLE_TABLE: Final = 65_536
_PALETTES: Final = (("00281101", "00281201", "00281221"), ("00281102", "00281202", "00281222"))
_PALETTES_3: Final = (*_PALETTES, ("00281103", "00281203", "00281223"))


@final
@dataclass(frozen=True, slots=True)
class Window:
    """One window (PS3.3 §C.11.2.1.2); *function* is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str = LINEAR


@final
@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table (PS3.3 §C.11.1.1): *count* entries of one or two bytes (little endian), the first for *first*."""

    first: int
    count: int
    bits: int
    data: bytes
    segmented: bool = False

    @property
    def wide(self) -> bool:
        """Whether an entry takes two bytes."""
        return self.segmented or len(self.data) >= 2 * self.count


@final
@dataclass(frozen=True, slots=True)
class Presentation:
    """What stands between stored values and a screen."""

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    windows: tuple[Window, ...] = ()
    explanations: tuple[str, ...] = ()
    voi_luts: tuple[Lut, ...] = ()
    palette: tuple[Lut, ...] = ()
    """Red, green, blue."""
    shape: str = ""
    """Presentation LUT Shape (2050,0020): IDENTITY, INVERSE or nothing."""
    padding: int | None = None
    padding_limit: int | None = None
    has_icc_profile: bool = False
    icc_profile: bytes | None = None
    broken: bool = False
    """A table is not what its descriptor says, or was not given: decode, but do not render."""


def from_json(
    metadata: Mapping[str, JsonElement],
    *,
    little_endian: bool,
    signed: bool,
    frame: int | None,
    bulk: Mapping[str, bytes],
) -> Presentation:
    """Read it out of the DICOM JSON model; see PixelDescription.from_json."""
    transformation = _of_frame(metadata, "00289145", frame)
    frame_voi = _of_frame(metadata, "00289132", frame)
    reader = _Tables(bulk, little_endian=little_endian, signed=signed)
    modality = items(metadata, "00283000")[:1]
    shown = frame_voi if "00281050" in frame_voi or "00283010" in frame_voi else metadata
    values = transformation if "00281053" in transformation else metadata
    function = text(shown, "00281056").upper()
    windows = tuple(
        Window(center, width, function if function in _FUNCTIONS else LINEAR)
        for center, width in zip(reals(shown, "00281050"), reals(shown, "00281051"), strict=False)
    )
    explained = shown.get("00281055", {"vr": "LO"}).get("Value") or []
    padding = integers(metadata, "00280120")
    limit = integers(metadata, "00280121")
    return Presentation(
        slope=real(values, "00281053", 1.0) or 1.0,
        intercept=real(values, "00281052", 0.0),
        modality_lut=next((reader.lut(one, ("00283002", "00283006", "")) for one in modality), None),
        windows=windows[:MAX_WINDOWS],
        explanations=tuple(str(one)[:64] for one in explained[:MAX_WINDOWS]),
        voi_luts=tuple(reader.luts(items(shown, "00283010")[:MAX_WINDOWS])),
        palette=reader.palette(metadata),
        shape=text(metadata, "20500020").upper(),
        padding=padding[0] if padding else None,
        padding_limit=limit[0] if limit else None,
        has_icc_profile="00282000" in metadata,
        icc_profile=_profile(metadata, bulk),
        broken=reader.broken,
    )


def bulk_paths(metadata: Mapping[str, JsonElement], *, frame: int | None = None) -> tuple[str, ...]:
    """Name the bulk data that rendering needs: tables and the ICC profile, never Pixel Data."""
    frame_voi = _of_frame(metadata, "00289132", frame)
    tables = [(metadata, tag) for entry in _PALETTES_3 for tag in entry[1:]] + [(metadata, "00282000")]
    tables += [(one, "00283006") for one in items(metadata, "00283000")[:1]]
    for source in (metadata, frame_voi):
        tables += [(one, "00283006") for one in items(source, "00283010")[:MAX_WINDOWS]]
    found = (one[tag].get("BulkDataURI") for one, tag in tables if tag in one)
    return tuple(dict.fromkeys(uri for uri in found if isinstance(uri, str)))


def _of_frame(metadata: Mapping[str, JsonElement], tag: str, frame: int | None) -> Mapping[str, JsonElement]:
    """The item of a functional group macro that holds for *frame*: its own, else the shared one."""
    own = item(metadata, "52009230", (frame or 1) - 1)
    shared = item(metadata, "52009229")
    return item(own, tag) or item(shared, tag)


def _profile(metadata: Mapping[str, JsonElement], bulk: Mapping[str, bytes]) -> bytes | None:
    optical = item(metadata, "00480105")
    source = metadata if "00282000" in metadata else optical
    found = binary(source, "00282000", bulk, little_endian=True, words=False)
    return found if found and len(found) <= MAX_ICC_BYTES else None


@final
class _Tables:
    """Reads lookup tables and remembers whether one of them was broken."""

    def __init__(self, bulk: Mapping[str, bytes], *, little_endian: bool, signed: bool) -> None:
        self._bulk = bulk
        self._little_endian = little_endian
        self._signed = signed
        self.broken = False

    def luts(self, found: list[Mapping[str, JsonElement]]) -> list[Lut]:
        """The VOI tables of a sequence."""
        tables = (self.lut(one, ("00283002", "00283006", "")) for one in found)
        return [table for table in tables if table is not None]

    def palette(self, metadata: Mapping[str, JsonElement]) -> tuple[Lut, ...]:
        """The three tables of PALETTE COLOR, or none."""
        if not any(entry[0] in metadata for entry in _PALETTES_3):
            return ()
        tables = [self.lut(metadata, entry) for entry in _PALETTES_3]
        whole = tuple(table for table in tables if table is not None)
        return whole if len(whole) == len(_PALETTES_3) else ()

    def lut(self, source: Mapping[str, JsonElement], tags: tuple[str, str, str]) -> Lut | None:
        """One table: *tags* are those of descriptor, data and segmented data."""
        descriptor = integers(source, tags[0])
        data = binary(source, tags[1], self._bulk, little_endian=self._little_endian)
        segmented = False
        if data is None and tags[2]:
            data = binary(source, tags[2], self._bulk, little_endian=self._little_endian)
            segmented = data is not None
        if len(descriptor) != 3 or data is None:
            self.broken = True
            return None
        count = (descriptor[0] & 0xFFFF) or _WHOLE_TABLE
        first = descriptor[1]
        if self._signed and first > 0x7FFF:
            first -= _WHOLE_TABLE
        if not 1 <= descriptor[2] <= 16 or len(data) > 2 * _WHOLE_TABLE + 2 or (not segmented and len(data) < count):
            self.broken = True
            return None
        return Lut(first, count, descriptor[2], data, segmented)
