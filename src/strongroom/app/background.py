"""
Which work goes on in the background, and who does it: every kind of job with its handler, and what comes again and
again.

A command that owns a home for a moment makes jobs; only the server does them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.archive import healing, scrub

if TYPE_CHECKING:
    from strongroom.app.assembly import Archive


def register(archive: Archive) -> None:
    """Name the handler of each kind of job; called once, before anything runs."""
    if archive.second is not None:
        archive.second.register()
    core, settings = archive.core, archive.config.scrub
    rate = settings.mebibytes_per_second << 20
    core.jobs.handle(scrub.SCRUB, scrub.handler(core, days=settings.days, bytes_per_second=rate))
    core.jobs.handle(healing.HEAL, healing.handler(core))


def begin(archive: Archive) -> None:
    """Say what comes again and again; the server calls it once, before anything runs."""
    archive.core.jobs.every(scrub.SCRUB, scrub.EVERY_SECONDS, first=scrub.FIRST_SECONDS)
