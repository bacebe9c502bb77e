"""Runs `strongroom` as a process of its own, the way a shell does."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = "import sys; sys.argv[0] = 'strongroom'; from strongroom.cli import main; main()"
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if key not in ("STRONGROOM_HOME", "CREDENTIALS_DIRECTORY")
} | {
    "COLUMNS": "140",
    "NO_COLOR": "1",
    "PYTHONIOENCODING": "utf-8",
}
TIMEOUT = 120


def strongroom(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command; standard output and standard error come together, as a terminal shows them."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=TIMEOUT,
        env=ENVIRONMENT,
    )
