"""Files: what is written is what pydicom takes as strict, what is read is what is found, in any pieces."""

from __future__ import annotations

from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dicom_corpus as corpus
from dicom_corpus import BIG, DEFLATED, EXPLICIT, IMPLICIT, Leaf, RealFile
from strongroom.dicom.limits import LimitExceeded
from strongroom.dicom.part10 import FileMeta, Part10Reader, encode_header
from strongroom.dicom.uid import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from strongroom.errors import DataSetError, LocalProtocolError

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.2"
DATA_SET = corpus.encode((Leaf(0x00080016, "UI", SOP_CLASS.encode() + b"\0"), Leaf(0x00100020, "LO", b"P1")), EXPLICIT)
STATED = [file for file in corpus.reals() if file.meta.transfer_syntax_stated and file.whole]


def take(pieces) -> tuple[FileMeta, bytes]:
    """Read a file that comes in pieces."""
    reader = Part10Reader()
    found = b""
    for piece in pieces:
        for view in reader.feed(piece):
            assert reader.meta is not None
            found += view
    for view in reader.finish():
        found += view
    assert reader.meta is not None
    return reader.meta, found


# ---------------------------------------------------------------- writing


def test_pydicom_takes_what_is_written() -> None:
    """Preamble of zeros, right group length, every required element (PS3.10 Table 7.1-1)."""
    header = encode_header(SOP_CLASS, "1.2.3", EXPLICIT, source_ae_title="CT1")
    read = pydicom.dcmread(BytesIO(header + DATA_SET))
    meta = read.file_meta

    assert read.preamble == bytes(128)
    assert meta.FileMetaInformationGroupLength == len(header) - 128 - 4 - 12
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (SOP_CLASS, "1.2.3")
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (EXPLICIT, "CT1")
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert read.PatientID == "P1"
    pydicom.dataset.validate_file_meta(meta, enforce_standard=True)


def test_what_is_written_is_read() -> None:
    """Round trip, with and without the optional element."""
    for title in (None, "CT1"):
        header = encode_header(SOP_CLASS, "1.2.3", EXPLICIT, source_ae_title=title)
        meta, data_set = take([header + DATA_SET])

        assert meta == FileMeta(SOP_CLASS, "1.2.3", EXPLICIT, True, bytes(128), len(header))
        assert data_set == DATA_SET


@pytest.mark.parametrize("uid", ["", "1.2\\3", "1.2 ", "../1", "1" * 65, "1.2\0"])
def test_what_is_no_uid_is_not_written(uid: str) -> None:
    """Nothing that would change the file's structure or its reader's mind gets into the header (SECURITY C31)."""
    with pytest.raises(LocalProtocolError):
        encode_header(SOP_CLASS, uid, EXPLICIT)


@pytest.mark.parametrize("title", ["", "x" * 17, "a\\b", "a\nb", "\u00e4"])
def test_what_is_no_ae_title_is_not_written(title: str) -> None:
    """An AE title is one to sixteen printable characters without backslash (PS3.5 §6.2)."""
    with pytest.raises(LocalProtocolError):
        encode_header(SOP_CLASS, "1.2", EXPLICIT, source_ae_title=title)


# ---------------------------------------------------------------- reading real files


@pytest.mark.parametrize("file", STATED, ids=corpus.name)
def test_meta_is_what_pydicom_reads(file: RealFile) -> None:
    """UIDs, preamble and the place where the data set begins agree with pydicom."""
    content = file.path.read_bytes()
    read = file.read()
    meta, data_set = take([content])

    assert meta.transfer_syntax_uid == read.file_meta.TransferSyntaxUID
    assert meta.media_storage_sop_class_uid == read.file_meta.get("MediaStorageSOPClassUID", "")
    assert meta.media_storage_sop_instance_uid == read.file_meta.get("MediaStorageSOPInstanceUID", "")
    assert meta.preamble == read.preamble
    assert data_set == content[meta.length :]
    if meta.transfer_syntax_uid != DEFLATED:
        offsets = [getattr(element, "value_tell", None) or element.file_tell for element in read._dict.values()]
        assert min(offsets) - meta.length in (8, 12)


@pytest.mark.parametrize("file", corpus.reals(), ids=corpus.name)
def test_the_pieces_do_not_matter(file: RealFile) -> None:
    """The same meta information and the same bytes, whole, in crumbs and at random cuts."""
    content = file.path.read_bytes()[: file.meta.length + 2000]
    whole = take([content])

    assert take(corpus.in_steps(content, 1)) == whole
    for seed in range(3):
        assert take(corpus.pieces(content, corpus.cuts(len(content), seed))) == whole


def test_a_big_piece_is_passed_on_without_being_copied() -> None:
    """Behind the meta information the views are those of the caller's buffer."""
    content = bytearray(encode_header(SOP_CLASS, "1.2.3", EXPLICIT) + DATA_SET + bytes(1 << 20))
    views = list(Part10Reader().feed(memoryview(content)))

    assert sum(map(len, views)) == len(content) - len(encode_header(SOP_CLASS, "1.2.3", EXPLICIT))
    assert views[-1].obj is content
    assert len(views[0]) <= 64 * 1024


