"""
A worker process of `rebuild`: reads packs, opens labels and headers, and says what stands there. It writes nothing.

What it is asked and what it answers go through one pipe of its own; the keys too, those of one task at a time. It never
meets the master key.
"""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from strongroom.catalogue.record import described, prepare
from strongroom.dicom.header import HeaderReader
from strongroom.dicom.model import Identity
from strongroom.errors import IntegrityError, NotFound, StrongroomError
from strongroom.ground.disk import DiskMedium
from strongroom.ground.label import open_label
from strongroom.ground.seal import HEADER, SEGMENT, WINDOW, Opener, Slot, associated_data
from strongroom.vault.blob import Location
from strongroom.vault.heal import DirectoryPacks
from strongroom.vault.packs import NO_KEY, Found, read_sealed, records_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from strongroom.dicom.limits import Limits
    from strongroom.ground.medium import File

IDENTITY: Final = tuple(field.name for field in dataclasses.fields(Identity))
"""The fields of an identity, in the order in which they are handed over."""
WORTH_A_JUMP: Final = 128 * 1024
"""Bytes of a value that are read rather than passed over."""


class Wanted(NamedTuple):
    """One record whose header is wanted; plain values, which are quick to hand over."""

    offset: int
    length: int
    plain_length: int
    blob_id: bytes
    key_id: bytes
    transfer_syntax_uid: str


class Read(NamedTuple):
    """
    What its data set says: the fields of `Prepared`, those of its identity in a tuple of their own, and those of
    `Described` where the fingerprints are the first of their kind in the task.
    """

    identity: tuple[str, ...]
    prints: tuple[object, object, object]
    attributes: str
    folded: str
    upper: tuple[Any, ...] | None


class Labelled(NamedTuple):
    """One record with its opened label as JSON; None when it does not open, or its key is not there."""

    location: tuple[int, int, int, int]
    blob_id: bytes
    key_id: bytes
    label: bytes | None
    received_at: float


def serve(pipe: Connection, home: str, vault: str, limits: Limits) -> None:
    """Answer tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    packs = DirectoryPacks(DiskMedium(Path(home)), vault)
    file: tuple[int, File] | None = None
    while True:
        try:
            task, pack, given, keys = pipe.recv()
        except EOFError:
            return
        if file is None or file[0] != pack:
            file = _opened(packs, pack)
        try:
            pipe.send(_DO[task](None if file is None else file[1], pack, given, keys, limits))
        except StrongroomError as error:
            pipe.send(str(error))


def _opened(packs: DirectoryPacks, pack: int) -> tuple[int, File] | None:
    try:
        file = packs.open(pack)
    except IntegrityError:
        return None
    return None if file is None else (pack, file)


def _keys(file: File | None, pack: int, _given: object, _keys: dict[bytes, bytes], _limits: Limits) -> list[bytes]:
    """The ids of the keys that the records of a pack are sealed under."""
    if file is None:
        raise NotFound(f"there is no pack {pack}")
    return list({found.key_id for found in walk(file) if isinstance(found, Found) and found.key_id != NO_KEY})


def _labels(file: File | None, pack: int, _given: object, keys: dict[bytes, bytes], _limits: Limits) -> list[Labelled]:
    """Everything that stands in a pack, with its label."""
    if file is None:
        raise NotFound(f"there is no pack {pack}")
    found = []
    for one in records_of(file, pack):
        key = keys.get(one.key_id)
        try:
            label = None if key is None else open_label(one.trailer, key, one.blob_id, one.key_id)
        except IntegrityError:
            label = None
        text = None if label is None else msgspec.json.encode(label)
        at = 0.0 if label is None else label.received_at
        where = one.location
        plain = (where.pack, where.offset, where.length, where.plain_length)
        found.append(Labelled(plain, bytes(one.blob_id), one.key_id, text, at))
    return found


def _headers(
    file: File | None, pack: int, given: list[Wanted], keys: dict[bytes, bytes], limits: Limits
) -> list[Read | str]:
    """What each data set says, or a sentence of ours where it cannot be read."""
    if file is None:
        raise NotFound(f"there is no pack {pack}")
    seen: set[object] = set()
    found: list[Read | str] = []
    for one in given:
        try:
            reader = HeaderReader(one.transfer_syntax_uid, limits=limits)
            location = Location(pack, one.offset, one.length, one.plain_length)
            _walk(file, location, one, keys[one.key_id], reader)
            header = reader.finish()
            prepared = prepare(header)
        except StrongroomError as error:
            found.append(str(error))
            continue
        identity = prepared.identity
        kind = (identity.study_instance_uid, identity.series_instance_uid, prepared.prints)
        upper = None
        if kind not in seen:
            seen.add(kind)
            said = described(header)
            upper = (said.patient, said.study, said.series)
        plain = tuple(getattr(identity, name) for name in IDENTITY)
        found.append(Read(plain, prepared.prints, prepared.attributes, prepared.folded, upper))
    return found


def _walk(file: File, location: Location, one: Wanted, key: bytes, reader: HeaderReader) -> None:
    """Feed a data set to *reader*, without the long values nobody asks for."""
    whole = location.length <= WINDOW
    first = read_sealed(file, location, 0, location.length if whole else HEADER)
    data = associated_data(one.blob_id, one.key_id, Slot.DATA_SET)
    opener = Opener(key, data, location.length, first)
    if whole:
        reader.feed(opener.open(first, opener.cover()))
        return
    at, window = 0, SEGMENT
    while at < opener.plain_length:
        cover = next(opener.windows(at, window=window))
        piece = opener.open(read_sealed(file, location, cover.sealed_start, cover.sealed_stop), cover)
        reader.feed(piece)
        at += len(piece)
        ahead = min(reader.coming, opener.plain_length - at)
        if ahead > WORTH_A_JUMP:
            reader.pass_over(ahead)
            at += ahead
            window = SEGMENT
        else:
            window = min(2 * window, WINDOW)


_DO: dict[str, Callable[..., list[Any]]] = {"keys": _keys, "labels": _labels, "headers": _headers}
