"""`strongroom check`: is everything there, and is it still what was received?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, plain, print_json, printable, run


def check(
    home: Home = None,
    read: Annotated[
        bool, typer.Option("--read", help="Open every byte and compare every digest, not only the structure.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Compare catalogue and packs; with --read open and compare every byte. Exit status 1 when there are findings."""
    found: dict[str, object] = {}
    for reply in run(home, "check", read=read):
        if "progress" in reply and not json and not plain():
            typer.echo(f"\r{reply['progress']['done']:,} of {reply['progress']['total']:,} instances", nl=False)
        found = reply.get("result", found)
    findings = found["findings"]
    assert isinstance(findings, list)
    if json:
        print_json(found)
    else:
        if not plain():
            typer.echo("\r", nl=False)
        for finding in findings:
            typer.echo(f"{finding['kind']:<24}{printable(finding['where'])}  {printable(finding['detail'])}")
        how = "every byte opened and compared" if read else "structure and catalogue compared; --read opens every byte"
        count = "1 finding" if len(findings) == 1 else f"{len(findings) or 'no'} findings"
        typer.echo(f"{found['checked']:,} instances ({how}): {count}")
    if findings:
        sys.exit(Exit.FINDINGS)
