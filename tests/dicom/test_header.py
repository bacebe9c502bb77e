"""
The header of a data set, captured in one pass: the same as pydicom reads, whatever the pieces, and nothing that is
not whole.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement

import dicom_corpus as corpus
from dicom_corpus import BIG, DEFLATED, EXPLICIT, IMPLICIT, Leaf, RealFile
from strongroom.dicom.header import Header, HeaderReader, Located, RawElement
from strongroom.dicom.limits import LimitExceeded, Limits
from strongroom.dicom.uid import transfer_syntax
from strongroom.dicom.walk import LONG_VRS, PIXEL_DATA_TAGS, StructureFault
from strongroom.errors import DataSetError

REALS = corpus.reals()
WHOLE = [file for file in REALS if file.whole]
# Cutting and feeding byte by byte costs time for each byte; these show every syntax and every kind of structure.
SMALL = [file for file in WHOLE if len(file.data_set) < 60_000]
FULL = 64 * 1024


def read(pieces, uid: str, limits: Limits | None = None) -> Header:
    """Read a data set that comes in pieces."""
    reader = HeaderReader(uid, limits=limits) if limits else HeaderReader(uid)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def facts(header: Header) -> tuple[object, ...]:
    """All a header says, comparable."""
    return (
        dict(header.elements),
        header.located,
        header.head,
        header.length,
        header.element_count,
        header.pixel_data_offset,
        header.disorder,
        header.duplicates,
    )


def inflated(file: RealFile) -> bytes:
    """The bytes that offsets are about."""
    syntax = transfer_syntax(file.transfer_syntax_uid)
    assert syntax is not None
    return zlib.decompressobj(-15).decompress(file.data_set) if syntax.deflated else file.data_set


def raw_elements(file: RealFile) -> dict[int, object]:
    """What pydicom found at the top level, its values not decoded."""
    return {int(tag): element for tag, element in file.read()._dict.items()}


# ---------------------------------------------------------------- against pydicom


@pytest.mark.parametrize("file", WHOLE, ids=corpus.name)
def test_every_element_is_what_pydicom_reads(file: RealFile) -> None:
    """Tags, VRs and value bytes agree with pydicom's own reading, in every transfer syntax."""
    header = read([file.data_set], file.transfer_syntax_uid)
    data = inflated(file)
    expected = raw_elements(file)
    located = header.located

    assert set(expected) == set(header.elements) | set(located)
    assert not set(header.elements) & set(located)
    for tag, element in expected.items():
        if tag in located:
            vr, offset, length = located[tag]
            value = data[offset : offset + length]
            assert length > FULL or tag in PIXEL_DATA_TAGS
        else:
            vr, value = header.elements[tag]
        if not isinstance(element, RawDataElement):
            assert vr == element.VR or tag == 0x00080005  # a sequence, or the character set, already decoded
            continue
        if element.length != 0xFFFFFFFF:
            assert value == (element.value or b"")
        elif tag in PIXEL_DATA_TAGS:
            assert element.value is not None
            assert value == element.value
        if element.VR is not None and element.length != 0xFFFFFFFF:
            assert vr == element.VR


@pytest.mark.parametrize("file", WHOLE, ids=corpus.name)
def test_the_head_ends_where_pixel_data_begins(file: RealFile) -> None:
    """The head is the data set up to Pixel Data, or all of it."""
    header = read([file.data_set], file.transfer_syntax_uid)
    data = inflated(file)

    stop = len(data) if header.pixel_data_offset is None else header.pixel_data_offset
    assert header.head == data[:stop]
    assert (header.pixel_data_offset is not None) == any(tag in PIXEL_DATA_TAGS for tag in raw_elements(file))
    if header.pixel_data_offset is not None:
        order = "<" if header.little_endian else ">"
        group, element = struct.unpack_from(order + "HH", data, header.pixel_data_offset)
        assert group << 16 | element in PIXEL_DATA_TAGS
    assert len(file.data_set) == header.length


