"""`strongroom jobs list|cancel|retry`: what is done in the background."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from strongroom.cli.exits import EXIT_HELP, Exit
from strongroom.cli.options import AsJson, Home, console, moment, print_json, printable, result

app = typer.Typer(
    help="Jobs: work in the background, list, cancel, try again.", no_args_is_help=True, rich_markup_mode=None
)

Number = Annotated[int, typer.Argument(help="The job's number, as `jobs list` shows it.")]


@app.command("list", epilog=EXIT_HELP)
def list_(
    home: Home = None,
    state: Annotated[
        str | None, typer.Option(help="Only jobs that are waiting, running, done, failed or cancelled.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    json: AsJson = False,
) -> None:
    """
    List the newest jobs with their progress, those that are not over first. Exit status 1 when a job was given up.
    """
    found = result(home, "jobs.list", state=state, kind=kind)
    if json:
        print_json(found)
    else:
        _print(found)
    if found["counts"]["failed"]:
        sys.exit(Exit.FINDINGS)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("number", "kind", "state", "attempt", "progress", "changed", "due", "problem"):
        table.add_column(heading, overflow="fold")
    for job in found["jobs"]:
        table.add_row(
            str(job["id"]),
            printable(job["kind"]),
            job["state"],
            str(job["attempt"] or ""),
            f"{job['done']:,} of {job['total']:,}" if job["total"] else "",
            moment(job["changed"]),
            moment(job["due"]) if job["due"] else "",
            printable(job["problem"]),
            style={"failed": "bold red", "done": "dim", "cancelled": "dim"}.get(job["state"]),
        )
    screen = console()
    screen.print(table)
    numbers = ", ".join(f"{number:,} {state}" for state, number in found["counts"].items() if number)
    screen.print(f"{numbers or 'no jobs'}.")


@app.command("cancel", epilog=EXIT_HELP)
def cancel(number: Number, home: Home = None, json: AsJson = False) -> None:
    """Cancel a job: one that waits at once, one that runs as soon as it reports progress."""
    found = result(home, "jobs.cancel", number=number)
    if json:
        print_json(found)
        return
    typer.echo(
        f"Job {number} ({printable(found['kind'])}) is {'' if found['state'] == 'cancelled' else 'being '}cancelled."
    )


@app.command("retry", epilog=EXIT_HELP)
def retry(number: Number, home: Home = None, json: AsJson = False) -> None:
    """Let a job begin anew that was given up or cancelled; one that waits comes at once."""
    found = result(home, "jobs.retry", number=number)
    if json:
        print_json(found)
        return
    typer.echo(f"Job {number} ({printable(found['kind'])}) waits to be tried again; the server does it.")
