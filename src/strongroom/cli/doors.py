"""
`strongroom doors`: who can knock where, and what a stranger got when the archive last looked at itself from outside.
"""

from __future__ import annotations

import sys

from strongroom.cli.exits import Exit
from strongroom.cli.options import AsJson, Home, console, moment, print_json, printable, result


def doors(home: Home = None, json: AsJson = False) -> None:
    """Print the table of doors; exit status 1 if one of them was found open to strangers and shut."""
    found = result(home, "doors")
    if json:
        print_json(found)
    else:
        _show(found)
    if any(door["state"] == "shut" for door in found["doors"]):
        sys.exit(Exit.FINDINGS)


def _show(found: dict[str, list[dict[str, str]]]) -> None:
    from rich.text import Text

    screen = console()
    for door in found["doors"]:
        clear = door["transport"] == "plain text"
        title = Text(f"{printable(door['name'])}  {printable(door['address'])}  ", style="bold")
        title.append("PLAIN TEXT" if clear else door["transport"], style="bold red" if clear else "bold green")
        title.append(f"  {door['state']}", style="red" if door["state"] == "shut" else "")
        screen.print(title)
        screen.print(f"  lets in      {printable(door['who'])}")
        for number, what in enumerate(printable(door["stranger"]).split("; ")):
            screen.print(f"  {'' if number else 'a stranger':<12} {what}")
        if door["looked"]:
            screen.print(f"  last looked  {moment(printable(door['looked']))}")
    if not found["doors"]:
        screen.print("No door is configured.")
