"""`strongroom token add|list|revoke`: which services may use DICOMweb."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.options import AsJson, Home, console, moment, print_json, printable, result

app = typer.Typer(help="Tokens: let a service use DICOMweb, list, revoke.", no_args_is_help=True, rich_markup_mode=None)


@app.command("add", epilog=EXIT_HELP)
def add(
    name: Annotated[str, typer.Argument(help="A name for the service, for example ohif.")],
    role: Annotated[
        list[str],
        typer.Option(help="What it may do: reader, radiologist, modality or auditor; may be repeated."),
    ],
    lasting: Annotated[str, typer.Option("--for", help="How long it holds: 90d, 12h, 52w; at most 825d.")],
    home: Home = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it reaches: all (the default), study:UID, issuer:NAME or device:NAME; may be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the token into this new file, readable by you alone, not to the screen.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a token for a service; it is shown this once and kept nowhere."""
    asked = {"name": name, "roles": role, "scope": scope or ["all"], "life": lasting}
    if out is None:
        made = result(home, "token.add", **asked)
    else:
        with _new_file(out) as file:
            made = result(home, "token.add", **asked)
            file.write(made.pop("token").encode("ascii") + b"\n")
        made["out"] = str(out)
    if json:
        print_json(made)
        return
    typer.echo(
        f"{printable(made['name'])} may use DICOMweb until {moment(made['expires'])}: {', '.join(made['roles'])}, "
        f"scope {printable(', '.join(made['scope']))}."
    )
    if out is None:
        typer.echo(f"\n{made['token']}\n\nThis is the only time the token is shown. Whoever has it may do the same.")
        shown = '"Authorization: Bearer TOKEN"'
    else:
        typer.echo(f"The token lies in {out}, readable by you alone, and nowhere else. Whoever has it may do the same.")
        shown = f'"Authorization: Bearer $(cat {shlex.quote(str(out))})"'
    if request := _try(set(made["roles"]), made["url"]):
        typer.echo(f"Try it:  curl --cacert {shlex.quote(made['authority'])} -H {shown} {request}")


def _try(roles: set[str], url: str) -> str | None:
    """The rest of a curl command that a token of these roles may do; None when there is none."""
    if roles & {"reader", "radiologist"}:
        return f"'{url}/studies?limit=1'"
    if "modality" in roles:
        return f"-H 'Content-Type: application/dicom' --data-binary @image.dcm '{url}/studies'"
    return None


@app.command("list", epilog=EXIT_HELP)
def list_(home: Home = None, json: AsJson = False) -> None:
    """List the tokens that were made, without the tokens themselves."""
    found = result(home, "token.list")
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = ("name", "roles", "scope", "state", "expires", "last_used")
    for heading in columns:
        table.add_column(heading.replace("_", " "), overflow="fold")
    for token in found["tokens"]:
        values = (
            token["name"],
            ", ".join(token["roles"]),
            ", ".join(token["scope"]),
            token["state"],
            moment(token["expires"]),
            moment(token["last_used"]) if token["last_used"] else "never",
        )
        table.add_row(*(printable(value) for value in values), style=None if token["state"] == "active" else "dim")
    console().print(table)


@app.command("revoke", epilog=EXIT_HELP)
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")], home: Home = None, json: AsJson = False
) -> None:
    """Revoke a token at once: whatever its service asks for next is refused."""
    found = result(home, "token.revoke", name=name)
    if json:
        print_json(found)
        return
    ended = found["ended"]
    typer.echo(f"{printable(name)} is revoked; {ended} request{'' if ended == 1 else 's'} under way ended.")


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that must not exist yet, private to its owner; gone again if what it is for fails."""
    from strongroom.errors import ConfigurationError, ConflictError

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists; choose another file for the token") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
