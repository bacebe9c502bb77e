"""`strongroom serve`: open the doors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.options import AsJson, Home, home_path


def serve(
    home: Home = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the passphrase of the master key.", envvar="STRONGROOM_PASSPHRASE_FILE"),
    ] = None,
    json: AsJson = False,
) -> None:
    """
    Open the doors of a home and stay; SIGTERM or Ctrl-C ends it cleanly. Prints one line, "ready", once connections
    are taken.
    """
    from strongroom.app.serving import serve_forever

    serve_forever(home_path(home), passphrase_file=passphrase_file, as_json=json)
