"""`strongroom trail show` and `trail verify`: who did what, and is the record whole?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strongroom.cli.exits import EXIT_HELP, Exit
from strongroom.cli.options import AsJson, Home, console, print_json, printable, run

app = typer.Typer(
    help="The trail: who saw, took, put in or was refused what.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("show", epilog=EXIT_HELP)
def show(
    home: Home = None,
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="How many records, newest first.")] = 50,
    patient: Annotated[str | None, typer.Option(help="Only records about this Patient ID.")] = None,
    actor: Annotated[
        str | None, typer.Option(help="Only records of this actor (a device's name, 'host', 'system').")
    ] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused or failed.")] = False,
    json: AsJson = False,
) -> None:
    """Print records, newest first. Reading the trail is itself recorded."""
    records: list[dict[str, str]] = []
    for reply in run(home, "trail.show", last=last, patient=patient, actor=actor, refused=refused):
        records.extend(reply.get("records", ()))
    if json:
        print_json(records)
        return
    from rich.text import Text

    screen = console()
    for record in records:
        good = record["outcome"] == "success"
        line = Text(f"{record['time'][:19].replace('T', ' ')}  {printable(record['event']):<26}  ")
        line.append(f"{printable(record['outcome']):<24}  ", style="green" if good else "bold red")
        line.append(printable(record["actor"]))
        if record["source"]:
            line.append(f"  from {printable(record['source'])}", style="dim")
        screen.print(line)
        if record["about"]:
            screen.print(Text(f"    {printable(record['about'])}", style="dim"))


@app.command("verify", epilog=EXIT_HELP)
def verify(home: Home = None, json: AsJson = False) -> None:
    """
    Check every record against the chain and the heads in the register. Exit status 5 when something was changed or is
    missing.
    """
    found: dict[str, object] = {}
    for reply in run(home, "trail.verify"):
        found = reply.get("result", found)
    findings = found["findings"]
    assert isinstance(findings, list)
    if json:
        print_json(found)
    else:
        for finding in findings:
            typer.echo(f"{finding['kind']:<16}{printable(finding['where'])}  {printable(finding['detail'])}")
        typer.echo(
            f"{found['records']:,} records: "
            + ("every one in its place and unchanged" if not findings else "NOT as written")
        )
    if findings:
        sys.exit(Exit.INTEGRITY)
