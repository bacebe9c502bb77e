"""
From the path of a request to what of it this session may have: the one place where handlers ask for a disclosure.

Absent, out of scope and not granted are one answer, 404, before anything else is looked at (SECURITY C17).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from strongroom.archive import Disclosure, Target
from strongroom.dicom.model import Level
from strongroom.dicomweb.call import Call
from strongroom.errors import NotFound

__all__ = ["MAX_AT_ONCE", "at", "disclose", "reading"]

MAX_AT_ONCE: Final = 100_000
"""Instances of one answer; a larger study is fetched series by series."""

_LEVELS: Final = {"study": Level.STUDY, "series": Level.SERIES, "instance": Level.IMAGE}


def at(params: Mapping[str, str]) -> Target:
    """The target that the parts of a path name."""
    level = next((_LEVELS[name] for name in ("instance", "series", "study") if name in params), None)
    if level is None:
        raise NotFound("no target in the path")
    return Target(
        level,
        study_instance_uids=_one(params.get("study")),
        series_instance_uids=_one(params.get("series")),
        sop_instance_uids=_one(params.get("instance")),
    )


def _one(uid: str | None) -> tuple[str, ...]:
    return () if uid is None else (uid,)


async def disclose(call: Call, *, view: bool = False) -> Disclosure:
    """Return what there is for this call, not entered yet; raises NotFound when that is nothing."""
    target = at(call.params)
    disclosure = await (call.session.view(target) if view else call.session.retrieve(target))
    if not disclosure.instances:
        raise NotFound("nothing there for this caller")
    return disclosure


@contextlib.asynccontextmanager
async def reading(call: Call, *, view: bool = False) -> AsyncIterator[Disclosure]:
    """`disclose` and enter: the record is durable before the first byte is read."""
    async with await disclose(call, view=view) as disclosure:
        yield disclosure
