"""
What is fed with hostile bytes: one function for each place where bytes from outside are read.

A target takes any bytes and returns, or raises one of its `designed` errors. Anything else it raises is a finding, and so
is an input that takes more than a second or makes the process grow (SECURITY C33, invariant I6). A target also asserts
what must hold of whatever was accepted: it is not enough that nothing breaks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from dicom_corpus import in_steps
from strongroom.errors import DataSetError, IntegrityError, MismatchError, RemoteProtocolError

SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
)
KEY = bytes(range(32))


@dataclass(frozen=True)
class Target:
    """One place that reads bytes from outside."""

    name: str
    run: Callable[[bytes], object]
    designed: tuple[type[Exception], ...]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut *data* as a network would: *size* (0: whole) bytes at a time."""
    return in_steps(data, size or len(data) or 1)


def _association(data: bytes) -> None:
    """PDUs (PS3.8 9.3) into an acceptor that answers as ours does, and what they carry into commands (PS3.7 E)."""
    from strongroom.dimse.assembler import Assembler
    from strongroom.upper_layer import AssociateRequested, Association, PDataReceived, Role, Support, negotiate

    association = Association(Role.ACCEPTOR)
    association.transport_connected()
    assembler: Assembler | None = None
    supported = {"1.2.840.10008.1.1": Support(SYNTAXES[:2]), "1.2.840.10008.5.1.4.1.1.2": Support(SYNTAXES[:2])}
    for piece in pieces(data[1:], data[0] if data else 0):
        association.receive_data(piece)
        while (event := association.next_event()) is not None:
            if isinstance(event, AssociateRequested):
                accept = negotiate(event.request, supported)
                if not association.closing:
                    association.send(accept)
                assembler = Assembler(association.accepted_contexts)
            elif isinstance(event, PDataReceived) and assembler is not None:
                for value in event.values:
                    assembler.feed(value)


def _command(data: bytes) -> None:
    """Command sets (PS3.7 E); what was understood is written and understood again."""
    from strongroom.dimse import messages
    from strongroom.errors import LocalProtocolError

    message, has_data_set = messages.decode(data)
    try:
        again = messages.decode(messages.encode(message, has_data_set=has_data_set))
    except LocalProtocolError:
        return  # a message that ends are allowed to receive and we never send
    assert again == (message, has_data_set), "a command set changes when it is written again"


def _header(data: bytes) -> None:
    """Data sets (PS3.5 7): walk, header, metadata, in any syntax and any pieces."""
    from strongroom.dicom import metadata
    from strongroom.dicom.header import HeaderReader
    from strongroom.dicom.json import dumps

    if len(data) < 2:
        return
    whole, parted = HeaderReader(_syntax(data[0])), HeaderReader(_syntax(data[0]))
    body = data[2:]
    header = None
    fault: Exception | None = None
    try:
        whole.feed(body)
        header = whole.finish()
    except DataSetError as error:
        fault = error
    try:
        for piece in pieces(body, data[1]):
            parted.feed(piece)
        other = parted.finish()
    except DataSetError:
        assert fault is not None, "a data set is whole in one piece and not in several"
        return
    assert header is not None, "a data set is whole in several pieces and not in one"
    assert dict(header.elements) == dict(other.elements), "pieces change what is read"
    found = metadata.of_head(header)
    if found is not None:
        dumps(found)


def _stepping(data: bytes) -> None:
    """The same bytes for whoever walks them a second time: skeleton, converter, locator."""
    from strongroom.dicom.convert import SyntaxConverter, can_convert
    from strongroom.dicom.locate import Locator
    from strongroom.dicom.skeleton import Skeleton
    from strongroom.errors import NotFound

    if len(data) < 3:
        return
    syntax, other, body = _syntax(data[0]), _syntax(data[1]), data[3:]
    readers: list[Any] = [Skeleton(syntax), Locator(syntax, "00081140/0/00081155")]
    if can_convert(syntax, other):
        readers.append(SyntaxConverter(syntax, other))
    for reader in readers:
        try:
            for piece in pieces(body, data[2]):
                reader.feed(piece)
            reader.finish()
        except (DataSetError, NotFound):
            continue


