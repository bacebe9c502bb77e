"""`strongroom backup`: a complete, sealed copy of the home in another folder, while the archive runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, human_bytes, moment, plain, plural, print_json, printable, run


def backup(
    destination: Annotated[Path, typer.Argument(help="The folder of the backup, best on another disk.")],
    home: Home = None,
    show: Annotated[bool, typer.Option("--list", help="Only say what the complete backup there holds.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read the backup there and compare every byte.")
    ] = False,
    verify_all: Annotated[
        bool, typer.Option("--verify-all", help="Also read what was copied earlier; copy again what is damaged.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Copy everything, whatever is there (after `rotate`, for example).")
    ] = False,
    rate: Annotated[
        float, typer.Option("--mebibytes-per-second", min=0, help="Copy no faster than this; 0 is as fast as it goes.")
    ] = 0,
    json: AsJson = False,
) -> None:
    """Back up the home: consistent while it runs, only what is new, read back. The master key is not in it."""
    place = str(destination.absolute())
    if show:
        replies = run(home, "backup.list", destination=place)
    elif verify:
        replies = run(home, "backup.verify", destination=place, rate=rate)
    else:
        replies = run(home, "backup", destination=place, rate=rate, verify_all=verify_all, afresh=afresh)
    found: dict[str, Any] = {}
    for reply in replies:
        if "progress" in reply and not json and not plain():
            progress = reply["progress"]
            typer.echo(f"\r{human_bytes(progress['done'])} of {human_bytes(progress['total'])}   ", nl=False)
        found = reply.get("result", found)
    wrong = [*found.get("damage", ()), *found.get("findings", ())]
    if json:
        print_json(found)
    else:
        _print(found, wrong)
    if wrong:
        sys.exit(Exit.FINDINGS)


def _print(found: dict[str, Any], wrong: list[str]) -> None:
    if not plain():
        typer.echo("\r", nl=False)
    for one in wrong:
        typer.echo(f"damaged  {printable(one)}")
    typer.echo(
        f"backup {found['number']} of {moment(found['made'])}: {plural(found['instances'], 'instance')}, "
        f"{plural(found['packs'], 'pack')}, {human_bytes(found['bytes'])}"
    )
    if "copied" in found:
        typer.echo(f"{plural(found['copied'], 'pack')} copied and read back, the others were there")
        kept = ", ".join(found["keep_elsewhere"])
        typer.echo(
            f"Not in it, and needed to restore it: the master key ({kept}, and its passphrase). Keep it elsewhere."
        )
    if "findings" in found:
        typer.echo("every byte compared" if not wrong else f"{plural(len(wrong), 'finding')}")
