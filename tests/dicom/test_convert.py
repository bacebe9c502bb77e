"""
Syntax conversion while streaming: pydicom reads the same values before and after, and trees come out as they must be
written.
"""

from __future__ import annotations

import struct
import tracemalloc
import warnings
import zlib
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement

import dicom_corpus as corpus
from dicom_corpus import BIG, DEFLATED, EXPLICIT, IMPLICIT, Leaf, RealFile, Sequence
from strongroom.dicom.convert import SyntaxConverter, can_convert
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.dicom.part10 import encode_header
from strongroom.dicom.walk import Walker
from strongroom.errors import DataSetError, LocalProtocolError

# The standard swaps 16-bit words, these files (and pydicom) whole cells of 32 bits.
AMBIGUOUS = ("rtdose_expb.dcm", "rtdose_expb_1frame.dcm")
WHOLE = [file for file in corpus.reals() if file.whole and can_convert(file.transfer_syntax_uid, EXPLICIT)]
NATIVE = [file for file in WHOLE if file.path.name not in AMBIGUOUS]
TARGETS = [EXPLICIT, IMPLICIT]


def convert(pieces, source: str, target: str, limits: Limits | None = None) -> bytes:
    """Convert a data set that comes in pieces."""
    converter = SyntaxConverter(source, target, limits=limits) if limits else SyntaxConverter(source, target)
    return b"".join([*[converter.feed(piece) for piece in pieces], converter.finish()])


