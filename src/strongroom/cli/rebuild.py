"""`strongroom rebuild`: the catalogue made anew from the packs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, home_path, plain, plural, print_json, printable


def rebuild(
    home: Home = None,
    without_register: Annotated[
        bool,
        typer.Option(
            "--without-register",
            help="Go on without devices, tokens, holds and deletions: they are lost, and what was deleted is back.",
        ),
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the passphrase of the master key.", envvar="STRONGROOM_PASSPHRASE_FILE"),
    ] = None,
    json: AsJson = False,
) -> None:
    """
    Make the catalogue anew from packs and keyring; the server must be stopped. The old archive.db is kept beside the
    new one. Exit status 1 when something in the packs could not be read.
    """
    from strongroom.app.host import rebuild as made_anew

    found: dict[str, object] = {}
    for reply in made_anew(home_path(home), without_register=without_register, passphrase_file=passphrase_file):
        if "progress" in reply and not json and not plain():
            step = reply["progress"]
            unit = "packs walked" if step["phase"] == "labels" else "instances"
            typer.echo(f"\r{step['done']:,} of {step['total']:,} {unit:<20}", nl=False)
        found = reply.get("result", found)
    findings = found["findings"]
    assert isinstance(findings, list)
    if json:
        print_json(found)
    else:
        if not plain():
            typer.echo("\r", nl=False)
        _show(found, findings)
    if findings:
        sys.exit(Exit.FINDINGS)


def _show(found: dict[str, object], findings: list[dict[str, str]]) -> None:
    for finding in findings:
        typer.echo(f"{finding['kind']:<24}{printable(finding['where'])}  {printable(finding['detail'])}")
    count = found["instances"]
    assert isinstance(count, int)
    seconds = found["seconds"]
    assert isinstance(seconds, float)
    rate = f"{count / seconds:,.0f} a second" if seconds else "at once"
    typer.echo(f"{plural(count, 'instance')} indexed in {seconds:,.1f} s ({rate})")
    for name, text in (
        ("aside", "kept aside or deleted, as before"),
        ("quarantine", "put into quarantine"),
        ("conflicts", "put aside as conflicts"),
        ("copies", "left: their content is indexed already"),
        ("erased", "left: their study was erased"),
        ("without_key", "left: their key is not in the keyring (erased, or lost)"),
    ):
        if found[name]:
            typer.echo(f"{found[name]:>8,} {text}")
    if found["register"] == "lost":
        typer.echo("The register was lost: enrol devices, make tokens and set holds again; what was deleted is back.")
