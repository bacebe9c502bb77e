"""
Ordinary pictures, films and documents that become instances (PS3.18 §10.5.2 and Table 10.5.2-1).

What describes the pixels is taken from the picture's own header and never made up; a description that comes with it has
to agree. A JPEG that DICOM allows and a video stay bit for bit what they are; what DICOM has no transfer syntax for is
decoded, in a worker. Patient and study come from the metadata: here only what belongs to the new object is filled in,
and only where the metadata leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from strongroom.dicom import uid
from strongroom.dicom.json import JsonElement, JsonValue
from strongroom.dicomweb import movies
from strongroom.errors import DataSetError, MismatchError, UnsupportedSyntaxError
from strongroom.imaging.codestream import CodestreamHeader, codestream_of, jpeg2000_header, jpeg_header
from strongroom.imaging.pixels import MAX_FRAME_BYTES
from strongroom.imaging.reading import integer, text

if TYPE_CHECKING:
    from strongroom.dicomweb.bulk import Content
    from strongroom.dicomweb.media_type import MediaType
    from strongroom.dicomweb.new_uids import Uids
    from strongroom.imaging.pool import Pool
    from strongroom.imaging.protocol import PictureInfo

__all__ = ["PDF", "describe_document", "describe_pixels", "is_compressed"]

PDF: Final = "application/pdf"
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_SECONDARY_CAPTURE_BYTES: Final = "1.2.840.10008.5.1.4.1.1.7.2"
_SECONDARY_CAPTURE_WORDS: Final = "1.2.840.10008.5.1.4.1.1.7.3"
_SECONDARY_CAPTURE_COLOUR: Final = "1.2.840.10008.5.1.4.1.1.7.4"
_PHOTOGRAPH: Final = "1.2.840.10008.5.1.4.1.1.77.1.4"
_VIDEO_PHOTOGRAPH: Final = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
_VIDEO_ENDOSCOPY: Final = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
_ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
_VISIBLE_LIGHT: Final = "1.2.840.10008.5.1.4.1.1.77.1."

_ORDINARY: Final = frozenset({"image/jpeg", "image/png"})
_KEPT: Final = frozenset({"", "*", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_JPEG: Final = "1.2.840.10008.1.2.4."
_SYNTAXES: Final[dict[str, tuple[str, ...]]] = {
    "image/jpeg": tuple(_JPEG + number for number in ("70", "57", "50", "51")),
    "image/jls": tuple(_JPEG + number for number in ("80", "81")),
    "image/jp2": tuple(_JPEG + number for number in ("90", "91")),
    "image/jpx": tuple(_JPEG + number for number in ("92", "93")),
    "image/jphc": tuple(_JPEG + number for number in ("201", "202", "203")),
    "image/jxl": tuple(_JPEG + number for number in ("110", "111", "112")),
    "image/dicom-rle": ("1.2.840.10008.1.2.5",),
    "video/mpeg": tuple(_JPEG + number for number in ("100", "101")),
    "video/mp4": tuple(_JPEG + number for number in ("102", "103", "104", "105", "106", "107", "108")),
}
"""What a media type may hold; the first is meant where nothing is said (PS3.18 Tables 8.7.3-5 and 10.5.2-1)."""
_ALIASES: Final = {"video/mpeg2": "video/mpeg", "image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle"}
_METHODS: Final = {
    **dict.fromkeys((_JPEG + "50", _JPEG + "51"), "ISO_10918_1"),
    **dict.fromkeys((_JPEG + "100", _JPEG + "101"), "ISO_13818_2"),
    **dict.fromkeys((_JPEG + number for number in ("102", "103", "104", "105", "106")), "ISO_14496_10"),
    **dict.fromkeys((_JPEG + "107", _JPEG + "108"), "ISO_23008_2"),
}

Elements = dict[str, JsonElement]


@final
@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixel data ready to be written: frames for fragments, or for one value in a native syntax."""

    transfer_syntax_uid: str
    vr: str
    frames: Sequence[bytes | bytearray]


