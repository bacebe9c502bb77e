"""`strongroom quarantine list|show|release|discard`: what was refused and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.kept import print_kept, print_table
from strongroom.cli.options import AsJson, Home, print_json, printable, result

app = typer.Typer(
    help="Quarantine: what was refused and kept; list, show, release, discard.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Number = Annotated[int, typer.Argument(help="The entry's number, as `quarantine list` shows it.", min=1)]
_Reason = Annotated[str, typer.Option(help="Why, a word at least; it stands in the trail.")]


@app.command("list", epilog=EXIT_HELP)
def list_(
    home: Home = None,
    everything: Annotated[bool, typer.Option("--all", help="What was released or discarded too.")] = False,
    json: AsJson = False,
) -> None:
    """List what is in quarantine and why: UIDs and senders, nothing of a patient."""
    found = result(home, "quarantine.list", decided=everything)
    if json:
        print_json(found)
        return
    print_table(found["quarantine"], ("id", "fault"))


@app.command("show", epilog=EXIT_HELP)
def show(number: _Number, home: Home = None, json: AsJson = False) -> None:
    """Show one entry: what it is, why it was refused, what was decided."""
    found = result(home, "quarantine.show", number=number)
    if json:
        print_json(found)
        return
    print_kept(found)


@app.command("release", epilog=EXIT_HELP)
def release(number: _Number, reason: _Reason, home: Home = None, json: AsJson = False) -> None:
    """Try to deposit an entry again. A data set that is not whole is refused again (3)."""
    found = result(home, "quarantine.release", number=number, reason=reason)
    if json:
        print_json(found)
        return
    typer.echo(f"released: {found['outcome']}, instance {printable(found['sop_instance_uid'])}")


@app.command("discard", epilog=EXIT_HELP)
def discard(number: _Number, reason: _Reason, home: Home = None, json: AsJson = False) -> None:
    """Take an entry off the list. It stays sealed, `list --all` shows it, and it can still be released."""
    found = result(home, "quarantine.discard", number=number, reason=reason)
    if json:
        print_json(found)
        return
    typer.echo(f"{number} is off the list; its bytes stay sealed")
