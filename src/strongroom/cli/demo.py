"""`strongroom demo`: the main job on real images, then what a stranger gets, in a home that is removed at the end."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson


def demo(
    exit_: Annotated[
        bool, typer.Option("--exit", help="End when the tour is over, instead of staying up to look around.")
    ] = False,
    json: AsJson = False,
) -> None:
    """
    Show the archive at work in a temporary home: real images in and out over TLS, then everything a stranger may try.

    Exit status 1 when something was not as it has to be; it is listed.
    """
    from strongroom.cli.demonstration.tour import demonstrate

    findings = demonstrate(stay=not exit_, as_json=json)
    if findings:
        sys.exit(Exit.FINDINGS)
