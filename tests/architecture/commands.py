"""The command line as it is: every command with its options and arguments."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import typer.main

from strongroom.cli.main import app

EVERYWHERE = frozenset({"--help", "-h", "--home", "--json"})


@cache
def parameters() -> dict[str, tuple[str, ...]]:
    """Options (every spelling) and argument names of each command, by its words."""
    return dict(_below(typer.main.get_command(app), ""))


def _below(command: object, words: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        spelled = []
        for parameter in command.params:  # type: ignore[attr-defined]
            is_option = parameter.param_type_name == "option"
            spelled += list(parameter.opts) + list(parameter.secondary_opts) if is_option else [parameter.name]
        yield words, (*spelled, "--help", "-h")
        return
    for name, one in inner.items():
        yield from _below(one, f"{words} {name}".strip())