@pytest.mark.parametrize(
    "file", [f for f in WHOLE if f.path.name.startswith(("CT_", "MR_", "RG", "chr", "US"))], ids=corpus.name
)
def test_text_and_uid_give_what_pydicom_shows(file: RealFile) -> None:
    """The convenient readings agree with pydicom's decoded values."""
    header = read([file.data_set], file.transfer_syntax_uid)
    expected = file.read()

    assert header.uid(0x00080018) == expected.get("SOPInstanceUID", "")
    assert header.text(0x00100020) == (expected.get("PatientID") or "")
    assert header.text(0x00080060) == (expected.get("Modality") or "")


# ---------------------------------------------------------------- whatever the pieces


@pytest.mark.parametrize("file", WHOLE, ids=corpus.name)
def test_the_pieces_do_not_matter(file: RealFile) -> None:
    """Fed whole, in network fragments, at random cuts: the same header."""
    uid = file.transfer_syntax_uid
    whole = facts(read([file.data_set], uid))

    assert whole == facts(read(corpus.in_steps(file.data_set, 16_372), uid))
    for seed in range(4):
        cut = corpus.cuts(len(file.data_set), seed)
        assert whole == facts(read(corpus.pieces(file.data_set, cut), uid))


@pytest.mark.parametrize("file", SMALL, ids=corpus.name)
def test_byte_by_byte_is_the_same(file: RealFile) -> None:
    """Fed one byte at a time, and by sevens: the same header."""
    uid = file.transfer_syntax_uid
    whole = facts(read([file.data_set], uid))

    assert whole == facts(read(corpus.in_steps(file.data_set, 7), uid))
    if len(file.data_set) < 12_000:
        assert whole == facts(read(corpus.in_steps(file.data_set, 1), uid))


def test_the_study_is_known_as_soon_as_its_uid_has_come() -> None:
    """study_instance_uid waits for the last byte of the value and for nothing else; the view may be reused at once."""
    before = corpus.encode((Leaf(0x00080060, "CS", b"CT"),), EXPLICIT)
    study = corpus.encode((Leaf(0x0020000D, "UI", b"1.2.3.4\0"),), EXPLICIT)
    reader = HeaderReader(EXPLICIT)
    buffer = bytearray(1)

    seen = []
    for byte in before + study:
        buffer[0] = byte
        reader.feed(memoryview(buffer))
        seen.append(reader.study_instance_uid)

    assert [None] * (len(before + study) - 1) + ["1.2.3.4"] == seen


# ---------------------------------------------------------------- what is not whole


BORDERS_OF_DUPLICATES = {"winter.dcm": {66}}  # pydicom keeps the last of them only


def borders(file: RealFile) -> set[int]:
    """Where top-level elements begin according to pydicom: a data set cut there is whole, only shorter."""
    base = file.meta.length
    syntax = transfer_syntax(file.transfer_syntax_uid)
    assert syntax is not None
    found = {len(file.data_set)} | BORDERS_OF_DUPLICATES.get(file.path.name, set())
    for tag, element in raw_elements(file).items():
        value = element.value_tell if isinstance(element, RawDataElement) else element.file_tell
        wide = syntax.explicit and element.VR in LONG_VRS
        found.add(value - base - (12 if wide else 8))
        assert tag >= 0
    return found - {0}


@pytest.mark.parametrize("file", [f for f in SMALL if f.transfer_syntax_uid != DEFLATED], ids=corpus.name)
def test_every_cut_but_between_elements_is_noticed(file: RealFile) -> None:
    """A data set cut anywhere but between two top-level elements is refused at finish (SECURITY D04)."""
    data = file.data_set
    good = borders(file)
    rng = random.Random(0)
    places = range(len(data)) if len(data) < 4_000 else sorted({rng.randrange(len(data)) for _ in range(300)} | good)

    for place in places:
        reader = HeaderReader(file.transfer_syntax_uid)
        reader.feed(data[:place])
        if place in good or place == len(data):
            assert reader.finish().length == place
        else:
            with pytest.raises(DataSetError):
                reader.finish()


@pytest.mark.parametrize("file", [f for f in WHOLE if f.transfer_syntax_uid == DEFLATED], ids=corpus.name)
def test_a_deflated_data_set_cut_anywhere_is_noticed(file: RealFile) -> None:
    """A deflated stream has its own end: no cut is legitimate."""
    end = len(file.data_set) - len(decompressor(file.data_set).unused_data)
    for place in corpus.cuts(end - 1, seed=3, count=60):
        with pytest.raises(DataSetError):
            read([file.data_set[:place]], DEFLATED)


