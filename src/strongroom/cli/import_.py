"""`strongroom import`: take DICOM files from a folder of this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, plain, print_json, printable, run


def import_(
    path: Annotated[Path, typer.Argument(help="A DICOM file, or a folder that is searched for them.", exists=True)],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """
    Import DICOM files through the same gate as every other deposit. Exit status 1 if some were refused; they are
    listed.
    """
    found: dict[str, Any] = {}
    for reply in run(home, "import", path=str(path.resolve())):
        if "progress" in reply and not json and not plain():
            progress = reply["progress"]
            typer.echo(f"\r{progress['done']:,} of {progress['total']:,} files", nl=False)
        found = reply.get("result", found)
    if json:
        print_json(found)
    else:
        if not plain():
            typer.echo("\r", nl=False)
        for refusal in found["refused"]:
            typer.echo(f"refused  {printable(refusal['file'])}: {printable(refusal['reason'])}")
        typer.echo(
            f"{found['stored']:,} stored, {found['duplicates']:,} already here, "
            f"{found['conflicts']:,} kept aside as conflicts, "
            f"{found['not_dicom']:,} not DICOM, {len(found['refused']):,} refused"
        )
    if found["refused"] or found["conflicts"]:
        sys.exit(Exit.FINDINGS)
