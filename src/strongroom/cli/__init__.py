"""The `strongroom` command; one file per command, heavy imports only once a command runs."""

from __future__ import annotations

from strongroom.cli.main import main

__all__ = ["main"]