def decompressor(data: bytes):
    """Zlib at the end of the stream."""
    inflate = zlib.decompressobj(-15)
    inflate.decompress(data)
    return inflate


def feed_all(reader: HeaderReader, data: bytes) -> Header:
    """Feed a reader to the end."""
    for piece in corpus.in_steps(data, 1000):
        reader.feed(piece)
    return reader.finish()


@pytest.mark.parametrize("file", [f for f in REALS if not f.whole], ids=corpus.name)
def test_broken_files_are_refused(file: RealFile) -> None:
    """The files pydicom keeps for being broken raise DataSetError, and go on raising it."""
    reader = HeaderReader(file.transfer_syntax_uid)
    for _ in range(2):
        with pytest.raises(DataSetError):
            feed_all(reader, file.data_set)


def test_nothing_is_not_a_data_set() -> None:
    """No bytes at all are refused."""
    with pytest.raises(DataSetError, match="empty"):
        HeaderReader(EXPLICIT).finish()


def test_an_unknown_transfer_syntax_is_refused() -> None:
    """What cannot be read is not walked by guessing."""
    with pytest.raises(DataSetError, match="transfer syntax"):
        HeaderReader("1.2.3.4")


# ---------------------------------------------------------------- odd, and taken or refused on purpose


def elements(*leaves: Leaf, uid: str = EXPLICIT) -> Header:
    """Read a made data set."""
    return read([corpus.encode(leaves, uid)], uid)


def test_two_equal_identities_are_taken_and_counted() -> None:
    """A palette of the standard repeats its SOP Instance UID; what stands twice alike means one thing."""
    header = elements(Leaf(0x00080018, "UI", b"1.2\0"), Leaf(0x00080018, "UI", b"1.2\0"))

    assert (header.duplicates, header.disorder, header.uid(0x00080018)) == (1, 1, "1.2")


def test_two_different_identities_are_refused() -> None:
    """One data set that different readers take for different instances is not stored."""
    for tag in (0x00080018, 0x0020000D, 0x00100020, 0x00080005):
        with pytest.raises(StructureFault, match="twice"):
            elements(Leaf(tag, "UI", b"1.2\0"), Leaf(0x00180015, "CS", b"HEAD"), Leaf(tag, "UI", b"1.3\0"))


def test_other_duplicates_are_taken_the_last_one_counts() -> None:
    """Duplicates that identify nothing are stored as received; the last one wins, as it does in pydicom."""
    header = elements(Leaf(0x00080060, "CS", b"CT"), Leaf(0x00080060, "CS", b"MR"))

    assert (header.text(0x00080060), header.duplicates) == ("MR", 1)


@pytest.mark.parametrize("tag", [0x00000002, 0x00020010])
def test_message_and_file_groups_are_refused(tag: int) -> None:
    """A data set with a transfer syntax of its own in group 0002 would overrule that of the file it is written to."""
    with pytest.raises(StructureFault, match="stands in the data set"):
        elements(Leaf(tag, "UI", b"1.2\0"), Leaf(0x00080060, "CS", b"MR"))
    with pytest.raises(StructureFault, match="stands in the data set"):
        elements(Leaf(0x00080060, "CS", b"MR"), Leaf(tag, "UI", b"1.2\0"))


def test_elements_behind_pixel_data_are_kept() -> None:
    """Pixel Data itself is only located, whatever its length; what stands behind it is there, sequences included."""
    inner = (Leaf(0x00080100, "SH", b"1234"),)
    tree = (
        Leaf(0x00080060, "CS", b"CT"),
        Leaf(0x7FE00010, "OW", b"\1\2" * 50_000),
        corpus.Sequence(0xFFFAFFFA, (inner,)),
        Leaf(0xFFFCFFFC, "OB", b"\0\0"),
    )
    data = corpus.encode(tree, EXPLICIT)
    signature = corpus.encode((tree[2],), EXPLICIT)[12:-8]

    for step in (len(data), 1000, 13):
        header = read(corpus.in_steps(data, step), EXPLICIT)
        assert {
            0x00080060: RawElement("CS", b"CT"),
            0xFFFAFFFA: RawElement("SQ", signature),
            0xFFFCFFFC: RawElement("OB", b"\0\0"),
        } == dict(header.elements)
        assert {0x7FE00010: Located("OW", 22, 100_000)} == header.located
        assert data[:10] == header.head


