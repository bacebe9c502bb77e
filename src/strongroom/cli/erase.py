"""`strongroom erase request|list|confirm|cancel|release`: studies gone for good, keys and all."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.options import AsJson, Home, console, moment, plain, plural, print_json, printable, result, run

app = typer.Typer(
    help="Erase studies for good, in two steps: one asks, another confirms.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Why = Annotated[str, typer.Option("--reason", help="Why, a word at least; it stands in the trail.")]
Number = Annotated[int, typer.Argument(help="The request's number, as `erase list` shows it.")]


@app.command("request", epilog=EXIT_HELP)
def request(
    study: Annotated[list[str], typer.Argument(help="Study Instance UIDs; deleted studies too.")],
    reason: Why,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Ask for studies to be erased for good. Nothing happens before somebody else confirms it."""
    found = result(home, "erase.request", studies=study, why=reason)
    if json:
        print_json(found)
        return
    typer.echo(f"Request {found['id']}: {len(found['studies'])} to erase. Nothing is erased yet.")
    typer.echo(
        f"Somebody else confirms it with: strongroom erase confirm {found['id']}\n"
        "Where the machine's command line is all there is, the same may confirm after 24 hours."
    )


@app.command("list", epilog=EXIT_HELP)
def list_(home: Home = None, json: AsJson = False) -> None:
    """List requests, the newest first, and the tombstones of what was erased."""
    found = result(home, "erase.list")
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("request", "state", "studies", "asked", "who", "decided by", "reason"):
        table.add_column(heading, overflow="fold")
    for one in found["requests"]:
        values = (str(one["id"]), one["state"], str(len(one["studies"])), moment(one["when"]), one["who"])
        table.add_row(*(printable(value) for value in (*values, one["decided_by"] or "", one["reason"])))
    if found["requests"]:
        console().print(table)
    for one in found["tombstones"]:
        state = "may be sent again" if one["released"] else "is refused when it is sent again"
        typer.echo(
            f"study {printable(one['study'])}: {plural(one['instances'], 'instance')} erased {moment(one['when'])}, "
            f"{state}; proof {one['proof']}"
        )
    typer.echo(f"{plural(len(found['requests']), 'request')}, {plural(len(found['tombstones']), 'tombstone')}")


@app.command("confirm", epilog=EXIT_HELP)
def confirm(number: Number, home: Home = None, json: AsJson = False) -> None:
    """Confirm a request and erase; typed again it goes on where it was cut short. Nothing brings the studies back."""
    found: dict[str, Any] = {}
    for reply in run(home, "erase.confirm", number=number):
        if "progress" in reply and not json and not plain():
            typer.echo(f"{reply['progress']['state']} ({reply['progress']['done']} of {reply['progress']['total']})")
        found = reply.get("result", found)
    if json:
        print_json(found)
        return
    typer.echo(
        f"Request {found['id']} is done: {len(found['studies'])} erased, keys shredded, packs compacted. "
        "Backups that were made before still hold them until they are restored or replaced."
    )


@app.command("cancel", epilog=EXIT_HELP)
def cancel(number: Number, home: Home = None, json: AsJson = False) -> None:
    """Take a request back that nobody confirmed yet."""
    found = result(home, "erase.cancel", number=number)
    if json:
        print_json(found)
        return
    typer.echo(f"Request {found['id']} is cancelled; nothing was erased.")


@app.command("release", epilog=EXIT_HELP)
def release(
    study: Annotated[str, typer.Argument(help="Study Instance UID of an erased study.")],
    reason: Why,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Let an erased study be sent again, as a new one. What was erased stays erased."""
    found = result(home, "erase.release", study=study, why=reason)
    if json:
        print_json(found)
        return
    typer.echo(f"Study {printable(found['study'])} may be sent again.")
