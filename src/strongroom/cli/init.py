"""`strongroom init`: make a new home."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.options import AsJson, Home, home_path, print_json


def init(
    home: Home = None,
    web: Annotated[str, typer.Option(help="Where the web door will listen, HOST:PORT.")] = "127.0.0.1:8443",
    dicom: Annotated[
        str, typer.Option(help="Where the DICOM door listens (TLS), HOST:PORT; port 0 takes a free one.")
    ] = "127.0.0.1:2762",
    ae_title: Annotated[str, typer.Option(help="The archive's own AE title.")] = "STRONGROOM",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="Protect the master key with the passphrase in this file, which every later command needs as well.",
            envvar="STRONGROOM_PASSPHRASE_FILE",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a new home: keys, certificate authority, empty vault, catalogue and trail. Nothing listens yet."""
    from strongroom.app.founding import found

    path = home_path(home)
    founded = found(path, dicom=dicom, web=web, ae_title=ae_title, passphrase_file=passphrase_file)
    if json:
        print_json(founded)
        return
    typer.echo(f"A new, empty, locked archive lies in {path}.")
    if passphrase_file is None:
        typer.echo(
            "\nIts master key is a file in the home (keys/master.key, readable by you alone). It protects packs,\n"
            "copies and backups that travel, not a disk that is stolen whole: keep a copy of the key elsewhere,\n"
            "and consider --passphrase-file or a systemd credential."
        )
    else:
        typer.echo(
            "\nIts master key is wrapped under your passphrase: who loses either of the two loses the images.\n"
            "Keep a copy of keys/ elsewhere, and one of the passphrase, not beside it."
        )
    typer.echo("\nThe SHA-256 fingerprint of its authority, keys/ca.crt, which devices and services trust:")
    typer.echo(_fingerprint(founded))
    unlock = "" if passphrase_file is None else f" --passphrase-file {shlex.quote(str(passphrase_file))}"
    typer.echo(
        f"\nNext:\n  strongroom device add CT1 --home {path} --ae-title CT1 --may deposit --out ct1-bundle\n"
        f"  strongroom serve --home {path}{unlock}"
    )


def _fingerprint(founded: dict[str, Any]) -> str:
    """As `openssl x509 -fingerprint -sha256` and the first page of the web door have it, in two lines."""
    pairs = [founded["authority"][at : at + 2].upper() for at in range(0, 64, 2)]
    return f"  {':'.join(pairs[:16])}\n  {':'.join(pairs[16:])}"
