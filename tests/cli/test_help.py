"""`--help`: there for every command, with its exit statuses, and quick because nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer

from cli.commands import strongroom
from strongroom.cli.exits import EXIT_HELP, Exit
from strongroom.cli.main import app

HEAVY = ("apsw", "asyncio", "cryptography", "msgspec", "pydicom", "rich", "ssl", "structlog", "uvloop")
"""What `--help` must not wait for."""

AGREED = {"init", "serve", "demo", "status", "doors", "device add", "device list", "device revoke", "import", "check", "export study", "export series",
          "token add", "token list", "token revoke", "trail show", "trail verify"}  # fmt: skip
"""The commands that scripts may rely on (DESIGN section 6)."""


def _commands() -> Iterator[tuple[str, click.Command]]:
    root = typer.main.get_command(app)
    yield from _below("", root)


def _below(prefix: str, group: click.Command) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        path = f"{prefix} {name}".strip()
        if hasattr(command, "commands"):
            yield from _below(path, command)
        else:
            yield path, command


COMMANDS = dict(_commands())


def test_every_agreed_command_is_there() -> None:
    """The tree holds what the design promises."""
    assert set(COMMANDS) >= AGREED


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_explains_itself(path: str) -> None:
    """A sentence, every option explained, and --json for scripts."""
    command = COMMANDS[path]
    options = {option for parameter in command.params for option in parameter.opts}

    assert command.help
    assert "--json" in options
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


def test_help_prints_the_exit_statuses_of_every_command() -> None:
    """`--help` of the program and of every command ends with 0 and names all exit statuses, those of the table."""
    program = (
        "import sys\n"
        "from strongroom.cli import main\n"
        f"for path in {['', *COMMANDS]!r}:\n"
        "    sys.argv = ['strongroom', *path.split(), '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as ended:\n"
        "        print('status', ended.code)\n"
        f"print('heavy', *(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    *lines, heavy = done.stdout.splitlines()
    said = " ".join(" ".join(lines).split())

    assert len(COMMANDS) + 1 == said.count(EXIT_HELP)
    assert ["status 0"] * (len(COMMANDS) + 1) == [line for line in lines if line.startswith("status ")]
    assert heavy.strip() == "heavy"


def test_the_exit_statuses_are_the_agreed_ones() -> None:
    """The help names each status with its number."""
    numbers = {f"{status.value} {status.name.lower().replace('_', ' ')}" for status in Exit}

    assert numbers == set(EXIT_HELP.removeprefix("Exit statuses: ").removesuffix(".").split(", "))


def test_without_a_command_the_help_is_shown() -> None:
    """Nothing typed: the list of commands, and the status of wrong usage."""
    done = strongroom()

    assert done.returncode == 2
    assert all(name.split()[0] in done.stdout for name in COMMANDS)


def test_the_version_is_printed() -> None:
    """`--version` prints one line."""
    done = strongroom("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("strongroom ")
