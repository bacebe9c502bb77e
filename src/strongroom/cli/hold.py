"""`strongroom hold add|list|release`: studies that nobody may delete or erase."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.options import AsJson, Home, console, moment, plural, print_json, printable, result

app = typer.Typer(help="Legal holds: studies that must stay.", no_args_is_help=True, rich_markup_mode=None)

Why = Annotated[str, typer.Option("--reason", help="Why, a word at least; it stands in the trail.")]


@app.command("add", epilog=EXIT_HELP)
def add(
    study: Annotated[list[str], typer.Argument(help="Study Instance UIDs.")],
    reason: Why,
    home: Home = None,
    until: Annotated[
        str | None, typer.Option(help="The last day of the hold, such as 2031-12-31 (UTC); without it, until released.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Put studies on hold: deleting and erasing them is refused."""
    found = result(home, "hold.add", studies=study, why=reason, until=until)
    if json:
        print_json(found)
        return
    for one in found["holds"]:
        typer.echo(f"hold {one['id']}: study {printable(one['study'])} stays")


@app.command("list", epilog=EXIT_HELP)
def list_(home: Home = None, json: AsJson = False) -> None:
    """List the holds, the newest first; released and expired ones too."""
    found = result(home, "hold.list")
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "study", "state", "since", "until", "who", "reason"):
        table.add_column(heading, overflow="fold")
    for one in found["holds"]:
        until = moment(one["until"]) if one["until"] else "released"
        values = (str(one["id"]), one["study"], one["state"], moment(one["since"]), until, one["who"], one["reason"])
        table.add_row(*(printable(value) for value in values), style=None if one["state"] == "active" else "dim")
    if found["holds"]:
        console().print(table)
    active = sum(one["state"] == "active" for one in found["holds"])
    typer.echo(f"{plural(active, 'hold')} in force")


@app.command("release", epilog=EXIT_HELP)
def release(
    number: Annotated[int, typer.Argument(help="The hold's number, as `hold list` shows it.")],
    reason: Why,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """End a hold: the study may be deleted and erased again."""
    found = result(home, "hold.release", number=number, why=reason)
    if json:
        print_json(found)
        return
    typer.echo(f"hold {found['id']} is released: study {printable(found['study'])}")
