"""
The older service of one address (WADO-URI, PS3.18 Chapter 9): `/wado?requestType=WADO&studyUID=...`.

One instance, as DICOM or as a picture; what it may be is said by `contentType`, else by the Accept field, else it is a
JPEG (§9.3). It passes the same gate, and out of scope is absent here as well.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.responses import Response

from strongroom.archive import Disclosure
from strongroom.dicomweb import negotiation, wado
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.media import DICOM
from strongroom.dicomweb.negotiation import Accept, Range
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.render_query import ANNOTATIONS, Wish, number_of, window_of
from strongroom.dicomweb.rendered import as_it_is, is_picture, of_instance
from strongroom.dicomweb.targets import disclose
from strongroom.errors import DataSetError, NotFound
from strongroom.imaging.options import JPEG, Viewport

__all__ = ["PARAMETERS", "retrieve"]

PARAMETERS: Final = (
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "transferSyntax"),
    *("frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality", "annotation"),
)
_REFUSED: Final = ("anonymize", "presentationUID", "presentationSeriesUID")
"""Parameters that ask for something which is not made: refused rather than left out, the picture would be another."""
_UID: Final = re.compile(r"[0-9.]{1,64}")
_OTHER_SIDE: Final = 4_096
"""Columns where only rows are given, and the other way round: the image keeps its proportions."""


async def retrieve(call: Call) -> Response:
    """Answer GET of one instance."""
    given = _read(call)
    places = {"study": "studyUID", "series": "seriesUID", "instance": "objectUID"}
    params = {name: given.get(asked, "") for name, asked in places.items()}
    if not all(params.values()):
        raise HttpProblem(400, "studyUID, seriesUID and objectUID are needed.")
    if not all(_UID.fullmatch(value) for value in params.values()):
        raise NotFound("no such instance")
    if "frameNumber" in given:
        params["frames"] = str(_whole(given, "frameNumber", most=999_999_999))
    call = replace(call, params=params)
    accept = _accepted(call, given)
    for wanted in accept.ranges:
        if wanted.takes(DICOM) and not wanted.wild:
            return await _as_dicom(call, replace(wanted, transfer_syntax=given.get("transferSyntax")))
        if wanted.media_type == "*/*" or wanted.media_type.startswith(("image/", "video/", "application/", "text/")):
            break
    return await _as_picture(call, accept, given)


def _read(call: Call) -> dict[str, str]:
    """The parameters, each once; raises HttpProblem (400)."""
    given: dict[str, str] = {}
    for name, value in call.query:
        if name in given:
            raise HttpProblem(400, "A parameter stands twice.")
        given[name] = value
    if given.get("requestType") != "WADO":
        raise HttpProblem(400, "requestType has to be WADO.")
    for name in _REFUSED:
        if name in given:
            raise HttpProblem(400, f"{name} is not offered here.")
    return given


def _accepted(call: Call, given: Mapping[str, str]) -> Accept:
    """What `contentType` says, else what the client accepts; a JPEG where that is anything."""
    named = given.get("contentType")
    if named:
        return negotiation.parse([named.replace(" ", "+")])
    header = call.request.headers.getlist("accept")
    found = negotiation.parse(header)
    if all(one.media_type == "*/*" for one in found.ranges[:1]):
        return Accept((Range(JPEG, multipart=False, transfer_syntax=None, quality=1.0), *found.ranges))
    return found


async def _as_dicom(call: Call, wish: Range) -> Response:
    disclosure: Disclosure = await disclose(replace(call, params={**call.params}))
    plan = wado.plan(Accept((wish,)), disclosure.instances, archive=False)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(disclosure)
        return await wado.single(call, disclosure, plan.items[0], held)
    raise AssertionError


async def _as_picture(call: Call, accept: Accept, given: Mapping[str, str]) -> Response:
    wish = _wish(given)
    disclosure = await disclose(call, view=True)
    if not is_picture(disclosure.instances[0]):
        return await as_it_is(call, accept, disclosure)
    return await of_instance(call, accept, wish, disclosure)


def _wish(given: Mapping[str, str]) -> Wish:
    """The picture that is asked for (§9.4.1.2.3)."""
    window = None
    if ("windowCenter" in given) != ("windowWidth" in given):
        raise HttpProblem(400, "windowCenter and windowWidth belong together.")
    if "windowCenter" in given:
        window = window_of(given["windowCenter"], given["windowWidth"])
    words = frozenset(word.strip().lower() for word in given.get("annotation", "").split(",") if word.strip())
    if not words <= ANNOTATIONS:
        raise HttpProblem(400, "Annotation is patient, technique or both.")
    return Wish(
        viewport=_viewport(given),
        window=window,
        quality=_whole(given, "imageQuality", most=100) if "imageQuality" in given else 90,
        annotation=words,
        region=_region(given),
    )


def _viewport(given: Mapping[str, str]) -> Viewport | None:
    if "rows" not in given and "columns" not in given:
        return None
    rows = _whole(given, "rows") if "rows" in given else _OTHER_SIDE
    columns = _whole(given, "columns") if "columns" in given else _OTHER_SIDE
    try:
        return Viewport(columns, rows)
    except DataSetError as error:
        raise HttpProblem(400, f"This picture cannot be made: {error}.") from error


def _region(given: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom, each from 0.0 to 1.0."""
    text = given.get("region")
    if text is None:
        return None
    parts = [number_of(part, "region") for part in text.split(",")]
    if len(parts) != 4 or not (0 <= parts[0] < parts[2] <= 1 and 0 <= parts[1] < parts[3] <= 1):
        raise HttpProblem(400, "A region has left, top, right and bottom, each from 0 to 1.")
    return parts[0], parts[1], parts[2], parts[3]


def _whole(given: Mapping[str, str], name: str, *, most: int = 100_000) -> int:
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise HttpProblem(400, f"{name} is a whole number from 1 on.")
    return int(text)
