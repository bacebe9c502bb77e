"""
The table of routes, filled: every resource of PS3.18 Chapters 8 to 10 that is served, with the action it needs.

`view` is what a reader may (metadata, frames, pictures), `retrieve` what takes whole instances away.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from strongroom.dicom.model import Level
from strongroom.dicomweb import uri
from strongroom.dicomweb.bulkdata import bulkdata, pixeldata
from strongroom.dicomweb.capabilities import capabilities
from strongroom.dicomweb.delete import delete
from strongroom.dicomweb.frames import frames
from strongroom.dicomweb.media import COMPRESSED, DICOM, JSON, OCTETS, XML
from strongroom.dicomweb.metadata import metadata
from strongroom.dicomweb.openapi import document
from strongroom.dicomweb.qido import search
from strongroom.dicomweb.rendered import rendered, thumbnail
from strongroom.dicomweb.routes import ADMITTED, Route
from strongroom.dicomweb.stow import store
from strongroom.dicomweb.wado import ZIP, retrieve

__all__ = ["table"]

STUDY: Final = "/studies/{study}"
SERIES: Final = f"{STUDY}/series/{{series}}"
INSTANCE: Final = f"{SERIES}/instances/{{instance}}"
_LEVELS: Final = (STUDY, SERIES, INSTANCE)

_RELATED: Final = "multipart/related"
_TEXT: Final = (JSON, "application/json", _RELATED)
_PICTURES: Final = ("image/jpeg", "image/png", "image/gif", _RELATED)
_PIXELS: Final = (_RELATED, OCTETS, *COMPRESSED)
_SEARCH: Final = ("limit", "offset", "fuzzymatching", "includefield", "accept")
_RENDERING: Final = ("accept", "annotation", "iccprofile", "quality", "viewport", "window")


def table() -> tuple[Route, ...]:
    """Every row."""
    return (*_about(), *_searches(), *_stores(), *_retrievals(), *_pictures(), *_deletions())


def _about() -> Iterator[Route]:
    yield Route(
        "OPTIONS",
        "/",
        ADMITTED,
        partial(capabilities, table=table),
        "What the services are",
        ("application/vnd.sun.wadl+xml", "application/json"),
    )
    yield Route(
        "GET",
        "/openapi.json",
        ADMITTED,
        partial(document, table=table),
        "The services as an OpenAPI document",
        ("application/json",),
    )


def _searches() -> Iterator[Route]:
    for template, level in (
        ("/studies", Level.STUDY),
        ("/series", Level.SERIES),
        ("/instances", Level.IMAGE),
        (f"{STUDY}/series", Level.SERIES),
        (f"{STUDY}/instances", Level.IMAGE),
        (f"{SERIES}/instances", Level.IMAGE),
    ):
        handler = partial(search, level=level)
        yield Route("GET", template, "query", handler, "Search", (JSON, "application/json", _RELATED), _SEARCH)


def _stores() -> Iterator[Route]:
    for template in ("/studies", STUDY):
        yield Route("POST", template, "deposit", store, "Store", (JSON, XML), (), (_RELATED, DICOM, JSON, XML))


def _retrievals() -> Iterator[Route]:
    for template in _LEVELS:
        forms = (_RELATED, DICOM, *((ZIP,) if template != INSTANCE else ()))
        yield Route("GET", template, "retrieve", retrieve, "Retrieve as DICOM", forms, ("accept",))
        yield Route("GET", f"{template}/metadata", "view", metadata, "Retrieve metadata", (*_TEXT, XML), ("accept",))
        yield Route("GET", f"{template}/pixeldata", "view", pixeldata, "Retrieve pixel data", (_RELATED,), ("accept",))
    yield Route("GET", f"{INSTANCE}/frames/{{frames}}", "view", frames, "Retrieve frames", _PIXELS, ("accept",))
    yield Route("GET", f"{INSTANCE}/bulkdata/{{path}}", "view", bulkdata, "Retrieve one value", _PIXELS, ("accept",))
    forms = (DICOM, *_PICTURES[:3])
    yield Route("GET", "/wado", "view", uri.retrieve, "Retrieve an instance by URI", forms, uri.PARAMETERS)


def _pictures() -> Iterator[Route]:
    for template in (*_LEVELS, f"{INSTANCE}/frames/{{frames}}"):
        yield Route("GET", f"{template}/rendered", "view", rendered, "Retrieve pictures", _PICTURES, _RENDERING)
        small = ("accept", "viewport", "quality")
        yield Route("GET", f"{template}/thumbnail", "view", thumbnail, "Retrieve a thumbnail", _PICTURES[:3], small)


def _deletions() -> Iterator[Route]:
    for template in _LEVELS:
        yield Route("DELETE", template, "delete", delete, "Delete, to be taken back", (), ("reason",))
