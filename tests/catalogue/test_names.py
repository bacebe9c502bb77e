"""What a name is found by, and what a query asks for, in the scripts that names are written in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.worlds import NAME_POOL
from strongroom.catalogue.folding import fold_name, name_groups
from strongroom.catalogue.names import MAX_TERMS, MAX_WORD, MAX_WORDS, SOUND, asked_words, matches_name, terms
from strongroom.errors import DataSetError

FOUND = [
    ("Müller^Jörg", ["muller", "Mueller", "Müller", "JÖRG", "joerg", "jör mül", "Miller"]),
    ("O'Brien^Mary-Ann", ["obrien", "O'Brien", "brien", "Mary", "Maryann", "Mary-Ann", "ann OBRIEN", "o\u2019brien"]),
    ("Nguyễn^Văn Đức", ["nguyen", "Đức", "duc van", "NGUYỄN^VĂN"]),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["山田", "山", "太郎", "山田太郎", "やまだ", "ヤマダ", "Yamada=山田", "tarou", "ﾔﾏﾀﾞ"]),
    ("Hong^Gildong=洪^吉洞=홍^길동", ["홍", "홍길동", "길동", "洪", "Hong"]),
    ("Иванов^Андрей", ["иванов", "ИВАН", "андреи", "Андрей Иванов"]),
    ("Παπαδόπουλος^Γιώργος", ["παπαδοπουλος", "ΓΙΏΡΓΟΣ", "γιωρ"]),
    ("مُحَمَّد^أحمد", ["محمد", "احمد"]),
    ("शर्मा^अनिल", ["शर्मा", "अनि"]),
    ("Łukasz^Żółć", ["lukasz", "zolc", "Żół"]),
    ("Garc\u0131a^José", ["garcia", "jose", "García"]),
    ("van der Berg^Hans", ["berg", "Hans Berg", "van der berg"]),
]  # fmt: skip


def matched(kept: str, asked: str) -> bool:
    """Whether a fuzzy search for *asked* finds the name *kept*."""
    alphabetic, ideographic, phonetic = map(fold_name, name_groups(kept))
    return matches_name((alphabetic, ideographic, phonetic), asked_words(asked))


@pytest.mark.parametrize(("kept", "asked"), [(kept, one) for kept, asked in FOUND for one in asked])
def test_a_name_is_found_as_people_write_it(kept: str, asked: str) -> None:
    """By the beginning of each word, in any order, without accents, in each of its scripts; every word has to be there."""
    assert matched(kept, asked)


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("Müller^Jörg", "Jürgens"),
        ("Müller^Jörg", "müller anna"),
        ("Müller^Jörg", "üller"),
        ("van der Berg^Hans", "vander*"),
        ("山田^太郎", "田"),
        ("山田^太郎", "太郎山田"),
        ("O'Brien^Mary", "Mary-Ann"),
        ("", "a"),
    ],
)
def test_another_name_is_not(kept: str, asked: str) -> None:
    """Not by the middle of a word, and not by some of the words."""
    assert not matched(kept, asked)


@pytest.mark.parametrize("text", ["m?ller", "*ller", "mül*r", "", "^", "=", "...", "*"])
def test_what_has_no_words_is_matched_as_it_is_written(text: str) -> None:
    """A wild card that is not the end of a word asks for the ordinary matching."""
    assert asked_words(text) == ()


def test_an_asterisk_keeps_other_sounds_out() -> None:
    """Who cuts a word off has said how it begins."""
    assert matched("Meier^Anna", "maier")
    assert not matched("Meier^Anna", "maier*")


def test_too_many_words_are_refused() -> None:
    """Each word is a look-up of its own; the text of the refusal holds none of them."""
    with pytest.raises(DataSetError) as raised:
        asked_words(" ".join(["secret"] * (MAX_WORDS + 1)))

    assert "secret" not in str(raised.value)


@given(st.text(max_size=2000))
def test_the_terms_of_a_name_are_bounded(text: str) -> None:
    """Whatever stands in a name: few terms, none of them long or empty, sounds apart from words."""
    found = terms(fold_name(text), "", "")

    assert len(found) == len(set(found)) <= MAX_TERMS
    assert all(0 < len(term) <= MAX_WORD + 1 for term in found)
    assert all(term.startswith(SOUND) or SOUND not in term for term in found)


@given(st.sampled_from(NAME_POOL))
def test_a_name_is_found_by_itself(name: str) -> None:
    """Whoever types a name in full finds it, whatever else fuzzy means."""
    words = asked_words(name)

    assert not words or matched(name, name)
