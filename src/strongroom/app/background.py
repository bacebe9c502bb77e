"""
Which work goes on in the background, and who does it: every kind of job with its handler, and what comes again and
again.

A command that owns a home for a moment makes jobs; only the server does them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive


def register(archive: Archive) -> None:
    """Name the handler of each kind of job; called once, before anything runs."""
