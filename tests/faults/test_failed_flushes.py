"""Fault 7, the short form: a flush that fails once is never tried again and believed (see failed_flushes)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("failed_flushes.py")
SECONDS = 300


def test_a_failed_flush_loses_nothing_that_was_answered() -> None:
    """Packs, folders, keyring, database and trail: the sender is told, reads go on, and a later power cut finds all of it."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--every", "3"], capture_output=True, text=True, timeout=SECONDS, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    for place in ("sync keyring", "sync archive.db-wal", "sync vault/", "sync trail/"):
        assert place in run.stdout