def test_implicit_vr_is_named_by_the_dictionary() -> None:
    """US or SS goes by Pixel Representation, an unknown element is UN (PS3.5 §6.2.2, Annex A.1)."""
    leaves = [
        Leaf(0x00090010, "LO", b"ACME"),
        Leaf(0x00091001, "UN", b"\1\2"),
        Leaf(0x00280103, "US", b"\1\0"),
        Leaf(0x00280106, "US", b"\xff\xff"),
    ]

    assert [e.vr for e in elements(*leaves, uid=IMPLICIT).elements.values()] == ["LO", "UN", "US", "SS"]
    leaves[2] = Leaf(0x00280103, "US", b"\0\0")
    assert [e.vr for e in elements(*leaves, uid=IMPLICIT).elements.values()] == ["LO", "UN", "US", "US"]


def test_elements_is_a_mapping() -> None:
    """get, in, len, iteration and indexing agree; an absent element is a KeyError."""
    header = elements(Leaf(0x00080060, "CS", b"CT"), Leaf(0x00100010, "PN", b""))

    assert header.elements.get(0x00080060) == RawElement("CS", b"CT")
    assert header.elements.get(0x00100010) == RawElement("PN", b"")
    assert header.elements.get(0x00100020) is None
    assert (len(header.elements), list(header.elements)) == (2, [0x00080060, 0x00100010])
    assert 0x00100010 in header.elements
    assert 0x00100020 not in header.elements
    with pytest.raises(KeyError):
        header.elements[0x00100020]
    assert (header.text(0x00100010), header.uid(0x00100020), header.character_set) == ("", "", ())


def test_big_endian_values_stay_as_they_came() -> None:
    """A raw value is in the byte order of its data set, which the header says."""
    header = elements(Leaf(0x00280010, "US", b"\x02\x01"), uid=BIG)

    assert (header.little_endian, header.elements.value(0x00280010)) == (False, b"\x01\x02")


# ---------------------------------------------------------------- limits