def is_compressed(media_type: MediaType) -> bool:
    """Whether bulk data of this kind is pixel data in fragments, or a picture that is to become pixel data."""
    syntax = uid.transfer_syntax(media_type.parameters.get("transfer-syntax", ""))
    return media_type.essence.startswith(("image/", "video/")) or (syntax is not None and syntax.encapsulated)


async def describe_pixels(elements: Elements, content: Content, pool: Pool, uids: Uids) -> Pixels:
    """
    Complete *elements* from compressed pixel data and say how it is written.

    Raises MismatchError where the two do not agree, or a patient or study is missing; UnsupportedSyntaxError where
    DICOM has no transfer syntax, DataSetError where the picture cannot be read.
    """
    essence = _ALIASES.get(content.media_type.essence, content.media_type.essence)
    stated = content.media_type.parameters.get("transfer-syntax", "")
    if essence == "video/mp4" and stated in ("", "*"):
        pixels = _movie(elements, content)
    elif essence in _ORDINARY and stated in _KEPT and not _is_lossless_jpeg(essence, content):
        pixels = await _pictures(elements, essence, content, pool)
    else:
        pixels = _codestreams(elements, essence, stated, content)
    _complete_object(elements, pixels)
    uids.complete(elements)
    return pixels


def describe_document(elements: Elements, content: Content, uids: Uids) -> None:
    """Complete *elements* for an Encapsulated Document; those of a PDF entirely (PS3.3 §A.45.1)."""
    essence = content.media_type.essence
    length = content.length
    if essence == PDF or text(elements, "00420012") == PDF:
        if not content.parts[0].startswith(b"%PDF-"):
            raise DataSetError("a document does not begin like PDF")
        _check_patient(elements)
        _fill(elements, "00080016", "UI", _ENCAPSULATED_PDF)
        _fill(elements, "00080060", "CS", "DOC")
        _fill(elements, "00080064", "CS", "WSD")
        _fill(elements, "00280301", "CS", "YES")  # nobody has looked: as if the patient's name stood in it
        _fill(elements, "00420012", "LO", PDF)
        for tag, vr in (("0040A043", "SQ"), ("00420010", "ST"), ("00200013", "IS"), ("00080023", "DA")):
            elements.setdefault(tag, {"vr": vr})
        uids.complete(elements)
    elements["00420015"] = {"vr": "UL", "Value": [length]}


def _is_lossless_jpeg(essence: str, content: Content) -> bool:
    return essence == "image/jpeg" and jpeg_header(bytes(content.parts[0])).process == 0xC3


async def _pictures(elements: Elements, essence: str, content: Content, pool: Pool) -> Pixels:
    """JPEG and PNG as they come from cameras and screens."""
    infos: list[PictureInfo] = []
    frames: list[bytes] = []
    received, held = content.length, 0
    for part in content.parts:
        info, made = await pool.picture(bytes(part), essence)
        part.clear()
        if infos and info != infos[0]:
            raise MismatchError("the frames of an instance are pictures of different kinds")
        held += len(made)
        if held > MAX_FRAME_BYTES:  # some kilobytes of PNG are hundreds of megabytes of pixels
            raise DataSetError(f"the pictures of an instance come to more than {MAX_FRAME_BYTES} bytes of pixels")
        infos.append(info)
        frames.append(made)
    info = infos[0]
    kept = info.transfer_syntax_uid != uid.EXPLICIT_VR_LITTLE_ENDIAN
    _agree(elements, info.rows, info.columns, info.samples_per_pixel)
    bits = info.bits_allocated
    if kept:
        bits = jpeg_header(frames[0]).precision
    _describe(elements, info.samples_per_pixel, info.photometric_interpretation, info.bits_allocated, bits)
    _several(elements, len(frames))
    if info.lossy:
        _lossy(elements, "ISO_10918_1", received)
    if kept:
        return Pixels(info.transfer_syntax_uid, "OB", frames)
    return Pixels(info.transfer_syntax_uid, "OW" if info.bits_allocated > 8 else "OB", frames)


