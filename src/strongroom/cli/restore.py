"""`strongroom restore`: a home out of a backup, or the drill that shows that it would work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, human_bytes, moment, plain, plural, print_json, printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def restore(
    source: Annotated[Path, typer.Argument(help="The folder of the backup.")],
    master_key: Annotated[
        Path, typer.Option("--master-key", help="The file of the master key the home had when it was backed up.")
    ],
    home: Home = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="The file whose first line is the passphrase of that key.", envvar="STRONGROOM_PASSPHRASE_FILE"
        ),
    ] = None,
    drill: Annotated[
        bool, typer.Option("--drill", help="Restore to a temporary folder, check everything, remove it.")
    ] = False,
    beside: Annotated[
        Path | None, typer.Option("--in", help="With --drill: where the temporary folder is made (default: beside it).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not open every byte afterwards.")] = False,
    tombstones: Annotated[
        Path | None, typer.Option("--tombstones", help="A home or copy that knows what was erased since the backup.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Restore a backup into a new home and compare every digest. Exit status 1 when something is not as it was."""
    from strongroom.app import restoring
    from strongroom.app.founding import read_passphrase

    wanted = restoring.Source(source.absolute(), master_key, read_passphrase(passphrase_file), tombstones)
    if drill:
        replies = restoring.drill(wanted, beside or source.absolute().parent, quick=quick)
    elif home is None:
        raise typer.BadParameter("say with --home where the new home goes, or use --drill", param_hint="--home")
    else:
        replies = restoring.restore(wanted, home, quick=quick)
    found: dict[str, Any] = {}
    for reply in _driven(replies):
        if "progress" in reply and not json and not plain():
            progress = reply["progress"]
            typer.echo(f"\r{progress['stage']} {progress['done']:,} of {progress['total']:,}   ", nl=False)
        found = reply.get("result", found)
    if json:
        print_json(found)
    else:
        _print(found, drill=drill)
    if found["findings"]:
        sys.exit(Exit.FINDINGS)


def _driven(replies: AsyncGenerator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    import asyncio

    with asyncio.Runner() as runner:
        try:
            while True:
                try:
                    yield runner.run(anext(replies))
                except StopAsyncIteration:
                    return
        finally:
            runner.run(replies.aclose())


def _print(found: dict[str, Any], *, drill: bool) -> None:
    if not plain():
        typer.echo("\r", nl=False)
    for one in found["findings"]:
        typer.echo(f"damaged  {printable(one)}")
    how = "every digest compared" if found["read"] else "structure and catalogue compared"
    typer.echo(
        f"{'The backup can be restored' if drill else 'Restored'}: as of {moment(found['made'])}, "
        f"{plural(found['instances'], 'instance')} in {found['studies']:,} studies, {human_bytes(found['bytes'])}"
    )
    count = plural(len(found["findings"]), "finding") if found["findings"] else "no findings"
    typer.echo(f"{plural(found['checked'], 'instance')} ({how}), {found['trail_records']:,} trail records: {count}")
