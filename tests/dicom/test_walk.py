"""The structure walk: every tree of elements is walked as it was made, every wrong one is refused, in constant stack."""

from __future__ import annotations

import struct
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dicom_corpus as corpus
from dicom_corpus import BIG, EXPLICIT, IMPLICIT, Leaf
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.dicom.walk import (
    ITEM,
    ITEM_DELIMITATION,
    SEQUENCE_DELIMITATION,
    UNDEFINED,
    Mark,
    StructureFault,
    Walker,
)
from strongroom.errors import DataSetError

SQ = b"\x40\x00\x30\xa7SQ\0\0"
END_ITEM = b"\xfe\xff\x0d\xe0\0\0\0\0"
END_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"
ENDLESS = b"\xff\xff\xff\xff"
CODE = corpus.encode((Leaf(0x00080100, "SH", b"1234"),), EXPLICIT)
CODE_IMPLICIT = corpus.encode((Leaf(0x00080100, "SH", b"1234"),), IMPLICIT)


def item(body: bytes, length: bytes | None = None) -> bytes:
    """Write an item, of true length if none is given."""
    return b"\xfe\xff\x00\xe0" + (struct.pack("<I", len(body)) if length is None else length) + body


def walk(pieces, uid: str = EXPLICIT, *, nested: bool = True, limits: Limits | None = None) -> list[Mark]:
    """Walk to the end; return all marks."""
    walker = Walker(
        explicit=uid != IMPLICIT, little_endian=uid != BIG, nested=nested, **({"limits": limits} if limits else {})
    )
    marks = [mark for piece in pieces for mark in walker.feed(piece)]
    return marks + walker.finish()


# ---------------------------------------------------------------- every tree


def shape(elements) -> list[tuple[object, ...]]:
    """What the marks of a tree must say, without offsets."""
    said: list[tuple[object, ...]] = []
    for element in elements:
        if isinstance(element, Leaf):
            said.append((element.tag, element.vr, len(element.value)))
            continue
        said.append((element.tag, "SQ"))
        for inner in element.items:
            said += [(ITEM,), *shape(inner), (ITEM_DELIMITATION,)]
        if element.items or element.undefined:
            said.append((SEQUENCE_DELIMITATION,))
    return said


