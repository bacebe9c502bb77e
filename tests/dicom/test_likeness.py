"""Data sets built like one before: recognised, and read exactly as by a walk, whatever is different about them."""

from __future__ import annotations

import random
import tracemalloc

import pytest

import dicom_corpus as corpus
from dicom_corpus import EXPLICIT, IMPLICIT, Leaf, RealFile, Sequence, encode
from strongroom.dicom.header import Header, HeaderReader
from strongroom.dicom.likeness import KEPT, Likenesses
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.dicom.walk import Walker
from strongroom.errors import DataSetError

UNCOMPRESSED = [file for file in corpus.reals() if file.whole and len(file.data_set) < 300_000]
PIXELS = Leaf(0x7FE00010, "OW", b"\x01\x02" * 50)
IMAGE = (
    Leaf(0x00080008, "CS", b"ORIGINAL\\PRIMARY"),
    Leaf(0x00080018, "UI", b"1.2.3.40"),
    Sequence(0x00081140, ((Leaf(0x00081150, "UI", b"1.2.34"), Leaf(0x00081155, "UI", b"1.2.56")), ())),
    Leaf(0x00100020, "LO", b"CT-1"),
    Leaf(0x0020000D, "UI", b"1.2.3.4."),
    Leaf(0x00200013, "IS", b"9 "),
    Leaf(0x00281053, "DS", b""),
    Leaf(0x00282000, "OB", b"profile!"),
    PIXELS,
)


def facts(
    data: bytes, uid: str, known: Likenesses | None, limits: Limits | None = None, first: int = 1 << 20
) -> object:
    """All a reader says of *data*, or why it refuses it; it looks ahead as a deposit does."""
    reader = HeaderReader(uid, likenesses=known, **({} if limits is None else {"limits": limits}))
    looked = False
    try:
        for piece in (data[:first], data[first:]):
            reader.feed(memoryview(piece))
            if reader.at_pixel_data and not looked:
                looked = True
                reader.so_far()
        header = reader.finish()
    except DataSetError as fault:
        return type(fault), str(fault)
    return said(header)


def said(header: Header) -> tuple[object, ...]:
    """What a header says, comparable."""
    return (
        dict(header.elements),
        {tag: header.elements.place(tag) for tag in header.elements},
        header.located,
        header.head,
        header.length,
        header.element_count,
        header.pixel_data_offset,
        header.disorder,
        header.duplicates,
        list(header.fragments),
    )


def recognised(known: Likenesses, data: bytes, uid: str = EXPLICIT) -> bool:
    """Whether everything in front of Pixel Data is known."""
    walker = Walker(explicit=uid != IMPLICIT)
    return known.walk(walker, data, {}, explicit=uid != IMPLICIT, little_endian=True)[1]


def replaced(elements: tuple[Leaf | Sequence, ...], *others: Leaf | Sequence) -> tuple[Leaf | Sequence, ...]:
    """*elements* with others of the same tags."""
    new = {one.tag: one for one in others}
    return tuple(new.get(one.tag, one) for one in elements)


