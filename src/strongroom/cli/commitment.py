"""`strongroom commitment ask|list|show`: who answers for which images (storage commitment)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strongroom.cli.exits import EXIT_HELP, Exit
from strongroom.cli.options import AsJson, Home, console, moment, plural, print_json, printable, result

app = typer.Typer(
    help="Storage commitment: ask a device whether it keeps a study, and see who answers for what.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("ask", epilog=EXIT_HELP)
def ask(
    device: Annotated[str, typer.Argument(help="The device's name; it needs --move-port and may retrieve.")],
    study: Annotated[str, typer.Option(help="Study Instance UID of what it should answer for.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Ask a device to answer for every image of a study. The server does it; the result comes in its own time."""
    made = result(home, "commitment.ask", device=device, study=study)
    if json:
        print_json(made)
        return
    typer.echo(f"Commitment {made['id']}: {printable(device)} is asked about {plural(made['instances'], 'instance')}.")


@app.command("list", epilog=EXIT_HELP)
def list_(home: Home = None, json: AsJson = False) -> None:
    """List the newest storage commitments: what devices asked of us, and what we asked of devices."""
    found = result(home, "commitment.list")
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("number", "device", "asked by", "state", "instances", "not kept", "changed"):
        table.add_column(heading, overflow="fold")
    for one in found["commitments"]:
        failed = one["failed"]
        table.add_row(
            str(one["id"]),
            printable(one["device"]),
            one["asked_by"],
            one["state"],
            f"{one['instances']:,}",
            "" if failed is None else f"{failed:,}",
            moment(one["changed"]),
            style="bold red" if failed else None,
        )
    console().print(table)


@app.command("show", epilog=EXIT_HELP)
def show(
    number: Annotated[int, typer.Argument(help="The number that `commitment list` shows.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Show one storage commitment, and what nobody answers for. Exit status 1 when there is something."""
    one = result(home, "commitment.show", number=number)
    if json:
        print_json(one)
    else:
        asked = (
            f"{printable(one['device'])} asked us"
            if one["asked_by"] == "device"
            else f"we asked {printable(one['device'])}"
        )
        typer.echo(f"Commitment {number}: {asked} about {plural(one['instances'], 'instance')}; {one['state']}.")
        for failed in one["not_kept"]:
            typer.echo(f"{failed['reason']}  {printable(failed['sop_instance_uid'])}")
        if one["failed"]:
            typer.echo(f"Not kept: {plural(one['failed'], 'instance')}.")
    if one["failed"]:
        sys.exit(Exit.FINDINGS)
