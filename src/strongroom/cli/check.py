"""`strongroom check`: is everything there, and is it still what was received?"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, duration, plain, plural, print_json, printable, run


def check(
    home: Home = None,
    read: Annotated[
        bool, typer.Option("--read", help="Open every byte and compare every digest, longest unchecked first.")
    ] = False,
    max_duration: Annotated[
        str | None,
        typer.Option(help="With --read: end after this time, such as 30m; the next run goes on.", metavar="TIME"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare catalogue and packs; with --read open and compare every byte. Exit status 1 when there are findings."""
    seconds = None if max_duration is None else duration(max_duration, "--max-duration")
    found: dict[str, Any] = {}
    for reply in run(home, "check", read=read, max_seconds=seconds):
        if "progress" in reply and not json and not plain():
            step = reply["progress"]
            typer.echo(f"\r{step['done']:,} of {step['total']:,} {step['phase']:<10}", nl=False)
        found = reply.get("result", found)
    if json:
        print_json(found)
    else:
        if not plain():
            typer.echo("\r", nl=False)
        _show(found)
    if found["findings"]:
        sys.exit(Exit.FINDINGS)


def _show(found: dict[str, Any]) -> None:
    findings = found["findings"]
    for finding in findings:
        typer.echo(f"{finding['kind']:<24}{printable(finding['where'])}  {printable(finding['detail'])}")
    how = "structure and catalogue compared; --read opens every byte"
    if found["read"]:
        how = f"{found['opened']:,} of them opened and compared, every byte"
        if found["opened"] >= found["checked"]:
            how = "every byte opened and compared"
    count = "1 finding" if len(findings) == 1 else f"{len(findings) or 'no'} findings"
    typer.echo(f"{found['checked']:,} blobs ({how}): {count}")
    oldest = found["oldest_unchecked_blob"]
    if oldest:
        age = datetime.now(UTC) - datetime.fromisoformat(oldest)
        typer.echo(f"the blob unchecked for longest has waited {plural(max(0, age.days), 'day')}")
