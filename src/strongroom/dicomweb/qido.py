"""
Search (QIDO-RS, PS3.18 §10.6): studies, series and instances, all of them or those below a study or series.

1. What is accepted and what is asked is read before the archive is asked anything.
2. The first match is fetched, and the search is in the trail before it is (archive.matches); then the header goes out.
3. What the header says of limits is true by then: a second walk has looked whether there are more.
4. The rest is written as it is found, some kibibytes at a time.
A search without a match is a success with an empty list (§10.6.3.1; releases before 2025 had 204 for it).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final, cast

from strongroom.dicom.json import JsonElement, dumps
from strongroom.dicom.xml import to_xml
from strongroom.dicomweb import negotiation
from strongroom.dicomweb.answers import Pieces, Streamed
from strongroom.dicomweb.multipart_writer import Multipart
from strongroom.dicomweb.negotiation import Form
from strongroom.dicomweb.problems import HttpProblem
from strongroom.dicomweb.query_parameters import Search, read
from strongroom.errors import DataSetError, MismatchError

if TYPE_CHECKING:
    from starlette.responses import Response

    from strongroom.dicom.model import Level
    from strongroom.dicomweb.call import Call
    from strongroom.dicomweb.search_result import Shape

__all__ = ["search"]

PIECE_BYTES: Final = 16 * 1024
"""Answers are gathered to pieces of this size."""
MAX_NAMED: Final = 8
"""Parameters named in the Warning header; more are counted."""

_JSON: Final = "application/dicom+json"
_XML: Final = "application/dicom+xml"
_FORMS: Final = (Form(_JSON), Form("application/json"), Form(_XML, multipart=True))

Matches = AsyncIterator[dict[str, JsonElement]]


async def search(call: Call, *, level: Level) -> Response:
    """Answer a search for *level*; its parents are named by `call.params`. Raises HttpProblem, AccessDenied."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    _, form = accept.choose(_FORMS)
    asked = read(
        call.query,
        level,
        call.params,
        base_url=call.settings.base_url,
        max_results=call.settings.max_results,
    )
    found = await call.session.query(asked.query)
    answers = cast("AsyncGenerator[dict[str, JsonElement], None]", aiter(found))
    async with contextlib.AsyncExitStack() as held:
        held.push_async_callback(answers.aclose)
        try:
            first = await anext(answers, None)
            cut = first is not None and await found.go_on()
        except (DataSetError, MismatchError) as error:
            raise HttpProblem(400, f"The search was refused: {error}.") from error
        headers = _warnings(asked, call.settings.base_url, cut=cut)
        matches = _all(first, answers)
        if form.multipart:
            parts = Multipart(_XML, call.entropy(16))
            pieces, media_type = _xml(matches, asked.shape, parts), parts.content_type
        else:
            pieces, media_type = _json(matches, asked.shape), _JSON
        return Streamed(_gathered(pieces), held.pop_all(), media_type=media_type, headers=headers)


async def _all(first: dict[str, JsonElement] | None, others: Matches) -> AsyncGenerator[dict[str, JsonElement], None]:
    if first is not None:
        yield first
        async for match in others:
            yield match


async def _json(matches: Matches, shape: Shape) -> AsyncGenerator[bytes, None]:
    lead = b"["
    async for match in matches:
        yield lead + dumps(shape.answer(match))
        lead = b","
    yield b"[]" if lead == b"[" else b"]"


async def _xml(matches: Matches, shape: Shape, parts: Multipart) -> AsyncGenerator[bytes, None]:
    empty = True
    async for match in matches:
        empty = False
        yield parts.begin(_XML)
        for piece in to_xml(shape.answer(match)):
            yield piece.encode("utf-8")
    if not empty:  # a multipart body has at least one part (RFC 2046 5.1.1): without a match there is no body
        yield parts.end()


async def _gathered(pieces: AsyncGenerator[bytes, None]) -> Pieces:
    """Small pieces joined, so that not every answer is a write of its own."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _warnings(asked: Search, base_url: str, *, cut: bool) -> Mapping[str, str]:
    """The Warning header (RFC 7234 §5.5): what was left out of the question, and that answers were."""
    texts = [f"The parameter {name} is not supported and was ignored." for name in asked.ignored[:MAX_NAMED]]
    if len(asked.ignored) > MAX_NAMED:
        texts.append(f"{len(asked.ignored) - MAX_NAMED} more parameters are not supported and were ignored.")
    if cut:
        texts.append(
            "The number of results exceeded the maximum supported by the server or asked for."
            " There are additional results that can be requested."
        )
    return {"Warning": ", ".join(f'299 {base_url}: "{text}"' for text in texts)} if texts else {}
