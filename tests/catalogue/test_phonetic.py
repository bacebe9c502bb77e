"""Spellings of one name sound alike, other names do not, whatever the language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.catalogue.phonetic import MAX_KEY, sounds

ALIKE = """
meier maier meyer mayr mair meijer
schmidt schmitt schmid smith smit smyth
muller mueller miller
philipp filip phillip
renault renaud renaux reno
lefebvre lefevre
dijk dyck dyk
thompson thomson tomsen
stephen steven stefan stefaan
catherine katharina kathrin katrin
brown braun
wright reit
cohen kohn cohn
sean shaun shawn
christian kristian
gauthier gautier
jansen janssen
michael mikael
richard rikard
kowalski kowalsky kovalski
szymanski simanski shimanski
joseph josef yosef
mitchell michel mitschell
guillaume gillaume
hernandez hernandes
"""
DIFFERENT = [
    ("hansen", "jansen"), ("weber", "werner"), ("fischer", "vogel"),
    ("dubois", "dupont"), ("anna", "hanna"), ("becker", "peters"),
]  # fmt: skip


@pytest.mark.parametrize("line", ALIKE.split("\n")[1:-1])
def test_spellings_of_a_name_share_a_key(line: str) -> None:
    """Each spelling sounds like the first one of its line."""
    first, *others = line.split()

    assert [other for other in others if not set(sounds(first)) & set(sounds(other))] == []


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_names_do_not(one: str, other: str) -> None:
    """A key that everybody shares would find everybody."""
    assert set(sounds(one)) & set(sounds(other)) == set()


@pytest.mark.parametrize("word", ["", "o", "li", "lee", "山田", "иванов", "3com", "müller"])
def test_what_is_short_or_not_latin_has_no_key(word: str) -> None:
    """Two letters say nothing; words come folded, other scripts are found by their beginning alone."""
    assert sounds(word) == ()


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=80))
def test_a_key_is_short_and_never_empty(word: str) -> None:
    """At most two keys of at most MAX_KEY classes, for whatever letters."""
    keys = sounds(word)

    assert len(keys) <= 2
    assert all(2 <= len(key) <= MAX_KEY for key in keys)