def _part10(data: bytes) -> None:
    """Files (PS3.10 7.1)."""
    from strongroom.dicom.part10 import Part10Reader

    reader = Part10Reader()
    for piece in pieces(data[1:], data[0] if data else 0):
        for _ in reader.feed(piece):
            pass
    for _ in reader.finish():
        pass


def _multipart(data: bytes) -> None:
    """multipart/related (RFC 2046 5.1); the data of parts does not depend on how the body came."""
    from strongroom.dicomweb.multipart import Limits, Multipart, MultipartError, PartData, PartEnded

    limits = Limits(max_parts=50, max_headers_length=2_048, max_headers=8, max_around=512)
    seen: list[list[bytes]] = []
    for size in (0, max(1, data[0] if data else 1)):
        reader, parts, part, fault = Multipart("b", limits=limits), [], b"", ""
        try:
            for piece in pieces(data[1:], size):
                for event in reader.feed(piece):
                    if isinstance(event, PartData):
                        part += bytes(event.view)
                    elif isinstance(event, PartEnded):
                        parts.append(part)
                        part = b""
            reader.finish()
        except MultipartError:
            fault = "fault"
        seen.append([*parts, fault.encode()])
    assert seen[0] == seen[1], "pieces change what a body holds"


def _json(data: bytes) -> None:
    """DICOM JSON (PS3.18 F), and the data set made of it."""
    from strongroom.dicom.json import decode_dataset, encode_dataset, loads

    elements = loads(data)
    try:
        encoded = encode_dataset(elements, SYNTAXES[1])
    except DataSetError:
        return
    decode_dataset(encoded, SYNTAXES[1])


def _xml(data: bytes) -> None:
    """Native DICOM Model (PS3.19 A.1)."""
    from strongroom.dicom.xml_reader import from_xml

    from_xml(data)


@cache
def _holding() -> Any:
    from catalogue.holding import Holding

    holding = Holding()
    for number, name in enumerate(("Doe^John", "Müller^Jörg", "Yamada^Tarou=山田^太郎")):
        holding.record(
            PatientID=f"P{number}",
            PatientName=name,
            StudyInstanceUID=f"1.{number}",
            SeriesInstanceUID=f"1.{number}.1",
            StudyDate="20200101",
            StudyTime="101010",
            StudyDescription="CHEST",
        )
    return holding


def _qido(data: bytes) -> None:
    """Searches (PS3.18 8.3.4, 10.6), down to their SQL."""
    from strongroom.catalogue.scope import EVERYTHING
    from strongroom.catalogue.search import search
    from strongroom.dicom.model import Level
    from strongroom.dicomweb.query_parameters import read

    levels = (Level.STUDY, Level.SERIES, Level.IMAGE)
    if not data:
        return
    text = data[1:].decode("latin-1") if data[0] & 0x80 else data[1:].decode("utf-8", "replace")
    asked = read(
        parse_qsl(text, keep_blank_values=True), levels[data[0] % 3], {}, base_url="https://a/dicom-web", max_results=50
    )
    for _ in search(_holding().connection, asked.query, EVERYTHING):
        pass


def _identifier(data: bytes) -> None:
    """Identifiers of C-FIND and C-MOVE (PS3.4 C.4.1.1.3), down to their SQL."""
    from strongroom.catalogue.query import Root
    from strongroom.catalogue.scope import EVERYTHING
    from strongroom.catalogue.search import search
    from strongroom.dicom.json import decode_dataset
    from strongroom.scp.identifier import parse_query, parse_target

    if not data:
        return
    root = (Root.STUDY, Root.PATIENT)[data[0] & 1]
    identifier = decode_dataset(data[1:], SYNTAXES[(data[0] >> 1) % 2])
    with contextlib.suppress(MismatchError):
        parse_target(identifier, root)
    for _ in search(_holding().connection, parse_query(identifier, root), EVERYTHING):
        pass


def _pack(data: bytes) -> None:
    """Packs (docs/formats/pack.md), open and closed: recovering, walking, checking."""
    from strongroom.ground.medium import MemoryMedium
    from strongroom.vault.check import check
    from strongroom.vault.pack import Vault

    if not data:
        return
    medium = MemoryMedium()
    medium.make_directory("vault")
    medium.overwrite(f"vault/00000001.{'open' if data[0] & 1 else 'pack'}", data[1:])
    vault = Vault(medium, pack_bytes=1 << 16, randomness=bytes)
    for _ in check(vault, read=True):
        pass
    for number in vault.packs():
        try:
            for record in vault.records(number):
                vault.read(record.location)
        except IntegrityError:
            continue


