"""`strongroom rotate`: a new master key, without touching a pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.options import AsJson, Home, home_path, print_json


def rotate(
    home: Home = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="The file whose first line is the passphrase of the present key.", envvar="STRONGROOM_PASSPHRASE_FILE"
        ),
    ] = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase", help="Wrap the new key under the passphrase in this file.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", help="Write the new key to this file instead of the home.")
    ] = None,
    keep_old_key: Annotated[
        Path | None, typer.Option("--keep-old-key", help="Copy the old key to this file: older backups need it.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Replace the master key. The server has to be stopped; a crash leaves a home that opens with one of the two."""
    import asyncio

    from strongroom.app.founding import read_passphrase
    from strongroom.app.rotating import Wish
    from strongroom.app.rotating import rotate as replace

    wish = Wish(read_passphrase(new_passphrase_file), new_key, keep_old_key)
    done = asyncio.run(replace(home_path(home), passphrase=read_passphrase(passphrase_file), wish=wish))
    if json:
        print_json(done)
        return
    typer.echo(f"The master key {done['before']} was replaced by {done['now']}: {done['key']}")
    typer.echo("Keep a copy of the new key elsewhere, and make a backup now: `backup --afresh`, or into a new folder.")
    if done["kept_old"]:
        typer.echo(
            f"The old key is {done['kept_old']}; backups made before need it, and it opens them for whoever has it."
        )
    else:
        typer.echo("The old key was written over. Backups made before need a copy of it that you kept.")
    for name in done["under_the_old_key"]:
        typer.echo(f"still under the old key: {name}; remove it when you do not need it")
