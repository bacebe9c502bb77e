"""Ask a handler of the web services without a server: a request out of an ASGI scope, and what came back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from strongroom.dicomweb.call import Call, Settings
from strongroom.dicomweb.problems import answer_to, problem
from strongroom.errors import StrongroomError

BASE = "https://archive.example:8443/dicom-web"


@dataclass(frozen=True)
class Answer:
    """What a client would have got."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    pieces: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def warning(self) -> str:
        return self.headers.get("warning", "")


async def ask(
    handler: Callable[[Call], Awaitable[Response]],
    session: Any,
    query: str = "",
    *,
    accept: str | None = None,
    params: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    method: str = "GET",
    send: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
) -> Answer:
    """Call *handler* and send its response into a list; errors become problems as the application makes them."""
    headers = [] if accept is None else [(b"accept", accept.encode())]
    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "query_string": query.encode(),
        "headers": headers,
        "http_version": "1.1",
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        import asyncio

        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def collect(message: dict[str, Any]) -> None:
        sent.append(message)
        if send is not None:
            await send(message)

    call = Call(
        Request(scope, receive),
        session,
        params or {},
        tuple(parse_qsl(query, keep_blank_values=True)),
        settings or Settings(BASE, "STRONGROOM"),
        None,  # type: ignore[arg-type] # a search decodes no pixels
        "7f1f6d3e-0000-4000-8000-000000000001",
    )
    try:
        response = await handler(call)
    except StrongroomError as error:
        response = problem(answer_to(error), call.request_id)
    await response(scope, receive, collect)
    start = sent[0]
    bodies = [message["body"] for message in sent[1:] if message["body"]]
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], fields, b"".join(map(bytes, bodies)), len(bodies))
