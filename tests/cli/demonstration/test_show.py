"""What the demo prints: at most 100 columns, plain where there is no terminal, nothing that steers one."""

from __future__ import annotations

import pytest

from strongroom.cli.demonstration.show import Show


def test_long_sentences_are_wrapped_below_their_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    """No line is longer than 100 columns, and the mark stands alone in front."""
    Show(silent=False).result("word " * 60)
    first, *others = capsys.readouterr().out.splitlines()

    assert max(map(len, (first, *others))) <= 100
    assert first.startswith("   ok   word")
    assert all(line.startswith("        word") for line in others)


def test_a_finding_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not as it has to be says so in words, not only in red."""
    Show(silent=False).result("a door is open", good=False)

    assert capsys.readouterr().out == "   NOT  a door is open\n"


def test_a_command_is_one_line_to_copy(capsys: pytest.CaptureFixture[str]) -> None:
    """However long it is, a command is not broken."""
    Show(silent=False).command("x" * 300)

    assert capsys.readouterr().out == f"   $ {'x' * 300}\n"


def test_text_out_of_files_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown as dots, and square brackets are no markup."""
    show = Show(silent=False)
    show.say("\x1b[2J[red]name[/red]")
    show.table(("name",), [("\x1b]0;title\x07[bold]",)])
    printed = capsys.readouterr().out

    assert "\x1b" not in printed
    assert "[red]name[/red]" in printed
    assert "[bold]" in printed


def test_for_json_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but the document may stand on standard output."""
    show = Show(silent=True)
    show.say("text")
    show.step("heading")
    show.command("command")
    show.result("result")
    show.table(("a",), [("b",)])
    with show.progress("going", 2) as forward, show.busy("waiting"):
        forward()

    assert capsys.readouterr() == ("", "")
