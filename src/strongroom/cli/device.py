"""`strongroom device add|list|revoke`: who may connect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.exits import EXIT_HELP
from strongroom.cli.options import AsJson, Home, console, moment, print_json, printable, result

app = typer.Typer(help="Devices: enrol, list, revoke.", no_args_is_help=True, rich_markup_mode=None)


@app.command("add", epilog=EXIT_HELP)
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example CT1.")],
    ae_title: Annotated[str, typer.Option(help="The AE title the device calls itself.")],
    may: Annotated[str, typer.Option(help="What it may do: deposit, query, retrieve (comma separated).")],
    out: Annotated[Path, typer.Option(help="Folder for its bundle: device.key, device.crt, ca.crt, README.txt.")],
    home: Home = None,
    network: Annotated[list[str] | None, typer.Option(help="Only from this network (CIDR); may be repeated.")] = None,
    move_port: Annotated[
        str | None, typer.Option(help="HOST:PORT where it takes images that C-MOVE sends (TLS).")
    ] = None,
    private_class: Annotated[
        list[str] | None, typer.Option(help="A private SOP class it may store; may be repeated.")
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="It cannot do TLS: plaintext door only, store and echo only.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=825, help="How long its certificate is valid.")] = 397,
    json: AsJson = False,
) -> None:
    """Enrol a device and write a ready bundle with its key, its certificate and the exact settings."""
    from strongroom.app.bundle import check_folder, write_bundle

    check_folder(out)
    enrolled = result(
        home,
        "device.add",
        name=name,
        ae_title=ae_title,
        may=[part.strip() for part in may.split(",") if part.strip()],
        networks=network or [],
        move=move_port,
        private_classes=private_class or [],
        legacy=legacy,
        days=days,
    )
    write_bundle(out, enrolled)
    if json:
        print_json(
            {key: enrolled[key] for key in ("name", "ae_title", "may", "expires", "fingerprint")} | {"out": str(out)}
        )
        return
    holding = "it has no key, for this device has no TLS" if legacy else "the key in it exists nowhere else"
    typer.echo(f"{name} is enrolled. Its bundle lies in {out}; {holding}.")
    typer.echo(f"Try it:  {enrolled['try_command']}".replace("BUNDLE", str(out)))


@app.command("list", epilog=EXIT_HELP)
def list_(home: Home = None, json: AsJson = False) -> None:
    """List the enrolled devices, and the callers that knocked without being enrolled."""
    found = result(home, "device.list")
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = ("name", "ae_title", "may", "networks", "state", "expires", "last_seen")
    for heading in columns:
        table.add_column(heading.replace("_", " "), overflow="fold")
    for device in found["devices"]:
        seen = moment(device["last_seen"]) if device["last_seen"] else "never"
        values = (
            (", ".join(value) if isinstance(value, list) else str(value or ""))
            for value in ((device | {"last_seen": seen})[key] for key in columns)
        )
        table.add_row(*(printable(value) for value in values), style=None if device["state"] == "active" else "dim")
    screen = console()
    screen.print(table)
    if found["refused"]:
        screen.print(
            "\nSeen, refused (enrol them with: strongroom device add NAME --ae-title AET --may deposit --out DIR):"
        )
        for caller in found["refused"]:
            called = repr(printable(caller["ae_title"])) if caller["ae_title"] else "without an AE title"
            screen.print(
                f"  {called} from {printable(caller['address'])}: {caller['count']}x, last {moment(caller['last'])}"
            )


@app.command("revoke", epilog=EXIT_HELP)
def revoke(
    name: Annotated[str, typer.Argument(help="The device's name.")], home: Home = None, json: AsJson = False
) -> None:
    """Revoke a device at once: its open associations end, its certificate opens nothing any more."""
    found = result(home, "device.revoke", name=name)
    if json:
        print_json(found)
        return
    typer.echo(
        f"{printable(name)} is revoked; {found['ended']} open association{'' if found['ended'] == 1 else 's'} ended."
    )
