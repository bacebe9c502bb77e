"""Pieces of SQL put together."""

from __future__ import annotations

from strongroom.catalogue.condition import FALSE, TRUE, Condition, either, every

A = Condition("a = ?", (1,))
B = Condition("b = ?", (2,))


def test_values_follow_the_order_of_the_text():
    """Each question mark keeps its value."""
    assert every((A, either((B, A)))) == Condition("(a = ? AND (b = ? OR a = ?))", (1, 2, 1))


def test_constants_disappear():
    """What is true anyway is not asked, what is false makes the whole false."""
    assert every(()) == TRUE
    assert either(()) == FALSE
    assert A & TRUE == A
    assert A & FALSE == FALSE
    assert A | FALSE == A
    assert A | TRUE == TRUE


def test_not():
    """The opposite keeps the values."""
    assert Condition("NOT (a = ?)", (1,)) == ~A
    assert ~TRUE == FALSE
    assert ~FALSE == TRUE
