"""`strongroom export study|series`: a study or series to a folder or ZIP archive with its DICOMDIR."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.options import AsJson, Home, human_bytes, plain, plural, print_json, printable, run

app = typer.Typer(
    help="Write a study or series to a folder or ZIP archive.", no_args_is_help=True, rich_markup_mode=None
)

_Uid = Annotated[str, typer.Argument(help="Its Instance UID.")]
_Out = Annotated[Path, typer.Option(help="A new or empty folder, or a new file whose name ends in .zip.")]
_Reason = Annotated[
    str | None, typer.Option(help="Why, a word at least; it stands in the trail. Without it the export is refused.")
]


@app.command("study", epilog=EXIT_HELP)
def study(uid: _Uid, out: _Out, home: Home = None, reason: _Reason = None, json: AsJson = False) -> None:
    """Export a study as DICOM files with a DICOMDIR, through the same gate as every other retrieve."""
    _export("study", uid, out, home, reason, as_json=json)


@app.command("series", epilog=EXIT_HELP)
def series(uid: _Uid, out: _Out, home: Home = None, reason: _Reason = None, json: AsJson = False) -> None:
    """Export a series as DICOM files with a DICOMDIR, through the same gate as every other retrieve."""
    _export("series", uid, out, home, reason, as_json=json)


def _export(level: str, uid: str, out: Path, home: Path | None, reason: str | None, *, as_json: bool) -> None:
    found: dict[str, Any] = {}
    quiet = as_json or plain()
    for reply in run(home, "export", level=level, uid=uid, out=str(out.absolute()), reason=reason):
        if "progress" in reply and not quiet:
            progress = reply["progress"]
            typer.echo(f"\r{progress['done']:,} of {progress['total']:,} files", nl=False)
        found = reply.get("result", found)
    if as_json:
        print_json(found)
        return
    if not quiet:
        typer.echo("\r", nl=False)
    size = human_bytes(found["bytes"])
    typer.echo(f"{plural(found['instances'], 'instance')}, {size}, written to {printable(found['out'])}")
