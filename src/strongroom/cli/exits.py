"""Exit statuses (DESIGN section 6) and the one place where errors become sentences for a person at a terminal."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NoReturn

from strongroom.errors import (
    AccessDenied,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NotFound,
    OutOfResources,
    StrongroomError,
)


class Exit(IntEnum):
    """What scripts may rely on."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    INTEGRITY = 5
    CONFIGURATION = 6


EXIT_HELP = "Exit statuses: 0 done, 1 findings, 2 usage, 3 refused, 4 not found, 5 integrity, 6 configuration."

_BY_ERROR: tuple[tuple[type[StrongroomError], Exit], ...] = (
    (AccessDenied, Exit.REFUSED),
    (ConflictError, Exit.REFUSED),
    (NotFound, Exit.NOT_FOUND),
    (IntegrityError, Exit.INTEGRITY),
    (OutOfResources, Exit.INTEGRITY),
    (ConfigurationError, Exit.CONFIGURATION),
)


def status_of(error: StrongroomError) -> Exit:
    """The exit status that belongs to *error*."""
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), Exit.REFUSED)


def fail(error: StrongroomError, *, as_json: bool = False) -> NoReturn:
    """End the command with a sentence (or a JSON object) on standard error."""
    if as_json:
        import msgspec

        text = msgspec.json.encode({"error": type(error).__name__, "message": str(error)}).decode()
    else:
        text = f"strongroom: {error}"
    print(text, file=sys.stderr)  # noqa: T201 -- this is the command line
    sys.exit(status_of(error))