def said(marks: list[Mark]) -> list[tuple[object, ...]]:
    """What marks say, without offsets."""
    found: list[tuple[object, ...]] = []
    for tag, vr, _, length in marks:
        if tag in (ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
            found.append((tag,))
        else:
            found.append((tag, vr) if vr == "SQ" else (tag, vr, length))
    return found


@settings(max_examples=300, deadline=None)
@given(corpus.trees(), st.sampled_from([EXPLICIT, BIG]), st.integers(1, 30))
def test_a_tree_is_walked_as_it_was_made(tree, uid: str, step: int) -> None:
    """Defined and undefined lengths, any nesting, both byte orders, any pieces: the marks tell the tree."""
    data = corpus.encode(tree, uid)
    marks = walk([data], uid)

    assert shape(tree) == said(marks)
    assert marks == walk(corpus.in_steps(data, step), uid)


@settings(max_examples=100, deadline=None)
@given(corpus.trees(), st.sampled_from([EXPLICIT, BIG, IMPLICIT]))
def test_a_tree_cut_short_is_refused(tree, uid: str) -> None:
    """Every cut but those between top-level elements is noticed."""
    data = corpus.encode(tree, uid)
    whole = {len(corpus.encode(tree[:count], uid)) for count in range(1, len(tree) + 1)}

    for place in range(len(data)):
        if place in whole:
            walk([data[:place]], uid)
        else:
            with pytest.raises(DataSetError):
                walk([data[:place]], uid)


@settings(max_examples=100, deadline=None)
@given(corpus.trees())
def test_values_lie_where_the_marks_say(tree) -> None:
    """The offset and length of a mark give the value; a top-level sequence is marked again with its true length."""
    data = corpus.encode(tree, EXPLICIT)
    marks = walk([data], nested=False)
    last = {tag: (offset, length) for tag, _, offset, length in marks}

    assert [element.tag for element in tree] == list(last)
    for element in tree:
        offset, length = last[element.tag]
        if isinstance(element, Leaf):
            assert element.value == data[offset : offset + length]
        else:
            body = corpus.encode((element,), EXPLICIT)[12:]
            assert body.removesuffix(END_SEQUENCE if element.undefined else b"") == data[offset : offset + length]


# ---------------------------------------------------------------- depth, counts, lengths


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("uid", [EXPLICIT, IMPLICIT])
def test_sixty_four_sequences_are_taken_and_no_more(uid: str, undefined: bool) -> None:
    """The 65th sequence within another is refused, however deep it would go on, in constant stack (SECURITY F04)."""
    assert len(walk([corpus.nest(64, uid, undefined=undefined)], uid)) == 64 * 4
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        for depth in (65, 200, 5_000, 200_000):
            with pytest.raises(LimitExceeded) as caught:
                walk(corpus.in_steps(corpus.nest(depth, uid, undefined=undefined), 65536), uid)
            assert (caught.value.name, caught.value.limit, caught.value.found) == ("max_depth", 64, 65)
    finally:
        sys.setrecursionlimit(limit)


def feed_for_ever(walker: Walker, chunk: bytes) -> None:
    """Feed the same bytes until they are refused."""
    for _ in range(1_000_000):
        walker.feed(chunk)


@pytest.mark.parametrize(
    "unit",
    [
        corpus.encode((Leaf(0x00111001, "UL", b""),), EXPLICIT),
        SQ + struct.pack("<I", 8) + item(b""),
    ],
    ids=["elements", "items"],
)
def test_too_many_elements_are_refused_in_little_memory(unit: bytes) -> None:
    """The count covers elements and items; what was counted takes no memory (SECURITY F08)."""
    chunk = unit * (65536 // len(unit))
    walker = Walker(explicit=True, nested=True, limits=Limits(max_elements=100_000))

    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="max_elements"):
        feed_for_ever(walker, chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20


def test_fragments_are_counted() -> None:
    """Encapsulated Pixel Data of endlessly many empty fragments is refused too."""
    with pytest.raises(LimitExceeded, match="max_elements"):
        walk(
            [b"\xe0\x7f\x10\x00OB\0\0" + ENDLESS, *[item(b"") * 1000] * 11],
            limits=Limits(max_elements=10_000),
        )


@pytest.mark.parametrize(
    "data",
    [
        b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", (2 << 30) + 2),
        b"\xe0\x7f\x10\x00OB\0\0" + ENDLESS + b"\xfe\xff\x00\xe0" + struct.pack("<I", (2 << 30) + 2),
    ],
    ids=["value", "fragment"],
)
def test_a_value_of_more_than_two_gibibytes_is_refused_at_its_header(data: bytes) -> None:
    """The length alone is enough: nothing is waited for."""
    with pytest.raises(LimitExceeded, match="max_value_length"):
        Walker(explicit=True).feed(data)


def test_a_data_set_longer_than_the_limit_is_refused() -> None:
    """Passing over a value is quick, but not without end."""
    walker = Walker(explicit=True, limits=Limits(max_data_set_length=1000))
    walker.feed(b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 2000) + bytes(900))

    with pytest.raises(LimitExceeded, match="max_data_set_length"):
        walker.feed(bytes(200))


# ---------------------------------------------------------------- wrong, and refused

WRONG = {
    "a child longer than its item": SQ + struct.pack("<I", 20) + item(CODE[:6] + b"\x40\x00" + CODE[8:]),
    "an item longer than its sequence": SQ + struct.pack("<I", 20) + item(CODE, struct.pack("<I", 13)) + CODE,
    "a sequence longer than the item it is in": SQ
    + ENDLESS
    + item(SQ + struct.pack("<I", 100) + item(CODE))
    + bytes(100)
    + END_SEQUENCE,
    "an item that ends inside an element header": SQ + struct.pack("<I", 13) + item(CODE[:5]) + CODE,
    "an item that ends inside a long element header": SQ + ENDLESS + item(b"\x09\x00\x01\x10OB\0\0\0\0") + END_SEQUENCE,
    "bytes left at the end of a sequence": SQ + struct.pack("<I", 24) + item(CODE) + b"\0\0\0\0" + CODE,
    "an element where an item belongs": SQ + ENDLESS + CODE + END_SEQUENCE,
    "an item where an element belongs": CODE + item(CODE),
    "an item delimiter outside": CODE + END_ITEM,
    "a sequence delimiter outside": CODE + END_SEQUENCE,
    "a sequence delimiter inside an item": SQ + ENDLESS + item(CODE + END_SEQUENCE, ENDLESS) + END_ITEM,
    "an item delimiter inside a sequence": SQ + ENDLESS + END_ITEM + END_SEQUENCE,
    "a delimiter in the middle of an item of defined length": SQ + ENDLESS + item(END_ITEM + CODE) + END_SEQUENCE,
    "a delimiter in the middle of a sequence of defined length": SQ + struct.pack("<I", 28) + END_SEQUENCE + item(CODE),
    "text of undefined length": b"\x08\x00\x04\x01UT\0\0" + ENDLESS + item(b"") + END_SEQUENCE,
    "an element among fragments": b"\xe0\x7f\x10\x00OB\0\0" + ENDLESS + item(b"ab") + CODE + END_SEQUENCE,
    "a fragment without a length": b"\xe0\x7f\x10\x00OB\0\0" + ENDLESS + item(b"ab", ENDLESS) + END_SEQUENCE,
    "no VR": CODE + CODE_IMPLICIT,
    "a VR in small letters": b"\x08\x00\x00\x01sh\x04\x001234",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_structure_is_refused(what: str) -> None:
    """Each of the ways a data set can be built wrongly, whole and byte by byte; the fault names its place."""
    for step in (1000, 1):
        with pytest.raises(DataSetError) as caught:
            walk(corpus.in_steps(WRONG[what], step))
        if isinstance(caught.value, StructureFault):
            assert 0 <= caught.value.offset <= len(WRONG[what])
            assert str(caught.value.offset) in str(caught.value)


# ---------------------------------------------------------------- odd, and taken

TAKEN = {
    "an odd length": CODE[:6] + b"\x03\x00123",
    "delimiters at the end of defined lengths": SQ + struct.pack("<I", 36) + item(CODE + END_ITEM) + END_SEQUENCE,
    "delimiters with a length": SQ
    + ENDLESS
    + item(CODE, ENDLESS)
    + END_ITEM[:4]
    + b"ABCD"
    + END_SEQUENCE[:4]
    + b"OB\0\0",
    "an empty sequence": SQ + b"\0\0\0\0" + SQ + ENDLESS + END_SEQUENCE,
    "empty items": SQ + ENDLESS + item(b"") + item(b"", ENDLESS) + END_ITEM + END_SEQUENCE,
    "a wrong group length": b"\x08\x00\x00\x00UL\x04\x00\xff\xff\0\0" + CODE,
    "tags out of order": b"\x10\x00\x20\x00LO\x00\x00" + CODE,
    "UN of undefined length, implicit inside": b"\x09\x00\x01\x10UN\0\0"
    + ENDLESS
    + item(CODE_IMPLICIT, ENDLESS)
    + END_ITEM
    + item(CODE_IMPLICIT)
    + END_SEQUENCE,
    "UN of undefined length, explicit inside": b"\x09\x00\x01\x10UN\0\0" + ENDLESS + item(CODE) + END_SEQUENCE,
    "implicit items in an explicit data set": SQ + struct.pack("<I", 20) + item(CODE_IMPLICIT) + CODE,
    "a VR of the future": b"\x08\x00\x00\x01ZZ\0\0\x04\0\0\x001234",
    "an unknown VR with a short length": b"\x08\x00\x00\x01ZZ\x04\x001234",
    "question marks for a VR": b"\x08\x00\x00\x01??\x04\x001234" + CODE,
    "encapsulated data": b"\xe0\x7f\x10\x00OB\0\0" + ENDLESS + item(b"") + item(b"abcd") + END_SEQUENCE,
    "no byte behind Pixel Data": CODE + b"\xe0\x7f\x10\x00OW\0\0\0\0\0\0",
}


@pytest.mark.parametrize("what", TAKEN)
def test_odd_but_common_structures_are_taken(what: str) -> None:
    """What scanners write against the standard, and every reader reads, is walked to the end, in any pieces."""
    marks = walk([TAKEN[what]])

    assert marks == walk(corpus.in_steps(TAKEN[what], 1))
    assert {tag: vr for tag, vr, *_ in marks}.get(0x00080100, "SH") in ("SH", "UN", None)


def test_items_may_be_implicit_one_by_one() -> None:
    """Each item says by its first element how it is written; nested ones inherit implicit VR."""
    inner = b"\x40\x00\x30\xa7" + ENDLESS + item(CODE_IMPLICIT) + END_SEQUENCE
    data = SQ + ENDLESS + item(CODE) + item(CODE_IMPLICIT + inner) + item(CODE) + END_SEQUENCE

    assert [vr for tag, vr, *_ in walk([data]) if tag == 0x00080100] == ["SH", None, None, "SH"]


def test_un_in_big_endian_is_little_endian_inside() -> None:
    """UN of undefined length is little endian whatever surrounds it (PS3.5 §6.2.2)."""
    data = b"\x00\x09\x10\x01UN\0\0" + ENDLESS + item(CODE_IMPLICIT, ENDLESS) + END_ITEM + END_SEQUENCE
    after = corpus.encode((Leaf(0x00280010, "US", b"\2\0"),), BIG)

    assert [mark[0] for mark in walk([data + after], BIG)] == [
        0x00091001,
        ITEM,
        0x00080100,
        ITEM_DELIMITATION,
        SEQUENCE_DELIMITATION,
        0x00280010,
    ]


def test_disorder_is_counted_once_in_any_pieces() -> None:
    """A tag that is not greater than the one in front of it counts once, even when its header comes in pieces."""
    data = CODE + b"\x08\x00\x05\x00UT\0\0\2\0\0\0ab" + CODE + CODE

    for step in (1000, 1, 9):
        walker = Walker(explicit=True)
        for piece in corpus.in_steps(data, step):
            walker.feed(piece)
        assert walker.disorder == 2


def test_pixel_data_is_found_at_the_top_level_only() -> None:
    """An icon inside a sequence is not the Pixel Data of the data set."""
    pixels = b"\xe0\x7f\x10\x00OW\0\0\2\0\0\0ab"
    icon = SQ + ENDLESS + item(pixels) + END_SEQUENCE
    walker = Walker(explicit=True)
    walker.feed(icon + pixels)

    assert walker.pixel_data_offset == len(icon)
    assert walk([icon + pixels])[0][3] == UNDEFINED


def test_a_fault_is_told_again() -> None:
    """Whoever goes on after an error gets the same error, not a result."""
    walker = Walker(explicit=True)
    with pytest.raises(StructureFault) as first:
        walker.feed(END_ITEM)
    with pytest.raises(StructureFault) as second:
        walker.feed(CODE)
    with pytest.raises(StructureFault) as third:
        walker.finish()

    assert first.value is second.value is third.value
