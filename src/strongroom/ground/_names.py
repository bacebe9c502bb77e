"""The names files may have on a medium: our own only, so that no received value can ever become a path (C31)."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(?:/[a-z0-9][a-z0-9._-]{0,99}){0,3}")


def checked(name: str) -> str:
    """Return *name* when it is one of our own spellings; a ValueError otherwise is a bug of ours."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r} is not a name for a file of ours")
    return name


def parent_of(name: str) -> str:
    """Return the folder part of *name*, empty for the root."""
    return name.rpartition("/")[0]
