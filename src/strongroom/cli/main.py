"""The command tree. Nothing here imports the archive: `--help` must be quick (PERFORMANCE section 2)."""

from __future__ import annotations

import sys

import typer

from strongroom import __version__
from strongroom.cli import check, demo, device, doors, export, import_, init, jobs, serve, status, token, trail
from strongroom.cli.exits import EXIT_HELP, fail
from strongroom.errors import StrongroomError

app = typer.Typer(
    name="strongroom",
    help="A medical-image archive (PACS) that cannot be left open.",
    epilog=EXIT_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"strongroom {__version__}")
        raise typer.Exit


app.command("init", epilog=EXIT_HELP, short_help="Make a new, empty, locked home.")(init.init)
app.command("serve", epilog=EXIT_HELP, short_help="Open the doors of a home and stay.")(serve.serve)
app.command("demo", epilog=EXIT_HELP, short_help="Show everything at work in a temporary home.")(demo.demo)
app.command("status", epilog=EXIT_HELP)(status.status)
app.command("doors", epilog=EXIT_HELP, short_help="Print who can knock where, and what a stranger got.")(doors.doors)
app.command("import", epilog=EXIT_HELP)(import_.import_)
app.command("check", epilog=EXIT_HELP)(check.check)
app.add_typer(device.app, name="device")
app.add_typer(export.app, name="export")
app.add_typer(jobs.app, name="jobs")
app.add_typer(token.app, name="token")
app.add_typer(trail.app, name="trail")


def main() -> None:
    """Run the command line; every error raised on purpose becomes a sentence and an exit status."""
    try:
        app(prog_name="strongroom")
    except StrongroomError as error:
        fail(error, as_json="--json" in sys.argv)
