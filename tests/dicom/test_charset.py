"""Character sets (PS3.3 §C.12.1.1.2): pydicom and the examples of PS3.5 Annexes H, I, J and K are the oracles."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from strongroom.dicom import charset

FILES = sorted((Path(pydicom.__file__).parent / "data" / "charset_files").glob("*.dcm"))
TEXT_VRS = ("SH", "LO", "ST", "LT", "UC", "UT", "PN")
TERMS = [
    "",
    "ISO_IR 6",
    *(f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 166, 13, 192)),
    *(f"ISO 2022 IR {n}" for n in (6, 100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 166, 13, 87, 159, 149, 58)),
    "GB18030",
    "GBK",
    "ISO_IR 999",
    "\x1b[31m",
]
any_sets = st.lists(st.sampled_from(TERMS), max_size=4).map(tuple)
any_vr = st.sampled_from([*TEXT_VRS, "CS", "UI", "DA", "AE"])
hostile = st.lists(
    st.one_of(st.binary(max_size=6), st.sampled_from([b"\x1b", *(b"\x1b" + seq for seq in charset._ESCAPES)])),
    max_size=8,
).map(b"".join)


def texts(data_set: Dataset, sets: tuple[str, ...]):
    """Yield raw bytes, VR, character sets and pydicom's values of each text element, sequences included."""
    raws = {tag: data_set.get_item(tag).value for tag in data_set.keys()}  # noqa: SIM118 -- a Dataset iterates elements
    if 0x00080005 in raws:
        own = data_set[0x00080005].value or ""
        sets = (own,) if isinstance(own, str) else tuple(own)
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                yield from texts(item, sets)
        elif element.VR in TEXT_VRS and isinstance(raws[element.tag], bytes):
            value = element.value
            values = value if isinstance(value, (list, MultiValue)) else [value or ""]
            yield raws[element.tag], element.VR, sets, [str(value).rstrip("=") for value in values]


def test_the_shipped_files_are_there():
    """The oracle has data: without the files the comparison below would prove nothing."""
    assert len(FILES) >= 17


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_text_of_the_charset_files_reads_as_in_pydicom(path):
    """Arabic to Russian, with and without escape sequences and in sequences: the text is pydicom's."""
    compared = 0
    for raw, vr, sets, expected in texts(pydicom.dcmread(path), ()):
        assert [text.rstrip("=") for text in charset.decode_values(raw, vr, sets)] == expected
        compared += 1
    assert compared >= 1


