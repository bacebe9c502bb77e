"""
Bulk data where metadata points to it, and the pixel data of whole resources (PS3.18 §10.4.1.5, §10.4.1.6).

A value goes out as the octets of the data set, numbers little endian. Encapsulated Pixel Data goes out as its frames, a
part for each, or decoded as one row of octets; a video as the one stream it is.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure, Instance
from strongroom.dicom.json import JsonElement, loads_trusted
from strongroom.dicom.uid import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from strongroom.dicom.values import BINARY_VRS
from strongroom.dicomweb import frames, negotiation
from strongroom.dicomweb.answers import Pieces, Streamed, begun
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.conversion import stored_faults
from strongroom.dicomweb.media import OCTETS
from strongroom.dicomweb.metadata import address_of
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import Accept, Form, not_acceptable
from strongroom.dicomweb.pixels import Choice, Frames
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.ranges import ranged
from strongroom.dicomweb.segments import Segment, Stretch, pieces, total
from strongroom.dicomweb.targets import MAX_AT_ONCE, disclose
from strongroom.errors import NotFound
from strongroom.imaging import syntaxes

__all__ = ["bulkdata", "document_of", "pixeldata"]

PIXEL_DATA: Final = "7FE00010"
DOCUMENT: Final = "00420011"
MAX_SWAPPED_BYTES: Final = 256 << 20
"""A value of a big endian data set is turned round in memory."""
_WORDS: Final = {2: "H", 4: "I", 8: "Q"}
_NUMBERS: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "AT": 2, "FD": 8, "SV": 8, "UV": 8}


async def bulkdata(call: Call) -> Response:
    """Answer GET of one value: `bulkdata/{path}`."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    path = call.params["path"].upper()
    disclosure = await disclose(call, view=True)
    (instance,) = disclosure.instances
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        with stored_faults():
            if path == PIXEL_DATA and instance.transfer_syntax_uid not in syntaxes.NATIVE:
                return await _encapsulated(call, disclosure, accept, held)
            segments, media_type = await _value(disclosure, instance, path)
        forms = [Form(kind, multipart=both) for kind in dict.fromkeys((OCTETS, media_type)) for both in (True, False)]
        _, form = accept.choose(forms)
        location = {"Content-Location": f"{address_of(call, instance)}/bulkdata/{path}"}
        if not form.multipart:
            return ranged(call, disclosure, segments, held, media_type=form.media_type, headers=location)
        parts = Multipart(form.media_type, call.entropy(16))
        head = parts.begin(form.media_type, headers=location, length=total(segments))
        row = [head, *segments, parts.end()]
        return Streamed(pieces(disclosure, row), held.pop_all(), media_type=parts.content_type, length=total(row))
    raise AssertionError


async def _value(disclosure: Disclosure, instance: Instance, path: str) -> tuple[list[Segment], str]:
    """The bytes of one value, and the media type it may have besides octets."""
    first, last, vr = await disclosure.bulk(instance, path)
    media_type = OCTETS
    if path == DOCUMENT:
        elements = loads_trusted(await disclosure.metadata(instance))
        media_type, length = document_of(elements)
        last = min(last, first + length) if length else last
    segments: list[Segment] = [Stretch(instance, first, last)]
    width = BINARY_VRS.get(vr, _NUMBERS.get(vr, 1))
    if instance.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN and width > 1:
        if last - first > MAX_SWAPPED_BYTES:
            raise HttpProblem(422, "This value is too long to be given little endian.")
        words = array(_WORDS[width], b"".join([bytes(piece) async for piece in pieces(disclosure, segments)]))
        words.byteswap()
        segments = [words.tobytes()]
    return segments, media_type


def document_of(elements: Mapping[str, JsonElement]) -> tuple[str, int]:
    """Media type and length of an encapsulated document (PS3.3 §C.24.2); octets and 0 where they are not said."""
    kinds = elements.get("00420012", {"vr": "LO"}).get("Value") or [OCTETS]
    lengths = elements.get("00420015", {"vr": "UL"}).get("Value") or [0]
    kind, length = str(kinds[0]).strip().lower(), lengths[0]
    known = kind in ("application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl", "application/dicom")
    return (kind if known else OCTETS), (length if isinstance(length, int) else 0)


