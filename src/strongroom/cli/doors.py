"""`strongroom doors`: who can knock where, and what a stranger got when the archive last looked at itself from outside."""

from __future__ import annotations

import sys

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, print_json, printable, result


def doors(home: Home = None, json: AsJson = False) -> None:
    """Print the table of doors; exit status 1 if one of them was found open to strangers and shut."""
    found = result(home, "doors")
    if json:
        print_json(found)
    else:
        _show(found)
    if any(door["state"] == "shut" for door in found["doors"]):
        sys.exit(Exit.FINDINGS)


def _show(found: dict[str, list[dict[str, str]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Doors", title_justify="left")
    for heading in ("door", "address", "transport", "who may come in", "state", "a stranger gets", "last looked"):
        table.add_column(heading, overflow="fold")
    for door in found["doors"]:
        style = "red" if door["transport"] == "plain text" or door["state"] == "shut" else None
        table.add_row(
            *(printable(str(door[key])) for key in ("name", "address", "transport", "who", "state", "stranger", "looked")), style=style
        )
    Console().print(table)
    if not found["doors"]:
        typer.echo("No door is configured.")
