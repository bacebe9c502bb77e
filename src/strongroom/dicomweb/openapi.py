"""The OpenAPI 3.1 document, made of the table of routes: what is not in the table is not in it, and the other way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from starlette.responses import Response

from strongroom import __version__
from strongroom.dicomweb.call import Call
from strongroom.dicomweb.routes import ADMITTED, FORMS, Route

__all__ = ["describe", "document"]

_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_REFUSALS: Final = {
    "400": "The request cannot be understood.",
    "401": "No valid token or client certificate.",
    "404": "Nothing there, or nothing there for this caller.",
    "406": "Nothing that is accepted is to be had.",
    "413": "More than one answer holds.",
    "416": "The range lies outside.",
    "421": "Another host was meant.",
    "422": "What is kept cannot be given in this form.",
    "503": "Too much to do just now; try again later.",
}
_SUCCESS: Final = {"GET": ("200", "206", "304"), "POST": ("200", "202", "409"), "DELETE": ("204",), "OPTIONS": ("200",)}


async def document(call: Call, *, table: Callable[[], Iterable[Route]]) -> Response:
    """Answer GET of `openapi.json`."""
    body = msgspec.json.encode(describe(call.settings.base_url, table()))
    return Response(body, headers={"Cache-Control": "private, no-cache"}, media_type="application/json")


def describe(base_url: str, table: Iterable[Route]) -> dict[str, Any]:
    """The document of *table*."""
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Strongroom DICOMweb", "version": __version__},
        "servers": [{"url": base_url}],
        "security": [{"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "status", "detail", "instance"],
                    "properties": {
                        "type": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "instance": {"type": "string"},
                    },
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    names = [part[1:-1] for part in route.template.split("/") if part.startswith("{")]
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{FORMS[name].pattern})$"},
        }
        for name in names
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.parameters]
    content: dict[str, dict[str, str]] = {name: {} for name in route.media_types}
    first, *others = _SUCCESS[route.method]
    responses: dict[str, Any] = {first: {"description": route.summary, **({"content": content} if content else {})}}
    responses |= {status: {"description": route.summary} for status in others}
    responses |= {status: {"description": text, "content": _PROBLEM} for status, text in _REFUSALS.items()}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}{route.template.replace('/', '_').replace('{', '').replace('}', '')}",
        "parameters": parameters,
        "responses": responses,
        "x-action": "whoever was let in" if route.action == ADMITTED else route.action,
    }
    if route.consumes:
        operation["requestBody"] = {
            "required": True,
            "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in route.consumes},
        }
    return operation
