"""Options that several commands share, and how a command reaches the home: through the running server, or by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS: Final = 1000
"""Longer than any line of ours."""

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The home folder (default: $STRONGROOM_HOME, else the platform's data folder).",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of text for a person.")]


def home_path(home: Path | None) -> Path:
    """The home a command means."""
    from strongroom.app.home import default_path

    return home if home is not None else default_path()


def run(home: Path | None, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Run *operation* on the home, by its server if one runs, and yield progress and at last {"result": ...}."""
    from strongroom.app.host import perform

    return perform(home_path(home), operation, parameters)


def result(home: Path | None, operation: str, **parameters: Any) -> Any:
    """Run *operation* and return its result, dropping progress."""
    last: Any = None
    for reply in run(home, operation, **parameters):
        last = reply.get("result", last)
    return last


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def human_bytes(count: int) -> str:
    """1536 -> '1.5 KiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def duration(text: str, option: str) -> float:
    """Seconds of '90s', '30m', '12h' or '2d'; a usage error otherwise."""
    unit = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}.get(text[-1:])
    number = text[:-1]
    if unit is None or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise typer.BadParameter("a number with s, m, h or d behind it, such as 30m", param_hint=option)
    return float(int(number) * unit)


def moment(text: str) -> str:
    """A point in time of a result (UTC), to the minute, for a person: '2027-01-31 09:30 UTC'."""
    return f"{text[:16].replace('T', ' ')} UTC"


def plural(count: int, noun: str) -> str:
    """1 -> '1 instance', 2,000 -> '2,000 instances'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """
    Text from outside (AE titles, names) without control characters, so that nothing steers the terminal (SECURITY
    D25).
    """
    return "".join(character if character.isprintable() else "·" for character in text)


def console() -> Console:
    """Where tables and records go: as wide as the terminal, and unbroken in a pipe, where a program reads lines."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPE_COLUMNS if piped else None)


def plain() -> bool:
    """No colours and no live progress: not a terminal, or NO_COLOR is set."""
    return not sys.stdout.isatty() or "NO_COLOR" in os.environ