def _codestreams(elements: Elements, essence: str, stated: str, content: Content) -> Pixels:
    """Frames that are compressed as DICOM compresses them: kept as they are, described where a header is read."""
    allowed = _SYNTAXES.get(essence, ())
    syntax = stated if stated not in ("", "*") else (allowed[0] if allowed else "")
    known = uid.transfer_syntax(syntax)
    if known is None or not known.encapsulated or (allowed and syntax not in allowed):
        raise UnsupportedSyntaxError("a part is of a media type and transfer syntax that do not go together")
    header: CodestreamHeader | None = None
    if essence in ("image/jpeg", "image/jls"):
        headers = [jpeg_header(bytes(part)) for part in content.parts]
        header = headers[0]
        if not stated and header.process == 0xC3:
            syntax = _JPEG + ("70" if _selection(content.parts[0]) == 1 else "57")
    elif essence in ("image/jp2", "image/jpx", "image/jphc"):
        content.parts = [bytearray(codestream_of(bytes(part))) for part in content.parts]
        headers = [jpeg2000_header(bytes(part)) for part in content.parts]
        header = headers[0]
    else:
        headers = []
    if any((one.rows, one.columns) != (headers[0].rows, headers[0].columns) for one in headers):
        raise MismatchError("the frames of an instance differ in size")
    if header is not None:
        _agree(elements, header.rows, header.columns, header.components)
        if not integer(elements, "00280100", 0):
            colour = "MONOCHROME2" if header.components == 1 else _colour(content.parts[0])
            _describe(elements, header.components, colour, 8 if header.precision <= 8 else 16, header.precision)
            elements["00280103"] = {"vr": "US", "Value": [int(header.signed)]}
    elif not integer(elements, "00280010", 0) or not integer(elements, "00280100", 0):
        raise MismatchError("pixel data of this kind has to come with its description")
    _several(elements, integer(elements, "00280008", 1) if essence.startswith("video/") else len(content.parts))
    return Pixels(syntax, "OB", content.parts)


def _selection(data: bytearray) -> int:
    """The predictor of a lossless JPEG (ISO 10918-1 B.2.3), 0 when its scan header is not there."""
    at = data.find(b"\xff\xda")
    components = data[at + 4] if 0 <= at < len(data) - 5 else 0
    place = at + 5 + 2 * components
    return data[place] if components and place < len(data) else 0


def _colour(data: bytearray) -> str:
    """RGB, unless a JPEG 2000 codestream says that its components were transformed (ISO 15444-1 A.6.1)."""
    at = data.find(b"\xff\x52", 4 + int.from_bytes(data[4:6], "big")) if data[:2] == b"\xff\x4f" else -1
    if at < 0 or at + 13 >= len(data) or not data[at + 8]:
        return "RGB"
    return "YBR_RCT" if data[at + 13] == 1 else "YBR_ICT"


def _movie(elements: Elements, content: Content) -> Pixels:
    """A video in one fragment, as PS3.5 §8.2.6 wants it."""
    movie = movies.read(content.parts[0])
    _agree(elements, movie.rows, movie.columns, 3)
    _describe(elements, 3, "YBR_PARTIAL_420", 8 if movie.bits == 8 else 16, movie.bits)
    elements["00280008"] = {"vr": "IS", "Value": [movie.number_of_frames]}
    elements["00181063"] = {"vr": "DS", "Value": [f"{1000 / movie.frames_per_second:.6g}"]}
    elements["00280009"] = {"vr": "AT", "Value": ["00181063"]}
    _fill(elements, "00180040", "IS", max(1, round(movie.frames_per_second)))
    return Pixels(movie.transfer_syntax_uid, "OB", content.parts)


def _agree(elements: Elements, rows: int, columns: int, samples: int) -> None:
    """The picture says how large it is; metadata that says something else is of another picture (SECURITY F13)."""
    for tag, value in (("00280010", rows), ("00280011", columns), ("00280002", samples)):
        if integer(elements, tag, value) != value:
            raise MismatchError("rows, columns or samples of a picture are not those of its description")
        elements[tag] = {"vr": "US", "Value": [value]}