def read(data_set: bytes, uid: str) -> pydicom.Dataset:
    """Read a data set with pydicom, as a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = encode_header("1.2.3", "1.2.3.4", uid) + data_set
        return pydicom.dcmread(BytesIO(content))


# ---------------------------------------------------------------- against pydicom


def raw(data_set: pydicom.Dataset) -> dict[int, object]:
    """The bytes of every value, padded to an even length, and the items of sequences; group lengths are left out."""
    found: dict[int, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, element in list(data_set._dict.items()):
            if not tag.element:
                continue
            value = element.value
            if data_set[tag].VR == "SQ":
                found[int(tag)] = [raw(item) for item in data_set[tag].value]
            elif isinstance(element, RawDataElement):
                data = value or b""
                found[int(tag)] = data + (b"\0" if len(data) % 2 else b"")
            else:
                found[int(tag)] = repr(data_set[tag].value)  # the character set
    return found


def even(tree: dict[int, object], other: dict[int, object]) -> dict[int, object]:
    """Take the padding that *other* has where only the padding byte differs: a space for text, a zero for the rest."""
    return {
        tag: [even(item, twin) for item, twin in zip(value, other[tag], strict=True)]
        if isinstance(value, list)
        else other[tag]
        if isinstance(value, bytes) and value[-1:] == b"\0" and value[:-1] + b" " == other.get(tag)
        else value
        for tag, value in tree.items()
    }


def values(data_set: pydicom.Dataset) -> dict[int, object]:
    """Every value as pydicom decodes it."""
    found: dict[int, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag in [tag for tag in sorted(data_set.keys()) if tag.element]:
            value = data_set[tag].value
            found[int(tag)] = [values(item) for item in value] if data_set[tag].VR == "SQ" else repr(value)
    return found


LITTLE = [file for file in NATIVE if file.transfer_syntax_uid != BIG]


@pytest.mark.parametrize("target", TARGETS, ids=["explicit", "implicit"])
@pytest.mark.parametrize("file", LITTLE, ids=corpus.name)
def test_every_value_keeps_its_bytes(file: RealFile, target: str) -> None:
    """
    Pydicom finds the same elements with the same bytes at every depth, Pixel Data included; the result is itself
    whole.
    """
    source = file.transfer_syntax_uid
    converted = convert(corpus.in_steps(file.data_set, 16_372), source, target)
    before, after = raw(read(file.data_set, source)), raw(read(converted, target))

    assert even(before, after) == after
    reader = HeaderReader(target)
    reader.feed(converted)
    assert reader.finish().length == len(converted)


@pytest.mark.parametrize("file", [file for file in LITTLE if file.transfer_syntax_uid == IMPLICIT], ids=corpus.name)
def test_vrs_are_those_pydicom_resolves(file: RealFile) -> None:
    """What implicit VR leaves open (US or SS, OB or OW) is decided as pydicom decides it; unknown elements become UN."""
    before = read(file.data_set, IMPLICIT)
    after = read(convert([file.data_set], IMPLICIT, EXPLICIT), EXPLICIT)

    for tag, element in list(after._dict.items()):
        if isinstance(element, RawDataElement) and element.VR != "UN" and not tag.is_private and tag != PIXEL_DATA:
            assert element.VR == before[tag].VR
        elif element.VR == "UN":
            assert tag.is_private or tag.group & 0xFF00 == 0x5000 or before[tag].VR == "UN"
    if PIXEL_DATA in after and "BitsAllocated" in after:
        assert ("OB" if after.BitsAllocated <= 8 else "OW") == after[PIXEL_DATA].VR


PIXEL_DATA = 0x7FE00010


@pytest.mark.parametrize("file", [f for f in WHOLE if f.path.name in AMBIGUOUS], ids=corpus.name)
def test_big_endian_cells_of_32_bits_are_not_guessed(file: RealFile) -> None:
    """A dose is not converted by chance."""
    with pytest.raises(DataSetError, match="two ways"):
        convert([file.data_set], BIG, EXPLICIT)


@pytest.mark.parametrize("file", [file for file in NATIVE if file.transfer_syntax_uid == BIG], ids=corpus.name)
def test_big_endian_values_mean_the_same(file: RealFile) -> None:
    """Pydicom decodes the same values, at every depth; cells of 16-bit words are compared by their twins below."""
    before = read(file.data_set, BIG)
    explicit = convert(corpus.in_steps(file.data_set, 997), BIG, EXPLICIT)
    after = read(explicit, EXPLICIT)
    words = [tag for tag, element in before._dict.items() if element.VR == "OW"]
    for tag in words:
        swapped = before._dict[tag].value
        assert after._dict[tag].value == b"".join(swapped[at : at + 2][::-1] for at in range(0, len(swapped), 2))
        del before[tag], after[tag]

    assert values(before) == values(after)
    assert convert([file.data_set], BIG, IMPLICIT) == convert([explicit], EXPLICIT, IMPLICIT)


@pytest.mark.parametrize("file", NATIVE, ids=corpus.name)
def test_the_pieces_do_not_matter(file: RealFile) -> None:
    """Fed whole, in network fragments, at random cuts and in crumbs: the same bytes come out."""
    source = file.transfer_syntax_uid
    for target in TARGETS:
        whole = convert([file.data_set], source, target)
        for seed in range(3):
            assert convert(corpus.pieces(file.data_set, corpus.cuts(len(file.data_set), seed)), source, target) == whole
        if len(file.data_set) < 30_000:
            assert convert(corpus.in_steps(file.data_set, 3), source, target) == whole


TWINS = [
    ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ("MR_small_expb.dcm", "MR_small.dcm"),
    ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm"),
    ("OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_2frame.dcm"),
    ("SC_rgb_expb.dcm", "SC_rgb.dcm"),
    ("SC_rgb_expb_2frame.dcm", "SC_rgb_2frame.dcm"),
    ("SC_rgb_expb_16bit.dcm", "SC_rgb_16bit.dcm"),
    ("SC_rgb_expb_16bit_2frame.dcm", "SC_rgb_16bit_2frame.dcm"),
    ("SC_rgb_expb_32bit.dcm", "SC_rgb_32bit.dcm"),
    ("SC_rgb_expb_32bit_2frame.dcm", "SC_rgb_32bit_2frame.dcm"),
    ("SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd.dcm"),
    ("emri_small_big_endian.dcm", "emri_small.dcm"),
    ("liver_expb.dcm", "liver.dcm"),
    ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
]


@pytest.mark.parametrize(("big", "little"), TWINS)
def test_pixels_of_a_big_endian_file_become_those_of_its_little_endian_twin(big: str, little: str) -> None:
    """Files that somebody else wrote in both byte orders: converting one gives the Pixel Data of the other."""
    by_name = {file.path.name: file for file in corpus.reals()}
    if big not in by_name or little not in by_name:
        pytest.skip("pydicom-data is not installed")
    source = by_name[big]
    converted = read(convert([source.data_set], source.transfer_syntax_uid, EXPLICIT), EXPLICIT)

    assert converted.PixelData == by_name[little].read().PixelData


# ---------------------------------------------------------------- made data sets


def as_streamed(tree):
    """An empty sequence keeps the length its source gave it: nothing inside, nothing to wait for."""
    return tuple(
        Sequence(element.tag, tuple(as_streamed(inner) for inner in element.items), element.undefined)
        if isinstance(element, Sequence)
        else element
        for element in tree
    )


@settings(max_examples=300, deadline=None)
@given(corpus.trees(), st.integers(1, 40))
def test_a_big_endian_tree_comes_out_as_it_must_be_written(tree, step: int) -> None:
    """
    Byte order of every VR, padding, undefined lengths, whatever the pieces: exactly the bytes of the tree in the
    target.
    """
    source = corpus.encode(tree, BIG)
    expected = as_streamed(tree)

    explicit = convert(corpus.in_steps(source, step), BIG, EXPLICIT)
    assert explicit == corpus.encode(expected, EXPLICIT, stream=True)
    assert convert([explicit], EXPLICIT, IMPLICIT) == corpus.encode(expected, IMPLICIT, stream=True)
    assert convert([source], BIG, IMPLICIT) == corpus.encode(expected, IMPLICIT, stream=True)


def explicit_vrs(*leaves: Leaf) -> list[str]:
    """The VRs that implicit elements get."""
    converted = convert([corpus.encode(leaves, IMPLICIT)], IMPLICIT, EXPLICIT)
    return [str(element.VR) for element in read(converted, EXPLICIT)._dict.values()]


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(8, 0, ["US", "US", "US", "OB"]), (16, 1, ["US", "US", "SS", "OW"]), (1, 0, ["US", "US", "US", "OB"])],
)
def test_pixel_representation_and_bits_allocated_decide(bits: int, signed: int, expected: list[str]) -> None:
    """US or SS, OB or OW go by what the data set says of its pixels (PS3.5 Annex A.2)."""
    number = struct.Struct("<H").pack

    assert expected == explicit_vrs(
        Leaf(0x00280100, "US", number(bits)),
        Leaf(0x00280103, "US", number(signed)),
        Leaf(0x00280106, "US", number(7)),
        Leaf(0x7FE00010, "OW", bytes(4)),
    )


def test_the_nearest_pixel_representation_holds() -> None:
    """Inside an item that has its own the item's counts, behind it the data set's again."""
    smallest = Leaf(0x00280106, "US", b"\xff\xff")
    own = Sequence(0x00880200, ((Leaf(0x00280103, "US", b"\0\0"), smallest), (smallest,)))
    tree = (Leaf(0x00280103, "US", b"\1\0"), smallest, Leaf(0x00280120, "US", b"\0\0"), own)
    after = read(convert([corpus.encode(tree, IMPLICIT)], IMPLICIT, EXPLICIT), EXPLICIT)

    assert [after[0x00280106].VR, after[0x00280120].VR] == ["SS", "SS"]
    assert [item[0x00280106].VR for item in after[0x00880200]] == ["US", "SS"]


def test_waveforms_of_eight_bits_are_bytes() -> None:
    """Waveform Data is OB when its samples are 8 bits, else OW (PS3.3 C.10.9.1.5)."""
    for bits, vr in ((8, "OB"), (16, "OW")):
        item = (Leaf(0x54001004, "US", bytes([bits, 0])), Leaf(0x54001010, "OW", bytes(4)))
        tree = (Sequence(0x54000100, (item,)),)
        after = read(convert([corpus.encode(tree, IMPLICIT)], IMPLICIT, EXPLICIT), EXPLICIT)
        assert vr == after[0x54000100][0]._dict[0x54001010].VR


def test_unknown_and_too_long_elements_become_un() -> None:
    """A private element, and text longer than its own length field allows, are UN with their bytes as they were."""
    text = b"x" * 70_000
    tree = (Leaf(0x00090010, "LO", b"ACME"), Leaf(0x00091001, "UN", b"\1\2\3"), Leaf(0x00101000, "LO", text))
    converted = convert([corpus.encode(tree, IMPLICIT)], IMPLICIT, EXPLICIT)

    assert converted == corpus.encode(
        (tree[0], Leaf(0x00091001, "UN", b"\1\2\3\0"), Leaf(0x00101000, "UN", text)), EXPLICIT
    )
    assert convert([converted], EXPLICIT, IMPLICIT) == corpus.encode(
        (tree[0], Leaf(0x00091001, "UN", b"\1\2\3\0"), tree[2]), IMPLICIT
    )


def test_un_of_undefined_length_becomes_a_sequence() -> None:
    """What is inside is implicit VR; explicit VR outside gives it VRs (PS3.5 §6.2.2), also in a big endian data set."""
    code = Leaf(0x00080100, "SH", b"1234")
    inside = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + corpus.encode((code,), IMPLICIT) + b"\xfe\xff\x0d\xe0\0\0\0\0"
    inside += b"\xfe\xff\xdd\xe0\0\0\0\0"
    expected = (Sequence(0x00091001, ((code,),)), Leaf(0x00280010, "US", b"\2\1"))
    little = b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff" + inside + corpus.encode(expected[1:], EXPLICIT)
    big = b"\x00\x09\x10\x01UN\0\0\xff\xff\xff\xff" + inside + corpus.encode(expected[1:], BIG)

    for uid, data in ((EXPLICIT, little), (BIG, big)):
        assert convert([data], uid, IMPLICIT) == corpus.encode(expected, IMPLICIT)
    assert convert([big], BIG, EXPLICIT) == corpus.encode(expected, EXPLICIT)


def test_group_lengths_are_left_out() -> None:
    """They are retired, and would be wrong: as would Length to End; so it is at every depth."""
    kept = Leaf(0x00080060, "CS", b"CT")
    lengths = (Leaf(0x00080000, "UL", b"\1\0\0\0"), Leaf(0x00080001, "UL", b"\1\0\0\0"), kept)
    tree = (*lengths, Sequence(0x00081140, (lengths,)))

    assert convert([corpus.encode(tree, EXPLICIT)], EXPLICIT, IMPLICIT) == corpus.encode(
        (kept, Sequence(0x00081140, ((kept,),))), IMPLICIT
    )


# ---------------------------------------------------------------- refusals and bounds


def test_what_can_be_converted() -> None:
    """Native little endian targets only; GE's big endian pixels and every encapsulated syntax are left to imaging."""
    assert all(can_convert(source, target) for source in (IMPLICIT, EXPLICIT, BIG, DEFLATED) for target in TARGETS)
    assert not can_convert(EXPLICIT, BIG)
    assert not can_convert(EXPLICIT, DEFLATED)
    for source in ("1.2.840.113619.5.2", "1.2.840.10008.1.2.4.50", "1.2.3"):
        assert not can_convert(source, EXPLICIT)
        with pytest.raises(LocalProtocolError):
            SyntaxConverter(source, EXPLICIT)


