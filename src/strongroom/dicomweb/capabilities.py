"""What the services are (PS3.18 §8.9): the table of routes as WADL or JSON, for whoever was let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

import msgspec
from starlette.responses import Response

from strongroom.dicomweb import negotiation
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.negotiation import Form
from strongroom.dicomweb.routes import Route

__all__ = ["capabilities"]

WADL = "application/vnd.sun.wadl+xml"
JSON = "application/json"


async def capabilities(call: Call, *, table: Callable[[], Iterable[Route]]) -> Response:
    """Answer OPTIONS of the base."""
    accept = negotiation.parse(call.request.headers.getlist("accept"), call.query)
    _, form = accept.choose([Form(WADL), Form(JSON), Form("application/dicom+json")])
    rows: dict[str, list[Route]] = {}
    for route in table():
        rows.setdefault(route.template, []).append(route)
    headers = {"Allow": "OPTIONS", "Cache-Control": "private, no-cache"}
    if form.media_type == WADL:
        body = "".join(_wadl(call.settings.base_url, rows)).encode("utf-8")
    else:
        body = msgspec.json.encode(_json(call.settings.base_url, rows))
    return Response(body, headers=headers, media_type=form.media_type)


def _json(base: str, rows: dict[str, list[Route]]) -> dict[str, Any]:
    return {
        "base": base,
        "resources": [
            {
                "path": template,
                "methods": [
                    {
                        "name": route.method,
                        "summary": route.summary,
                        "mediaTypes": route.media_types,
                        "parameters": route.parameters,
                    }
                    for route in routes
                ],
            }
            for template, routes in rows.items()
        ],
    }


def _wadl(base: str, rows: dict[str, list[Route]]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<application xmlns="http://wadl.dev.java.net/2009/02"><resources base={quoteattr(base)}>'
    for template, routes in rows.items():
        yield f"<resource path={quoteattr(template.removeprefix('/'))}>"
        names = [part[1:-1] for part in template.split("/") if part.startswith("{")]
        yield from (f'<param name={quoteattr(name)} style="template" required="true"/>' for name in names)
        for route in routes:
            yield f"<method name={quoteattr(route.method)}><doc title={quoteattr(route.summary)}/><request>"
            yield from (f'<param name={quoteattr(name)} style="query"/>' for name in route.parameters)
            yield "</request><response>"
            yield from (f"<representation mediaType={quoteattr(name)}/>" for name in route.media_types)
            yield "</response></method>"
        yield "</resource>"
    yield "</resources></application>\n"
