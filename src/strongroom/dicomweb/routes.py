"""
The one table of the web services: methods, paths, the action each needs, and its handler (PS3.18 §8.2, §10.1).

A path is matched as it came, byte by byte: no empty or dotted segment, no escaped slash, nothing but the characters
that UIDs, frame lists and tags are made of (SECURITY W31, W34). A row without a named action is refused when the
table is made.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import unquote

from starlette.responses import Response

from strongroom.dicomweb.call import Call
from strongroom.errors import ConfigurationError

__all__ = ["ACTIONS", "ADMITTED", "FORMS", "Handler", "Route", "Router"]

Handler = Callable[[Call], Awaitable[Response]]

ADMITTED: Final = "admitted"
"""For whoever the gate let in, whatever it may do: what the services are, nothing of what is kept."""
ACTIONS: Final = frozenset({"deposit", "query", "view", "retrieve", "delete", ADMITTED})

_UID = re.compile(r"[0-9.]{1,64}")
FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "study": _UID,
    "series": _UID,
    "instance": _UID,
    "frames": re.compile(r"[0-9]+(?:,[0-9]+)*"),
    "frame": re.compile(r"[0-9]+"),
    "path": re.compile(r"[0-9A-Fa-f]+(?:/[0-9A-Fa-f]+)*"),
}
_SEGMENT = re.compile(r"[A-Za-z0-9._~,-]+")
_MAX_PATH_BYTES: Final = 8 * 1024
"""A frame list is the longest thing in a path: a thousand frames have 5 KB."""


@final
@dataclass(frozen=True, slots=True)
class Route:
    """One row: what it is for stands in the OpenAPI document that is made of this table."""

    method: str
    template: str
    """Below the base: `/studies/{study}/metadata`; `{path}` takes the rest."""
    action: str
    handler: Handler
    summary: str
    media_types: tuple[str, ...] = ()
    """What it can answer with; for the documents."""
    parameters: tuple[str, ...] = ()
    """Query parameters it reads; for the documents."""
    consumes: tuple[str, ...] = ()
    """What a body may be; for the documents."""


@final
class Router:
    """Finds the row of a request."""

    def __init__(self, table: Iterable[Route]) -> None:
        self.table = tuple(table)
        self._by_template: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in self.table:
            if route.action not in ACTIONS:
                raise ConfigurationError(f"{route.method} {route.template} names no action: it would be open")
            methods = self._by_template.setdefault(tuple(route.template.split("/")[1:]), {})
            if route.method in methods:
                raise ConfigurationError(f"{route.method} {route.template} stands twice in the table of routes")
            methods[route.method] = route

    def find(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]] | None:
        """
        Return the rows for *path*, by method, and the parts of the path they name; None when there is no such resource.

        *path* is what stands behind the base in the request line, still percent-encoded.
        """
        if len(path) > _MAX_PATH_BYTES:
            return None
        if path in ("", "/"):
            methods = self._by_template.get(("",))
            return None if methods is None else (methods, {})
        if not path.startswith("/"):
            return None
        segments = [_segment(one) for one in path[1:].split("/")]
        clean = [one for one in segments if one is not None]
        if len(clean) != len(segments):
            return None
        for template, methods in self._by_template.items():
            found = _match(template, clean)
            if found is not None:
                return methods, found
        return None


def _segment(raw: str) -> str | None:
    """Decode one segment; None when it holds what no resource of ours has, such as an escaped slash."""
    try:
        segment = unquote(raw, errors="strict") if "%" in raw else raw
    except UnicodeDecodeError:
        return None
    return segment if _SEGMENT.fullmatch(segment) and segment not in (".", "..") else None


def _match(template: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    rest = template[-1] == "{path}"
    if len(segments) < len(template) or (len(segments) > len(template) and not rest):
        return None
    found: dict[str, str] = {}
    for number, part in enumerate(template):
        if not part.startswith("{"):
            if part != segments[number]:
                return None
            continue
        name = part[1:-1]
        value = "/".join(segments[number:]) if name == "path" else segments[number]
        if not FORMS[name].fullmatch(value):
            return None
        found[name] = value
    return found