@pytest.mark.parametrize("uid", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_image_is_recognised(uid: str, stream: bool) -> None:
    """Other values, some of another length, in front of a sequence and behind it: known, and read as by a walk."""
    known = Likenesses()
    facts(encode(IMAGE, uid, stream=stream), uid, known)
    for others in (
        (),
        (Leaf(0x00080018, "UI", b"1.2.3.41"),),
        (Leaf(0x00080018, "UI", b"1.2.3.4444"), Leaf(0x00200013, "IS", b"10000 ")),
        (Leaf(0x00080018, "UI", b""), Leaf(0x00281053, "DS", b"1 ")),
        (Leaf(0x00282000, "OB", b"another profile!"),),
    ):
        data = encode(replaced(IMAGE, *others), uid, stream=stream)

        assert recognised(known, data, uid)
        assert facts(data, uid, None) == facts(data, uid, known)


@pytest.mark.parametrize("uid", [EXPLICIT, IMPLICIT])
def test_another_structure_is_not_recognised(uid: str) -> None:
    """An element more, less, or inside a sequence of another length: walked from there on."""
    known = Likenesses()
    facts(encode(IMAGE, uid), uid, known)
    longer = Sequence(0x00081140, ((Leaf(0x00081150, "UI", b"1.2.34"), Leaf(0x00081155, "UI", b"1.2.5678")), ()))
    filled = Sequence(0x00081140, ())
    for elements in (IMAGE[:3] + IMAGE[4:], replaced(IMAGE, longer), replaced(IMAGE, filled), IMAGE[3:]):
        data = encode(elements, uid)

        assert not recognised(known, data, uid)
        assert facts(data, uid, None) == facts(data, uid, known)


def test_an_empty_sequence_that_is_not_empty_is_walked() -> None:
    """A sequence without items has the header of a value; with items it is none."""
    known = Likenesses()
    empty = replaced(IMAGE, Sequence(0x00081140, ()))
    facts(encode(empty, EXPLICIT), EXPLICIT, known)
    data = encode(IMAGE, EXPLICIT)

    assert recognised(known, encode(empty, EXPLICIT))
    assert not recognised(known, data)
    assert facts(data, EXPLICIT, None) == facts(data, EXPLICIT, known)


def test_the_length_of_an_unknown_vr_is_not_stepped_over() -> None:
    """With a length of zero such a header has four bytes more: what follows belongs to it."""
    known = Likenesses()
    data = encode(IMAGE, EXPLICIT).replace(b"\x10\x00\x20\x00LO\x04\x00CT-1", b"\x10\x00\x20\x00ZZ\x04\x00CT-1")
    facts(data, EXPLICIT, known)
    empty = data.replace(b"ZZ\x04\x00CT-1", b"ZZ\x00\x00")
    wide = data.replace(b"ZZ\x04\x00CT-1", b"ZZ\x00\x00\x04\x00\x00\x00CT-1")

    assert recognised(known, data)
    for other in (empty, wide):
        assert not recognised(known, other)
        assert facts(other, EXPLICIT, None) == facts(other, EXPLICIT, known)


@pytest.mark.parametrize("file", UNCOMPRESSED, ids=corpus.name)
def test_real_data_sets_are_read_as_by_a_walk(file: RealFile) -> None:
    """The same again, cut anywhere, and with bytes changed anywhere in front of Pixel Data: the same facts or fault."""
    data, uid = file.data_set, file.transfer_syntax_uid
    known = Likenesses()
    first = facts(data, uid, known)
    generator = random.Random(file.path.name)

    assert first == facts(data, uid, known)
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(generator.choice((0, 1, 1, 1, 3))):
            at = generator.randrange(min(len(data), 12_000))
            changed[at] = generator.choice((0, 1, 2, 4, 8, 255, changed[at] ^ 1, changed[at] + 2 & 255))
        if generator.random() < 0.3:
            at = generator.randrange(min(len(data), 12_000))
            changed[at:at] = generator.choice((b"\0\0", b"  ", b"1.23"))
        if generator.random() < 0.3:
            del changed[generator.randrange(len(changed)) :]
        cut = generator.choice((1 << 20, 1 << 20, 700, 5_000))

        assert facts(bytes(changed), uid, None, first=cut) == facts(bytes(changed), uid, known, first=cut)


def test_limits_hold_for_what_is_recognised() -> None:
    """A value of another length is refused when it is longer than allowed, like by a walk."""
    limits = Limits(max_value_length=64)
    known = Likenesses(limits)
    small = replaced(IMAGE, Leaf(0x7FE00010, "OW", b"\x01\x02" * 20))
    facts(encode(small, EXPLICIT), EXPLICIT, known, limits)
    data = encode(replaced(small, Leaf(0x00282000, "OB", bytes(66))), EXPLICIT)

    assert LimitExceeded is facts(data, EXPLICIT, known, limits)[0]
    assert facts(data, EXPLICIT, None, limits) == facts(data, EXPLICIT, known, limits)


def test_only_the_newest_are_kept() -> None:
    """Whatever is sent, a few structures are remembered, and less and less often when nothing is alike."""
    known = Likenesses()
    images = [
        encode((Leaf(0x00080018, "UI", b"1.2."), Leaf(0x00090000 + number, "LO", b"x "), PIXELS), EXPLICIT)
        for number in range(0x1001, 0x1001 + 2_000)
    ]
    tracemalloc.start()
    for data in images:
        facts(data, EXPLICIT, known)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert sum(recognised(known, data) for data in images) <= KEPT
    assert grown < 1 << 20
    for _ in range(2 * 256):  # one structure again and again is learnt at last
        facts(images[0], EXPLICIT, known)
    assert recognised(known, images[0])
