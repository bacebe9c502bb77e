"""
Character sets (PS3.3 §C.12.1.1.2; PS3.5 §6.1): bytes of a text value to str and back, never failing.

What cannot be read stays visible and distinct: a byte no character set explains, and a control character, shows as its
hexadecimal value between brackets, `⟨9B⟩`. Two different values never become the same text that way (they may be
patient IDs), no terminal or page acts on them (SECURITY D25), and the data set keeps the bytes themselves.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

__all__ = ["decode", "decode_values", "encode", "is_known", "join_person_name", "parse", "split_person_name"]

_ASCII: Final = "ascii"
_KATAKANA: Final = "jis_x_0201"  # ours: half-width katakana in G1, one byte each
_JIS_X_0208: Final = "jis_x_0208"  # ours: pairs of 7-bit bytes in G0
_JIS_X_0212: Final = "jis_x_0212"

# Defined terms by ISO-IR number (PS3.3 Tables C.12-2 to C.12-4): the codec of their right half (G1).
_G1: Final = {
    100: "latin_1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    144: "iso8859_5",
    127: "iso8859_6",
    126: "iso8859_7",
    138: "iso8859_8",
    148: "iso8859_9",
    203: "iso8859_15",
    166: "tis_620",
    13: _KATAKANA,
    149: "euc_kr",
    58: "gb2312",
}
_G0: Final = {87: _JIS_X_0208, 159: _JIS_X_0212}

# Escape sequences without the ESC (PS3.3 Tables C.12-3 and C.12-4): which half they change, and to what.
_ESCAPES: Final[dict[bytes, tuple[int, str]]] = {
    b"(B": (0, _ASCII),
    b"(J": (0, _ASCII),  # JIS X 0201 romaji differs in the looks of two characters only
    b"$B": (0, _JIS_X_0208),
    b"$@": (0, _JIS_X_0208),  # its edition of 1978, not in the standard but in old Japanese data
    b"$(D": (0, _JIS_X_0212),
    b")I": (1, _KATAKANA),
    b"$)C": (1, "euc_kr"),
    b"$)A": (1, "gb2312"),
    b"-A": (1, "latin_1"),
    b"-B": (1, "iso8859_2"),
    b"-C": (1, "iso8859_3"),
    b"-D": (1, "iso8859_4"),
    b"-L": (1, "iso8859_5"),
    b"-G": (1, "iso8859_6"),
    b"-F": (1, "iso8859_7"),
    b"-H": (1, "iso8859_8"),
    b"-M": (1, "iso8859_9"),
    b"-b": (1, "iso8859_15"),
    b"-T": (1, "tis_620"),
}
_SEQUENCE_OF: Final = {codec: b"\x1b" + sequence for sequence, (_, codec) in reversed(_ESCAPES.items())}

# Sets that know no escape sequences (PS3.5 §6.1.2.5.4 d).
_STAND_ALONE: Final = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk", "ISO 2022 GBK": "gbk"}

# ISO_IR 100, ISO 2022 IR 100 and the usual misspellings: ISO-IR 100, ISO IR 100, ISO_IR_100, ISO 2022 100.
_TERM = re.compile(r"ISO[ _-]*(?:2022)?[ _-]*(?:IR)?[ _-]*(\d{1,3})")
_ALIASES: Final = {"UTF-8": 192, "UTF8": 192, "ISO_8859-1": 100, "ISO8859-1": 100, "ISO-8859-1": 100, "LATIN1": 100}

_TEXT_VRS: Final = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
# Where the first character set is in force again (PS3.5 §6.1.2.5.3).
_RESETS: Final = {
    **dict.fromkeys(("ST", "LT", "UT"), re.compile(rb"[\t\n\f\r]")),
    **dict.fromkeys(("SH", "LO", "UC"), re.compile(rb"[\t\n\f\r\\]")),
    "PN": re.compile(rb"[\t\n\f\r\\^=]"),
}
_LINE_ENDS = re.compile(rb"[\n\f\r]")

_TOKEN = re.compile(rb"\x1b(?:\$[()]?|[(-/])[@-~]|\x1b|[\x80-\xff]+|[\x00-\x1a\x1c-\x7f]+")
_PAIRS = re.compile(rb"[\x21-\x7e]+|[\x00-\x20\x7f]+")
_TO_HIGH: Final = bytes(byte | 0x80 for byte in range(256))
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_KATAKANA_OFFSET: Final = 0xFF61 - 0xA1
_MAX_VALUES: Final = 32  # of (0008,0005) that are looked at

_ERRORS: Final = "strongroom.shown"


def _show(error: UnicodeError) -> tuple[str, int]:
    """Show undecodable bytes in brackets; the handler behind every decoding here."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"⟨{byte:02X}⟩" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _show)


