"""
Fuzzy matching of person names (PS3.4 C.2.2.2.1.1): which terms a name is found by, and which a query asks for.

- A name is found by each of its words, in any order, and by what the words sound like (`phonetic`).
- Accents, case and width do not matter; "ü" is found as "u" and as "ue". Katakana count as hiragana.
- A word with a hyphen or an apostrophe is found by its parts and in one piece; a name in a script that does not part
  words is also found written together.
- A word of a query asks for a word that begins with it, or sounds like it. Every word has to be found; in which group
  or component does not matter.

The same folding serves both sides. A term is a word, or SOUND and a phonetic key; the separators of words include
SOUND, so no word begins with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import apsw
import msgspec

from strongroom.catalogue.folding import fold_name, name_groups
from strongroom.catalogue.phonetic import sounds
from strongroom.errors import DataSetError

__all__ = ["NAME_FUNCTION", "SOUND", "Asked", "Term", "asked_words", "matches_name", "teach", "terms"]

SOUND: Final = "~"
NAME_FUNCTION: Final = "name_has_words"
"""What SQL calls for a name without an index: kept groups as a JSON array, and the key value as text."""
MAX_TERMS: Final = 64
"""Terms a name is found by; five components in three groups with a hyphen each have about forty."""
MAX_WORDS: Final = 16
"""Words of a key: each is a look-up of its own."""
MAX_WORD: Final = 64
"""Characters of a word that count: those of a whole component group by PS3.5 6.2."""

_SEPARATORS: Final = re.compile(r"[\s^=~.,;:/()\[\]{}<>\"_|+&\u00b7\u30fb\u3001]+")
_JOINTS: Final = re.compile(r"[-'`\u00b4\u02bc\u2010\u2011\u2018\u2019]+")
_UNSPACED: Final = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
# Marks that are left out: those of Latin, Greek, Cyrillic, Hebrew and Arabic. In the scripts of India they are vowels,
# and in kana they make another consonant.
_MARKS: Final = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
_LETTERS: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i", "ħ": "h"}
    | {chr(katakana): chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)}
)
_SPELLED_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_UMLAUTS: Final = frozenset("äöüåø")


@final
@dataclass(frozen=True, slots=True)
class Term:
    """A term, or with *prefix* all terms that begin with it."""

    text: str
    prefix: bool


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """A word of a query: one of its *terms* is there, or all of its *parts* are."""

    terms: tuple[Term, ...]
    parts: tuple[Asked, ...] = ()

    @property
    def leading(self) -> tuple[Term, ...]:
        """Terms of which every name that matches has one."""
        longest = max(self.parts, key=lambda part: len(part.terms[0].text), default=None)
        return self.terms if longest is None else tuple(dict.fromkeys((*self.terms, *longest.terms)))


def terms(alphabetic: str, ideographic: str, phonetic: str) -> tuple[str, ...]:
    """Return what a name is found by; the groups are folded (`folding.fold_name`)."""
    found: dict[str, None] = {}
    for group in (alphabetic, ideographic, phonetic):
        if not group:
            continue
        for word in _words(group):
            for form in _forms(word):
                found[form] = None
                for sound in sounds(form):
                    found[SOUND + sound] = None
            if len(found) >= MAX_TERMS:
                break
    return tuple(found)[:MAX_TERMS]


def _words(group: str) -> Iterator[str]:
    """The words of a group, those with a joint also in parts; at the end the whole group where words are not parted."""
    tokens = [token for token in _SEPARATORS.split(group[: MAX_WORDS * MAX_WORD]) if token]
    for token in tokens:
        parts = [part for part in _JOINTS.split(token) if part]
        yield from parts
        if len(parts) > 1:
            yield "".join(parts)
    if len(tokens) > 1 and _UNSPACED.search(group):
        yield "".join(tokens)


def _forms(word: str) -> tuple[str, ...]:
    """*word* without accents, and once more with its umlauts spelled out."""
    plain = _plain(word)
    if not plain or not _UMLAUTS.intersection(word):
        return (plain,) if plain else ()
    return tuple(dict.fromkeys((plain, _plain(word.translate(_SPELLED_OUT)))))


def _plain(word: str) -> str:
    if word.isascii():
        return word[:MAX_WORD]
    bare = _MARKS.sub("", unicodedata.normalize("NFD", word.translate(_LETTERS)))
    return unicodedata.normalize("NFC", bare)[:MAX_WORD]


def asked_words(value: object) -> tuple[Asked, ...]:
    """
    Return the words of a PN key value; none when it has no words, or a wild card that is not the end of one: then it is
    matched as without fuzzy matching.

    A word that ends with an asterisk is not taken for what it sounds like. Raises DataSetError when there are too many.
    """
    groups = "^".join(group for group in map(fold_name, name_groups(value)) if group)
    asked: list[Asked] = []
    for token in _SEPARATORS.split(groups):
        word = token.rstrip("*")
        if "*" in word or "?" in word:
            return ()
        parts = [part for part in _JOINTS.split(word) if _plain(part)]
        if parts:
            asked.append(_asked(parts, whole=word == token))
    if len(asked) > MAX_WORDS:
        raise DataSetError(f"a name of {len(asked)} words, the limit of a fuzzy search is {MAX_WORDS}")
    return tuple(asked)


def _asked(parts: list[str], *, whole: bool) -> Asked:
    forms = _forms("".join(parts))
    found = [Term(form, prefix=True) for form in forms]
    if whole:
        keys = dict.fromkeys(sound for form in forms for sound in sounds(form))
        found.extend(Term(SOUND + key, prefix=False) for key in keys)
    inner = tuple(_asked([part], whole=whole) for part in parts[:MAX_WORDS]) if len(parts) > 1 else ()
    return Asked(tuple(found), inner)


def matches_name(groups: tuple[str, str, str], asked: tuple[Asked, ...]) -> bool:
    """Tell whether a name (folded groups) has every word that is *asked*: for names that have no index."""
    return _has_all(terms(*groups), asked)


def _has_all(found: tuple[str, ...], asked: tuple[Asked, ...]) -> bool:
    return all(_has(found, word) for word in asked)


def teach(reader: apsw.Connection) -> None:
    """Let the statements of *reader* call NAME_FUNCTION."""
    reader.create_scalar_function(NAME_FUNCTION, _name_has_words, 2, deterministic=True)


def _name_has_words(*values: object) -> int:
    kept, asked = values
    return int(_has_all(_terms_again(str(kept)), _asked_again(asked)))


@lru_cache(maxsize=8_192)  # a hospital has some hundred physicians who refer to it
def _terms_again(kept: str) -> tuple[str, ...]:
    return terms(*_groups(kept))


_groups = msgspec.json.Decoder(tuple[str, str, str]).decode
_asked_again = lru_cache(maxsize=256)(asked_words)


def _has(found: tuple[str, ...], word: Asked) -> bool:
    for term in word.terms:
        if term.prefix and any(one.startswith(term.text) for one in found):
            return True
        if not term.prefix and term.text in found:
            return True
    return bool(word.parts) and all(_has(found, part) for part in word.parts)
