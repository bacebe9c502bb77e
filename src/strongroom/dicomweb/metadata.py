"""
Metadata of studies, series and instances (PS3.18 §10.4.1.1.2, Annex F): a read of what was made at deposit, no parse.

The text is passed on as it is kept; only the relative addresses of bulk data become absolute ones, of the base that
the configuration names. A client that has it already is told so (304), and the trail as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure, Instance
from strongroom.dicom.json import loads_trusted
from strongroom.dicom.xml import to_xml
from strongroom.dicomweb import negotiation
from strongroom.dicomweb.answers import Pieces, Streamed
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.media import JSON, XML
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import Form
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.targets import MAX_AT_ONCE, disclose

__all__ = ["address_of", "matches", "metadata"]

PIECE_BYTES: Final = 256 * 1024
"""Text gathered before it is sent: an instance has a few KiB."""

_KEY: Final = b'"BulkDataURI":"'  # in a string its quotes would be escaped, so it is never anything else
_FORMS: Final = (Form(JSON), Form("application/json"), Form(XML, multipart=True))


async def metadata(call: Call) -> Response:
    """Answer GET of `metadata` at any level."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    disclosure = await disclose(call, view=True)
    if len(disclosure.instances) > MAX_AT_ONCE:
        raise HttpProblem(413, f"More than {MAX_AT_ONCE} instances; fetch them series by series.")
    _, form = accept.choose((*_FORMS, *([Form(XML)] if len(disclosure.instances) == 1 else ())))
    tag = disclosure.etag if form.media_type != XML else f'{disclosure.etag[:-1]}-xml"'
    fields = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(call.request.headers.getlist("if-none-match"), tag):
        await disclosure.unchanged()
        return Response(status_code=304, headers=fields)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        if form.media_type != XML:
            body, media_type = _gathered(_json(call, disclosure)), form.media_type
        elif form.multipart:
            parts = Multipart(XML, call.entropy(16))
            body, media_type = _gathered(_xml(call, disclosure, parts)), parts.content_type
        else:
            body, media_type = _gathered(_xml(call, disclosure, None)), XML
        return Streamed(body, held.pop_all(), media_type=media_type, headers=fields)
    raise AssertionError


def matches(fields: list[str], tag: str) -> bool:
    """Whether If-None-Match names *tag* (RFC 9110 §13.1.2: compared weakly)."""
    named = {one.strip().removeprefix("W/") for field in fields for one in field.split(",")}
    return tag in named or "*" in named


def address_of(call: Call, instance: Instance) -> str:
    """The URL of an instance."""
    return (
        f"{call.settings.base_url}/studies/{instance.study_instance_uid}"
        f"/series/{instance.series_instance_uid}/instances/{instance.sop_instance_uid}"
    )


async def _texts(call: Call, disclosure: Disclosure) -> AsyncGenerator[bytes, None]:
    """The object of each instance with absolute addresses."""
    number = 0
    async with contextlib.aclosing(disclosure.all_metadata()) as kept:
        async for text in kept:
            if _KEY in text:
                base = f"{address_of(call, disclosure.instances[number])}/bulkdata/"
                text = text.replace(_KEY, _KEY + base.encode("ascii"))  # noqa: PLW2901 -- the same text, addressed
            number += 1
            yield text


async def _json(call: Call, disclosure: Disclosure) -> Pieces:
    lead = b"["
    async with contextlib.aclosing(_texts(call, disclosure)) as texts:
        async for text in texts:
            yield lead
            yield text
            lead = b","
    yield b"[]" if lead == b"[" else b"]"


async def _xml(call: Call, disclosure: Disclosure, parts: Multipart | None) -> Pieces:
    async with contextlib.aclosing(_texts(call, disclosure)) as texts:
        async for text in texts:
            if parts is not None:
                yield parts.begin(XML)
            for piece in to_xml(loads_trusted(text)):
                yield piece.encode("utf-8")
    if parts is not None:
        yield parts.end()


async def _gathered(source: Pieces) -> Pieces:
    """Small pieces joined to larger ones."""
    waiting: list[bytes | memoryview] = []
    length = 0
    async with contextlib.aclosing(source):
        async for piece in source:
            waiting.append(piece)
            length += len(piece)
            if length >= PIECE_BYTES:
                yield b"".join(waiting)
                waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)