@final
@dataclass(frozen=True, slots=True)
class _Repertoire:
    """What the values of (0008,0005) amount to."""

    codec: str  # of text without escape sequences
    g1: str  # what bytes above 0x7F are before the first escape sequence
    declared_g1: str  # the same when encoding, empty when the first set has no right half
    extensions: bool  # escape sequences mean something
    known: bool  # every value was understood
    halves: tuple[tuple[int, str], ...]  # (half, codec) of each further set, for encoding


def _number(term: str) -> int | None:
    found = _TERM.fullmatch(term)
    return int(found[1]) if found else _ALIASES.get(term)


@lru_cache(maxsize=256)
def _repertoire(character_sets: tuple[str, ...]) -> _Repertoire:
    """Read (0008,0005) as leniently as can be done without guessing."""
    terms = [term.strip().upper() for term in character_sets[:_MAX_VALUES]] or [""]
    if _number(terms[0]) == 192:
        terms[0] = "ISO_IR 192"
    if codec := _STAND_ALONE.get(terms[0]):
        return _Repertoire(codec, codec, codec, extensions=False, known=len(terms) == 1, halves=())
    numbers = [6 if not term else _number(term) for term in terms]
    first = numbers[0]
    halves = [(1, _G1[n]) if n in _G1 else (0, _G0[n]) for n in numbers if n in _G1 or n in _G0]
    known = all(number == 6 or number in _G1 or number in _G0 for number in numbers)
    if first in _G1:
        g1 = _G1[first]
        # Text declared as JIS X 0201 is often Shift JIS, which contains it.
        codec = "shift_jis" if g1 == _KATAKANA else g1
    elif first in _G0 or first == 6:
        # Bytes above 0x7F are against the standard here; nearly always a sender forgot to declare Latin-1.
        g1 = codec = "latin_1"
    else:
        g1 = codec = _ASCII
    declared = _G1.get(first, "") if first else ""
    return _Repertoire(codec, g1, declared, extensions=True, known=known, halves=tuple(dict.fromkeys(halves)))


def parse(raw: bytes) -> tuple[str, ...]:
    """Parse the value of Specific Character Set (0008,0005); empty when there is none."""
    text = raw.rstrip(b"\0 ").decode(_ASCII, _ERRORS)
    return tuple(term.strip() for term in text.split("\\")) if text else ()


def is_known(character_sets: Iterable[str]) -> bool:
    """Tell whether every given defined term is one of the standard."""
    return _repertoire(tuple(character_sets)).known


def decode(raw: bytes, vr: str, character_sets: tuple[str, ...]) -> str:
    """
    Decode the value of a text element, all its values and component groups, without its trailing padding.

    Total: anything that cannot be read is shown in brackets. *character_sets* are the values of (0008,0005) in force;
    they matter for SH, LO, ST, LT, UC, UT and PN only (PS3.5 §6.1.2.3). Without any, bytes from 0xA0 on are Latin-1.
    """
    raw = raw.rstrip(b" \0")
    if raw.isascii():
        text = raw.decode(_ASCII)
        if text.isprintable():
            return text
        if b"\x1b" not in raw:
            return _clean(text)
    if vr not in _TEXT_VRS:
        return _clean(raw.decode(_ASCII, _ERRORS))
    repertoire = _repertoire(character_sets)
    if repertoire.extensions and b"\x1b" in raw:
        return _clean(_decode_extended(raw, _RESETS[vr], repertoire.g1))
    return _clean(raw.decode(repertoire.codec, _ERRORS))


def decode_values(raw: bytes, vr: str, character_sets: tuple[str, ...]) -> list[str]:
    r"""
    Decode the values of an element whose VR allows several: split at `\` after decoding, padding removed from each.

    Splitting the bytes would cut characters: a second byte may be 0x5C in JIS X 0208, Shift JIS, GBK and GB18030.
    """
    return [value.strip(" \0") for value in decode(raw, vr, character_sets).split("\\")]


def _clean(text: str) -> str:
    """Show control characters; tab, line feed, form feed and return may stay."""
    if text.isprintable():
        return text
    # UIDs are padded each on its own now and then: 1.2<NUL>\\1.3
    text = text.replace("\0\\", "\\")
    return _CONTROL.sub(lambda found: f"⟨{ord(found[0]):02X}⟩", text)