def test_a_deflate_bomb_is_stopped_at_the_ratio_in_little_memory() -> None:
    """150 MiB of zeros in 149 KiB are refused after 100 bytes out per byte in (SECURITY F05)."""
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 150 << 20))
    for _ in range(150):
        bomb += deflate.compress(bytes(1 << 20))
    bomb += deflate.flush()
    reader = HeaderReader(DEFLATED)

    tracemalloc.start()
    with pytest.raises(LimitExceeded) as caught:
        reader.feed(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (caught.value.name, caught.value.limit) == ("max_inflate_ratio", 100)
    assert peak < 2 << 20


def test_an_empty_image_may_deflate_well() -> None:
    """A blank image deflates a thousandfold and is no bomb."""
    plain = corpus.encode((Leaf(0x00080060, "CS", b"OT"), Leaf(0x7FE00010, "OW", bytes(2 << 20))), EXPLICIT)
    deflate = zlib.compressobj(9, wbits=-15)
    data = deflate.compress(plain) + deflate.flush()

    for behind in (b"", b"\0", zlib.crc32(plain).to_bytes(4, "little") + len(plain).to_bytes(4, "little")):
        header = read([data + behind], DEFLATED)
        assert (len(data + behind), 10) == (header.length, header.pixel_data_offset)
    for behind in (b"x", b"12345678", bytes(10_000)):
        with pytest.raises(DataSetError, match="behind the end"):
            read([data + behind], DEFLATED)


@pytest.mark.parametrize("uid", [EXPLICIT, IMPLICIT])
def test_long_values_in_front_of_the_identity_do_not_hide_it(uid: str) -> None:
    """
    When the head is too long to keep, everything behind the long value is still captured, on both sides of Pixel
    Data.
    """
    limits = Limits(max_captured=200_000, max_captured_value=1000)
    tree = (
        Leaf(0x00080018, "UI", b"1.2.3\0"),
        Leaf(0x00090010, "LO", b"ACME"),
        Leaf(0x00091001, "OB" if uid == EXPLICIT else "UN", bytes(500_000)),
        Leaf(0x00100020, "LO", b"P1"),
        Leaf(0x0020000D, "UI", b"1.2.4\0"),
        Leaf(0x7FE00010, "OW", bytes(100_000)),
        Leaf(0xFFFCFFFC, "OB", b"\1\1"),
    )
    data = corpus.encode(tree, uid)

    for step in (len(data), 128 * 1024, 16_000, 997):
        reader = HeaderReader(uid, limits=limits)
        for piece in corpus.in_steps(data, step):
            reader.feed(piece)
        header = reader.finish()
        assert header.head is None
        assert reader.study_instance_uid == "1.2.4"
        assert [header.text(tag) for tag in (0x00080018, 0x00100020, 0x0020000D)] == ["1.2.3", "P1", "1.2.4"]
        assert header.elements.value(0xFFFCFFFC) == b"\1\1"
        assert {tag: at.length for tag, at in header.located.items()} == {0x00091001: 500_000, 0x7FE00010: 100_000}


def test_captured_bytes_are_bounded() -> None:
    """However much stands outside Pixel Data, no more than the limit is kept."""
    limits = Limits(max_captured=100_000)
    leaf = corpus.encode((Leaf(0x00091001, "UT", b"x" * 60_000),), EXPLICIT)
    reader = HeaderReader(EXPLICIT, limits=limits)

    tracemalloc.start()
    for _ in range(200):
        reader.feed(leaf)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5 * limits.max_captured
    assert reader.finish().head is None


def test_the_index_is_bounded() -> None:
    """More top-level elements than the whole dictionary has are refused."""
    leaves = tuple(Leaf(0x00110000 + number, "US", b"\0\0") for number in range(0x10, 0x75))

    assert (
        len(read([corpus.encode(leaves[:100], EXPLICIT)], EXPLICIT, Limits(max_top_level_elements=100)).elements) == 100
    )
    with pytest.raises(LimitExceeded, match="max_top_level_elements"):
        read([corpus.encode(leaves, EXPLICIT)], EXPLICIT, Limits(max_top_level_elements=100))


def test_pixel_data_is_passed_over_without_being_kept() -> None:
    """256 MiB of Pixel Data take no memory."""
    start = corpus.encode((Leaf(0x00080060, "CS", b"CT"),), EXPLICIT)
    start += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 256 << 20)
    fragment = memoryview(bytes(128 * 1024))
    reader = HeaderReader(EXPLICIT)
    reader.feed(start)

    tracemalloc.start()
    for _ in range(2048):
        reader.feed(fragment)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000
    assert reader.finish().length == len(start) + (256 << 20)


# ---------------------------------------------------------------- any bytes


def outcome(pieces, uid: str) -> object:
    """What reading comes to: the facts, or a refusal."""
    try:
        return facts(read(pieces, uid))
    except DataSetError:
        return "refused"


SYNTAXES = st.sampled_from([EXPLICIT, IMPLICIT, BIG, DEFLATED, "1.2.840.10008.1.2.4.50"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), SYNTAXES, st.integers(1, 40))
def test_any_bytes_give_a_header_or_a_data_set_error(data: bytes, uid: str, step: int) -> None:
    """Nothing but DataSetError escapes, and the pieces do not matter for that either."""
    assert outcome([data], uid) == outcome(corpus.in_steps(data, step), uid)


SEEDS = [file for file in SMALL if len(file.data_set) < 8_000]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_give_a_header_or_a_data_set_error(file: RealFile, data) -> None:
    """Bytes of real files overwritten, removed and doubled: as for any bytes."""
    content = bytearray(file.data_set)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from(TROUBLE)))
        cut = data.draw(st.sampled_from([0, len(new), 4, 50]))
        content[at : at + cut] = new
    uid = file.transfer_syntax_uid

    assert outcome([bytes(content)], uid) == outcome(
        corpus.pieces(bytes(content), corpus.cuts(len(content), data.draw(st.integers(0, 99)))), uid
    )


TROUBLE = [
    b"\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff",
    b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff",
    b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff",
]