def _describe(elements: Elements, samples: int, colour: str, allocated: int, stored: int) -> None:
    """The rest of the Image Pixel Description Macro (PS3.3 §C.7.6.3)."""
    numbers = {"00280100": allocated, "00280101": stored, "00280102": stored - 1, "00280103": 0}
    elements.update({tag: {"vr": "US", "Value": [value]} for tag, value in numbers.items()})
    elements["00280004"] = {"vr": "CS", "Value": [colour]}
    if samples > 1:
        elements["00280006"] = {"vr": "US", "Value": [0]}


def _lossy(elements: Elements, method: str, length: int) -> None:
    """Say that something was lost, how, and how much shorter the *length* received is (PS3.3 §C.7.6.1.1.5)."""
    native = math.prod(integer(elements, tag, 1) for tag in ("00280010", "00280011", "00280002", "00280008"))
    native *= integer(elements, "00280100", 8) // 8
    elements["00282110"] = {"vr": "CS", "Value": ["01"]}
    _fill(elements, "00282112", "DS", f"{native / max(1, length):.4g}")
    _fill(elements, "00282114", "CS", method)


def _several(elements: Elements, frames: int) -> None:
    """Frames that are no film are pages (PS3.3 §C.8.6.2)."""
    if frames < 2 and "00280008" not in elements:
        return
    elements["00280008"] = {"vr": "IS", "Value": [frames]}
    if frames > 1 and "00280009" not in elements:
        elements["00280009"] = {"vr": "AT", "Value": ["00182001"]}
        elements["00182001"] = {"vr": "IS", "Value": [*range(1, frames + 1)]}


def _complete_object(elements: Elements, pixels: Pixels) -> None:
    """SOP class, and what its modules demand (PS3.3 §A.8, §A.32.4, §A.32.7)."""
    _check_patient(elements)
    video = pixels.transfer_syntax_uid in _SYNTAXES["video/mp4"] + _SYNTAXES["video/mpeg"]
    modality = text(elements, "00080060")
    _fill(elements, "00080016", "UI", _class_of(elements, modality, video=video))
    sop_class = text(elements, "00080016")
    light = sop_class.startswith(_VISIBLE_LIGHT)
    _fill(elements, "00080060", "CS", "XC" if light else "OT")
    elements.setdefault("00200013", {"vr": "IS"})
    elements.setdefault("00200020", {"vr": "CS"})
    method = _METHODS.get(pixels.transfer_syntax_uid)
    if method is not None and "00282110" not in elements:
        _lossy(elements, method, sum(map(len, pixels.frames)))
    if light:
        _fill(elements, "00080008", "CS", "ORIGINAL", "PRIMARY")
        _fill(elements, "00282110", "CS", "00")
        elements.setdefault("00400555", {"vr": "SQ"})
    elif sop_class.startswith(_SECONDARY_CAPTURE):
        _fill(elements, "00080064", "CS", "WSD")
        if sop_class != _SECONDARY_CAPTURE:
            _fill(elements, "00280301", "CS", "YES")


def _class_of(elements: Elements, modality: str, *, video: bool) -> str:
    if video:
        return _VIDEO_ENDOSCOPY if modality == "ES" else _VIDEO_PHOTOGRAPH
    if integer(elements, "00280008", 1) < 2:
        return _PHOTOGRAPH if modality == "XC" else _SECONDARY_CAPTURE
    if integer(elements, "00280002", 1) > 1:
        return _SECONDARY_CAPTURE_COLOUR
    return _SECONDARY_CAPTURE_BYTES if integer(elements, "00280100", 8) <= 8 else _SECONDARY_CAPTURE_WORDS


def _check_patient(elements: Elements) -> None:
    """Whose picture it is, nobody but the sender knows."""
    if not text(elements, "0020000D") or not {"00100010", "00100020"} <= elements.keys():
        raise MismatchError("the metadata of a picture has to name patient and study")


def _fill(elements: Elements, tag: str, vr: str, *values: JsonValue) -> None:
    """Set an element that is absent or empty."""
    if not elements.get(tag, {"vr": vr}).get("Value"):
        elements[tag] = {"vr": vr, "Value": [*values]}
