"""
Store: STOW-RS (PS3.18 §10.5).

1. Whether the caller may deposit is asked before a byte of the body is looked at, and again for every instance.
2. The body is taken apart as it comes and passed on; nothing of it is gathered but metadata and small bulk data.
3. Each instance is a deposit of its own: what was complete and good stays, whatever comes after it (W05).
4. The answer names each instance, in the order of the request, once all that was complete is durable or refused (I1).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from strongroom.dicom import json as dicom_json
from strongroom.dicom.xml import to_xml
from strongroom.dicomweb import negotiation
from strongroom.dicomweb.incoming import Files, Taker, Window
from strongroom.dicomweb.media_type import MediaType, parse
from strongroom.dicomweb.multipart import Limits, Multipart, PartBegan, PartData, PartEnded, boundary_of
from strongroom.dicomweb.negotiation import Form
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.store_metadata import Described
from strongroom.dicomweb.store_results import response_module, status_of
from strongroom.errors import AccessDenied

if TYPE_CHECKING:
    from starlette.requests import Request

    from strongroom.dicomweb.call import Call

__all__ = ["store"]

_DICOM: Final = "application/dicom"
_JSON: Final = "application/dicom+json"
_XML: Final = "application/dicom+xml"
_ANSWERS: Final = tuple(map(Form, (_JSON, _XML, "application/json")))
_MULTIPART: Final = "multipart/related"
_CLOSE: Final = {"Connection": "close"}
"""Of an answer to a body that was not read to its end."""


async def store(call: Call) -> Response:
    """Take in the instances of a request and answer what became of each; raises HttpProblem when there was none."""
    if not call.session.may("deposit"):  # rule 1
        await call.session.refused(["deposit"])
        raise AccessDenied("action-not-granted")
    form = negotiation.parse(call.request.headers.getlist("accept"), call.query).choose(_ANSWERS)[1].media_type
    media_type, length = _described(call)
    window = Window(call.session, call.params.get("study", ""))
    taker = _taker(call, window, media_type)
    broken: HttpProblem | None = None
    try:
        if media_type.essence == _MULTIPART:
            await _take_parts(call, media_type, taker)
        else:
            await _take_whole(call, length, taker)
    except ClientDisconnect:
        broken = HttpProblem(400, "The connection ended before the request did.", _CLOSE)
    except HttpProblem as problem:
        broken = HttpProblem(problem.status, problem.detail, {**problem.headers, **_CLOSE})
    finally:
        await taker.close("interrupted")
        results = await window.results()  # rule 4
    if not results:
        raise broken or HttpProblem(400, "The request holds no instance.")
    status = status_of(results, whole=broken is None)
    headers = {} if broken is None else dict(broken.headers)
    if status == 503:
        headers["Retry-After"] = "30"
    elif status == 409 and broken is not None:
        status = broken.status
    module = response_module(results, call.settings.base_url)
    body = "".join(to_xml(module)) if form == _XML else dicom_json.dumps(module)
    return Response(body, status, headers, media_type=form)


def _described(call: Call) -> tuple[MediaType, int | None]:
    """What the request says of its body: checked before any of it is read; nothing is allocated by it (W01)."""
    headers = call.request.headers
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise HttpProblem(415, "An encoded body is not taken; send it as it is.", _CLOSE)
    length = headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit()):
        raise HttpProblem(400, "The Content-Length is no number.", _CLOSE)
    size = None if length is None else int(length[:20])
    if size is not None and size > call.settings.max_body_bytes:
        raise HttpProblem(413, f"The body is longer than {call.settings.max_body_bytes} bytes.", _CLOSE)
    return parse(headers.get("content-type", "")), size


def _taker(call: Call, window: Window, media_type: MediaType) -> Taker:
    """Who takes the parts of a body of this kind (PS3.18 §10.5.1.4)."""
    inner = media_type.parameters.get("type", "").lower() if media_type.essence == _MULTIPART else media_type.essence
    if inner in ("", _DICOM):
        return Files(window)
    if inner in (_JSON, _XML):
        return Described(window, call)
    raise HttpProblem(415, f"Bodies of {_DICOM}, {_JSON} or {_XML} are taken, alone or as parts.", _CLOSE)


async def _pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body as it comes, not beyond *most* bytes."""
    length = 0
    async for piece in request.stream():
        length += len(piece)
        if length > most:
            raise HttpProblem(413, f"The body is longer than {most} bytes.")
        if piece:
            yield piece


async def _take_parts(call: Call, media_type: MediaType, taker: Taker) -> None:
    most = call.settings.max_body_bytes
    parser = Multipart(boundary_of(media_type), limits=Limits(max_part_length=most, max_body_length=most))
    async for piece in _pieces(call.request, most):
        for event in parser.feed(piece):
            if isinstance(event, PartData):
                await taker.take(event.view)
            elif isinstance(event, PartBegan):
                await taker.begin(event.headers)
            elif isinstance(event, PartEnded):
                await taker.end()
    parser.finish()


async def _take_whole(call: Call, length: int | None, taker: Taker) -> None:
    """A body that is one part by itself."""
    came = 0
    await taker.begin({"content-type": call.request.headers["content-type"]})
    async for piece in _pieces(call.request, call.settings.max_body_bytes):
        came += len(piece)
        await taker.take(memoryview(piece))
    if length is not None and came != length:
        raise HttpProblem(400, f"The body has {came} bytes, its Content-Length says {length}.")
    await taker.end()
