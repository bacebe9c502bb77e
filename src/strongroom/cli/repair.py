"""`strongroom repair`: make right what can be made right without guessing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, plain, print_json, printable, run


def repair(
    home: Home = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this it is only said.")] = False,
    read: Annotated[
        bool, typer.Option("--read", help="Look for damage in every byte first, not only in the structure.")
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Heal from the packs in this backup or other copy, besides the second vault."),
    ] = None,
    json: AsJson = False,
) -> None:
    """
    Say what is wrong and can be made right: records healed from a copy, indexes of packs, instances the catalogue lost.
    With --apply do it. Exit status 1 when something is left.
    """
    found: dict[str, Any] = {}
    given = None if source is None else str(source.resolve())
    for reply in run(home, "repair", apply=apply, read=read, source=given):
        if "progress" in reply and not json and not plain():
            step = reply["progress"]
            typer.echo(f"\r{step['done']:,} of {step['total']:,} {step['phase']:<10}", nl=False)
        found = reply.get("result", found)
    if json:
        print_json(found)
    else:
        if not plain():
            typer.echo("\r", nl=False)
        for one in found["done"]:
            typer.echo(f"{one['action']:<14}{printable(one['where'])}  {printable(one['detail'])}")
        for one in found["left"]:
            typer.echo(f"{'left':<14}{printable(one['where'])}  {one['kind']}: {printable(one['why'])}")
        verb = "made right" if found["applied"] else "can be made right with --apply"
        typer.echo(f"{len(found['done']):,} {verb}, {len(found['left']):,} left as they are")
    if found["left"]:
        sys.exit(Exit.FINDINGS)
