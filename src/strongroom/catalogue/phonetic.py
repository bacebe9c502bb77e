"""
What a name sounds like: a short key that spellings of one name share, for names in Latin letters (PS3.4 C.2.2.2.1.1).

The rules are our own, written for the spellings that meet in European archives (English, German, French, Dutch,
Spanish, Polish). Consonants fall into classes, vowels count only at the beginning, doubled letters once. Where
languages disagree about a spelling ("ch", "ge", "-ault") a word has two keys, a hard and a soft reading; two words
sound alike when they share one. A key of one class says too little and is not given.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["sounds"]

MAX_KEY: Final = 12
"""Classes of a key; words that differ only behind them are taken for one."""
_SHORTEST: Final = 2
_LETTERS: Final = re.compile(r"[a-z]+")

_CLASSES: Final = {
    **dict.fromkeys("bp", "B"),
    **dict.fromkeys("dt", "D"),
    **dict.fromkeys("fvw", "F"),
    **dict.fromkeys("cgkq", "K"),
    **dict.fromkeys("sz", "S"),
    **{letter: letter.upper() for letter in "lmnr"},
}
_VOWELS: Final = frozenset("aeiouy")
_BEGINNINGS: Final = {
    "kn": "n", "gn": "n", "pn": "n", "wr": "r", "ps": "s", "x": "s", "mc": "mac", "ij": "i"
}  # fmt: skip
_BEGINNING: Final = re.compile("^(?:" + "|".join(_BEGINNINGS) + ")")
# In this order: a longer spelling stands before those it contains.
_SPELLINGS: Final = {
    "tsch": "ch", "dsch": "ch", "tch": "ch", "sch": "s", "chr": "kr", "chl": "kl", "mps": "ms", "mpt": "mt",
    "ph": "f", "sh": "s", "th": "t", "kh": "k", "dt": "t", "ck": "k", "cq": "k", "qu": "k", "bv": "v",
    "tz": "z", "ts": "z", "ds": "z", "dz": "z", "cz": "z", "sz": "z", "zs": "z", "sj": "s", "x": "ks",
}  # fmt: skip
_SPELLING: Final = re.compile("|".join(_SPELLINGS))
_SOFT_C: Final = re.compile("s?c(?=[eiy])")
_GU: Final = re.compile("gu(?=[eiy])")
_SOFT_G: Final = re.compile("g(?=[eiy])")
_SILENT_END: Final = re.compile("(?:eaults?|eauds?|eaux|aults?|aulds?|auds?|aux|auts?)$")
_SILENT_GH: Final = re.compile("(?<=[aeiou])gh")
_SILENT_W: Final = re.compile("(?<=[aeiou])w(?![aeiouy])")


@lru_cache(maxsize=8_192)
def sounds(word: str) -> tuple[str, ...]:
    """
    Return the keys of *word*, which is folded (`names`): none when it is not of Latin letters or too short, else one or
    two.
    """
    if len(word) < _SHORTEST or not _LETTERS.fullmatch(word):
        return ()
    word = _BEGINNING.sub(lambda found: _BEGINNINGS[found[0]], word)
    soft = _SILENT_W.sub("", _SILENT_GH.sub("", _SILENT_END.sub("o", word)))
    return tuple(key for key in dict.fromkeys((_key(_hard(word)), _key(_soft(soft)))) if len(key) >= _SHORTEST)


def _hard(word: str) -> str:
    """As a German or a Pole reads it: "ch" and "g" are made at the back of the mouth."""
    return _common(word).replace("ch", "k")


def _soft(word: str) -> str:
    """As a Frenchman or an Englishman reads it."""
    return _SOFT_G.sub("j", _common(word)).replace("ch", "s")


def _common(word: str) -> str:
    spelled = _SPELLING.sub(lambda found: _SPELLINGS[found[0]], _GU.sub("k", word))
    return _SOFT_C.sub("s", spelled)


def _key(word: str) -> str:
    """The classes of the letters; h, j and y count where the word begins with them, vowels only there."""
    first = word[:1]
    key = []
    if first in _VOWELS:
        key.append("J" if first == "y" and word[1:2] in _VOWELS else "A")
    elif first in "jh":
        key.append(first.upper())
    before = ""
    for letter in word:
        sound = _CLASSES.get(letter, "")
        if sound and sound != before:
            key.append(sound)
        if letter != "h":
            before = sound
    return "".join(key)[:MAX_KEY]