def _trail(data: bytes) -> None:
    """Segments of a chain (docs/formats/trail.md): a changed byte is found, and nothing changed is read."""
    from strongroom.audit import verify
    from strongroom.audit.trail import Trail
    from strongroom.ground.medium import MemoryMedium

    medium = MemoryMedium()
    medium.make_directory("trail")
    medium.overwrite("trail/main-00000001.chain", data)
    verify.verify(medium, "trail", KEY, [])
    trail = Trail.open(medium, "trail", KEY)
    for _ in trail.read():
        pass


def _frames(data: bytes) -> None:
    """Offset tables (PS3.5 A.4): every frame lies within its fragments."""
    from strongroom.dicom.frames import FrameIndex, Tables

    if len(data) < 4:
        return
    count, kind = 1 + data[0] % 8, data[1] % 4
    fragments: list[int] = []
    offset = 8
    for length in data[2 : 3 + data[2] % 16]:
        fragments += [offset, length]
        offset += length + 8
    table = data[3:]
    tables = (Tables(), Tables(basic=table), Tables(extended=table[:-8], lengths=table[-8:]), Tables(extended=table))[
        kind
    ]
    index = FrameIndex.of_fragments(count, fragments, tables)
    for frame in range(1, count + 1):
        for start, stop in index.range_of(frame):
            assert 8 <= start <= stop <= offset, "a frame reaches out of Pixel Data"
    assert FrameIndex.decode(index.encode()).encode() == index.encode()
    FrameIndex.decode(data)


def _text(data: bytes) -> None:
    """Character sets (PS3.5 6.1): any bytes give text, and what our own encoder wrote is read again as it was."""
    from strongroom.dicom import charset

    name, _, value = data.partition(b"|")
    sets = charset.parse(name)
    text = charset.decode(value, "PN", sets)
    charset.join_person_name(charset.split_person_name(text))
    charset.decode_values(value, "LO", sets)


def _seal(data: bytes) -> None:
    """Sealed blobs and labels (docs/formats/seal.md): whoever has no key gets nothing to open."""
    from strongroom.ground.label import open_label
    from strongroom.ground.seal import Slot, associated_data, open_all

    blob_id, key_id = bytes(16), bytes(range(16))
    sealed = _sealed()
    try:
        opened = bytes(open_all(KEY, associated_data(blob_id, key_id, Slot.DATA_SET), data))
    except IntegrityError:
        opened = None
    assert opened is None or data == sealed, "other bytes than those that were sealed open"
    open_label(data, KEY, blob_id, key_id)


@cache
def _sealed() -> bytes:
    from strongroom.ground.seal import Sealer, Slot, associated_data

    sealer = Sealer(
        KEY, associated_data(bytes(16), bytes(range(16)), Slot.DATA_SET), randomness=lambda n: bytes(range(n))
    )
    sealer.update(b"a data set")
    sealer.finish()
    return b"".join(map(bytes, sealer.take()))


def _syntax(choice: int) -> str:
    return SYNTAXES[choice % len(SYNTAXES)]


def _targets() -> dict[str, Target]:
    from strongroom.dicomweb.problems import HttpProblem

    whole = (
        Target("association", _association, (RemoteProtocolError,)),
        Target("command", _command, (RemoteProtocolError,)),
        Target("header", _header, (DataSetError,)),
        Target("stepping", _stepping, (DataSetError,)),
        Target("part10", _part10, (DataSetError,)),
        Target("multipart", _multipart, ()),
        Target("json", _json, (DataSetError,)),
        Target("xml", _xml, (DataSetError,)),
        Target("qido", _qido, (HttpProblem, DataSetError, MismatchError)),
        Target("identifier", _identifier, (DataSetError, MismatchError)),
        Target("pack", _pack, (IntegrityError,)),
        Target("trail", _trail, (IntegrityError,)),
        Target("frames", _frames, (DataSetError,)),
        Target("text", _text, ()),
        Target("seal", _seal, (IntegrityError,)),
    )
    return {target.name: target for target in whole}


TARGETS = _targets()
