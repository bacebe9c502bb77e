"""
The command line as its users meet it: each file in `transcripts/` is typed line by line, output and exit status compared.

A line `$ command` runs it, the lines below are what it prints ("..." stands for anything in a line), `exit N` is its status.
`write FILE TEXT` and `flip FILE OFFSET` prepare something; `{tmp}` is a folder of the test, `{data}` pydicom's test files.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.commands import strongroom

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@dataclass
class Step:
    """One command with what it has to print and its exit status."""

    command: str
    lines: list[str] = field(default_factory=list)
    status: int = 0


def _data() -> Path:
    import importlib.util

    specification = importlib.util.find_spec("pydicom")
    assert specification is not None
    assert specification.origin is not None
    return Path(specification.origin).parent / "data" / "test_files"


def _steps(text: str) -> list[Step]:
    steps: list[Step] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(("$ ", "write ", "flip ")):
            steps.append(Step(line))
        elif found := re.fullmatch(r"exit (\d)", line):
            steps[-1].status = int(found[1])
        elif line.strip():
            steps[-1].lines.append(line)
    return steps


def _prepare(command: str) -> None:
    """Carry out `write FILE TEXT`, or `flip FILE OFFSET`: one bit of the first file that the pattern names."""
    verb, name, argument = command.split(" ", 2)
    if verb == "write":
        Path(name).write_text(argument + "\n")
        return
    folder, _, pattern = name.rpartition("/")
    path = min(Path(folder).glob(pattern))
    content = bytearray(path.read_bytes())
    content[int(argument)] ^= 1
    path.write_bytes(content)


def _as_expected(printed: str, expected: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), printed) is not None


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_command_line_behaves_as_in_the_transcript(transcript: Path, tmp_path: Path) -> None:
    """Every command prints what the transcript has, and ends with its exit status."""
    places = {"{tmp}": str(tmp_path), "{data}": str(_data())}
    steps = _steps(transcript.read_text())
    assert steps
    for step in steps:
        command = step.command
        for name, place in places.items():
            command = command.replace(name, place)
        if not command.startswith("$ "):
            _prepare(command)
            continue
        program, *arguments = shlex.split(command[2:])
        assert program == "strongroom"
        done = strongroom(*arguments)
        printed = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
        for name, place in places.items():
            printed = [line.replace(place, name) for line in printed]

        assert (step.status, len(step.lines)) == (done.returncode, len(printed)), (step.command, done.stdout)
        for line, expected in zip(printed, step.lines, strict=True):
            assert _as_expected(line, expected), (step.command, line, expected)