@pytest.mark.parametrize(
    ("raw", "sets", "text"),
    [
        (
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            ("", "ISO 2022 IR 87"),
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            ("ISO 2022 IR 13", "ISO 2022 IR 87"),
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        (
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            ("", "ISO 2022 IR 149"),
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=",
            ("ISO_IR 192",),
            "Wang^XiaoDong=王^小東=",
        ),
        (b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", ("GB18030",), "Wang^XiaoDong=王^小东="),
        (
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            ("", "ISO 2022 IR 58"),
            "Zhang^XiaoDong=张^小东=",
        ),
        (b"\xc4neas^R\xfcdiger", ("ISO_IR 100",), "Äneas^Rüdiger"),
        (
            b"Dionysios is \x1b-F\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2",
            ("ISO 2022 IR 100", "ISO 2022 IR 126"),
            "Dionysios is Διονυσιος",
        ),
    ],
)
def test_the_examples_of_the_standard_read_and_write(raw, sets, text):
    """The names of PS3.5 Annexes H to K decode as printed there, and what we encode decodes to the same."""
    assert charset.decode(raw, "PN", sets) == text
    assert charset.decode(charset.encode(text, sets), "PN", sets) == text


def test_a_second_byte_that_looks_like_a_delimiter_does_not_split():
    r"""JIS X 0208 0x215C, GBK and Shift JIS second bytes 0x5C are part of a character, not a `\`."""
    assert charset.decode_values(b"\x1b$B!\\\x1b(B\\b", "LO", ("", "ISO 2022 IR 87")) == ["\uff0b", "b"]
    assert charset.decode_values("誠\\b".encode("gbk"), "LO", ("GBK",)) == ["誠", "b"]
    assert charset.decode_values("表\\b".encode("shift_jis"), "LO", ("ISO_IR 13",)) == ["表", "b"]


def test_a_delimiter_brings_the_first_set_back():
    """After `^`, `=` or a new value the first set is in force without an escape sequence (PS3.5 §6.1.2.5.3)."""
    sets = ("ISO 2022 IR 100", "ISO 2022 IR 144")
    assert charset.decode(b"\x1b-L\xbb^\xfc", "PN", sets) == "Л^ü"
    assert charset.decode(b"\x1b-L\xbb\\\xfc", "LO", sets) == "Л\\ü"
    assert charset.decode(b"\x1b-L\xbb\r\n\xfc", "LT", sets) == "Л\r\nü"
    assert charset.decode(b"\x1b-L\xbb^\xfc", "LO", sets) == "Л^ќ"


def test_katakana_stays_in_force_beside_kanji():
    """The right half keeps its set while the left one changes, as ISO/IEC 2022 says."""
    assert charset.decode(b"\x1b)I\xd4\x1b$B;3\xd4\x1b(J!", "LO", ("ISO 2022 IR 13", "ISO 2022 IR 87")) == "ﾔ山ﾔ!"


@pytest.mark.parametrize(
    "term", ["ISO_IR 100", "ISO-IR 100", "ISO IR 100", "iso_ir 100 ", "ISO 2022 IR 100", "ISO_8859-1"]
)
def test_the_usual_misspellings_are_understood(term):
    """Common wrong forms of a defined term mean what they were meant to."""
    assert charset.decode(b"\xfc", "LO", (term,)) == "ü"


def test_without_a_character_set_latin_1_is_assumed_and_controls_are_shown():
    """A sender that declares nothing mostly means Latin-1; C1 control characters never come through (D25)."""
    assert charset.decode(b"M\xfcller^\x9b31m", "PN", ()) == "Müller^⟨9B⟩31m"
    assert charset.decode(b"a\x1b[31mb\x07", "LO", ()) == "a⟨1B⟩[31mb⟨07⟩"


def test_an_unknown_character_set_shows_the_bytes():
    """What no known set explains is shown byte by byte, ASCII stays readable, and different bytes stay different."""
    assert charset.decode(b"M\xfcller", "PN", ("ISO_IR 999",)) == "M⟨FC⟩ller"
    assert charset.decode(b"M\xfdller", "PN", ("ISO_IR 999",)) == "M⟨FD⟩ller"
    assert not charset.is_known(("ISO_IR 999",))
    assert charset.is_known(("", "ISO 2022 IR 87"))
    assert charset.is_known(())


def test_broken_utf_8_shows_the_bytes():
    """A truncated UTF-8 name keeps what can be read (chrX1 of the standard, cut)."""
    assert charset.decode(b"Wang^\xe7\x8e", "PN", ("ISO_IR 192",)) == "Wang^⟨E7⟩⟨8E⟩"


def test_other_vrs_know_ascii_only():
    """Character sets do not apply to code strings, dates and UIDs (PS3.5 §6.1.2.3)."""
    assert charset.decode(b"CT\xfc", "CS", ("ISO_IR 100",)) == "CT⟨FC⟩"


def test_line_ends_and_tabs_of_long_texts_stay():
    """A report keeps its lines."""
    assert charset.decode(b"one\r\n\ttwo\x0cthree  \0", "LT", ()) == "one\r\n\ttwo\x0cthree"


def test_encoding_what_a_set_lacks_gives_a_question_mark():
    """A character without a place is replaced, nothing is raised, and no byte of it can be taken for a delimiter."""
    assert charset.encode("Müller Ж", ("ISO_IR 100",)) == b"M\xfcller ?"
    assert charset.encode("ü", ()) == b"?"
    assert charset.encode("ü", ("ISO_IR 999",)) == b"?"
    assert charset.encode("¥‾", ("ISO_IR 13",)) == b"??"
    assert charset.encode("ü", ("", "ISO 2022 IR 100")) == b"\x1b-A\xfc"


@pytest.mark.parametrize("codec", ["iso2022_jp", "iso2022_jp_2"])
def test_the_whole_japanese_tables_agree_with_python(codec):
    """Each pair of JIS X 0208 and JIS X 0212 gives the character Python's ISO-2022-JP gives."""
    sequence, term = {"iso2022_jp": (b"\x1b$B", "ISO 2022 IR 87"), "iso2022_jp_2": (b"\x1b$(D", "ISO 2022 IR 159")}[
        codec
    ]
    compared = 0
    for row in range(0x21, 0x7F):
        for cell in range(0x21, 0x7F):
            pair = bytes((row, cell))
            try:
                wanted = (sequence + pair + b"\x1b(B").decode(codec)
            except UnicodeDecodeError:
                continue
            assert charset.decode(sequence + pair, "LO", ("", term)) == wanted, pair
            compared += 1
    assert compared > 6000


@given(hostile, any_vr, any_sets)
def test_any_bytes_decode_to_clean_text(raw, vr, sets):
    """Nothing raises; the text is valid Unicode without control characters but line ends and tabs."""
    text = charset.decode(raw, vr, sets)
    text.encode("utf-8")
    assert not [c for c in text if (ord(c) < 32 and c not in "\t\n\f\r") or 0x7F <= ord(c) < 0xA0]
    assert charset.decode_values(raw, vr, sets)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), any_sets)
def test_any_text_encodes(text, sets):
    """Nothing raises, and outside GB18030 and GBK no byte of a character looks like a delimiter."""
    raw = charset.encode(text, sets)
    if not {"GB18030", "GBK"} & set(sets) and b"\x1b$B" not in raw and b"\x1b$(D" not in raw:
        assert raw.count(b"\\") == text.count("\\")


@given(st.text("aZ 9äßЖяΩשعกﾔ山홍小^=\\", max_size=12), any_sets)
def test_encoded_text_decodes_to_itself(text, sets):
    """What the sets can hold comes back unchanged, across delimiters and changes of set."""
    raw = charset.encode(text, sets)
    back = charset.decode(raw, "PN", sets)
    kept = [a for a, b in zip(text.rstrip(" "), back, strict=True) if b not in (a, "?")]
    assert kept == []


@given(st.text("ab^ü山", max_size=6), st.text("ab^ü山", max_size=6), st.text("ab^=", max_size=6))
def test_person_name_groups_join_to_the_name(alphabetic, ideographic, phonetic):
    """Splitting into component groups and joining again gives the same name; groups beyond the third stay in it."""
    text = f"{alphabetic}={ideographic}={phonetic}".rstrip("=")

    assert charset.join_person_name(charset.split_person_name(text)) == text


def test_empty_groups_are_left_out():
    """Absent component groups have no key (PS3.18 §F.2.2)."""
    assert charset.split_person_name("=山田^太郎") == {"Ideographic": "山田^太郎"}
    assert charset.split_person_name("") == {}
    assert charset.split_person_name("A=B=C") == {"Alphabetic": "A", "Ideographic": "B", "Phonetic": "C"}
