"""
The operational log: one JSON object a line on standard error, for the operator and never for patient data (I7).

What goes in are our own words, numbers, and for an error its type and the place in our code; not its text, which may
quote what a peer sent. Who saw or sent what stands in the trail, not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec


def log(event: str, *, level: str = "info", **fields: str | float | bool | None) -> None:
    """Write one line; a log that nobody reads any more is no reason to stop."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **fields}
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
        sys.stderr.flush()


def place_of(error: BaseException) -> str:
    """Where *error* was raised, as module:line of the innermost frame of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "strongroom" in frame.filename] or frames
    if not ours:
        return "unknown"
    last = ours[-1]
    return f"{last.filename.rpartition('strongroom/')[2]}:{last.lineno}"


def unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's handler for what nobody caught: a bug of ours, named by type and place."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        log("unexpected-error", level="error", type=type(error).__name__, place=place_of(error))
    else:
        log("unexpected-error", level="error", type="none", place="event loop")
