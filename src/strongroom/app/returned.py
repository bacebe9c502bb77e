"""
The mark of a restored home: from when its backup is. It is there until the first start has said so in the trail.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from strongroom.ground.database_files import sync_directory

NAME = "restored"
_WHEN = re.compile(r"[0-9T:+.-]{10,40}")


def mark(root: Path, when: str) -> None:
    """Write the mark, durably; *when* is ISO 8601."""
    descriptor = os.open(root / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, when.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(root)


def read(root: Path) -> str:
    """When the backup was made, empty for a home that was not restored."""
    try:
        text = (root / NAME).read_text("ascii", errors="replace")
    except FileNotFoundError:
        return ""
    return text if _WHEN.fullmatch(text) else "an unknown time"


def forget(root: Path) -> None:
    """Remove the mark: the trail holds it now."""
    if (root / NAME).exists():
        (root / NAME).unlink()
        sync_directory(root)