def test_encapsulated_data_under_a_native_syntax_is_refused() -> None:
    """Its fragments would not be what the target syntax says they are."""
    data = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0"
    with pytest.raises(DataSetError, match="encapsulated"):
        convert([data], EXPLICIT, IMPLICIT)


@pytest.mark.parametrize("source", [EXPLICIT, IMPLICIT])
def test_a_cut_data_set_is_refused_on_every_way(source: str) -> None:
    """Also where the bytes pass unchanged: what is not whole is not sent as if it were."""
    data = corpus.encode((Leaf(0x00080060, "CS", b"CT"), Leaf(0x7FE00010, "OW", bytes(100))), source)
    for target in TARGETS:
        with pytest.raises(DataSetError):
            convert([data[:-1]], source, target)


def test_pixel_data_streams_through_bounded_memory() -> None:
    """64 MiB of Pixel Data need no more than some fragments, also when their bytes change places."""
    fragment = bytes(128 * 1024)
    for source in (EXPLICIT, BIG):
        order = ">" if source == BIG else "<"
        converter = SyntaxConverter(source, IMPLICIT)
        converter.feed(struct.pack(order + "HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 64 << 20))
        tracemalloc.start()
        length = sum(len(converter.feed(fragment)) for _ in range(512))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert converter.finish() == b""
        assert length == 64 << 20
        assert peak < 8 * len(fragment)


def test_a_plain_value_under_the_tag_of_a_sequence_is_refused() -> None:
    """Implicit VR has no way to say that it is none; UN is what it may be, and passes (PS3.5 §6.2.2)."""
    for vr, value in (("LO", b"no sequence."), ("OB", bytes(4))):
        data = corpus.encode((Leaf(0x0040A730, vr, value),), EXPLICIT)
        with pytest.raises(DataSetError, match="no sequence"):
            convert([data], EXPLICIT, IMPLICIT)
        assert convert([data], EXPLICIT, EXPLICIT) == data
    sequence = corpus.encode((Sequence(0x0040A730, ((Leaf(0x00080100, "SH", b"1234"),),), False, False),), IMPLICIT)
    assert convert([corpus.encode((Leaf(0x0040A730, "UN", sequence[8:]),), EXPLICIT)], EXPLICIT, IMPLICIT) == sequence


@pytest.mark.parametrize("file", [file for file in LITTLE if file.transfer_syntax_uid == EXPLICIT], ids=corpus.name)
def test_there_and_back_and_there_again_is_the_same(file: RealFile) -> None:
    """Implicit VR made of a data set is the same bytes whether it has been explicit again in between or not."""
    implicit = convert([file.data_set], EXPLICIT, IMPLICIT)

    assert convert([convert([implicit], IMPLICIT, EXPLICIT)], EXPLICIT, IMPLICIT) == implicit


def test_a_bomb_is_stopped() -> None:
    """The limits of a deflated source hold here too."""
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(b"\x09\x00\x01\x10OB\0\0\0\0\0\x02" + bytes(32 << 20)) + deflate.flush()
    with pytest.raises(LimitExceeded, match="max_inflate_ratio"):
        convert(corpus.in_steps(bomb, 1000), DEFLATED, IMPLICIT, Limits(inflate_allowance=1 << 20))


def outcome(pieces, source: str, target: str) -> bytes | str:
    """What converting comes to: the bytes, or a refusal."""
    try:
        return convert(pieces, source, target)
    except DataSetError:
        return "refused"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([file for file in NATIVE if len(file.data_set) < 8_000]),
    st.binary(min_size=1, max_size=12),
    st.data(),
)
def test_damaged_files_convert_or_are_refused(file: RealFile, damage: bytes, data) -> None:
    """Nothing but DataSetError escapes, and what comes out is whole."""
    at = data.draw(st.integers(0, len(file.data_set)))
    content = file.data_set[:at] + damage + file.data_set[at + data.draw(st.sampled_from([0, len(damage)])) :]
    source, target = file.transfer_syntax_uid, data.draw(st.sampled_from(TARGETS))
    result = outcome([content], source, target)

    assert result == outcome(corpus.in_steps(content, data.draw(st.integers(1, 3000))), source, target)
    if isinstance(result, bytes) and result and b"UN" not in content:  # what UN holds is passed on unseen
        walker = Walker(explicit=target == EXPLICIT)
        walker.feed(result)
        walker.finish()