async def _encapsulated(
    call: Call, disclosure: Disclosure, accept: Accept, held: contextlib.AsyncExitStack
) -> Response:
    """Pixel Data of one instance as frames, as one stream, or decoded in a row."""
    (instance,) = disclosure.instances
    index = await disclosure.frames(instance)
    one = index.stream or index.number_of_frames == 1
    row = any(wish.media_type == OCTETS and not wish.multipart for wish in accept.ranges)
    chosen = frames.choose(accept, instance.transfer_syntax_uid, single=one or row)
    source = Frames(call, disclosure, instance, index, chosen)
    fields = {"Content-Location": f"{address_of(call, instance)}/bulkdata/{PIXEL_DATA}"}
    if index.stream and not chosen.multipart:
        return ranged(call, disclosure, source.stream(), held, media_type=chosen.media_type, headers=fields)
    if index.stream or one or (chosen.multipart and chosen.syntax != EXPLICIT_VR_LITTLE_ENDIAN):
        return await frames.send(call, disclosure, source, range(1, index.number_of_frames + 1), held, fields=fields)
    if chosen.syntax != EXPLICIT_VR_LITTLE_ENDIAN:
        raise not_acceptable([Form(chosen.media_type, multipart=True)])
    if not chosen.multipart:
        body = await begun(source.row())
        return Streamed(body, held.pop_all(), media_type=chosen.content_type, headers=fields)
    parts = Multipart(OCTETS, call.entropy(16))
    body = await begun(_decoded(source, parts, fields))
    return Streamed(body, held.pop_all(), media_type=parts.content_type)


async def _decoded(source: Frames, parts: Multipart, fields: Mapping[str, str]) -> Pieces:
    async with contextlib.aclosing(_row(source, parts, fields)) as row:
        async for piece in row:
            yield piece
    yield parts.end()


def _row(source: Frames, parts: Multipart, fields: Mapping[str, str]) -> Pieces:
    """Every frame, decoded, in one part."""
    return source.row(parts.begin(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, headers=fields))


async def pixeldata(call: Call) -> Response:
    """Answer GET of `pixeldata` at any level: the pixel data of every instance that has some."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    disclosure = await disclose(call, view=True)
    if len(disclosure.instances) > MAX_AT_ONCE:
        raise HttpProblem(413, f"More than {MAX_AT_ONCE} instances; fetch them series by series.")
    chosen = [frames.choose(accept, one.transfer_syntax_uid, single=False) for one in disclosure.instances]
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        parts = Multipart(chosen[0].media_type, call.entropy(16))
        body = await begun(_all_pixels(call, disclosure, chosen, parts))
        return Streamed(body, held.pop_all(), media_type=parts.content_type)
    raise AssertionError


async def _all_pixels(call: Call, disclosure: Disclosure, chosen: list[Choice], parts: Multipart) -> Pieces:
    none = True
    for instance, choice in zip(disclosure.instances, chosen, strict=True):
        try:
            with stored_faults():
                source = Frames(call, disclosure, instance, await disclosure.frames(instance), choice)
        except NotFound:
            continue
        none = False
        fields = {"Content-Location": f"{address_of(call, instance)}/bulkdata/{PIXEL_DATA}"}
        wanted = range(1, source.index.number_of_frames + 1)
        if source.index.stream or (source.as_stored and not source.index.native):
            body = pieces(disclosure, source.stored_parts(parts, wanted, fields))
        elif source.as_stored:
            segments, _ = await _value(disclosure, instance, PIXEL_DATA)
            head = parts.begin(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, headers=fields, length=total(segments))
            body = pieces(disclosure, [head, *segments])
        elif choice.syntax == EXPLICIT_VR_LITTLE_ENDIAN:
            body = _row(source, parts, fields)
        else:
            body = source.made_parts(parts, wanted, fields)
        async with contextlib.aclosing(body):
            async for piece in body:
                yield piece
    if none:
        raise NotFound("no pixel data")
    yield parts.end()
