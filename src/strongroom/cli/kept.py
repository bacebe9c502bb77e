"""How conflicts and quarantine are printed: the same columns for both."""

from __future__ import annotations

from typing import Any, Final

import typer

from strongroom.cli.options import console, human_bytes, moment, printable

_COLUMNS: Final = ("study_instance_uid", "sop_instance_uid", "device", "received", "bytes", "decision")


def print_table(entries: list[dict[str, Any]], own: tuple[str, ...]) -> None:
    """Print a list; *own* are its columns in front of those that both have."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in (*own, *_COLUMNS):
        table.add_column(heading.replace("_", " "), overflow="fold")
    for entry in entries:
        table.add_row(*(printable(_text(name, entry[name])) for name in (*own, *_COLUMNS)))
    console().print(table)


def print_kept(entry: dict[str, Any]) -> None:
    """Print one entry, a line for each thing that is known."""
    for name, value in entry.items():
        if name == "differences" or value in (None, ""):
            continue
        if isinstance(value, dict):
            shown = ", ".join(f"{key.replace('_', ' ')} {one}" for key, one in value.items())
        else:
            shown = _text(name, value)
        typer.echo(f"{name.replace('_', ' '):<22}{printable(shown)}")


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "decision":
        return str(value["outcome"])
    if name == "received":
        return moment(value)
    if name == "whole_file":
        return "yes" if value else "no"
    return human_bytes(value) if name == "bytes" else str(value)
