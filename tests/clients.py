"""The real clients that the tests drive: where they are, and what to say when one is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "echoscu": "dcmtk",
    "storescu": "dcmtk",
    "findscu": "dcmtk",
    "getscu": "dcmtk",
    "movescu": "dcmtk",
    "dcmsend": "dcmtk",
    "storescp": "dcmtk",
    "dcmrecv": "dcmtk",
    "stunnel4": "stunnel4",
    "nmap": "nmap",
    "Orthanc": "orthanc",
    "strace": "strace",
}
"""Program -> the Debian package that brings it."""

_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin")
"""Looked at before PATH: inside a virtual environment pynetdicom's apps carry the names of DCMTK's tools."""


def find(program: str) -> str | None:
    """The full path of a system program, or None."""
    for folder in _FOLDERS:
        path = Path(folder, program)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return shutil.which(program) if program not in PACKAGES else None


def require(program: str) -> str:
    """
    The full path of *program*; skips the test with the package's name when it is missing.

    With STRONGROOM_NO_SKIPS set (as `.ci/run` does) a missing program is a failure: a skip there would hide what was
    not shown.
    """
    path = find(program)
    if path is not None:
        return path
    reason = f"{program} is missing: install Debian's package {PACKAGES[program]} (apt-get install {PACKAGES[program]})"
    if os.environ.get("STRONGROOM_NO_SKIPS"):
        pytest.fail(reason)
    pytest.skip(reason)
