"""`strongroom conflicts list|show|resolve`: what was kept aside because something else was there first."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.kept import print_kept, print_table
from strongroom.cli.options import AsJson, Home, plain, plural, print_json, printable, result, run

app = typer.Typer(
    help="Conflicts: list, show, decide which content stays.", no_args_is_help=True, rich_markup_mode=None
)

_Number = Annotated[int, typer.Argument(help="The conflict's number, as `conflicts list` shows it.", min=1)]


class Keep(StrEnum):
    """What is to be in the archive from now on."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@app.command("list", epilog=EXIT_HELP)
def list_(
    home: Home = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that were decided too.")] = False,
    json: AsJson = False,
) -> None:
    """List what waits for a decision: UIDs and senders, nothing of a patient."""
    found = result(home, "conflicts.list", decided=everything)
    if json:
        print_json(found)
        return
    print_table(found["conflicts"], ("id", "kind", "instances"))


@app.command("show", epilog=EXIT_HELP)
def show(
    number: _Number,
    home: Home = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, a word at least; it stands in the trail. With it the values are shown.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show one conflict, and in which attributes first and second differ; values only with a reason."""
    found = result(home, "conflicts.show", number=number, reason=reason)
    if json:
        print_json(found)
        return
    print_kept(found)
    differences: list[dict[str, Any]] | None = found["differences"]
    if differences is None:
        typer.echo("the first is not in the archive any more: nothing to compare with")
    elif not differences:
        typer.echo("no attribute differs: pixels or other bulk data do, or how they are encoded")
    for one in differences or ():
        line = f"differs   {one['tag']} {one['keyword']}"
        if "first" in one:
            line += f": {printable(one['first'])} | {printable(one['second'])}"
        typer.echo(line)


@app.command("resolve", epilog=EXIT_HELP)
def resolve(
    number: _Number,
    keep: Annotated[Keep, typer.Option(help="Which is to be in the archive; both only where the patient differs.")],
    reason: Annotated[str, typer.Option(help="Why, a word at least; it stands in the trail.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Decide a conflict and what belongs to it. What loses stays sealed; another decision brings it back."""
    found: dict[str, Any] = {}
    for reply in run(home, "conflicts.resolve", number=number, keep=keep.value, reason=reason):
        if "progress" in reply and not json and not plain():
            progress = reply["progress"]
            typer.echo(f"\r{progress['done']:,} of {progress['total']:,} instances", nl=False)
        found = reply.get("result", found)
    if json:
        print_json(found)
        return
    if not plain():
        typer.echo("\r", nl=False)
    typer.echo(
        f"decided: {found['kept']}; {plural(found['conflicts'], 'conflict')}, {plural(found['came_in'], 'instance')} "
        f"came in, {found['left']:,} left"
    )