def _decode_extended(raw: bytes, resets: re.Pattern[bytes], initial: str) -> str:
    """Decode text with escape sequences (ISO/IEC 2022, PS3.5 §6.1.2.5): two halves, each with a set of its own."""
    out: list[str] = []
    g0, g1 = _ASCII, initial
    for found in _TOKEN.finditer(raw):
        token = found[0]
        if token[0] == 0x1B:
            half, codec = _ESCAPES.get(token[1:], (-1, ""))
            if half == 0:
                g0 = codec
            elif half == 1:
                g1 = codec
            else:
                out.append(token.decode(_ASCII))
        elif token[0] >= 0x80:
            out.append(_decode_high(token, g1))
        elif g0 == _ASCII:
            out.append(token.decode(_ASCII))
            if resets.search(token):
                g1 = initial
        else:
            line_end = _LINE_ENDS.search(token)
            stop = line_end.start() if line_end else len(token)
            out.append(_decode_pairs(token[:stop], g0))
            out.append(token[stop:].decode(_ASCII))
            if line_end:
                g0, g1 = _ASCII, initial
    return "".join(out)


def _decode_high(run: bytes, codec: str) -> str:
    """Decode bytes above 0x7F by the set in G1."""
    if codec != _KATAKANA:
        return run.decode(codec, _ERRORS)
    return "".join(chr(byte + _KATAKANA_OFFSET) if 0xA1 <= byte <= 0xDF else f"⟨{byte:02X}⟩" for byte in run)


def _decode_pairs(run: bytes, codec: str) -> str:
    """Decode 7-bit byte pairs by the Japanese set in G0; EUC-JP is the same pairs with the high bits set."""
    out: list[str] = []
    for found in _PAIRS.finditer(run):
        part = found[0]
        if part[0] <= 0x20 or part[0] == 0x7F:
            out.append(part.decode(_ASCII))
            continue
        pairs = part.translate(_TO_HIGH)
        if codec == _JIS_X_0212:
            pairs = b"".join(b"\x8f" + pairs[at : at + 2] for at in range(0, len(pairs), 2))
        out.append(pairs.decode("euc_jp", _ERRORS))
    return "".join(out)


def encode(text: str, character_sets: tuple[str, ...]) -> bytes:
    """
    Encode text in the given character sets, with escape sequences if there are several; what has no place becomes `?`.

    Before every delimiter the first set is in force again, so values and components may be encoded together.
    """
    if text.isascii():
        return text.encode(_ASCII)
    repertoire = _repertoire(character_sets)
    if repertoire.extensions and (len(character_sets) > 1 or repertoire.declared_g1 in ("", _KATAKANA)):
        return _encode_extended(text, repertoire)
    return text.encode(repertoire.codec, "replace")


def _encode_one(character: str, half: int, codec: str) -> bytes | None:
    """Encode a character beyond ASCII by one set, None when the set does not have it."""
    if codec == _KATAKANA:
        code = ord(character) - _KATAKANA_OFFSET
        return bytes((code,)) if 0xA1 <= code <= 0xDF else None
    try:
        encoded = character.encode("euc_jp" if half == 0 else codec)
    except UnicodeEncodeError:
        return None
    if half == 1:
        return encoded
    if codec == _JIS_X_0212:
        encoded = encoded[1:] if encoded[0] == 0x8F else b""
    if len(encoded) != 2 or encoded[0] < 0xA1:
        return None
    return bytes(byte & 0x7F for byte in encoded)


def _encode_extended(text: str, repertoire: _Repertoire) -> bytes:
    out = bytearray()
    initial = repertoire.declared_g1
    to_ascii = b"\x1b(J" if initial == _KATAKANA else b"\x1b(B"
    g0, g1 = _ASCII, initial
    for character in text:
        if character.isascii():
            if g0 != _ASCII:
                out += to_ascii
                g0 = _ASCII
            if character in "\t\n\f\r\\^=" and g1 != initial:
                if initial:
                    out += _SEQUENCE_OF[initial]
                g1 = initial
            out.append(ord(character))
            continue
        current = [(half, codec) for half, codec in repertoire.halves if codec in (g0, g1)]
        for half, codec in (*current, *repertoire.halves):
            encoded = _encode_one(character, half, codec)
            if encoded is None:
                continue
            if codec not in (g0, g1):
                out += _SEQUENCE_OF[codec]
            g0, g1 = (codec, g1) if half == 0 else (g0, codec)
            out += encoded
            break
        else:
            if g0 != _ASCII:
                out += to_ascii
                g0 = _ASCII
            out += b"?"
    if g0 != _ASCII:
        out += to_ascii
    return bytes(out)


_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


def split_person_name(text: str) -> dict[str, str]:
    """Split one person name into its component groups (PS3.5 §6.2.1.2); empty groups are left out."""
    if "=" not in text:
        return {"Alphabetic": text} if text else {}
    groups = (group.strip(" ") for group in text.split("=", 2))
    return {name: group for name, group in zip(_GROUPS, groups, strict=False) if group}


def join_person_name(groups: dict[str, str]) -> str:
    """Join component groups to one person name, without empty groups at its end."""
    return "=".join(groups.get(name, "") for name in _GROUPS).rstrip("=")
