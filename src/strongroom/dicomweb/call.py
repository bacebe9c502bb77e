"""One request on its way to the handler of its route: who asks, for what, and what the handler may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from strongroom.dicomweb.held import Held

if TYPE_CHECKING:
    from starlette.requests import Request

    from strongroom.archive import Session
    from strongroom.imaging.pool import Pool

MAX_PARAMETERS = 512
"""Query parameters of one request; the catalogue's own limit of keys stands behind it."""


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator's configuration says of the web door."""

    base_url: str
    """`https://NAME:PORT/dicom-web`, from the configuration and never from the Host header (SECURITY C42)."""
    ae_title: str
    max_body_bytes: int = 16 << 30
    max_results: int = 1_000
    """Answers of one search without a smaller `limit`; more is told by a Warning header (SECURITY C38)."""
    names: frozenset[str] = frozenset()
    """Host names the door answers for besides the one in *base_url*."""


@final
@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets; the session was admitted, the action of the route not yet decided on."""

    request: Request
    session: Session
    params: Mapping[str, str]
    """The parts of the path that the route names, percent-decoded and checked for their form."""
    query: tuple[tuple[str, str], ...]
    """Query parameters in their order, decoded; names are case-sensitive (PS3.18 §8.3)."""
    settings: Settings
    pool: Pool
    request_id: str
    """Ours, random; stands in every problem and every log line of this request."""
    entropy: Callable[[int], bytes] = os.urandom
    held: Held = field(default_factory=Held)
    """What all requests hold together: one for the application."""
