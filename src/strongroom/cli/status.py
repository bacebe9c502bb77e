"""`strongroom status`: what the archive holds and how it is."""

from __future__ import annotations

import typer

from strongroom.cli.options import AsJson, Home, human_bytes, moment, print_json, printable, result


def status(home: Home = None, json: AsJson = False) -> None:
    """Print counts, doors and the age of the oldest unchecked blob."""
    found = result(home, "status")
    if json:
        print_json(found)
        return
    typer.echo(f"{'server':<22}{'running' if found['serving'] else 'not running'}")
    for name in ("patients", "studies", "series", "instances"):
        typer.echo(f"{name:<22}{found[name]:,}")
    typer.echo(f"{'bytes':<22}{human_bytes(found['bytes'])}")
    typer.echo(f"{'conflicts':<22}{found['conflicts']:,}")
    typer.echo(f"{'quarantine':<22}{found['quarantine']:,}")
    typer.echo(f"{'on legal hold':<22}{found['holds']:,}")
    typer.echo(f"{'devices':<22}{found['devices']:,}")
    oldest = found["oldest_unchecked_blob"]
    typer.echo(f"{'oldest unchecked blob':<22}{moment(oldest) if oldest else 'none'}")
    second = found["second_vault"]
    if second is not None:
        behind = f"{second['behind']:,} of {second['packs']:,} packs behind" if second["behind"] else "up to date"
        where = " (on the same disk as the home!)" if second["same_disk"] else ""
        typer.echo(f"{'second vault':<22}{behind}{where}")
        if second["problem"]:
            typer.echo(f"{'':<22}{printable(second['problem'])}")
    for door in found["doors"]:
        typer.echo(f"{'door ' + printable(door['name']):<22}{printable(door['address'])}  {door['state']}")
