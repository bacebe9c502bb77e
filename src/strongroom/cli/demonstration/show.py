"""What the demo says while it runs: for a terminal of 100 columns, plain where there is none, silent for JSON."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from strongroom.cli.options import plain, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

WIDTH: Final = 100


@final
class Show:
    """A console that never takes text for markup, because some of it comes out of files."""

    def __init__(self, *, silent: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError):  # a replaced stream may not know how
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._console = Console(quiet=silent, markup=False, highlight=False, emoji=False, no_color=plain())
        self._console.width = min(self._console.width, WIDTH) if self._console.is_terminal else WIDTH
        self._live = self._console.is_terminal and not silent and not plain()
        self._steps = 0

    def say(self, text: str = "", style: str = "", *, indent: int = 0) -> None:
        """A sentence or two."""
        self._console.print(Text(self._wrapped(text, indent), style))

    def step(self, heading: str) -> None:
        """The heading of the next part."""
        self._steps += 1
        self._console.print()
        self._console.print(Text(f"{self._steps}  {heading}", "bold cyan"))

    def command(self, text: str) -> None:
        """A command as a person would type it."""
        self._console.print(Text.assemble(("   $ ", "dim"), (printable(text), "bold")), soft_wrap=True)

    def result(self, text: str, *, good: bool = True) -> None:
        """What came of it."""
        mark, style = ("   ok   ", "green") if good else ("   NOT  ", "bold red")
        self._console.print(Text.assemble((mark, style), self._wrapped(text, len(mark)).lstrip()))

    def _wrapped(self, text: str, indent: int) -> str:
        space = " " * indent
        return textwrap.fill(
            printable(text),
            self._console.width,
            initial_indent=space,
            subsequent_indent=space,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: tuple[int, ...] = ()) -> None:
        """A table; the columns numbered in *right* hold figures. A cell that begins with NOT is shown red."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        for number, heading in enumerate(headings):
            table.add_column(
                heading, justify="right" if number in right else "left", overflow="fold", no_wrap=number in right
            )
        for row in rows:
            table.add_row(*(Text(printable(cell), "bold red" if cell.startswith("NOT ") else "") for cell in row))
        self._console.print()
        self._console.print(table)

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar while something goes on; what is yielded moves it on by one."""
        columns = (TextColumn("   {task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._live) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """A sign of life while a command runs."""
        if not self._live:
            yield
            return
        with self._console.status(Text(what), spinner="line"):
            yield


def program() -> str:
    """How a person types our command here."""
    if shutil.which("strongroom") is not None:
        return "strongroom"
    beside = Path(sys.executable).with_name("strongroom")
    return str(beside) if beside.exists() else f"{sys.executable} -m strongroom.cli"