# ---------------------------------------------------------------- files as they are found

GROUP = encode_header(SOP_CLASS, "1.2.3", EXPLICIT)[132:]


@pytest.mark.parametrize(
    ("content", "preamble"),
    [
        (b"MZ" + bytes(126) + b"DICM" + GROUP, b"MZ" + bytes(126)),
        (b"DICM" + GROUP, b""),
        (GROUP, b""),
        (bytes(128) + b"DICM" + GROUP[:8] + b"\xff\xff\0\0" + GROUP[12:], bytes(128)),
        (bytes(128) + b"DICM" + GROUP[:8] + b"\x02\0\0\0" + GROUP[12:], bytes(128)),
        (bytes(128) + b"DICM" + GROUP[12:], bytes(128)),
    ],
    ids=["a program as preamble", "no preamble", "no prefix", "length too long", "length too short", "no length"],
)
def test_damaged_beginnings_are_read(content: bytes, preamble: bytes) -> None:
    """Whatever the beginning lacks, the UIDs and the data set are found; the preamble is told, not judged."""
    for step in (10_000, 1):
        meta, data_set = take(corpus.in_steps(content + DATA_SET, step))
        assert (meta.transfer_syntax_uid, meta.media_storage_sop_instance_uid) == (EXPLICIT, "1.2.3")
        assert (meta.preamble, meta.transfer_syntax_stated) == (preamble, True)
        assert data_set == DATA_SET


@pytest.mark.parametrize("uid", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("beginning", [b"", bytes(128) + b"DICM", b"DICM"], ids=["nothing", "preamble", "prefix"])
def test_a_data_set_without_meta_information_is_guessed(beginning: bytes, uid: str) -> None:
    """Its first element header tells VR and byte order; that it was a guess is said."""
    data_set = corpus.encode(
        (Leaf(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"), Leaf(0x00100010, "PN", b"A" * 200)), uid
    )
    meta, found = take([beginning + data_set])

    assert (meta.transfer_syntax_uid, meta.transfer_syntax_stated) == (uid, False)
    assert (meta.media_storage_sop_class_uid, found) == ("", data_set)


def test_deflated_bytes_are_not_taken_for_meta_information() -> None:
    """A deflated stream may begin like an element of group 0002: there the group length is believed."""
    header = encode_header(SOP_CLASS, "1.2.3", DEFLATED)
    stream = b"\x02\x00\x10\x00UI\x02\x001\0" + bytes(100)

    for step in (10_000, 1):
        assert take(corpus.in_steps(header + stream, step))[1] == stream


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        bytes(131),
        bytes(1000),
        b"x" * 1000,
        b"%PDF-1.7\n" + b"1 0 obj " * 100,
        b"PK\x03\x04" + bytes(500),
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + GROUP,
        bytes(128) + b"DICM" + GROUP[:-3],
        bytes(128) + b"DICM" + GROUP + b"\x08\0",
    ],
)
def test_what_is_no_file_with_a_data_set_is_refused(content: bytes) -> None:
    """Other files, empty ones, and those that end before a data set begins."""
    for step in (10_000, 1):
        with pytest.raises(DataSetError):
            take(corpus.in_steps(content, step))


def test_two_transfer_syntaxes_are_refused() -> None:
    """A file that names two would be read differently by different readers."""
    second = b"\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0"
    with pytest.raises(DataSetError, match="twice"):
        take([bytes(128) + b"DICM" + GROUP + second + DATA_SET])


def test_endless_meta_information_is_refused() -> None:
    """Long elements, and many of them, are bounded; nothing is waited for beyond the bound."""
    for element in (b"\x02\x00\x02\x01OB\0\0\xff\xff\xff\x7f", b"\x02\x00\x02\x01OB\0\0\xff\xff\xff\xff"):
        with pytest.raises(LimitExceeded, match="max_meta_length"):
            Part10Reader().feed(bytes(128) + b"DICM" + element + bytes(100))
    with pytest.raises(LimitExceeded, match="max_meta_length"):
        Part10Reader().feed(bytes(128) + b"DICM" + b"\x02\x00\x02\x01OB\0\0\0\0\0\0" * 10_000)


def outcome(pieces) -> object:
    """What reading comes to: meta and data set, or a refusal."""
    try:
        return take(pieces)
    except DataSetError:
        return "refused"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", bytes(128) + b"DICM", bytes(128) + b"DICM" + GROUP[:40], GROUP]),
    st.binary(max_size=200),
    st.integers(1, 50),
)
def test_any_bytes_give_a_file_or_a_data_set_error(beginning: bytes, rest: bytes, step: int) -> None:
    """Nothing but DataSetError escapes, and the pieces do not matter."""
    assert outcome([beginning + rest]) == outcome(corpus.in_steps(beginning + rest, step))
