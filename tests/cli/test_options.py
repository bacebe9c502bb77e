"""What commands share: how times, counts and tables are written for a person."""

from __future__ import annotations

import pytest

from strongroom.cli.options import PIPE_COLUMNS, console, moment, plural


def test_a_time_is_given_to_the_minute() -> None:
    """The seconds and the offset of a result are for scripts."""
    assert "2027-01-31 09:30 UTC" == moment("2027-01-31T09:30:12+00:00")


@pytest.mark.parametrize(("count", "expected"), [(0, "0 files"), (1, "1 file"), (2000, "2,000 files")])
def test_a_count_agrees_with_its_noun(count: int, expected: str) -> None:
    """One is not plural."""
    assert expected == plural(count, "file")


def test_a_line_in_a_pipe_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program reads lines: a record that is cut at 80 columns is found by no grep."""
    monkeypatch.delenv("COLUMNS", raising=False)

    assert PIPE_COLUMNS == console().width


def test_who_names_a_width_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS is believed, in a pipe too."""
    monkeypatch.setenv("COLUMNS", "60")

    assert 60 == console().width
